use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use mongodb::bson::doc;
use mongodb::options::ClientOptions;
use mongodb::{Client, bson::Document};

use super::fetched;
use super::process::{ServerProcess, free_port};
use crate::folder::Folder;

/// Cache of the storage engine in GB: small, since several run at once beside the tests.
const CACHE_GB: &str = "0.5";

/// A mongod that is a replica set of one member, so that it has transactions.
#[derive(Debug)]
pub struct MongoServer {
    // Stopped before its folder goes.
    process: ServerProcess,
    port: u16,
    folder: Folder,
}

impl MongoServer {
    pub async fn start() -> Result<Self> {
        let folder = Folder::new()?;
        std::fs::create_dir(folder.path().join("db"))?;
        let port = free_port()?;
        let process = Self::spawn(&folder, port)?;
        let mut server = Self { process, port, folder };
        server.process.listens_on(port).await?;
        let set = doc! { "_id": "rs0", "members": [{ "_id": 0, "host": format!("127.0.0.1:{port}") }] };
        server.command(doc! { "replSetInitiate": set }).await.context("initiating the replica set")?;
        server.primary().await?;
        Ok(server)
    }

    fn spawn(folder: &Folder, port: u16) -> Result<ServerProcess> {
        let db = folder.path().join("db").display().to_string();
        let port = port.to_string();
        let arguments = [
            "--dbpath",
            &db,
            "--port",
            &port,
            "--bind_ip",
            "127.0.0.1",
            "--replSet",
            "rs0",
            "--wiredTigerCacheSizeGB",
            CACHE_GB,
            "--oplogSize",
            "256",
            "--nounixsocket",
            // Other databases on the machine would share this socket; nothing here asks for diagnostics.
            "--setParameter",
            "diagnosticDataCollectionEnabled=false",
        ]
        .map(str::to_owned);
        ServerProcess::start(&program()?, &arguments, &[], &folder.path().join("mongod.log"))
    }

    async fn client(&self) -> Result<Client> {
        let options =
            ClientOptions::parse(format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)).await?;
        Ok(Client::with_options(options)?)
    }

    async fn command(&self, command: Document) -> Result<Document> {
        Ok(self.client().await?.database("admin").run_command(command).await?)
    }

    async fn primary(&mut self) -> Result<()> {
        let client = self.client().await?;
        let writable = || async {
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
            hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
        };
        self.process.until("become primary", writable).await
    }

    /// Gives the storage engine a larger cache: for what holds more than a test does.
    pub async fn widen_cache(&self, gib: u32) -> Result<()> {
        let cache = format!("cache_size={gib}G");
        self.command(doc! { "setParameter": 1, "wiredTigerEngineRuntimeConfig": cache }).await?;
        Ok(())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Value for `CHORUS_VIEWS`: a database of this name on the server.
    pub fn url(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?replicaSet=rs0", self.port)
    }

    /// Kills the server on the spot and starts it again on its folder and port.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again().await
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    pub async fn start_again(&mut self) -> Result<()> {
        self.process = Self::spawn(&self.folder, self.port)?;
        self.process.listens_on(self.port).await?;
        self.primary().await
    }
}

/// One on the `PATH`, else the fetched one.
fn program() -> Result<PathBuf> {
    let found = Command::new("mongod").arg("--version").output().is_ok_and(|output| output.status.success());
    if found { Ok("mongod".into()) } else { fetched("mongod", "mongod") }
}
