use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use mongodb::bson::doc;
use mongodb::options::ClientOptions;
use mongodb::{Client, bson::Document};

use super::fetched;
use super::process::{ServerProcess, free_port};
use crate::folder::Folder;
use crate::waiting;

/// Cache of the storage engine in GB: small, since several run at once beside the tests.
const CACHE_GB: &str = "0.5";
/// How long a set may take until it has a primary.
const ELECTION_LIMIT: Duration = Duration::from_mins(1);
/// How long one member may take to say whether it is the primary: one that is stopped never does.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The name of every replica set here.
const SET: &str = "rs0";

/// A mongod that is a replica set of one member, so that it has transactions.
#[derive(Debug)]
pub struct MongoServer(Member);

impl MongoServer {
    pub async fn start() -> Result<Self> {
        let mut member = Member::start().await?;
        member.command(doc! { "replSetInitiate": initial(&[member.port]) }).await?;
        member.becomes_primary().await?;
        Ok(Self(member))
    }

    /// Runs a command on the database `admin`.
    pub async fn command(&self, command: Document) -> Result<Document> {
        self.0.command(command).await
    }

    /// Gives the storage engine a larger cache: for what holds more than a test does.
    pub async fn widen_cache(&self, gib: u32) -> Result<()> {
        let cache = format!("cache_size={gib}G");
        self.command(doc! { "setParameter": 1, "wiredTigerEngineRuntimeConfig": cache }).await?;
        Ok(())
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// Value for `CHORUS_VIEWS`: a database of this name on the server.
    pub fn url(&self, database: &str) -> String {
        format!("mongodb://127.0.0.1:{}/{database}?replicaSet={SET}", self.0.port)
    }

    /// Kills the server on the spot and starts it again on its folder and port.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again().await
    }

    pub fn kill(&mut self) -> Result<()> {
        self.0.process.kill()
    }

    pub async fn start_again(&mut self) -> Result<()> {
        self.0.start_again().await?;
        self.0.becomes_primary().await
    }
}

/// A replica set of three mongods. Each is killed, stopped and started again by its number, from 0.
#[derive(Debug)]
pub struct MongoReplicaSet(Vec<Member>);

impl MongoReplicaSet {
    pub const MEMBERS: usize = 3;

    /// Ready once it has a primary and the others follow it.
    pub async fn start() -> Result<Self> {
        let mut members = Vec::new();
        for _ in 0..Self::MEMBERS {
            members.push(Member::start().await?);
        }
        let ports: Vec<u16> = members.iter().map(|member| member.port).collect();
        members[0].command(doc! { "replSetInitiate": initial(&ports) }).await?;
        let mut set = Self(members);
        for number in 0..Self::MEMBERS {
            set.follows(number).await?;
        }
        set.primary().await?;
        Ok(set)
    }

    /// Value for `CHORUS_VIEWS`: a database of this name on the set.
    pub fn url(&self, database: &str) -> String {
        let hosts: Vec<String> = self.0.iter().map(|member| format!("127.0.0.1:{}", member.port)).collect();
        format!("mongodb://{}/{database}?replicaSet={SET}", hosts.join(","))
    }

    /// Waits until a running member is the primary; its number.
    pub async fn primary(&self) -> Result<usize> {
        let elected = waiting::answer(ELECTION_LIMIT, || async {
            let asked = self.0.iter().map(|member| tokio::time::timeout(ANSWER_LIMIT, member.is_primary()));
            let answers = futures::future::join_all(asked).await;
            anyhow::Ok(answers.into_iter().position(|answer| answer.unwrap_or(false)))
        });
        elected.await?.with_context(|| format!("no primary within {ELECTION_LIMIT:?}"))
    }

    /// Kills a member on the spot.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.0[number].process.kill()
    }

    /// Kills the primary on the spot; its number.
    pub async fn kill_primary(&mut self) -> Result<usize> {
        let primary = self.primary().await?;
        self.kill(primary)?;
        Ok(primary)
    }

    /// Sends a member a signal: `STOP` makes it fall silent with its connections open, `CONT` ends that.
    pub fn signal(&self, number: usize, signal: &str) -> Result<()> {
        self.0[number].process.signal(signal)
    }

    /// Starts a killed member again on its folder and port, and waits until it has caught up.
    pub async fn start_again(&mut self, number: usize) -> Result<()> {
        self.0[number].start_again().await?;
        self.follows(number).await
    }

    async fn follows(&mut self, number: usize) -> Result<()> {
        let member = &mut self.0[number];
        let client = member.client().await?;
        let readable = || async {
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
            hello.is_ok_and(|hello| {
                ["isWritablePrimary", "secondary"].iter().any(|state| hello.get_bool(state).unwrap_or(false))
            })
        };
        member.process.until("become a secondary", readable).await
    }
}

/// The configuration that a set of these ports begins with.
fn initial(ports: &[u16]) -> Document {
    let members: Vec<Document> = (0..)
        .zip(ports)
        .map(|(id, port): (i32, _)| doc! { "_id": id, "host": format!("127.0.0.1:{port}") })
        .collect();
    doc! { "_id": SET, "members": members }
}

/// One mongod of a set.
#[derive(Debug)]
struct Member {
    // Stopped before its folder goes.
    process: ServerProcess,
    port: u16,
    folder: Folder,
}

impl Member {
    async fn start() -> Result<Self> {
        let folder = Folder::new()?;
        std::fs::create_dir(folder.path().join("db"))?;
        let port = free_port()?;
        let mut process = Self::spawn(&folder, port)?;
        process.listens_on(port).await?;
        Ok(Self { process, port, folder })
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
            SET,
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

    async fn start_again(&mut self) -> Result<()> {
        self.process = Self::spawn(&self.folder, self.port)?;
        self.process.listens_on(self.port).await
    }

    async fn client(&self) -> Result<Client> {
        let options =
            ClientOptions::parse(format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)).await?;
        Ok(Client::with_options(options)?)
    }

    async fn command(&self, command: Document) -> Result<Document> {
        Ok(self.client().await?.database("admin").run_command(command).await?)
    }

    async fn is_primary(&self) -> bool {
        let hello = self.command(doc! { "hello": 1 }).await;
        hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
    }

    async fn becomes_primary(&mut self) -> Result<()> {
        let client = self.client().await?;
        let writable = || async {
            let hello = client.database("admin").run_command(doc! { "hello": 1 }).await;
            hello.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
        };
        self.process.until("become primary", writable).await
    }
}

/// One on the `PATH`, else the fetched one.
fn program() -> Result<PathBuf> {
    let found = Command::new("mongod").arg("--version").output().is_ok_and(|output| output.status.success());
    if found { Ok("mongod".into()) } else { fetched("mongod", "mongod") }
}
