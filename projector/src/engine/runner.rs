//! Runs a projection: reads events in batches and commits their writes together with the checkpoint. Outages are
//! retried. An event that cannot be projected is parked or stops the projection; it is never skipped silently.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use events::{Filter, LogError, Position, Progress, Recorded, SealedLog, Stored, Urgency};
use futures::FutureExt;
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::time::Instant;
use views::{Parked, StoreError, ViewStore, Writes};

use crate::engine::checkpoint::{Checkpoint, NotMoved, Pause, backoff_delay};
use crate::{OnFailure, Projection, ProjectionState, Statuses, batch_length, preload};

/// Maximum number of events per commit.
const BATCH: usize = 500;
/// A batch of at least this size means that more events are waiting.
const BEHIND: usize = BATCH - BATCH / 10;
/// A batch is committed early once fan-outs write this many documents. It limits a transaction to this number plus
/// the writes of one event.
pub const COMMIT_WEIGHT: usize = 10_000;
/// Attempts to commit an event before it counts as unprocessable.
const ATTEMPTS: u32 = 3;
/// How often a projection publishes its progress, also when idle: progress notifications may be lost.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum age of a checkpoint when the projection only passes events of other kinds.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// Delay before a panicked projection restarts: from the first to the longest.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often the head of the log is read to compute the lag of each view.
const HEAD_INTERVAL: Duration = Duration::from_secs(2);

/// The dependencies of projections.
#[derive(Debug, Clone)]
pub struct Projector {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
}

/// Starts projections, each in its own task, so that none waits for another.
pub fn run(projector: &Projector, projections: Vec<Arc<dyn Projection>>, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    for projection in projections {
        let name = projection.name();
        statuses.set(name, ProjectionState::Starting);
        let runner = Runner { projector: projector.clone(), projection, statuses: statuses.clone() };
        tasks.spawn_until_stopping(name, async move { runner.run().await });
    }
    let (log, watched) = (Arc::clone(projector.log.raw()), statuses.clone());
    tasks.spawn_until_stopping("distance of the views", async move {
        loop {
            // During an outage of the log, the last known head stays valid.
            if let Ok(head) = log.head().await {
                watched.set_head(head.0, Instant::now());
            }
            tokio::time::sleep(HEAD_INTERVAL).await;
        }
    });
    statuses
}

struct Runner {
    projector: Projector,
    projection: Arc<dyn Projection>,
    statuses: Statuses,
}

/// Why a run of `follow` ended.
enum End {
    /// Another worker moved the checkpoint.
    Fenced,
    /// The log follower ended: the process is shutting down.
    Closed,
    /// An event cannot be projected, and the view must not miss it.
    Stopped(String),
    /// A bug in this program, with the panic message.
    Panicked(String),
}

/// A batch of decoded events.
struct Batch {
    events: Vec<Event>,
    passed: Position,
}

/// A decoded event, or one that could not be decoded.
#[expect(clippy::large_enum_variant, reason = "nearly all events are of the large variant")]
enum Event {
    Read(Recorded),
    Unreadable(Unreadable),
}

struct Unreadable {
    position: Position,
    event_type: String,
    error: String,
    /// Written by a newer version of the program: the projection stops, whatever its [`OnFailure`] says.
    from_newer_version: bool,
}

impl Unreadable {
    fn new(position: Position, event_type: String, error: &LogError) -> Self {
        Self {
            position,
            event_type,
            error: with_causes(error),
            from_newer_version: error.is_from_newer_version(),
        }
    }

    fn of_envelope(unreadable: events::Unreadable) -> Self {
        Self::new(unreadable.position, unreadable.event_type, &unreadable.error)
    }
}

impl Runner {
    async fn run(self) {
        let name = self.projection.name();
        let mut panics = 0;
        loop {
            let began = Instant::now();
            let followed = AssertUnwindSafe(self.follow()).catch_unwind();
            let end = tokio::select! {
                end = followed => end.unwrap_or_else(|panic| End::Panicked(panic_text(&*panic))),
                never = self.publish_periodically() => match never {},
            };
            match end {
                End::Fenced => {
                    tracing::info!(projection = name, "another worker builds this view: on standby");
                    // The view contains everything up to the other worker's checkpoint.
                    let seen = |checkpoint| {
                        self.statuses.set(name, ProjectionState::Standby(checkpoint));
                        self.publish(checkpoint, Urgency::Soon);
                    };
                    self.checkpoint().stand_by(seen).await;
                }
                End::Closed => return,
                End::Stopped(why) => {
                    tracing::error!(
                        projection = name,
                        why,
                        "a projection has stopped; its view is no longer updated"
                    );
                    self.stopped(why);
                    return;
                }
                End::Panicked(why) => {
                    if began.elapsed() > RESTART_PAUSE.1 {
                        panics = 0;
                    }
                    let pause = backoff_delay(RESTART_PAUSE, panics);
                    tracing::error!(projection = name, why, ?pause, "a projection panicked; restarting it");
                    metrics::counter!("chorus_projection_panics_total", "projection" => name).increment(1);
                    self.stopped(format!("it panicked: {why}"));
                    panics += 1;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn stopped(&self, why: String) {
        let name = self.projection.name();
        metrics::gauge!("chorus_projection_stopped", "projection" => name).set(1.0);
        self.statuses.set(name, ProjectionState::Stopped(why));
    }

    /// Publishes the progress periodically, also while the store is unavailable: trackers forget a projection that
    /// does not report.
    async fn publish_periodically(&self) -> Infallible {
        loop {
            tokio::time::sleep(NEWS_INTERVAL).await;
            if let Some(ProjectionState::Following(passed)) = self.statuses.state(self.projection.name()) {
                self.publish(passed, Urgency::Soon);
            }
        }
    }

    /// Follows the log from the checkpoint until an [`End`]. Each commit takes all events that arrived during the
    /// previous one (group commit). A projection that is far behind reads the next batch while it commits.
    async fn follow(&self) -> End {
        let mut checkpoint = match self.checkpoint().read().await {
            Ok(checkpoint) => checkpoint,
            Err(error) => return End::Stopped(with_causes(&error)),
        };
        let log = self.projector.log.raw();
        let mut follow = log.follow(Filter::kinds(self.projection.kinds()), Position(checkpoint));
        let mut passed = checkpoint;
        let mut committed_at = Instant::now();
        let mut ahead = None;
        self.report(passed, Urgency::Soon);
        loop {
            let next = match ahead.take() {
                Some(batch) => Some(batch),
                None => match tokio::time::timeout(NEWS_INTERVAL, follow.next_batch(BATCH)).await {
                    Ok(read) => Some(self.opened(read).await),
                    Err(_nothing_came) => None,
                },
            };
            let events = match next {
                Some(Ok(batch)) => {
                    passed = passed.max(batch.passed.0);
                    batch.events
                }
                Some(Err(end)) => return end,
                None => Vec::new(),
            };
            let is_due = passed > checkpoint && committed_at.elapsed() > CHECKPOINT_INTERVAL;
            if events.is_empty() && !is_due {
                self.report(passed, Urgency::Soon);
                continue;
            }
            let is_behind = events.len() >= BEHIND;
            let read_on = async {
                // Only take events that are already there: clients waiting for this commit must not wait for later
                // events.
                let there = is_behind.then(|| follow.next_batch(BATCH).now_or_never()).flatten()?;
                Some(self.opened(there).await)
            };
            let (committed, read) = tokio::join!(self.commit(events, checkpoint, passed), read_on);
            if let Err(end) = committed {
                return end;
            }
            ahead = read;
            checkpoint = passed;
            committed_at = Instant::now();
            self.report(passed, Urgency::Now);
        }
    }

    /// Decodes a batch and unseals its personal data.
    async fn opened(&self, read: Option<Result<events::Batch, LogError>>) -> Result<Batch, End> {
        match read {
            None => Err(End::Closed),
            Some(Err(error)) => Err(End::Stopped(with_causes(&error))),
            Some(Ok(events::Batch { events, unreadable, passed })) => {
                let unreadable = unreadable.into_iter().map(Unreadable::of_envelope).collect();
                Ok(Batch { events: self.open(events, unreadable).await, passed })
            }
        }
    }

    async fn open(&self, stored: Vec<Stored>, mut unreadable: Vec<Unreadable>) -> Vec<Event> {
        let mut recorded = Vec::with_capacity(stored.len());
        for one in stored {
            let (position, event_type) = (one.position, one.message.envelope.event_type.clone());
            match Recorded::sealed(one) {
                Ok(one) => recorded.push(one),
                Err(error) => unreadable.push(Unreadable::new(position, event_type.into_owned(), &error)),
            }
        }
        let mut pause = Pause::default();
        let failed = loop {
            match self.projector.log.unseal(&mut recorded).await {
                Ok(failed) => break failed,
                Err(error) => pause.wait_out(self.projection.name(), &error).await,
            }
        };
        for (place, error) in failed.iter().rev() {
            let Recorded { position, envelope, .. } = recorded.remove(*place);
            unreadable.push(Unreadable::new(position, envelope.event_type.into_owned(), error));
        }
        let mut events: Vec<Event> = recorded.into_iter().map(Event::Read).collect();
        if !unreadable.is_empty() {
            events.extend(unreadable.into_iter().map(Event::Unreadable));
            events.sort_by_key(Event::position);
        }
        events
    }

    /// Commits a batch. If the store rejects the batch, commits its events one by one.
    async fn commit(&self, events: Vec<Event>, expected: u64, checkpoint: u64) -> Result<(), End> {
        let newest = events.iter().rev().find_map(|event| match event {
            Event::Read(recorded) => Some(recorded.envelope.time),
            Event::Unreadable(_) => None,
        });
        let mut expected = expected;
        let mut rest = events;
        loop {
            match self.try_commit(&rest, expected, checkpoint).await {
                Ok(taken) if taken == rest.len() => break,
                Ok(taken) => {
                    let last = rest.drain(..taken).next_back();
                    expected = last.map_or(expected, |event| event.position().0);
                }
                Err(Refused::Fenced) => return Err(End::Fenced),
                Err(Refused::Event(_)) => {
                    self.commit_one_by_one(rest, expected, checkpoint).await?;
                    break;
                }
            }
        }
        let name = self.projection.name();
        if let Some(newest) = newest {
            #[expect(clippy::cast_precision_loss, reason = "a time for a chart")]
            let seconds = newest.timestamp_millis() as f64 / 1000.0;
            metrics::gauge!("chorus_projection_event_time_seconds", "projection" => name).set(seconds);
        }
        Ok(())
    }

    async fn commit_one_by_one(
        &self,
        events: Vec<Event>,
        mut expected: u64,
        checkpoint: u64,
    ) -> Result<(), End> {
        let last = events.len().saturating_sub(1);
        for (place, event) in events.into_iter().enumerate() {
            let position = event.position();
            let checkpoint = if place == last { checkpoint } else { position.0 };
            let mut attempt = 0;
            let mut event = event;
            loop {
                match self.try_commit(std::slice::from_ref(&event), expected, checkpoint).await {
                    Ok(_) => break,
                    Err(Refused::Fenced) => return Err(End::Fenced),
                    Err(Refused::Event(_)) if attempt + 1 < ATTEMPTS => attempt += 1,
                    Err(Refused::Event(error)) => {
                        let (event_type, from_newer_version) = match &event {
                            Event::Read(recorded) => (recorded.envelope.event_type.to_string(), false),
                            Event::Unreadable(event) => (event.event_type.clone(), event.from_newer_version),
                        };
                        if from_newer_version || self.projection.on_failure() == OnFailure::Stop {
                            return Err(End::Stopped(format!(
                                "{event_type} at position {position}: {error}"
                            )));
                        }
                        // Retry with the event parked.
                        event =
                            Event::Unreadable(Unreadable { position, event_type, error, from_newer_version });
                    }
                }
            }
            expected = checkpoint;
        }
        Ok(())
    }

    /// Commits events in one transaction and retries during outages. Commits only a prefix of them if they write too
    /// many documents or if a later event must start a new batch. Returns the number of committed events.
    async fn try_commit(&self, events: &[Event], expected: u64, checkpoint: u64) -> Result<usize, Refused> {
        let together = batch_length(&*self.projection, events.iter().map(Event::recorded));
        let (events, waiting) = events.split_at(together);
        let mut writes = self.preload(events).await?;
        let mut parked = Vec::new();
        let mut taken = 0;
        for event in events {
            if writes.weight() >= COMMIT_WEIGHT {
                break;
            }
            taken += 1;
            match event {
                Event::Read(recorded) => {
                    // A panic discards the writes of this attempt, so nothing is half done.
                    let project = AssertUnwindSafe(|| self.projection.project(recorded, &mut writes));
                    catch_unwind(project)
                        .map_err(|panic| Refused::Event(format!("it panicked: {}", panic_text(&*panic))))?
                        .map_err(|error| Refused::Event(with_causes(&error)))?;
                }
                Event::Unreadable(Unreadable { position, event_type, error, from_newer_version }) => {
                    if *from_newer_version || self.projection.on_failure() == OnFailure::Stop {
                        return Err(Refused::Event(error.clone()));
                    }
                    tracing::error!(
                        projection = self.projection.name(), %position, event_type, error, "event parked"
                    );
                    metrics::counter!("chorus_projection_parked_total", "projection" => self.projection.name())
                        .increment(1);
                    let (event_type, error) = (event_type.clone(), error.clone());
                    parked.push(Parked { position: position.0, event_type, error });
                }
            }
        }
        let writes = Arc::new(writes.into_list());
        // If all events are committed, the checkpoint also covers later events of other kinds.
        let is_last = taken == events.len() && waiting.is_empty();
        let reached = if is_last {
            checkpoint
        } else {
            events[..taken].last().map_or(expected, |last| last.position().0)
        };
        match self.checkpoint().commit(&writes, &parked, expected, reached).await {
            Ok(()) => Ok(taken),
            Err(NotMoved::Fenced) => Err(Refused::Fenced),
            Err(NotMoved::Corrupt(error)) => Err(Refused::Event(with_causes(&error))),
        }
    }

    /// Preloads the documents that the projection reads. Retries during outages of the store.
    async fn preload(&self, events: &[Event]) -> Result<Writes, Refused> {
        let attempt = || {
            let read = events.iter().filter_map(Event::recorded);
            preload(&*self.projection, &*self.projector.store, read)
        };
        let is_outage = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
        let writes = retry_until_available("the view store", attempt, is_outage).await;
        writes.map_err(|error| Refused::Event(with_causes(&error)))
    }

    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.projector.store, of: self.projection.name() }
    }

    fn report(&self, passed: u64, urgency: Urgency) {
        let projection = self.projection.name();
        self.statuses.set(projection, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "a position for a chart")]
        metrics::gauge!("chorus_projection_passed", "projection" => projection).set(passed as f64);
        metrics::gauge!("chorus_projection_stopped", "projection" => projection).set(0.0);
        self.publish(passed, urgency);
    }

    fn publish(&self, passed: u64, urgency: Urgency) {
        let projection = self.projection.name();
        let kinds = self.projection.kinds().to_vec();
        let progress = Progress { projection: projection.to_owned(), kinds, position: Position(passed) };
        self.projector.log.raw().publish_progress(progress, urgency);
    }
}

impl Event {
    fn recorded(&self) -> Option<&Recorded> {
        match self {
            Self::Read(recorded) => Some(recorded),
            Self::Unreadable(_) => None,
        }
    }

    fn position(&self) -> Position {
        match self {
            Self::Read(recorded) => recorded.position,
            Self::Unreadable(event) => event.position,
        }
    }
}

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Why a commit was refused.
enum Refused {
    Fenced,
    /// An event cannot be projected, with the error.
    Event(String),
}
