use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::Config;
use futures::TryStreamExt;

use super::fetched;
use super::process::{ServerProcess, free_port};
use crate::folder::Folder;

/// A nats-server with JetStream and the shipped configuration, which syncs every write.
#[derive(Debug)]
pub struct NatsServer {
    // Dropped before its folder.
    process: ServerProcess,
    port: u16,
    folder: Folder,
}

impl NatsServer {
    pub async fn start() -> Result<Self> {
        let mut server = Self::spawn_new("", "")?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts a server with more configuration, without waiting until it is ready.
    pub(super) fn spawn_new(more: &str, more_of_cluster: &str) -> Result<Self> {
        let (folder, port) = (Folder::new()?, free_port()?);
        let store = folder.path().join("jetstream").display().to_string();
        let mut config = format!("{more}\n{}", include_str!("../../../deploy/nats.conf"));
        for (shipped, here) in [
            ("listen: 0.0.0.0:4222", format!("listen: 127.0.0.1:{port}")),
            ("http: 0.0.0.0:8222", String::new()),
            ("store_dir: /data", format!("store_dir: {store}")),
            ("cluster {", format!("cluster {{\n{more_of_cluster}")),
        ] {
            ensure!(config.matches(shipped).count() == 1, "`{shipped}` in deploy/nats.conf");
            config = config.replace(shipped, &here);
        }
        std::fs::write(folder.path().join("nats.conf"), config)?;
        Ok(Self { process: Self::spawn(&folder)?, port, folder })
    }

    fn spawn(folder: &Folder) -> Result<ServerProcess> {
        let arguments = ["--config".to_owned(), folder.path().join("nats.conf").display().to_string()];
        ServerProcess::start(&program()?, &arguments, &[], &folder.path().join("nats.log"))
    }

    pub(super) async fn ready(&mut self) -> Result<()> {
        self.process.listens_on(self.port).await
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its streams.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("jetstream")
    }

    /// Value for `CHORUS_LOG`: a log of this name on the server.
    pub fn url(&self, name: &str) -> String {
        format!("nats://127.0.0.1:{}/{name}", self.port)
    }

    pub async fn client(&self) -> Result<async_nats::Client> {
        async_nats::connect(format!("nats://127.0.0.1:{}", self.port))
            .await
            .context("connecting to nats-server")
    }

    /// The streams (buckets too) with their configurations and messages, and their durable consumers.
    pub async fn inventory(&self) -> Result<Vec<String>> {
        let context = async_nats::jetstream::new(self.client().await?);
        let mut found = Vec::new();
        let mut names: Vec<String> = context.stream_names().try_collect().await?;
        names.sort();
        for name in names {
            let stream = context.get_stream(&name).await?;
            let info = stream.get_info().await?;
            // The order of metadata is random.
            let config = Config { metadata: HashMap::new(), ..info.config };
            found.push(format!("{name}: {} messages, {config:?}", info.state.messages));
            // The others are in memory: a running program makes a new one whenever it has missed heartbeats.
            let consumers: Vec<consumer::Info> = stream.consumers().try_collect().await?;
            let mut durable: Vec<String> =
                consumers.into_iter().filter_map(|consumer| consumer.config.durable_name).collect();
            durable.sort();
            found.extend(durable.into_iter().map(|consumer| format!("{name}: consumer {consumer}")));
        }
        Ok(found)
    }

    /// The output of the server so far.
    pub fn printed(&self) -> String {
        self.process.printed()
    }

    /// Kills the server without warning and starts it again on its folder and port.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again().await
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    pub(super) fn limit_files(&self, length: u64) -> Result<()> {
        self.process.limit_files(length)
    }

    /// Waits until the server has ended.
    pub(super) fn wait(&mut self) -> Result<()> {
        self.process.wait()
    }

    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        self.process.signal(signal)
    }

    pub async fn start_again(&mut self) -> Result<()> {
        self.process = Self::spawn(&self.folder)?;
        self.ready().await
    }
}

/// The program on the `PATH` if it is new enough, or else the fetched one.
pub(super) fn program() -> Result<PathBuf> {
    let found = Command::new("nats-server").arg("--version").output();
    let new_enough = found.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = text.rsplit('v').next().unwrap_or("").trim().split('.').map(str::parse::<u32>);
        matches!((numbers.next(), numbers.next()), (Some(Ok(2)), Some(Ok(12..))))
    });
    if new_enough { Ok("nats-server".into()) } else { fetched("nats-server", "nats-server") }
}
