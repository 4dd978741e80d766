//! The contract of [`EventLog`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use events::{
    AppendError, EventId, EventLog, Filter, Follow, Freshness, Kind, Message, Position, PostId, Progress,
    Stored, Subject, Urgency, UserId,
};
use futures::future::join_all;
use futures::{StreamExt, stream};
use rand::RngExt;
use rand::seq::IndexedRandom;
use tokio::time::timeout;
use uuid::Uuid;

use crate::waiting::{found, until};

/// How long a contract waits for what must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// An engine that can be put through what engines go through.
#[async_trait]
pub trait LogEngine: Send {
    /// The log; after a restart of the engine it may be another object.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Stops the engine without warning and starts it again.
    async fn restart(&mut self);

    /// Lets what is asked of the engine arrive, but none of its answers, until [`answers_arrive`](Self::answers_arrive).
    /// False where the engine is so near that no answer can be lost.
    async fn lose_answers(&mut self) -> bool;

    async fn answers_arrive(&mut self);

    /// The same log, as another process has it; it loses nothing.
    fn witness(&self) -> Arc<dyn EventLog>;
}

/// Hands the name of every promise of a log to a macro that makes a test of each, so that each adapter keeps all.
#[macro_export]
macro_rules! log_promises {
    ($test:ident) => {
        $test! {
            what_is_appended_is_read_back_as_it_was_written,
            an_append_that_expects_another_position_is_a_conflict_and_leaves_nothing,
            of_writers_that_race_for_one_subject_exactly_one_wins,
            the_same_append_again_answers_the_same_position,
            a_reader_that_starts_anywhere_misses_nothing_while_writers_go_on,
            a_follower_is_told_how_far_it_has_passed_what_is_not_for_it,
            a_listener_hears_what_it_asks_for_and_nothing_else,
            news_of_progress_reaches_every_listener,
        }
    };
}

/// The same for the promises that an engine keeps in trouble, or towards several processes.
#[macro_export]
macro_rules! log_engine_promises {
    ($test:ident) => {
        $test! {
            an_answer_that_is_lost_after_the_append_landed_is_found_out,
            an_append_that_is_never_answered_has_an_unknown_outcome,
            a_reader_follows_what_somebody_else_appends,
            of_writers_in_two_processes_exactly_one_wins,
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

/// All events up to a position, by following from a given one.
async fn followed(log: &dyn EventLog, filter: Filter, after: Position, until: Position) -> Vec<Stored> {
    let mut follow = log.follow(filter.clone(), after);
    let mut events = Vec::new();
    let mut passed = after;
    while passed < until {
        let batch = timeout(LIMIT, follow.next_batch(500))
            .await
            .expect("the follower says nothing")
            .unwrap()
            .unwrap();
        assert!(batch.passed >= passed, "it goes back from {passed} to {}", batch.passed);
        for event in &batch.events {
            assert!(
                event.position > passed,
                "position {} after {passed} was said to be passed",
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

pub async fn what_is_appended_is_read_back_as_it_was_written(log: &dyn EventLog) {
    let (subject, other) = (post(), post());
    let mut bare = message(subject, r#"{"caption":"Zürich 🌄","n":[1,2.5,null]}"#);
    bare.envelope.actor = None;
    bare.envelope.causation = None;
    bare.envelope.traceparent = None;
    let before = log.head().await.unwrap();

    let first = log.append(&bare, Position::START).await.unwrap();
    let second = append(log, subject, first).await;
    let third = append(log, subject, second.position).await;
    assert_eq!(first, Position(before.0 + 1), "positions have no gaps");
    assert_eq!(third.position, Position(before.0 + 3));
    assert_eq!(log.head().await.unwrap(), third.position);

    let first = Stored { position: first, message: bare };
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

pub async fn an_append_that_expects_another_position_is_a_conflict_and_leaves_nothing(log: &dyn EventLog) {
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
    let unborn = log.append(&message(post(), "{}"), first.position).await;
    assert!(matches!(unborn, Err(AppendError::Conflict)), "{unborn:?}");
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [first]);
}

/// Races of every width, first for an empty subject and then for one with an event.
pub async fn of_writers_that_race_for_one_subject_exactly_one_wins(log: &dyn EventLog) {
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

pub async fn the_same_append_again_answers_the_same_position(log: &dyn EventLog) {
    let subject = post();
    let first = append(log, subject, Position::START).await;
    assert_eq!(log.append(&first.message, Position::START).await.unwrap(), first.position);
    let second = append(log, subject, first.position).await;
    // Also when the subject has gone on since.
    assert_eq!(log.append(&first.message, Position::START).await.unwrap(), first.position);
    assert_eq!(log.append(&second.message, first.position).await.unwrap(), second.position);
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [first, second]);
}

/// The event lands, but nobody is told: the adapter must find out by itself, and must not append it twice.
pub async fn an_answer_that_is_lost_after_the_append_landed_is_found_out(engine: &mut dyn LogEngine) {
    for _ in 0..3 {
        let subject = post();
        let message = message(subject, "{}");
        let (log, witness) = (engine.log(), engine.witness());
        if !engine.lose_answers().await {
            // In one process the only one who can miss the answer is a caller that stopped waiting.
            let mut appending = log.append(&message, Position::START);
            let _ = futures::poll!(&mut appending);
            drop(appending);
            let position = log.append(&message, Position::START).await.unwrap();
            assert_eq!(log.read(subject, Position::START).await.unwrap(), [Stored { position, message }]);
            continue;
        }
        let appending = log.append(&message, Position::START);
        let landed = async {
            until("the event has landed", async || {
                witness.last(&[subject], Freshness::Any).await.unwrap()[0].is_some()
            })
            .await;
            engine.answers_arrive().await;
        };
        let (appended, ()) = timeout(LIMIT, async { tokio::join!(appending, landed) }).await.unwrap();
        let position = appended.expect("the event landed, so the append succeeded");
        assert_eq!(witness.read(subject, Position::START).await.unwrap(), [Stored { position, message }]);
    }
}

/// No answer comes at all: whether the event has landed is not known, and is found out when it is appended again.
pub async fn an_append_that_is_never_answered_has_an_unknown_outcome(engine: &mut dyn LogEngine) {
    let subject = post();
    let message = message(subject, "{}");
    let log = engine.log();
    if !engine.lose_answers().await {
        return;
    }
    let outcome = timeout(LIMIT, log.append(&message, Position::START)).await.expect("it never ends");
    assert!(matches!(outcome, Err(AppendError::OutcomeUnknown(_))), "{outcome:?}");
    engine.answers_arrive().await;
    let position =
        found(LIMIT, "the log comes back", async || match log.append(&message, Position::START).await {
            Ok(position) => Some(position),
            Err(AppendError::Conflict) => panic!("it is its own conflict"),
            Err(AppendError::OutcomeUnknown(_) | AppendError::Log(_)) => None,
        })
        .await;
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [Stored { position, message }]);
}

/// Writers and readers at once: each reader starts somewhere, with some filter, and must see exactly what the log
/// holds from there on.
pub async fn a_reader_that_starts_anywhere_misses_nothing_while_writers_go_on(log: &dyn EventLog) {
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
            // Begin while the writers are at work, at a position that may not be there yet.
            let after = Position(start.0 + rand::rng().random_range(0..(WRITERS * EVENTS_EACH) as u64));
            (after, filter.clone(), followed(log, filter, after, end).await)
        }
    }));
    let (_, read) = timeout(LIMIT * 2, async { tokio::join!(write, read) }).await.expect("readers never end");

    let all = followed(log, Filter::everything(), start, end).await;
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

/// A follower whose events do not come must still learn how far the log has gone.
pub async fn a_follower_is_told_how_far_it_has_passed_what_is_not_for_it(log: &dyn EventLog) {
    let head = log.head().await.unwrap();
    let mut follow = log.follow(Filter::kinds(&[Kind::Profile]), head);
    for _ in 0..3 {
        let foreign = append(log, post(), Position::START).await;
        wait_passed(&mut follow, foreign.position).await;
    }
}

/// Whoever listens is sent what it asks for, from wherever it starts, and what comes live; nothing else.
pub async fn a_listener_hears_what_it_asks_for_and_nothing_else(log: &dyn EventLog) {
    let start = log.head().await.unwrap();
    let (mut heard, mut expected) = (Vec::new(), Vec::new());
    append(log, post(), Position::START).await;
    expected.push(append(log, like(), Position::START).await);
    let mut listen = log.listen(Filter::kinds(&[Kind::Like]), start);
    for _ in 0..3 {
        append(log, post(), Position::START).await;
        expected.push(append(log, like(), Position::START).await);
        while heard.len() < expected.len() {
            let batch = timeout(LIMIT, listen.next_batch(500)).await.expect("not heard").unwrap().unwrap();
            heard.extend(batch.events);
        }
        assert_eq!(heard, expected);
    }
}

/// `spoil` puts an event of the type `like.liked.v1` on a subject, in a form that nothing of Chorus writes.
pub async fn an_event_with_an_unreadable_envelope_is_told_apart_and_passed(
    log: &dyn EventLog,
    spoil: impl AsyncFn(Subject),
) {
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
                timeout(LIMIT, follow.next_batch(500)).await.expect("it stands still").unwrap().unwrap();
            events.extend(batch.events);
            unreadable.extend(batch.unreadable);
        }
        assert_eq!(events, [first.clone(), last.clone()]);
        let [unreadable] = unreadable.as_slice() else { panic!("{unreadable:?}") };
        assert_eq!(unreadable.position, first.position.next());
        assert_eq!(unreadable.event_type, "like.liked.v1");
        assert!(!unreadable.error.is_of_newer_program());
    }
}

/// Puts an event of a type on a subject of a log on SQLite, with an id that is none.
pub fn spoil_on_sqlite(file: &Path, event_type: &str, subject: Subject) {
    let insert = "INSERT INTO events (subject, id, type, source, time, correlation, body) VALUES (?1, x'00', ?2, '', 0, x'00', '{}')";
    let connection = sqlite::rusqlite::Connection::open(file).unwrap();
    connection.execute(insert, (subject.to_string(), event_type)).unwrap();
}

/// Appends events to as many subjects; the position of the last.
pub async fn many_events(log: &dyn EventLog, count: usize) -> Position {
    let appended = stream::iter(0..count).map(|_| append(log, like(), Position::START)).buffer_unordered(200);
    let positions: Vec<Position> = appended.map(|stored| stored.position).collect().await;
    positions.into_iter().max().unwrap_or_default()
}

/// Takes what is delivered until everything up to a position is.
pub async fn follows_up_to(follow: &mut Follow, position: Position) {
    let mut passed = Position::START;
    while passed < position {
        passed =
            timeout(LIMIT, follow.next_batch(500)).await.expect("not delivered").unwrap().unwrap().passed;
    }
}

async fn wait_passed(follow: &mut Follow, position: Position) {
    loop {
        let batch = timeout(LIMIT, follow.next_batch(500)).await.expect("not told").unwrap().unwrap();
        assert_eq!(batch.events, []);
        if batch.passed >= position {
            return;
        }
    }
}

/// Every event once and in order, with the engine killed and started again in the middle, more than once.
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
        // While there is more to come, take a little, so that the follower is behind when the engine is killed.
        let limit = if write { 20 } else { 500 };
        match timeout(LIMIT, follow.next_batch(limit)).await.expect("nothing is delivered") {
            Some(batch) => delivered.extend(batch.unwrap().events),
            // The log went down with its process: the next one goes on from the position reached.
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

pub async fn news_of_progress_reaches_every_listener(log: &dyn EventLog) {
    let (mut one, mut two) = (log.progress(), log.progress());
    let told =
        Progress { projection: "likes".into(), kinds: vec![Kind::Like, Kind::Post], position: Position(42) };
    log.announce(told.clone(), Urgency::Now);
    for listener in [&mut one, &mut two] {
        assert_eq!(timeout(LIMIT, listener.recv()).await.unwrap().unwrap(), told);
    }
    // Of much that is told at once, the newest of each projection is heard; what it has overtaken may be left out.
    let last = Position(142);
    let projections = ["likes", "posts", "follows"];
    for position in 43..=last.0 {
        for projection in projections {
            let progress =
                Progress { projection: projection.into(), position: Position(position), ..told.clone() };
            // Also what nobody waits for is told in the end.
            log.announce(progress, Urgency::Soon);
        }
    }
    let heard = async {
        let mut newest = HashMap::new();
        while projections.iter().any(|projection| newest.get(*projection) != Some(&last)) {
            let Progress { projection, position, .. } = one.recv().await.unwrap();
            newest.insert(projection, position);
        }
    };
    timeout(LIMIT, heard).await.expect("the newest of every projection");
}

/// What older programs have written, kept under `tests/fixtures`: it must open, read the same, and take more.
pub async fn a_log_written_by_an_older_program_opens_and_goes_on(log: &dyn EventLog, written: &[Message]) {
    let end = Position(written.len() as u64);
    let read = followed(log, Filter::everything(), Position::START, end).await;
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

pub async fn a_reader_follows_what_somebody_else_appends(engine: &mut dyn LogEngine) {
    let (log, somebody_else) = (engine.log(), engine.witness());
    let start = log.head().await.unwrap();
    let mut follow = log.follow(Filter::everything(), start);
    for _ in 0..3 {
        let appended = append(&*somebody_else, post(), Position::START).await;
        let mut seen = Vec::new();
        while seen.is_empty() {
            let batch = timeout(LIMIT, follow.next_batch(500)).await.expect("not seen").unwrap().unwrap();
            seen.extend(batch.events);
        }
        assert_eq!(seen, [appended]);
    }
}

pub async fn of_writers_in_two_processes_exactly_one_wins(engine: &mut dyn LogEngine) {
    let (one, two) = (engine.log(), engine.witness());
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

/// While the engine is out of reach every call says so within a bound; afterwards all works again, without help.
pub async fn an_outage_is_told_and_ends_by_itself(log: &dyn EventLog, mend: impl FnOnce()) {
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
    .expect("a call does not end during an outage");
    // Where the outage is not noticed before something is sent, nobody knows what became of it.
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
    mend();
    let appended =
        found(LIMIT, "the log comes back", async || log.append(&message, Position::START).await.ok()).await;
    assert_eq!(log.read(subject, Position::START).await.unwrap(), [Stored { position: appended, message }]);
}
