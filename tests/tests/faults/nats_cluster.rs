//! A log with three replicas whose servers are killed or frozen.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_nats::jetstream::stream::{Compression, Config, StorageType};
use chrono::DateTime;
use events::{
    AppendError, Envelope, EventId, EventLog, Filter, Freshness, JetStreamLog, JetStreamSettings, Message,
    Position, PostId, Stored, Subject, UserId,
};
use futures::future::join_all;
use rand::RngExt;
use tests::contracts::log::receive_up_to;
use tests::servers::{NATS_NODES, NatsCluster};
use tests::waiting::until;
use uuid::Uuid;

use crate::rounds;

/// How often all servers are killed at once. `CHORUS_TEST_NATS_KILLS` overrides it.
const KILLS: usize = 3;
const WRITERS: usize = 10;

fn settings(servers: Vec<String>, name: &str) -> JetStreamSettings {
    JetStreamSettings { servers, name: name.to_owned(), replicas: NATS_NODES, credentials: None }
}

fn message(subject: Subject, length: usize) -> Message {
    let id = || Uuid::from_u128(rand::rng().random());
    Message {
        envelope: Envelope {
            id: EventId::new(id()),
            event_type: "like.liked.v1".into(),
            source: "test".into(),
            time: DateTime::UNIX_EPOCH,
            subject,
            actor: None,
            correlation: id(),
            causation: None,
            traceparent: None,
        },
        body: format!(r#"{{"text":"{}"}}"#, "likes".repeat(length / 5)).into(),
    }
}

fn like() -> Subject {
    let id = || Uuid::from_u128(rand::rng().random());
    Subject::Like(PostId::new(id()), UserId::new(id()))
}

/// Appends from several writers until this many events are acknowledged.
async fn append(log: &JetStreamLog, count: usize, length: usize) -> Vec<Stored> {
    let write = (0..WRITERS).map(|_| async {
        let mut appended = Vec::new();
        while appended.len() < count / WRITERS {
            let message = message(like(), length);
            if let Ok(position) = log.append(&message, Position::START).await {
                appended.push(Stored { position, message });
            }
        }
        appended
    });
    join_all(write).await.into_iter().flatten().collect()
}

/// Every event is read back from the stream's leader.
async fn assert_none_is_lost(log: &JetStreamLog, appended: &[Stored], when: &str) {
    let look_up = appended.chunks(appended.len().div_ceil(WRITERS)).map(async |chunk| {
        let mut lost = Vec::new();
        for stored in chunk {
            let read = async || log.read(stored.message.envelope.subject, Position::START).await;
            until("the log is readable", async || read().await.is_ok()).await;
            if read().await.unwrap() != std::slice::from_ref(stored) {
                lost.push(stored.position);
            }
        }
        lost
    });
    let lost = join_all(look_up).await.concat();
    assert!(lost.is_empty(), "{when}: {} of {} are lost: {lost:?}", lost.len(), appended.len());
}

/// Rewrites the replicas of a stream one by one, as `docs/operations.md` describes.
async fn rewrite_replicas(cluster: &NatsCluster, stream: &str) {
    let mut rewritten = BTreeSet::new();
    for node in (0..NATS_NODES).cycle().take(2 * NATS_NODES) {
        cluster.lead(stream, node).await.unwrap();
        let kept = cluster.replicate(stream, NATS_NODES - 1).await.unwrap();
        rewritten.extend((0..NATS_NODES).filter(|node| !kept.contains(node)));
        cluster.replicate(stream, NATS_NODES).await.unwrap();
        if rewritten.len() == NATS_NODES {
            return;
        }
    }
    panic!("only {rewritten:?} were rewritten");
}

fn compressed_blocks(cluster: &NatsCluster, stream: &str) -> usize {
    let blocks = (0..NATS_NODES).flat_map(|node| cluster.blocks(stream, node).unwrap());
    blocks.filter(|block| std::fs::read(block).unwrap().starts_with(b"cmp")).count()
}

/// One stream that was never compressed, and one of an earlier version whose full blocks stay compressed.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_events_survive_repeated_kills_of_all_nats_servers() {
    let kills = rounds("CHORUS_TEST_NATS_KILLS", KILLS);
    let mut cluster = NatsCluster::start().await.unwrap();
    let context = async_nats::jetstream::new(cluster.client().await.unwrap());
    let compressed = Config {
        name: "upgraded".into(),
        subjects: vec!["upgraded.>".into()],
        storage: StorageType::File,
        num_replicas: NATS_NODES,
        compression: Some(Compression::S2),
        ..Config::default()
    };
    context.create_stream(compressed).await.unwrap();
    let filled = async {
        // More than one block of 8 MB.
        for position in 1..=10 {
            let headers = async_nats::HeaderMap::new();
            let subject = format!("upgraded.filling.{position}");
            let body = bytes::Bytes::from(vec![b'x'; 950_000]);
            context.publish_with_headers(subject, headers, body).await.unwrap().await.unwrap();
        }
    };
    filled.await;
    let logs = [
        JetStreamLog::open(&settings(cluster.addresses(), "new")).await.unwrap(),
        JetStreamLog::open(&settings(cluster.addresses(), "upgraded")).await.unwrap(),
    ];
    assert_eq!(compressed_blocks(&cluster, "new"), 0);
    assert!(compressed_blocks(&cluster, "upgraded") >= NATS_NODES);

    let (mut new, mut upgraded) = (Vec::new(), Vec::new());
    for kill in 1..=kills {
        new.extend(append(&logs[0], 100, 300).await);
        upgraded.extend(append(&logs[1], 100, 300).await);
        // The servers are killed during more appends.
        let (done, total) = (AtomicUsize::new(0), 100);
        let more = async |log: &JetStreamLog| {
            let mut appended = Vec::new();
            while appended.len() < total {
                appended.extend(append(log, WRITERS, 300).await);
                done.fetch_add(WRITERS, Ordering::Relaxed);
            }
            appended
        };
        let killed = async {
            until("half of the events are written", async || done.load(Ordering::Relaxed) >= total).await;
            cluster.kill_all().unwrap();
            cluster.start_all_again().await.unwrap();
        };
        let (more_new, more_upgraded, ()) = tokio::join!(more(&logs[0]), more(&logs[1]), killed);
        new.extend(more_new);
        upgraded.extend(more_upgraded);
        let when = format!("after {kill} kills");
        assert_none_is_lost(&logs[0], &new, &when).await;
        assert_none_is_lost(&logs[1], &upgraded, &when).await;
    }
    for (log, stream, appended) in [(&logs[0], "new", &new), (&logs[1], "upgraded", &upgraded)] {
        cluster.settled(stream).await.unwrap();
        if stream == "upgraded" {
            rewrite_replicas(&cluster, stream).await;
        }
        assert_eq!(compressed_blocks(&cluster, stream), 0);
        for node in 0..NATS_NODES {
            cluster.lead(stream, node).await.unwrap();
            assert_none_is_lost(log, appended, &format!("on node {node} in {stream}")).await;
        }
    }
    println!("{kills} kills, {} and {} events, none lost", new.len(), upgraded.len());
}

/// Runs this many commands through these logs, each with two events on its own subject; returns the errors of the failed
/// ones.
async fn failed_commands(logs: &[JetStreamLog], count: usize) -> Vec<AppendError> {
    let command = async |log: &JetStreamLog| -> Result<(), AppendError> {
        let subject = like();
        let [first, second] = [message(subject, 300), message(subject, 300)];
        log.last(&[subject], Freshness::Any).await?;
        let position = log.append(&first, Position::START).await?;
        log.read(subject, Position::START).await?;
        log.append(&second, position).await?;
        log.read(subject, Position::START).await?;
        Ok(())
    };
    let run = (0..WRITERS).map(async |worker| {
        let mut failed = Vec::new();
        for _ in 0..count / WRITERS {
            failed.extend(command(&logs[worker % logs.len()]).await.err());
        }
        failed
    });
    join_all(run).await.into_iter().flatten().collect()
}

/// Logs connected to the other nodes.
async fn logs_on_other_nodes(cluster: &NatsCluster, node: usize) -> Vec<JetStreamLog> {
    let others = cluster.addresses().into_iter().enumerate().filter(|(other, _)| *other != node);
    let open = others.map(async |(_, address)| JetStreamLog::open(&settings(vec![address], "frozen")).await);
    join_all(open).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_succeed_while_one_nats_server_is_frozen() {
    const COMMANDS: usize = 1000;
    let cluster = NatsCluster::start().await.unwrap();
    JetStreamLog::open(&settings(cluster.addresses(), "frozen")).await.unwrap();
    let leader = cluster.settled("frozen").await.unwrap();

    let follower = (leader + 1) % NATS_NODES;
    let logs = logs_on_other_nodes(&cluster, follower).await;
    cluster.freeze(follower).unwrap();
    let failed = failed_commands(&logs, COMMANDS).await;
    assert!(failed.len() <= COMMANDS / 100, "without a replica: {failed:?}");
    println!("{} of {COMMANDS} commands failed without a replica", failed.len());
    cluster.thaw(follower).unwrap();

    let leader = cluster.settled("frozen").await.unwrap();
    let logs = logs_on_other_nodes(&cluster, leader).await;
    cluster.freeze(leader).unwrap();
    let log = &logs[0];
    until("the others have elected a leader", async || log.head().await.is_ok()).await;
    let failed = failed_commands(&logs, COMMANDS).await;
    assert!(failed.len() <= COMMANDS / 100, "without the old leader: {failed:?}");
    println!("{} of {COMMANDS} commands failed without the old leader", failed.len());
    cluster.thaw(leader).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_advance_when_their_consumer_is_on_a_lagging_replica() {
    let cluster = NatsCluster::start().await.unwrap();
    let log = JetStreamLog::open(&settings(cluster.addresses(), "lagging")).await.unwrap();
    append(&log, 100, 300).await;
    let leader = cluster.settled("lagging").await.unwrap();
    let lagging = (leader + 1) % NATS_NODES;
    cluster.stop_writing("lagging", lagging).unwrap();
    append(&log, 100, 300).await;

    // The server decides where a consumer is placed.
    let mut listeners = Vec::new();
    while cluster.consumers("lagging").await.unwrap()[lagging] == 0 {
        assert!(listeners.len() < 100, "no consumer is on the lagging replica");
        listeners.push(log.listen(Filter::everything(), Position::START));
        let count = listeners.len();
        until("the listener has a consumer", async || {
            cluster.consumers("lagging").await.unwrap().into_iter().sum::<usize>() >= count
        })
        .await;
    }
    let last = append(&log, 100, 300).await.into_iter().map(|stored| stored.position).max().unwrap();
    join_all(listeners.iter_mut().map(|listener| receive_up_to(listener, last))).await;
}
