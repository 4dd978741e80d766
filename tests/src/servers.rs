//! Real servers for tests, from the `PATH` or fetched into `target/servers` (`tests/servers/fetch`). Each has a free port
//! and its own temporary folder, and ends with the test process, however that ends.

mod caddy;
mod mongod;
mod moto;
mod nats;
mod nats_cluster;
mod process;
mod smtp;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub use caddy::CaddyServer;
pub use mongod::{MongoReplicaSet, MongoServer};
pub use moto::{MotoServer, SENDER, SentMail};
pub use nats::NatsServer;
pub use nats_cluster::{NATS_NODES, NatsCluster};
pub use process::{ServerProcess, free_port};
pub use smtp::{SmtpEncryption, SmtpMail, SmtpServer};

/// The folder of fetched servers, shared by all builds of this checkout.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers")
}

/// The path of a fetched program; fetches it if necessary.
pub fn fetched(what: &str, program: &str) -> Result<PathBuf> {
    let path = folder().join(program);
    if !path.exists() {
        fetch(what)?;
    }
    Ok(path)
}

/// The folder with `openapi-typescript` and `tsc`, in the versions of `tests/clients/typescript/package-lock.json`.
pub fn typescript() -> Result<PathBuf> {
    // The script checks itself whether the installed version is current.
    fetch("typescript")?;
    Ok(folder().join("typescript"))
}

/// A program that plays or makes audio: `chromium-headless-shell`, `ffmpeg`, `ffprobe` or `mpv`.
pub fn player(program: &str) -> Result<PathBuf> {
    Ok(fetched("players", "players/complete")?.with_file_name("bin").join(program))
}

/// The folder with jq; none if jq is on the `PATH`.
pub fn jq() -> Result<Option<PathBuf>> {
    let is_found = Command::new("jq").arg("--version").output().is_ok_and(|output| output.status.success());
    if is_found {
        return Ok(None);
    }
    Ok(Some(fetched("jq", "jq/complete")?.with_file_name("bin")))
}

/// Fetches what a distributed deployment needs: servers that start side by side must not wait for the download of another.
pub(crate) async fn fetch_distributed() -> Result<()> {
    let fetched = tokio::task::spawn_blocking(|| {
        nats::program()?;
        mongod::program()?;
        moto::program()?;
        fetched("caddy", "caddy")
    });
    fetched.await?.map(drop)
}

fn fetch(what: &str) -> Result<()> {
    let fetch = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/fetch");
    let output = Command::new(fetch).arg(folder()).arg(what).output().context("tests/servers/fetch")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
