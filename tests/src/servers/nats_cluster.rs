use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_nats::{Client, ConnectOptions};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::nats::NatsServer;
use super::process::free_port;
use crate::waiting::found;

/// The number of servers of a cluster and of replicas of a stream on it.
pub const NATS_NODES: usize = 3;
/// How long a stream may take to elect a leader.
const ELECTION_LIMIT: Duration = Duration::from_secs(5);
/// How long the cluster may take to elect a leader and to bring every replica up to date.
const SETTLE_LIMIT: Duration = Duration::from_mins(2);
/// How long one request to the cluster may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// A cluster of three nats-servers, each with its own ports and folder.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
}

impl NatsCluster {
    pub async fn start() -> Result<Self> {
        let ports = (0..NATS_NODES).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let routes: Vec<String> = ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let spawn = |(node, port): (usize, &u16)| {
            let cluster =
                format!("name: chorus\nlisten: 127.0.0.1:{port}\nroutes: [{}]\n", routes.join(", "));
            NatsServer::spawn_new(&format!("server_name: {}", name(node)), &cluster)
        };
        let mut nodes = ports.iter().enumerate().map(spawn).collect::<Result<Vec<_>>>()?;
        try_join_all(nodes.iter_mut().map(NatsServer::ready)).await?;
        let cluster = Self { nodes };
        cluster.wait_for_jetstream().await?;
        Ok(cluster)
    }

    /// Waits until the cluster has elected its meta leader, which creates streams.
    async fn wait_for_jetstream(&self) -> Result<()> {
        let client = self.client().await?;
        let ready = found(SETTLE_LIMIT, "JetStream has a leader", async || {
            let info = ask(&client, "INFO", &Value::Null).await.ok()?;
            info.get("error").is_none().then_some(info)
        });
        ready.await;
        Ok(())
    }

    /// The addresses of all nodes.
    pub fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.port())).collect()
    }

    /// Value for `CHORUS_LOG`: a log of this name with a replica on every node.
    pub fn url(&self, name: &str) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("nats://{}/{name}?replicas={NATS_NODES}", hosts.join(","))
    }

    pub fn node(&self, node: usize) -> &NatsServer {
        &self.nodes[node]
    }

    /// A connection to any node.
    pub async fn client(&self) -> Result<Client> {
        connect(self.addresses()).await
    }

    /// A connection to one node.
    pub async fn client_of(&self, node: usize) -> Result<Client> {
        connect(vec![self.addresses().swap_remove(node)]).await
    }

    /// Kills one node without warning.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        self.nodes[node].kill()
    }

    pub async fn start_again(&mut self, node: usize) -> Result<()> {
        self.nodes[node].start_again().await
    }

    /// Kills all nodes at once, as a power cut would.
    pub fn kill_all(&mut self) -> Result<()> {
        for node in &self.nodes {
            node.signal("KILL")?;
        }
        self.nodes.iter_mut().try_for_each(NatsServer::wait)
    }

    pub async fn start_all_again(&mut self) -> Result<()> {
        try_join_all(self.nodes.iter_mut().map(NatsServer::start_again)).await?;
        Ok(())
    }

    /// Stops a node with its connections open, as if its machine were gone.
    pub fn freeze(&self, node: usize) -> Result<()> {
        self.nodes[node].signal("STOP")
    }

    pub fn thaw(&self, node: usize) -> Result<()> {
        self.nodes[node].signal("CONT")
    }

    /// Waits until a stream has a leader and all replicas are current; returns the leader's node.
    pub async fn settled(&self, stream: &str) -> Result<usize> {
        self.settled_with(stream, NATS_NODES).await
    }

    async fn settled_with(&self, stream: &str, replicas: usize) -> Result<usize> {
        let client = self.client().await?;
        let leader = found(SETTLE_LIMIT, "every replica of the stream is up to date", async || {
            let info = ask(&client, &format!("STREAM.INFO.{stream}"), &Value::Null).await.ok()?;
            let followers = info["cluster"]["replicas"].as_array().map_or(&[][..], Vec::as_slice);
            let are_current = followers.iter().all(|follower| follower["current"] == true);
            (are_current && followers.len() + 1 == replicas).then(|| leader(&info)).flatten()
        });
        Ok(leader.await)
    }

    /// Changes the number of replicas and waits until they are current; returns their nodes.
    pub async fn replicate(&self, stream: &str, replicas: usize) -> Result<Vec<usize>> {
        let mut config = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null).await?["config"].take();
        config["num_replicas"] = replicas.into();
        self.ask(&format!("STREAM.UPDATE.{stream}"), &config).await?;
        self.settled_with(stream, replicas).await?;
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
        let followers = info["cluster"]["replicas"].as_array().map_or(&[][..], Vec::as_slice);
        let names = followers.iter().map(|follower| &follower["name"]).chain([&info["cluster"]["leader"]]);
        let nodes = names.filter_map(|found| (0..NATS_NODES).find(|&node| *found == name(node)));
        Ok(nodes.collect())
    }

    /// The node that leads a stream.
    pub async fn leader(&self, stream: &str) -> Result<usize> {
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
        leader(&info).context("no leader")
    }

    /// Stops a node's replica of a stream from growing; the node still answers.
    pub fn stop_writing(&self, stream: &str, node: usize) -> Result<()> {
        let lengths = self.blocks(stream, node)?.into_iter().map(|block| Ok(block.metadata()?.len()));
        let longest = lengths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or_default();
        self.nodes[node].limit_files(longest)
    }

    /// The number of consumers of a stream on each node.
    pub async fn consumers(&self, stream: &str) -> Result<[usize; NATS_NODES]> {
        let info = self.ask(&format!("CONSUMER.LIST.{stream}"), &Value::Null).await?;
        let consumers = info["consumers"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(std::array::from_fn(|node| {
            consumers.iter().filter(|consumer| consumer["cluster"]["leader"] == name(node)).count()
        }))
    }

    /// The block files of a stream on a node.
    pub fn blocks(&self, stream: &str, node: usize) -> Result<Vec<PathBuf>> {
        let folder = self.nodes[node].store().join("jetstream/$G/streams").join(stream).join("msgs");
        let files = std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
        let files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        Ok(files.into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "blk")).collect())
    }

    /// Makes a node the leader of a stream. All replicas must be current.
    pub async fn lead(&self, stream: &str, node: usize) -> Result<()> {
        let preferred = json!({ "placement": { "preferred": name(node) } });
        let client = self.client().await?;
        let leads = async || {
            let info = ask(&client, &format!("STREAM.INFO.{stream}"), &Value::Null).await.ok()?;
            (leader(&info) == Some(node)).then_some(())
        };
        let led = found(SETTLE_LIMIT, "the node leads the stream", async || {
            if leads().await.is_none() {
                let _ = ask(&client, &format!("STREAM.LEADER.STEPDOWN.{stream}"), &preferred).await;
            }
            // Asked again sooner, the stream would never elect a leader.
            tokio::time::timeout(ELECTION_LIMIT, found(SETTLE_LIMIT, "an election", leads)).await.ok()
        });
        led.await;
        Ok(())
    }

    /// Sends a request to JetStream's API; fails if the response is an error.
    pub async fn ask(&self, what: &str, body: &Value) -> Result<Value> {
        let info = ask(&self.client().await?, what, body).await?;
        ensure!(info.get("error").is_none(), "{what}: {info}");
        Ok(info)
    }
}

async fn connect(addresses: Vec<String>) -> Result<Client> {
    let options = ConnectOptions::new().request_timeout(Some(REQUEST_LIMIT));
    options.connect(addresses).await.context("connecting to nats-server")
}

async fn ask(client: &Client, what: &str, body: &Value) -> Result<Value> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let answer = client.request(format!("$JS.API.{what}"), body.into()).await?;
    Ok(serde_json::from_slice(&answer.payload)?)
}

fn leader(stream: &Value) -> Option<usize> {
    let leader = stream["cluster"]["leader"].as_str()?;
    (0..NATS_NODES).find(|&node| name(node) == leader)
}

/// The name of a server in its cluster.
fn name(node: usize) -> String {
    format!("node-{node}")
}
