use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{Compression, Config, StorageType};
use async_trait::async_trait;
use events::{EventLog, Filter, JetStreamLog, JetStreamSettings, JetStreamVault, LogError, Position};
use tests::contracts::log::{self as contract, LogEngine};
use tests::contracts::vault;
use tests::fault_proxy::FaultProxy;
use tests::servers::NatsServer;
use tests::waiting::{self, until};
use tokio::sync::OnceCell;

/// How long a log may take to recover after its server was killed.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);

struct JetStream {
    server: NatsServer,
    proxy: FaultProxy,
    log: Arc<JetStreamLog>,
    observer: Arc<JetStreamLog>,
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
        let proxy = FaultProxy::to(server.port()).await.unwrap();
        let log = Arc::new(JetStreamLog::open(&settings(proxy.port(), "contract")).await.unwrap());
        let observer = Arc::new(JetStreamLog::open(&settings(server.port(), "contract")).await.unwrap());
        Self { server, proxy, log, observer }
    }
}

#[async_trait]
impl LogEngine for JetStream {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    async fn restart(&mut self) {
        self.server.restart().await.unwrap();
        // The log reconnects by itself; the contract continues after that.
        let back = waiting::answer(RECOVERY_LIMIT, || {
            let log = Arc::clone(&self.log);
            async move { Ok::<_, Infallible>(log.head().await.ok()) }
        });
        let Ok(back) = back.await;
        back.expect("the log is back");
    }

    async fn drop_responses(&mut self) -> bool {
        self.proxy.drop_responses();
        true
    }

    async fn deliver_responses(&mut self) {
        self.proxy.restore();
    }

    fn observer(&self) -> Arc<dyn EventLog> {
        self.observer.clone()
    }
}

/// One server for all promises that do not disturb it; it ends with the test process.
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
async fn jetstream_skips_an_event_with_an_unreadable_envelope() {
    let engine = JetStream::start().await;
    let context = async_nats::jetstream::new(engine.server.client().await.unwrap());
    let spoil = async |subject| {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-type", "like.liked.v1");
        let subject = format!("contract.{subject}");
        context.publish_with_headers(subject, headers, "{}".into()).await.unwrap().await.unwrap();
    };
    contract::unreadable_envelope_is_reported_and_skipped(&*engine.log(), spoil).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_events_are_read_raw_on_jetstream() {
    let engine = JetStream::start().await;
    let client = engine.server.client().await.unwrap();
    let plant = async |foreign| contract::plant_on_jetstream(client.clone(), "contract", foreign).await;
    contract::foreign_events_are_read_raw_with_their_position(&*engine.log(), plant).await;
}

/// A position without an event, as after a loss, is shown.
#[tokio::test(flavor = "multi_thread")]
async fn lost_event_is_read_raw_as_unreadable() {
    let server = NatsServer::start().await.unwrap();
    let context = async_nats::jetstream::new(server.client().await.unwrap());
    let config = Config {
        name: "lossy".into(),
        subjects: vec!["lossy.>".into()],
        storage: StorageType::File,
        ..Config::default()
    };
    let stream = context.create_stream(config).await.unwrap();
    // Opening the log to write would forbid the deletion.
    for _ in 0..3 {
        contract::plant_on_jetstream(server.client().await.unwrap(), "lossy", contract::Foreign::Unknown)
            .await;
    }
    stream.delete_message(2).await.unwrap();
    let log = JetStreamLog::open_read_only(&settings(server.port(), "lossy")).await.unwrap();
    let events = log.raw(Position::START, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.position.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(events[1].problem().unwrap().contains("the log has lost it"), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_log_and_vault_on_jetstream() {
    let server = NatsServer::start().await.unwrap();
    let settings = settings(server.port(), "contract");
    assert!(JetStreamLog::open_read_only(&settings).await.is_err());
    assert!(JetStreamVault::open_read_only(&settings).await.is_err());
    assert_eq!(server.inventory().await.unwrap(), Vec::<String>::new(), "nothing was created");

    let (log, writable) =
        (JetStreamLog::open(&settings).await.unwrap(), JetStreamVault::open(&settings).await.unwrap());
    let before = server.inventory().await.unwrap();
    let read_only = JetStreamLog::open_read_only(&settings).await.unwrap();
    let vault = JetStreamVault::open_read_only(&settings).await.unwrap();
    assert_eq!(read_only.raw(Position::START, 10).await.unwrap(), []);
    assert_eq!(server.inventory().await.unwrap(), before, "nothing was created or changed");
    contract::read_only_log_sees_appends_and_refuses_its_own(&log, &read_only).await;
    vault::read_only_vault_reads_keys_and_refuses_changes(&writable, &vault).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_opens_a_log_of_an_older_version() {
    let server = NatsServer::start().await.unwrap();
    let client = server.client().await.unwrap();
    let context = async_nats::jetstream::new(client);
    // A stream without direct gets, compression and the bans on deleting, as older versions created it.
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
    contract::log_of_an_older_version_opens_and_accepts_appends(&log, &crate::written_v1()).await;

    let mut stream = context.get_stream("older").await.unwrap();
    let config = &stream.info().await.unwrap().config;
    assert!(config.deny_delete && config.deny_purge && config.allow_direct, "{config:?}");
}

/// Older versions enabled compression, with which nats-server can corrupt replicas.
#[tokio::test(flavor = "multi_thread")]
async fn opening_disables_compression_of_stream_and_bucket() {
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
    // New ones are not compressed either.
    let settings = JetStreamSettings { name: "new".into(), ..settings };
    JetStreamLog::open(&settings).await.unwrap();
    JetStreamVault::open(&settings).await.unwrap();
    for stream in ["new", "KV_new-keys"] {
        assert_ne!(compression(stream).await, Some(Compression::S2), "{stream}");
    }
}

/// Pauses every consumer of the stream, to simulate lagging replicas: it delivers nothing but sends heartbeats.
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

/// All kinds of consumers: the live consumer of a process, a follower that catches up, and a listener.
#[tokio::test(flavor = "multi_thread")]
async fn stalled_consumer_is_replaced() {
    let server = NatsServer::start().await.unwrap();
    let settings = settings(server.port(), "stalled");
    let observer = JetStreamLog::open(&settings).await.unwrap();
    let start = contract::many_events(&observer, 6000).await;
    // A separate log without these events in memory.
    let log = JetStreamLog::open(&settings).await.unwrap();
    let mut behind = log.follow(Filter::everything(), Position::START);
    let mut following = log.follow(Filter::everything(), start);
    let mut listening = log.listen(Filter::everything(), start);
    let last = contract::many_events(&observer, 1).await;
    contract::receive_up_to(&mut following, last).await;
    contract::receive_up_to(&mut listening, last).await;
    // The third belongs to the follower that is behind: it has read ahead and waits for its reader.
    until("each has its consumer", async || pause_consumers(&server, "stalled").await == 3).await;
    let last = contract::many_events(&observer, 1).await;
    contract::receive_up_to(&mut behind, last).await;
    contract::receive_up_to(&mut following, last).await;
    contract::receive_up_to(&mut listening, last).await;
}

/// A stream that may drop events is refused.
#[tokio::test(flavor = "multi_thread")]
async fn jetstream_refuses_a_stream_with_retention_limits() {
    let server = NatsServer::start().await.unwrap();
    let context = async_nats::jetstream::new(server.client().await.unwrap());
    let unlimited = Config { storage: StorageType::File, ..Config::default() };
    let limited = [
        ("memory", Config { storage: StorageType::Memory, ..unlimited.clone() }),
        ("aging", Config { max_age: std::time::Duration::from_hours(1), ..unlimited.clone() }),
        ("newest", Config { max_messages_per_subject: 1, ..unlimited.clone() }),
        ("full", Config { max_messages: 10, ..unlimited }),
    ];
    for (name, config) in limited {
        let config = Config { name: name.into(), subjects: vec![format!("{name}.>")], ..config };
        context.create_stream(config).await.unwrap();
        let refused = JetStreamLog::open(&settings(server.port(), name)).await;
        assert!(matches!(refused, Err(LogError::Corrupt { .. })), "{name}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_reports_outages_and_recovers() {
    let engine = JetStream::start().await;
    engine.proxy.cut();
    contract::outage_is_reported_and_recovery_is_automatic(&*engine.log, || engine.proxy.restore()).await;
}
