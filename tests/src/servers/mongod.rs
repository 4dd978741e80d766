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

/// Cache of the storage engine in GB: small, since several run at once.
const CACHE_GB: &str = "0.5";
/// How long an election may take.
const ELECTION_LIMIT: Duration = Duration::from_mins(1);
/// How long one member may take to say whether it is the primary: a stopped one never answers.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The name of every replica set here.
const SET: &str = "rs0";

/// A mongod as a replica set of one member, which transactions need.
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

    /// Runs a command on a database.
    pub async fn command_on(&self, database: &str, command: Document) -> Result<Document> {
        Ok(self.0.client().await?.database(database).run_command(command).await?)
    }

    /// The collections of a database with hashes of their content and their indexes.
    pub async fn inventory(&self, database: &str) -> Result<Vec<String>> {
        let hashes = self.command_on(database, doc! { "dbHash": 1 }).await?;
        let mut found = Vec::new();
        for (name, hash) in hashes.get_document("collections")? {
            let indexes = self.command_on(database, doc! { "listIndexes": name }).await?;
            found.push(format!("{name}: {hash}, {:?}", indexes.get_document("cursor")?.get("firstBatch")));
        }
        found.sort();
        Ok(found)
    }

    /// Enlarges the cache of the storage engine, for more data than a test has.
    pub async fn enlarge_cache(&self, gib: u32) -> Result<()> {
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

    /// Kills the server without warning and starts it again on its folder and port.
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

/// A replica set of three mongods. Members are numbered from 0.
#[derive(Debug)]
pub struct MongoReplicaSet(Vec<Member>);

impl MongoReplicaSet {
    pub const MEMBERS: usize = 3;

    /// Waits until it has a primary and the others follow it.
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

    /// Waits until a running member is the primary; returns its number.
    pub async fn primary(&self) -> Result<usize> {
        let elected = waiting::answer(ELECTION_LIMIT, || async {
            let asked = self.0.iter().map(|member| tokio::time::timeout(ANSWER_LIMIT, member.is_primary()));
            let answers = futures::future::join_all(asked).await;
            anyhow::Ok(answers.into_iter().position(|answer| answer.unwrap_or(false)))
        });
        elected.await?.with_context(|| format!("no primary within {ELECTION_LIMIT:?}"))
    }

    /// Kills a member without warning.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.0[number].process.kill()
    }

    /// Kills the primary without warning; returns its number.
    pub async fn kill_primary(&mut self) -> Result<usize> {
        let primary = self.primary().await?;
        self.kill(primary)?;
        Ok(primary)
    }

    /// Sends a signal to a member: `STOP` freezes it with its connections open, `CONT` resumes it.
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

/// The initial configuration of a set on these ports.
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
    // Dropped before its folder.
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
            // The Unix socket would be shared with other databases on the machine; diagnostics are not needed.
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

/// The program on the `PATH`, or else the fetched one.
pub(super) fn program() -> Result<PathBuf> {
    let found = Command::new("mongod").arg("--version").output().is_ok_and(|output| output.status.success());
    if found { Ok("mongod".into()) } else { fetched("mongod", "mongod") }
}
