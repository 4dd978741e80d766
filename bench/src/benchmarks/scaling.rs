//! Catch-up, latency of pages, and sizes while the log grows.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use service::config::FeedSettings;

use super::catch_up::project;
use super::{Findings, progress};
use crate::deployment::Engine;
use crate::load::{LoadRequest, load};
use crate::table::{latency, mebibytes, rate};
use crate::world::{self, World};

const PEOPLE: usize = 2000;
/// Duration of the load of pages.
const READING: Duration = Duration::from_secs(3);

pub(crate) async fn scaling(engine: Engine, sizes: &[usize], findings: &mut Findings) -> Result<()> {
    let mut chorus = engine.start().await?;
    let name = engine.name();
    let log = chorus.log().await?;
    let mut world = World::new(3);
    world::append(&log, world.sign_up(PEOPLE)).await?;
    world::append(&log, world.publish(1)).await?;
    chorus.settle().await?;
    for &size in sizes {
        let before = log.raw().head().await?.0;
        let missing = u64::try_from(size)?.saturating_sub(before);
        progress(&format!("{name}: growing the log to {size} events"));
        chorus.kill(engine.projector())?;
        world::append(&log, world.history(usize::try_from(missing)?)).await?;
        let head = log.raw().head().await?.0;
        let taken =
            project(&chorus, chorus.views().await?, projector::projections(&FeedSettings::default()), head)
                .await?;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let per_second = missing as f64 / taken.as_secs_f64();
        let mut figure = |what: &str, figure: String| {
            findings.figures.push((format!("{what}, {size} events"), name, figure));
        };
        figure("catch-up of all eight views over the newest part", rate(per_second));

        chorus.start_again(engine.projector()).await?;
        chorus.settle().await?;
        let port = chorus.port(engine.reader()).unwrap_or_default();
        let request = || {
            Ok(LoadRequest {
                method: Method::GET,
                path: "/v1/posts?limit=20".into(),
                headers: HeaderMap::new(),
                body: Bytes::new(),
            })
        };
        let pages = load(([127, 0, 0, 1], port).into(), StatusCode::OK, READING, vec![request]).await?;
        figure(
            "page of 20 posts, one client",
            format!("p50 {}, p99 {}", latency(&pages.latencies, 0.5), latency(&pages.latencies, 0.99)),
        );
        let kept = match &chorus.nats {
            None => file_size(&chorus.folder().join("data"), "events.db")?,
            Some(nats) => folder_size(&nats.store())?,
        };
        let views: u64 = match engine {
            Engine::Standalone => file_size(&chorus.folder().join("data"), "views.db")?,
            Engine::Distributed => chorus.views().await?.sizes().await?.values().map(|view| view.bytes).sum(),
        };
        let per_event = |bytes: u64| format!("{} ({} bytes an event)", mebibytes(bytes), bytes / head);
        figure("log on disk", per_event(kept));
        figure("views on disk", per_event(views));
        figure("resident memory of the reader", mebibytes(chorus.resident_memory(engine.reader())?));
    }
    Ok(())
}

/// The size of a SQLite file with its WAL files.
fn file_size(folder: &Path, name: &str) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(name) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn folder_size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes +=
            if entry.file_type()?.is_dir() { folder_size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
