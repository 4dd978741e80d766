//! Ranges of songs, beside nginx on the same files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::json;
use tests::client::{User, wav};
use tests::servers::{ServerProcess, fetched, free_port};

use super::get;
use crate::benchmarks::{Findings, progress};
use crate::deployment::Deployment;
use crate::load::{LoadRequest, Measured, load};
use crate::table::{Bound, Ratio, latency, median};

/// Files, their length in seconds (8,000 bytes each), readers of them, and the length of a range.
const STREAMED: usize = 20;
const STREAMED_SECONDS: u32 = 600;
const READERS: usize = 200;
const RANGE: usize = 256 << 10;
const ROUNDS: usize = 3;

/// nginx on the folder of Chorus' own files.
struct Nginx {
    _process: ServerProcess,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    async fn start(files: &Path, sendfile: bool) -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let here = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .concat();
        let config = format!(
            // Without the user it would change to "nobody", who may not read the files.
            "daemon off; user root; worker_processes auto; pid {here}/pid; error_log stderr;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile {}; keepalive_requests 1000000; {temporary}\n\
             server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
            if sendfile { "on" } else { "off" },
            files.display()
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let arguments = ["-c", &file.display().to_string(), "-p", &here.to_string()].map(str::to_owned);
        let program = fetched("nginx", "nginx")?;
        let mut process = ServerProcess::start(&program, &arguments, &[], &folder.path().join("log"))?;
        process.listens_on(port).await?;
        Ok(Self { _process: process, address: SocketAddr::from(([127, 0, 0, 1], port)), _folder: folder })
    }
}

/// The audio files below a folder.
fn audio_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            audio_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "wav") {
            found.push(path);
        }
    }
    Ok(())
}

pub(super) async fn stream_songs(
    deployment: &Deployment,
    artist: &User,
    time: Duration,
    findings: &mut Findings,
) -> Result<()> {
    let (api, name) = (deployment.chorus.api(), deployment.engine.name());
    progress(&format!("{name}: {STREAMED} files to stream"));
    let mut songs = Vec::new();
    for number in 0..STREAMED {
        let title = format!("Long song {number}");
        let upload = api.upload_audio(artist, &wav(&title, STREAMED_SECONDS)).await;
        let song = json!({ "upload": upload, "title": title, "artists": [{ "name": artist.username }] });
        songs.push(api.post_as(artist, "/v1/songs", &song).await.expect(201).id());
    }
    deployment.chorus.settle().await?;
    let media = deployment.chorus.folder().join("data/media");
    let mut files = Vec::new();
    audio_files(&media, &mut files)?;
    ensure!(files.len() >= STREAMED, "{} files in {}", files.len(), media.display());
    let files: Vec<String> = files
        .iter()
        .map(|file| Ok(format!("/{}", file.strip_prefix(&media)?.display())))
        .collect::<Result<_>>()?;
    let songs: Vec<String> = songs.iter().map(|song| format!("/v1/songs/{song}/stream")).collect();
    let sources = |paths: &[String]| {
        let length = STREAMED_SECONDS as usize * 8000;
        let source = |paths: Vec<String>| {
            move || {
                let mut rng = rand::rng();
                let from = rng.random_range(0..length - RANGE);
                let range = format!("bytes={from}-{}", from + RANGE - 1);
                let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::try_from(range)?)]);
                Ok(LoadRequest { headers, ..get(paths.choose(&mut rng).context("a file")?.clone()) })
            }
        };
        (0..READERS).map(|_| source(paths.to_vec())).collect::<Vec<_>>()
    };
    let chorus_at = deployment.address(deployment.engine.reader())?;
    for (sendfile, bound) in [(false, 0.8), (true, 0.5)] {
        let nginx = Nginx::start(&media, sendfile).await?;
        let (mut of_chorus, mut of_nginx) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let partial = StatusCode::PARTIAL_CONTENT;
            of_nginx.push(load(nginx.address, partial, time, sources(&files)).await?);
            of_chorus.push(load(chorus_at, partial, time, sources(&songs)).await?);
        }
        let (chorus, beside) = median(of_chorus).zip(median(of_nginx)).context("no round")?;
        let shown = |measured: &Measured| {
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let mebibytes = measured.per_second * RANGE as f64 / f64::from(1 << 20);
            format!("{mebibytes:.0} MiB/s, p99 {}", latency(&measured.latencies, 0.99))
        };
        findings.ratios.push(Ratio {
            what: format!(
                "{READERS} readers of ranges of {} KiB, against nginx with `sendfile {}`",
                RANGE >> 10,
                if sendfile { "on" } else { "off" }
            ),
            engine: name,
            chorus: shown(&chorus),
            baseline: shown(&beside),
            value: chorus.per_second / beside.per_second,
            bound: Bound::AtLeast(bound),
            goal: None,
        });
    }
    Ok(())
}
