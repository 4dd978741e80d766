//! Memory during many uploads of audio at once.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use serde_json::json;
use tests::client::{sha256, wav};

use crate::benchmarks::{Findings, progress};
use crate::deployment::Deployment;
use crate::table::mebibytes;

const UPLOADS: usize = 50;
/// 50 MB each.
const UPLOAD_SECONDS: u32 = 6250;
const SAMPLED_EVERY: Duration = Duration::from_millis(50);

pub(super) async fn uploads(deployment: &Deployment, findings: &mut Findings) -> Result<()> {
    let (api, engine) = (deployment.chorus.api(), deployment.engine);
    progress(&format!("{}: {UPLOADS} uploads at once", engine.name()));
    let mut artists = Vec::new();
    for _ in 0..UPLOADS / 5 {
        artists.push(deployment.chorus.artist("uploader").await);
    }
    let audio = Bytes::from(wav("uploaded", UPLOAD_SECONDS));
    let checksum = json!({ "sha256": sha256(&audio) });
    let memory = || deployment.chorus.resident_memory(engine.writer());
    let idle = memory()?;
    let each = (0..UPLOADS).map(|number| {
        let (artist, audio, checksum, api) =
            (&artists[number % artists.len()], audio.clone(), &checksum, &api);
        async move {
            let size = json!({ "size": audio.len() });
            let upload = api.post_as(artist, "/v1/uploads", &size).await.expect(201).id();
            let path = format!("/v1/uploads/{upload}");
            let part =
                api.request(Method::PATCH, &path).bearer_auth(&artist.token).header("upload-offset", "0");
            api.send(part.header("content-type", "application/octet-stream").body(audio)).await.expect(200);
            api.post_as(artist, &format!("{path}/finish"), checksum).await.expect(200);
        }
    });
    let started = Instant::now();
    let mut peak = idle;
    let done = join_all(each);
    tokio::pin!(done);
    loop {
        tokio::select! {
            _ = &mut done => break,
            () = tokio::time::sleep(SAMPLED_EVERY) => peak = peak.max(memory()?),
        }
    }
    findings.figures.push((
        format!(
            "peak memory above idle during {UPLOADS} uploads of {} MB at once (wanted < 150 MB)",
            audio.len() / 1_000_000
        ),
        engine.name(),
        format!(
            "{} (idle {}), done in {} s",
            mebibytes(peak - idle),
            mebibytes(idle),
            started.elapsed().as_secs()
        ),
    ));
    Ok(())
}
