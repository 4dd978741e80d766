use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Compression, Config, StorageType};
use async_trait::async_trait;
use events::{EventLog, Filter, JetStreamLog, JetStreamSettings, JetStreamVault, LogError, Position};
use tests::cable::Cable;
use tests::contracts::log::{self as contract, LogEngine};
use tests::contracts::vault;
use tests::servers::NatsServer;
use tests::waiting::{self, until};
use tokio::sync::OnceCell;

/// How long a log may take until it is back after its server was killed.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);

struct JetStream {
    server: NatsServer,
    cable: Cable,
    log: Arc<JetStreamLog>,
    witness: Arc<JetStreamLog>,
}

fn settings(port: u16, name: &str) -> JetStreamSettings {
    JetStreamSettings {
        servers: vec![format!("nats://127.0.0.1:{port}")],
        name: name.to_owned(),
        replicas: 1,
        credentials: None,
    }
}

impl JetStream {
    async fn start() -> Self {
        let server = NatsServer::start().await.unwrap();
        let cable = Cable::to(server.port()).await.unwrap();
        let log = Arc::new(JetStreamLog::open(&settings(cable.port(), "contract")).await.unwrap());
        let witness = Arc::new(JetStreamLog::open(&settings(server.port(), "contract")).await.unwrap());
        Self { server, cable, log, witness }
    }
}

#[async_trait]
impl LogEngine for JetStream {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn restart(&mut self) {
        self.server.restart().await.unwrap();
        // The log finds its way back by itself; the contract goes on once it has.
        let back = waiting::answer(RECOVERY_LIMIT, || {
            let log = Arc::clone(&self.log);
            async move { Ok::<_, Infallible>(log.head().await.ok()) }
        });
        let Ok(back) = back.await;
        back.expect("the log is back");
    }

    async fn lose_answers(&mut self) -> bool {
        self.cable.lose_answers();
        true
    }

    async fn answers_arrive(&mut self) {
        self.cable.mend();
    }

    fn witness(&self) -> Arc<dyn EventLog> {
        self.witness.clone()
    }
}

/// One server for all promises that leave it alone; it ends with the test process.
async fn shared() -> &'static NatsServer {
    static SERVER: OnceCell<NatsServer> = OnceCell::const_new();
    SERVER.get_or_init(async || NatsServer::start().await.unwrap()).await
}

macro_rules! log_on_jetstream {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let settings = settings(shared().await.port(), stringify!($promise));
            contract::$promise(&JetStreamLog::open(&settings).await.unwrap()).await;
        }
    )+};
}
tests::log_promises!(log_on_jetstream);

macro_rules! engine_on_jetstream {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            contract::$promise(&mut JetStream::start().await).await;
        }
    )+};
}
tests::log_engine_promises!(engine_on_jetstream);

macro_rules! vault_on_jetstream {
    ($($promise:ident,)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let settings = settings(shared().await.port(), stringify!($promise));
            vault::$promise(&JetStreamVault::open(&settings).await.unwrap()).await;
        }
    )+};
}
tests::vault_promises!(vault_on_jetstream);

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_passes_an_event_with_an_unreadable_envelope() {
    let engine = JetStream::start().await;
    let context = async_nats::jetstream::new(engine.server.client().await.unwrap());
    let spoil = async |subject| {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-type", "like.liked.v1");
        let subject = format!("contract.{subject}");
        context.publish_with_headers(subject, headers, "{}".into()).await.unwrap().await.unwrap();
    };
    contract::an_event_with_an_unreadable_envelope_is_told_apart_and_passed(&*engine.log(), spoil).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_opens_a_log_written_by_an_older_program() {
    let server = NatsServer::start().await.unwrap();
    let client = server.client().await.unwrap();
    let context = async_nats::jetstream::new(client);
    // A stream as it was before direct gets, compression and the bans on deleting.
    let older = Config {
        name: "older".into(),
        subjects: vec!["older.>".into()],
        storage: StorageType::File,
        ..Config::default()
    };
    context.create_stream(older).await.unwrap();
    for line in include_str!("../../fixtures/log-v1.jsonl").lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let mut headers = async_nats::HeaderMap::new();
        for (name, value) in message["headers"].as_object().unwrap() {
            headers.insert(name.as_str(), value.as_str().unwrap());
        }
        let subject = message["subject"].as_str().unwrap().to_owned();
        let body = message["body"].as_str().unwrap().to_owned();
        context.publish_with_headers(subject, headers, body.into()).await.unwrap().await.unwrap();
    }
    let log = JetStreamLog::open(&settings(server.port(), "older")).await.unwrap();
    contract::a_log_written_by_an_older_program_opens_and_goes_on(&log, &crate::written_v1()).await;

    let mut stream = context.get_stream("older").await.unwrap();
    let config = &stream.info().await.unwrap().config;
    assert!(config.deny_delete && config.deny_purge && config.allow_direct, "{config:?}");
}

/// What older versions asked for, and what nats-server destroys replicas under.
#[tokio::test(flavor = "multi_thread")]
async fn compression_of_stream_and_bucket_ends_when_jetstream_opens_them() {
    let server = NatsServer::start().await.unwrap();
    let context = async_nats::jetstream::new(server.client().await.unwrap());
    let settings = settings(server.port(), "older");
    let compression = async |stream: &str| {
        let info = context.get_stream(stream).await.unwrap().get_info().await.unwrap();
        info.config.compression
    };
    let compressed = Config {
        name: "older".into(),
        subjects: vec!["older.>".into()],
        storage: StorageType::File,
        compression: Some(Compression::S2),
        ..Config::default()
    };
    context.create_stream(compressed).await.unwrap();
    let bucket = kv::Config { bucket: "older-keys".into(), compression: true, ..kv::Config::default() };
    context.create_key_value(bucket).await.unwrap();
    for stream in ["older", "KV_older-keys"] {
        assert_eq!(compression(stream).await, Some(Compression::S2));
    }
    JetStreamLog::open(&settings).await.unwrap();
    JetStreamVault::open(&settings).await.unwrap();
    for stream in ["older", "KV_older-keys"] {
        assert_eq!(compression(stream).await, Some(Compression::None), "{stream}");
    }
    // Nor are new ones compressed.
    let settings = JetStreamSettings { name: "new".into(), ..settings };
    JetStreamLog::open(&settings).await.unwrap();
    JetStreamVault::open(&settings).await.unwrap();
    for stream in ["new", "KV_new-keys"] {
        assert_ne!(compression(stream).await, Some(Compression::S2), "{stream}");
    }
}

/// Pauses every consumer of the stream, in place of replicas that are behind: it delivers nothing, but sends heartbeats.
async fn pause_consumers(server: &NatsServer, stream: &str) -> usize {
    let client = server.client().await.unwrap();
    let ask = async |what: String, body: &str| -> serde_json::Value {
        let answer = client.request(format!("$JS.API.{what}"), body.to_owned().into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    };
    let names = ask(format!("CONSUMER.NAMES.{stream}"), "").await;
    let names = names["consumers"].as_array().cloned().unwrap_or_default();
    for name in &names {
        let pause = format!("CONSUMER.PAUSE.{stream}.{}", name.as_str().unwrap());
        let paused = ask(pause, r#"{"pause_until":"2100-01-01T00:00:00Z"}"#).await;
        assert_eq!(paused["paused"], true, "{paused}");
    }
    names.len()
}

/// All kinds of consumers: what is new for a whole process, one follower that catches up, and a listener.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_delivers_nothing_is_replaced() {
    let server = NatsServer::start().await.unwrap();
    let settings = settings(server.port(), "stalled");
    let witness = JetStreamLog::open(&settings).await.unwrap();
    let start = contract::many_events(&witness, 6000).await;
    // A log of its own, in whose memory none of them is.
    let log = JetStreamLog::open(&settings).await.unwrap();
    let mut behind = log.follow(Filter::everything(), Position::START);
    let mut following = log.follow(Filter::everything(), start);
    let mut listening = log.listen(Filter::everything(), start);
    let last = contract::many_events(&witness, 1).await;
    contract::follows_up_to(&mut following, last).await;
    contract::follows_up_to(&mut listening, last).await;
    // The third is of the follower that is behind: it has read ahead and waits for its reader.
    until("each has its consumer", async || pause_consumers(&server, "stalled").await == 3).await;
    let last = contract::many_events(&witness, 1).await;
    contract::follows_up_to(&mut behind, last).await;
    contract::follows_up_to(&mut following, last).await;
    contract::follows_up_to(&mut listening, last).await;
}

/// A stream that forgets is refused, not used.
#[tokio::test(flavor = "multi_thread")]
async fn jetstream_refuses_a_stream_that_does_not_keep_everything() {
    let server = NatsServer::start().await.unwrap();
    let context = async_nats::jetstream::new(server.client().await.unwrap());
    let keeping = Config { storage: StorageType::File, ..Config::default() };
    let forgetful = [
        ("memory", Config { storage: StorageType::Memory, ..keeping.clone() }),
        ("aging", Config { max_age: std::time::Duration::from_hours(1), ..keeping.clone() }),
        ("newest", Config { max_messages_per_subject: 1, ..keeping.clone() }),
        ("full", Config { max_messages: 10, ..keeping }),
    ];
    for (name, config) in forgetful {
        let config = Config { name: name.into(), subjects: vec![format!("{name}.>")], ..config };
        context.create_stream(config).await.unwrap();
        let refused = JetStreamLog::open(&settings(server.port(), name)).await;
        assert!(matches!(refused, Err(LogError::Corrupt { .. })), "{name}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_says_that_it_is_unavailable_and_recovers_by_itself() {
    let engine = JetStream::start().await;
    engine.cable.cut();
    contract::an_outage_is_told_and_ends_by_itself(&*engine.log, || engine.cable.mend()).await;
}
