//! The contract of [`EventLog`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use events::{
    AppendError, EventId, EventLog, Filter, Follow, Freshness, Kind, Message, Position, PostId, Progress,
    RAW_LIMIT, RawEvent, RawFollow, Stored, Subject, Urgency, UserId,
};
use futures::future::join_all;
use futures::{StreamExt, stream};
use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio::time::timeout;
use uuid::Uuid;

use crate::waiting::{found, until};

/// Timeout of each wait.
const LIMIT: Duration = Duration::from_secs(30);

/// An engine that a contract can restart and disconnect.
#[async_trait]
pub trait LogEngine: Send {
    /// The log; after a restart it may be another object.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Stops the engine without warning and starts it again.
    async fn restart(&mut self);

    /// Lets requests reach the engine but drops its responses, until [`deliver_responses`](Self::deliver_responses). False
    /// where the engine runs in this process, so that no response can be lost.
    async fn drop_responses(&mut self) -> bool;

    async fn deliver_responses(&mut self);

    /// The same log, opened as another process would. Its responses are never dropped.
    fn observer(&self) -> Arc<dyn EventLog>;
}

/// Passes the name of every promise of a log to a macro that makes a test of each.
#[macro_export]
macro_rules! log_promises {
    ($test:ident) => {
        $test! {
            appended_events_are_read_back_unchanged,
            append_with_a_wrong_expected_position_conflicts_and_writes_nothing,
            exactly_one_of_racing_writers_wins_a_subject,
            repeated_append_returns_the_same_position,
            followers_receive_the_stored_one_of_copies_that_differ,
            readers_miss_no_event_under_concurrent_writes,
            follower_advances_past_events_outside_its_filter,
            listener_receives_only_events_that_match_its_filter,
            progress_notifications_reach_every_subscriber,
            raw_reads_return_every_event_in_pages,
            raw_follower_receives_events_within_50_ms,
        }
    };
}

/// As `log_promises`, for promises about failures and about several processes.
#[macro_export]
macro_rules! log_engine_promises {
    ($test:ident) => {
        $test! {
            append_succeeds_when_its_acknowledgement_is_lost,
            append_without_acknowledgement_has_an_unknown_outcome,
            reader_follows_events_of_another_process,
            exactly_one_of_two_processes_wins_a_subject,
            follow_delivers_every_event_once_and_in_order_across_restarts,
        }
    };
}

fn any_id() -> Uuid {
    Uuid::from_u128(rand::rng().random())
}

fn post() -> Subject {
    Subject::Post(PostId::new(any_id()))
}

fn like() -> Subject {
    Subject::Like(PostId::new(any_id()), UserId::new(any_id()))
}

fn message(subject: Subject, body: &str) -> Message {
    Message {
        envelope: events::Envelope {
            id: EventId::new(any_id()),
            event_type: "post.published.v1".into(),
            source: "contract".into(),
            time: DateTime::UNIX_EPOCH + TimeDelta::microseconds(1_700_000_000_123_456),
            subject,
            actor: Some(UserId::new(any_id())),
            correlation: any_id(),
            causation: Some(EventId::new(any_id())),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        },
        body: body.to_owned().into(),
    }
}

async fn append(log: &dyn EventLog, subject: Subject, expected: Position) -> Stored {
    let message = message(subject, "{}");
    let position = log.append(&message, expected).await.expect("append");
    Stored { position, message }
}

/// All events after one position up to another, read by following.
async fn receive_all(log: &dyn EventLog, filter: Filter, after: Position, until: Position) -> Vec<Stored> {
    let mut follow = log.follow(filter.clone(), after);
    let mut events = Vec::new();
    let mut passed = after;
    while passed < until {
        let batch = timeout(LIMIT, follow.next_batch(500))
            .await
            .expect("the follower does not advance")
            .unwrap()
            .unwrap();
        assert!(batch.passed >= passed, "the position goes back from {passed} to {}", batch.passed);
        for event in &batch.events {
            assert!(
                event.position > passed,
                "position {} is delivered after {passed} was passed",
                event.position
            );
            assert!(filter.takes(event.message.envelope.subject.kind()));
        }
        passed = batch.passed;
        events.extend(batch.events);
    }
    events.retain(|event| event.position <= until);
    events
}

pub async fn appended_events_are_read_back_unchanged(log: &dyn EventLog) {
    let (subject, other) = (post(), post());
    let mut plain = message(subject, r#"{"caption":"Zürich 🌄","n":[1,2.5,null]}"#);
    plain.envelope.actor = None;
    plain.envelope.causation = None;
    plain.envelope.traceparent = None;
    let before = log.head().await.unwrap();

    let first = log.append(&plain, Position::START).await.unwrap();
    let second = append(log, subject, first).await;
    let third = append(log, subject, second.position).await;
    assert_eq!(first, Position(before.0 + 1), "positions have no gaps");
    assert_eq!(third.position, Position(before.0 + 3));
    assert_eq!(log.head().await.unwrap(), third.position);

    let first = Stored { position: first, message: plain };
    assert_eq!(
        log.read(subject, Position::START).await.unwrap(),
        [first.clone(), second.clone(), third.clone()]
    );
    assert_eq!(log.read(subject, first.position).await.unwrap(), [second, third.clone()]);
    assert_eq!(log.read(subject, third.position).await.unwrap(), []);
    assert_eq!(log.read(other, Position::START).await.unwrap(), []);
    for freshness in [Freshness::Any, Freshness::Latest] {
        let last = log.last(&[other, subject, subject], freshness).await.unwrap();
        assert_eq!(last, [None, Some(third.clone()), Some(third.clone())]);
    }
    assert_eq!(log.last(&[], Freshness::Any).await.unwrap(), []);
}

pub async fn append_with_a_wrong_expected_position_conflicts_and_writes_nothing(log: &dyn EventLog) {
    let subject = post();
    let first = append(log, subject, Position::START).await;
    let elsewhere = append(log, post(), Position::START).await;
    let head = log.head().await.unwrap();
    for expected in
        [Position::START, Position(first.position.0 - 1), elsewhere.position, Position(head.0 + 10)]
    {
        let refused = log.append(&message(subject, "{}"), expected).await;
        assert!(matches!(refused, Err(AppendError::Conflict)), "expecting {expected}: {refused:?}");
    }
    let missing = log.append(&message(post(), "{}"), first.position).await;
    assert!(matches!(missing, Err(AppendError::Conflict)), "{missing:?}");
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [first]);
}

/// Races of several sizes, first for an empty subject, then for one with events.
pub async fn exactly_one_of_racing_writers_wins_a_subject(log: &dyn EventLog) {
    for writers in [2, 2, 2, 2, 8, 64] {
        let subject = post();
        let mut expected = Position::START;
        for _ in 0..3 {
            let messages: Vec<Message> = (0..writers).map(|_| message(subject, "{}")).collect();
            let outcomes = join_all(messages.iter().map(|message| log.append(message, expected))).await;
            let won: Vec<(&Message, Position)> = messages
                .iter()
                .zip(&outcomes)
                .filter_map(|(m, outcome)| Some((m, *outcome.as_ref().ok()?)))
                .collect();
            let lost =
                outcomes.iter().filter(|outcome| matches!(outcome, Err(AppendError::Conflict))).count();
            assert_eq!((won.len(), lost), (1, writers - 1), "{outcomes:?}");
            let (winner, position) = won[0];
            let read = log.read(subject, expected).await.unwrap();
            assert_eq!(read, [Stored { position, message: winner.clone() }]);
            expected = position;
        }
    }
}

pub async fn repeated_append_returns_the_same_position(log: &dyn EventLog) {
    let subject = post();
    let first = append(log, subject, Position::START).await;
    assert_eq!(log.append(&first.message, Position::START).await.unwrap(), first.position);
    let second = append(log, subject, first.position).await;
    // Also when the subject has newer events.
    assert_eq!(log.append(&first.message, Position::START).await.unwrap(), first.position);
    assert_eq!(log.append(&second.message, first.position).await.unwrap(), second.position);
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [first, second]);
}

/// Copies of a request append events of one id whose content differs, such as the ids of stored pictures.
pub async fn followers_receive_the_stored_one_of_copies_that_differ(log: &dyn EventLog) {
    for _ in 0..10 {
        let (before, subject) = (log.head().await.unwrap(), post());
        let (first, next) = (message(subject, "0"), Position(before.0 + 1));
        let copies = (0..8).map(|n: usize| Message { body: n.to_string().into(), ..first.clone() });
        let append = join_all(copies.map(async |copy| log.append(&copy, Position::START).await.unwrap()));
        let receive = || receive_all(log, Filter::everything(), before, next);
        let (appended, live) = tokio::join!(append, receive());
        assert_eq!(appended, [next; 8]);
        let stored = log.read(subject, Position::START).await.unwrap();
        assert_eq!((live, receive().await), (stored.clone(), stored));
    }
}

/// The event is stored but the acknowledgement is lost: the adapter must find out itself and not append twice.
pub async fn append_succeeds_when_its_acknowledgement_is_lost(engine: &mut dyn LogEngine) {
    for _ in 0..3 {
        let subject = post();
        let message = message(subject, "{}");
        let (log, observer) = (engine.log(), engine.observer());
        if !engine.drop_responses().await {
            // In one process only a caller that stopped waiting can miss the response.
            let mut appending = log.append(&message, Position::START);
            let _ = futures::poll!(&mut appending);
            drop(appending);
            let position = log.append(&message, Position::START).await.unwrap();
            assert_eq!(log.read(subject, Position::START).await.unwrap(), [Stored { position, message }]);
            continue;
        }
        let appending = log.append(&message, Position::START);
        let stored = async {
            until("the event is stored", async || {
                observer.last(&[subject], Freshness::Any).await.unwrap()[0].is_some()
            })
            .await;
            engine.deliver_responses().await;
        };
        let (appended, ()) = timeout(LIMIT, async { tokio::join!(appending, stored) }).await.unwrap();
        let position = appended.expect("the event is stored, so the append succeeds");
        assert_eq!(observer.read(subject, Position::START).await.unwrap(), [Stored { position, message }]);
    }
}

/// Without any response the outcome is unknown until the event is appended again.
pub async fn append_without_acknowledgement_has_an_unknown_outcome(engine: &mut dyn LogEngine) {
    let subject = post();
    let message = message(subject, "{}");
    let log = engine.log();
    if !engine.drop_responses().await {
        return;
    }
    let outcome = timeout(LIMIT, log.append(&message, Position::START)).await.expect("it never returns");
    assert!(matches!(outcome, Err(AppendError::OutcomeUnknown(_))), "{outcome:?}");
    engine.deliver_responses().await;
    let position =
        found(LIMIT, "the log is back", async || match log.append(&message, Position::START).await {
            Ok(position) => Some(position),
            Err(AppendError::Conflict) => panic!("the append conflicts with itself"),
            Err(AppendError::OutcomeUnknown(_) | AppendError::Log(_)) => None,
        })
        .await;
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [Stored { position, message }]);
}

/// Concurrent writers and readers: each reader starts at some position with some filter and must read exactly what the
/// log holds from there on.
pub async fn readers_miss_no_event_under_concurrent_writes(log: &dyn EventLog) {
    const WRITERS: usize = 8;
    const EVENTS_EACH: usize = 150;
    const READERS: usize = 12;
    let start = log.head().await.unwrap();
    let end = Position(start.0 + (WRITERS * EVENTS_EACH) as u64);
    let kinds =
        [Filter::everything(), Filter::kinds(&[Kind::Like]), Filter::kinds(&[Kind::Post, Kind::Follow])];

    let write = join_all((0..WRITERS).map(|_| async {
        for _ in 0..EVENTS_EACH {
            let subject = if rand::random() { post() } else { like() };
            append(log, subject, Position::START).await;
        }
    }));
    let read = join_all((0..READERS).map(|reader| {
        let filter = kinds[reader % kinds.len()].clone();
        async move {
            // The start position may not exist yet.
            let after = Position(start.0 + rand::rng().random_range(0..(WRITERS * EVENTS_EACH) as u64));
            (after, filter.clone(), receive_all(log, filter, after, end).await)
        }
    }));
    let (_, read) = timeout(LIMIT * 2, async { tokio::join!(write, read) }).await.expect("readers never end");

    let all = receive_all(log, Filter::everything(), start, end).await;
    assert_eq!(all.len(), WRITERS * EVENTS_EACH);
    assert!(all.iter().zip(start.0 + 1..).all(|(event, position)| event.position.0 == position), "gaps");
    for (after, filter, read) in read {
        let expected: Vec<&Stored> = all
            .iter()
            .filter(|event| event.position > after && filter.takes(event.message.envelope.subject.kind()))
            .collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), expected, "after {after}, {filter:?}");
    }
}

/// A follower without matching events still advances.
pub async fn follower_advances_past_events_outside_its_filter(log: &dyn EventLog) {
    let head = log.head().await.unwrap();
    let mut follow = log.follow(Filter::kinds(&[Kind::Profile]), head);
    for _ in 0..3 {
        let other = append(log, post(), Position::START).await;
        wait_for_position(&mut follow, other.position).await;
    }
}

/// A listener receives matching events, stored and live, and nothing else.
pub async fn listener_receives_only_events_that_match_its_filter(log: &dyn EventLog) {
    let start = log.head().await.unwrap();
    let (mut received, mut expected) = (Vec::new(), Vec::new());
    append(log, post(), Position::START).await;
    expected.push(append(log, like(), Position::START).await);
    let mut listen = log.listen(Filter::kinds(&[Kind::Like]), start);
    for _ in 0..3 {
        append(log, post(), Position::START).await;
        expected.push(append(log, like(), Position::START).await);
        while received.len() < expected.len() {
            let batch = timeout(LIMIT, listen.next_batch(500)).await.expect("no event").unwrap().unwrap();
            received.extend(batch.events);
        }
        assert_eq!(received, expected);
    }
}

/// `spoil` appends an event of the type `like.liked.v1` with an envelope that Chorus cannot read.
pub async fn unreadable_envelope_is_reported_and_skipped(log: &dyn EventLog, spoil: impl AsyncFn(Subject)) {
    let likes = Filter::kinds(&[Kind::Like]);
    let start = log.head().await.unwrap();
    let (follow, listen) = (log.follow(likes.clone(), start), log.listen(likes.clone(), start));
    let first = append(log, like(), Position::START).await;
    spoil(like()).await;
    let last = append(log, like(), Position::START).await;
    let later = log.follow(likes, start);
    for mut follow in [follow, listen, later] {
        let (mut events, mut unreadable) = (Vec::new(), Vec::new());
        while events.last() != Some(&last) {
            let batch =
                timeout(LIMIT, follow.next_batch(500)).await.expect("the follower stalls").unwrap().unwrap();
            events.extend(batch.events);
            unreadable.extend(batch.unreadable);
        }
        assert_eq!(events, [first.clone(), last.clone()]);
        let [unreadable] = unreadable.as_slice() else { panic!("{unreadable:?}") };
        assert_eq!(unreadable.position, first.position.next());
        assert_eq!(unreadable.event_type, "like.liked.v1");
        assert!(!unreadable.error.is_from_newer_version());
    }
}

/// Appends an event with an invalid id to a log on SQLite.
pub fn spoil_on_sqlite(file: &Path, event_type: &str, subject: Subject) {
    let insert = "INSERT INTO events (subject, id, type, source, time, correlation, body) VALUES (?1, x'00', ?2, '', 0, x'00', '{}')";
    let connection = sqlite::rusqlite::Connection::open(file).unwrap();
    connection.execute(insert, (subject.to_string(), event_type)).unwrap();
}

/// Appends this many events, each to its own subject; returns the last position.
pub async fn many_events(log: &dyn EventLog, count: usize) -> Position {
    let appended = stream::iter(0..count).map(|_| append(log, like(), Position::START)).buffer_unordered(200);
    let positions: Vec<Position> = appended.map(|stored| stored.position).collect().await;
    positions.into_iter().max().unwrap_or_default()
}

/// Receives until the follower has passed a position.
pub async fn receive_up_to(follow: &mut Follow, position: Position) {
    let mut passed = Position::START;
    while passed < position {
        passed =
            timeout(LIMIT, follow.next_batch(500)).await.expect("it has stalled").unwrap().unwrap().passed;
    }
}

async fn wait_for_position(follow: &mut Follow, position: Position) {
    loop {
        let batch = timeout(LIMIT, follow.next_batch(500)).await.expect("it stalls").unwrap().unwrap();
        assert_eq!(batch.events, []);
        if batch.passed >= position {
            return;
        }
    }
}

/// Restarts the engine several times while events are delivered.
pub async fn follow_delivers_every_event_once_and_in_order_across_restarts(engine: &mut dyn LogEngine) {
    let (everything, likes) = (Filter::everything(), Filter::kinds(&[Kind::Like]));
    delivers_every_event(engine, |log, after| log.follow(everything.clone(), after)).await;
    delivers_every_event(engine, |log, after| log.listen(likes.clone(), after)).await;
}

async fn delivers_every_event(
    engine: &mut dyn LogEngine,
    follow_on: impl Fn(&dyn EventLog, Position) -> Follow,
) {
    const EVENTS: usize = 300;
    let start = engine.log().head().await.unwrap();
    let mut follow = follow_on(&*engine.log(), start);
    let mut delivered: Vec<Stored> = Vec::new();
    let mut appended = Vec::new();
    while delivered.len() < EVENTS {
        let write = appended.len() < EVENTS;
        if write {
            for _ in 0..50 {
                appended.push(append(&*engine.log(), like(), Position::START).await);
            }
        }
        // Small batches, so that the follower is behind when the engine restarts.
        let limit = if write { 20 } else { 500 };
        match timeout(LIMIT, follow.next_batch(limit)).await.expect("no event is delivered") {
            Some(batch) => delivered.extend(batch.unwrap().events),
            // The log ended with its process: continue from the position reached.
            None => {
                let reached = delivered.last().map_or(start, |event| event.position);
                follow = follow_on(&*engine.log(), reached);
            }
        }
        if write {
            engine.restart().await;
        }
    }
    assert_eq!(delivered, appended);
}

pub async fn progress_notifications_reach_every_subscriber(log: &dyn EventLog) {
    let (mut one, mut two) = (log.progress(), log.progress());
    let progress =
        Progress { projection: "likes".into(), kinds: vec![Kind::Like, Kind::Post], position: Position(42) };
    log.publish_progress(progress.clone(), Urgency::Now);
    for subscriber in [&mut one, &mut two] {
        assert_eq!(timeout(LIMIT, subscriber.recv()).await.unwrap().unwrap(), progress);
    }
    // Of many notifications at once the newest of each projection arrives; older ones may be skipped.
    let last = Position(142);
    let projections = ["likes", "posts", "follows"];
    for position in 43..=last.0 {
        for projection in projections {
            let progress =
                Progress { projection: projection.into(), position: Position(position), ..progress.clone() };
            // Notifications without urgency arrive as well.
            log.publish_progress(progress, Urgency::Soon);
        }
    }
    let received = async {
        let mut newest = HashMap::new();
        while projections.iter().any(|projection| newest.get(*projection) != Some(&last)) {
            let Progress { projection, position, .. } = one.recv().await.unwrap();
            newest.insert(projection, position);
        }
    };
    timeout(LIMIT, received).await.expect("the newest of every projection");
}

/// A log of an older version, kept in `tests/fixtures`, opens, reads unchanged and accepts appends.
pub async fn log_of_an_older_version_opens_and_accepts_appends(log: &dyn EventLog, written: &[Message]) {
    let end = Position(written.len() as u64);
    let read = receive_all(log, Filter::everything(), Position::START, end).await;
    assert_eq!(read.iter().map(|event| event.message.clone()).collect::<Vec<_>>(), written);
    let mut last = HashMap::new();
    for (message, position) in written.iter().zip(1..) {
        last.insert(message.envelope.subject, Position(position));
    }
    for (subject, position) in &last {
        assert_eq!(
            log.last(&[*subject], Freshness::Any).await.unwrap()[0].as_ref().map(|event| event.position),
            Some(*position)
        );
        let of_subject: Vec<&Message> = written.iter().filter(|m| m.envelope.subject == *subject).collect();
        let read = log.read(*subject, Position::START).await.unwrap();
        assert_eq!(read.iter().map(|event| &event.message).collect::<Vec<_>>(), of_subject);
    }
    let (subject, position) =
        last.iter().collect::<Vec<_>>().choose(&mut rand::rng()).map(|(s, p)| (**s, **p)).unwrap();
    assert_eq!(append(log, subject, position).await.position, Position(end.0 + 1));
}

pub async fn reader_follows_events_of_another_process(engine: &mut dyn LogEngine) {
    let (log, observer) = (engine.log(), engine.observer());
    let start = log.head().await.unwrap();
    let mut follow = log.follow(Filter::everything(), start);
    for _ in 0..3 {
        let appended = append(&*observer, post(), Position::START).await;
        let mut seen = Vec::new();
        while seen.is_empty() {
            let batch = timeout(LIMIT, follow.next_batch(500)).await.expect("no event").unwrap().unwrap();
            seen.extend(batch.events);
        }
        assert_eq!(seen, [appended]);
    }
}

pub async fn exactly_one_of_two_processes_wins_a_subject(engine: &mut dyn LogEngine) {
    let (one, two) = (engine.log(), engine.observer());
    for _ in 0..20 {
        let subject = post();
        let (first, second) = (message(subject, "{}"), message(subject, "{}"));
        let outcomes =
            tokio::join!(one.append(&first, Position::START), two.append(&second, Position::START));
        match outcomes {
            (Ok(_), Err(AppendError::Conflict)) | (Err(AppendError::Conflict), Ok(_)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(one.read(subject, Position::START).await.unwrap().len(), 1);
    }
}

/// During an outage every call fails within a time limit; afterwards the log recovers without help.
pub async fn outage_is_reported_and_recovery_is_automatic(log: &dyn EventLog, restore: impl FnOnce()) {
    let subject = post();
    let subjects = [subject];
    let message = message(subject, "{}");
    let outcomes = timeout(LIMIT, async {
        tokio::join!(
            log.append(&message, Position::START),
            log.last(&subjects, Freshness::Any),
            log.read(subject, Position::START),
            log.head()
        )
    })
    .await
    .expect("a call does not return during an outage");
    // If the outage shows only after the request is sent, the outcome is unknown.
    assert!(
        matches!(
            outcomes.0,
            Err(AppendError::Log(events::LogError::Unavailable(_)) | AppendError::OutcomeUnknown(_))
        ),
        "{:?}",
        outcomes.0
    );
    assert!(matches!(outcomes.1, Err(events::LogError::Unavailable(_))), "{:?}", outcomes.1);
    assert!(matches!(outcomes.2, Err(events::LogError::Unavailable(_))), "{:?}", outcomes.2);
    assert!(matches!(outcomes.3, Err(events::LogError::Unavailable(_))), "{:?}", outcomes.3);
    restore();
    let appended =
        found(LIMIT, "the log is back", async || log.append(&message, Position::START).await.ok()).await;
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [Stored { position: appended, message }]);
}

/// Every event is read as it is stored, in pages, by subject and by following.
pub async fn raw_reads_return_every_event_in_pages(log: &dyn EventLog) {
    let start = log.head().await.unwrap();
    let subject = post();
    let first = append(log, subject, Position::START).await;
    let between = append(log, like(), Position::START).await;
    let last = append(log, subject, first.position).await;
    let expected = [first.clone(), between, last.clone()];

    let stored = |events: Vec<RawEvent>| -> Vec<Stored> {
        events.iter().map(|event| event.stored().expect("a readable event")).collect()
    };
    assert_eq!(stored(log.raw(start, 100).await.unwrap()), expected);
    assert_eq!(stored(log.raw(start, 2).await.unwrap()), expected[..2]);
    assert_eq!(stored(log.raw(Position(start.0 + 2), 2).await.unwrap()), expected[2..]);
    assert_eq!(log.raw(last.position, 100).await.unwrap(), []);
    assert_eq!(log.raw(Position(last.position.0 + 1000), 100).await.unwrap(), []);

    let subject = subject.to_string();
    assert_eq!(
        stored(log.raw_of(&subject, Position::START, 100).await.unwrap()),
        [first.clone(), last.clone()]
    );
    assert_eq!(stored(log.raw_of(&subject, Position::START, 1).await.unwrap()), std::slice::from_ref(&first));
    assert_eq!(stored(log.raw_of(&subject, first.position, 100).await.unwrap()), std::slice::from_ref(&last));
    for none in ["planet.1", "post", "", "post.*", ">", "post. ", "post.'"] {
        assert_eq!(log.raw_of(none, Position::START, 100).await.unwrap(), [], "{none}");
    }

    let mut follow = log.raw_follow(start);
    for expected in &expected {
        assert_eq!(next_raw(&mut follow).await.stored().as_ref(), Ok(expected));
    }
    // One page is bounded, whatever the caller asks for.
    many_events(log, RAW_LIMIT).await;
    assert_eq!(log.raw(start, usize::MAX).await.unwrap().len(), RAW_LIMIT);
}

async fn next_raw(follow: &mut RawFollow) -> RawEvent {
    timeout(LIMIT, follow.next()).await.expect("no event is delivered").unwrap().unwrap()
}

/// Operators see an event within 50 ms of its append. Half of the events, since the machine may be busy.
pub async fn raw_follower_receives_events_within_50_ms(log: &dyn EventLog) {
    const EVENTS: usize = 21;
    let mut follow = log.raw_follow(log.head().await.unwrap());
    let mut delays = Vec::new();
    for _ in 0..EVENTS {
        let appended = append(log, like(), Position::START).await;
        let since = Instant::now();
        assert_eq!(next_raw(&mut follow).await.position, appended.position);
        delays.push(since.elapsed());
    }
    delays.sort();
    assert!(delays[EVENTS / 2] < Duration::from_millis(50), "{delays:?}");
}

/// An event that Chorus did not write, or that a newer version wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// An unknown kind and type, with a complete envelope.
    Unknown,
    /// A known type with an unreadable envelope.
    Unreadable,
}

impl Foreign {
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Unknown => "planet.7",
            Self::Unreadable => "like.000000000000000000000000000000ab.000000000000000000000000000000cd",
        }
    }

    pub const fn event_type(self) -> &'static str {
        match self {
            Self::Unknown => "planet.discovered.v1",
            Self::Unreadable => "like.liked.v1",
        }
    }
}

/// `plant` appends foreign events with the body `{}`.
pub async fn foreign_events_are_read_raw_with_their_position(
    log: &dyn EventLog,
    plant: impl AsyncFn(Foreign),
) {
    let start = log.head().await.unwrap();
    append(log, like(), Position::START).await;
    plant(Foreign::Unknown).await;
    plant(Foreign::Unreadable).await;
    append(log, like(), Position::START).await;

    let mut follow = log.raw_follow(start);
    let mut followed = Vec::new();
    while followed.len() < 4 {
        followed.push(next_raw(&mut follow).await);
    }
    let events = log.raw(start, 100).await.unwrap();
    assert_eq!(events, followed);
    assert_eq!(
        events.iter().map(|event| event.position.0).collect::<Vec<_>>(),
        (1..=4).map(|n| start.0 + n).collect::<Vec<_>>()
    );
    let [_, unknown, unreadable, _] = events.as_slice() else { panic!("{events:?}") };
    for (event, foreign) in [(unknown, Foreign::Unknown), (unreadable, Foreign::Unreadable)] {
        assert_eq!(
            (event.subject.as_str(), event.event_type.as_str()),
            (foreign.subject(), foreign.event_type())
        );
        assert_eq!(event.body, "{}");
        assert!(event.stored().is_err() && event.problem().is_some(), "{event:?}");
        assert_eq!(
            log.raw_of(foreign.subject(), Position::START, 10).await.unwrap(),
            std::slice::from_ref(event)
        );
    }
    assert!(unknown.attributes.is_ok() && unknown.kind().is_none(), "{unknown:?}");
    assert!(unknown.problem().unwrap().contains("a newer one wrote it"), "{unknown:?}");
    assert!(unreadable.attributes.is_err(), "{unreadable:?}");
}

/// Appends a foreign event to a log on SQLite.
pub fn plant_on_sqlite(file: &Path, foreign: Foreign) {
    let id = match foreign {
        Foreign::Unknown => "x'0123456789abcdef0123456789abcdef'",
        Foreign::Unreadable => "x'00'",
    };
    let insert = format!(
        "INSERT INTO events (subject, id, type, source, time, correlation, body) VALUES (?1, {id}, ?2, 'elsewhere', 0, {id}, '{{}}')"
    );
    let connection = sqlite::rusqlite::Connection::open(file).unwrap();
    connection.execute(&insert, (foreign.subject(), foreign.event_type())).unwrap();
}

/// Appends a foreign event to a log on JetStream.
pub async fn plant_on_jetstream(client: async_nats::Client, stream: &str, foreign: Foreign) {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-type", foreign.event_type());
    if foreign == Foreign::Unknown {
        let id = "01234567-89ab-cdef-0123-456789abcdef";
        headers.insert("ce-id", id);
        headers.insert("ce-source", "elsewhere");
        headers.insert("ce-time", "2026-01-01T00:00:00Z");
        headers.insert("ce-subject", foreign.subject());
        headers.insert("chorus-correlation", id);
    }
    let subject = format!("{stream}.{}", foreign.subject());
    let context = async_nats::jetstream::new(client);
    context.publish_with_headers(subject, headers, "{}".into()).await.unwrap().await.unwrap();
}

/// The same log, opened to be read only.
pub async fn read_only_log_sees_appends_and_refuses_its_own(log: &dyn EventLog, read_only: &dyn EventLog) {
    let subject = post();
    let mut follow = read_only.follow(Filter::everything(), log.head().await.unwrap());
    let first = append(log, subject, Position::START).await;
    let delivered = timeout(LIMIT, follow.next_batch(1)).await.expect("no event").unwrap().unwrap();
    assert_eq!(delivered.events, std::slice::from_ref(&first));
    assert_eq!(read_only.head().await.unwrap(), first.position);
    assert_eq!(read_only.read(subject, Position::START).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(read_only.last(&[subject], Freshness::Latest).await.unwrap(), [Some(first.clone())]);
    let refused = read_only.append(&message(subject, "{}"), first.position).await;
    assert!(matches!(refused, Err(AppendError::Log(_))), "{refused:?}");
    assert_eq!(log.head().await.unwrap(), first.position);
    read_only.close().await.unwrap();
    append(log, subject, first.position).await;
}
