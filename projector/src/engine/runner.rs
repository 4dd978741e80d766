//! Feeds a projection: events come in batches of whatever is waiting, their writes and the checkpoint are committed as
//! one. An outage is waited out; an event that cannot be taken in is set aside or ends the projection, never skipped in
//! silence.

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

use crate::engine::checkpoint::{Checkpoint, NotMoved, Pause, growing};
use crate::{OnFailure, Projection, ProjectionState, Statuses, batch_length, seeing};

/// Events committed together at most.
const BATCH: usize = 500;
/// So many at once tell that more are waiting.
const BEHIND: usize = BATCH - BATCH / 10;
/// Once so many documents are written for some events of a batch by fan-outs and the like, these are committed before
/// the rest, so that no transaction grows beyond this and what a single event writes.
pub const COMMIT_WEIGHT: usize = 10_000;
/// Attempts at an event that the store refuses, before it counts as one that cannot be taken in.
const ATTEMPTS: u32 = 3;
/// How often a projection says how far it has come, also when nothing happens: news may be lost.
const NEWS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a checkpoint may stay behind what a projection has passed without anything for it.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// Pause before a projection that has panicked begins again, growing from the first to the second.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often the end of the log is looked up, to know how far each view is from it.
const HEAD_INTERVAL: Duration = Duration::from_secs(2);

/// What projections run on.
#[derive(Debug, Clone)]
pub struct Projector {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
}

/// Starts projections, each in tasks of its own, so that none waits for another.
pub fn run(projector: &Projector, projections: Vec<Arc<dyn Projection>>, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    for projection in projections {
        let name = projection.name();
        statuses.set(name, ProjectionState::Starting);
        let runner = Runner { projector: projector.clone(), projection, statuses: statuses.clone() };
        tasks.spawn_until_stopping(name, async move { runner.run_and_tell().await });
    }
    let (log, watched) = (Arc::clone(projector.log.raw()), statuses.clone());
    tasks.spawn_until_stopping("distance of the views", async move {
        loop {
            // While the log does not answer, what it held before is what there is to take in.
            if let Ok(head) = log.head().await {
                watched.observe(head.0, Instant::now());
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

/// Why a stretch of following came to its end.
enum End {
    /// Another worker moved the checkpoint.
    Fenced,
    /// The follower ended: the process shuts down.
    Closed,
    /// An event that cannot be taken in, and that the view cannot do without.
    Stopped(String),
    /// A defect of this program; what the panic said.
    Panicked(String),
}

/// Events on their way into the view.
struct Batch {
    events: Vec<Event>,
    passed: Position,
}

/// An event that could be read, or one that could not.
#[expect(clippy::large_enum_variant, reason = "nearly all of them could")]
enum Event {
    Read(Recorded),
    Unreadable(Unreadable),
}

struct Unreadable {
    position: Position,
    event_type: String,
    error: String,
    /// A newer program wrote it: then the view must not go on without it, whatever the projection says.
    of_newer_program: bool,
}

impl Unreadable {
    fn new(position: Position, event_type: String, error: &LogError) -> Self {
        Self {
            position,
            event_type,
            error: with_causes(error),
            of_newer_program: error.is_of_newer_program(),
        }
    }

    fn of_envelope(unreadable: events::Unreadable) -> Self {
        Self::new(unreadable.position, unreadable.event_type, &unreadable.error)
    }
}

impl Runner {
    async fn run_and_tell(self) {
        let name = self.projection.name();
        let mut panics = 0;
        loop {
            let began = Instant::now();
            let followed = AssertUnwindSafe(self.follow()).catch_unwind();
            let end = tokio::select! {
                end = followed => end.unwrap_or_else(|panic| End::Panicked(panic_text(&*panic))),
                never = self.repeat_progress() => match never {},
            };
            match end {
                End::Fenced => {
                    tracing::info!(projection = name, "another worker builds this view: standing by");
                    // What that worker has committed is in the view, whether it says so or has ended.
                    let seen = |checkpoint| {
                        self.statuses.set(name, ProjectionState::StandingBy(checkpoint));
                        self.announce(checkpoint, Urgency::Soon);
                    };
                    self.checkpoint().stand_by(seen).await;
                }
                End::Closed => return,
                End::Stopped(why) => {
                    tracing::error!(
                        projection = name,
                        why,
                        "a projection has stopped: its view grows old from here"
                    );
                    self.stopped(why);
                    return;
                }
                End::Panicked(why) => {
                    if began.elapsed() > RESTART_PAUSE.1 {
                        panics = 0;
                    }
                    let pause = growing(RESTART_PAUSE, panics);
                    tracing::error!(
                        projection = name,
                        why,
                        ?pause,
                        "a projection has panicked: it begins again"
                    );
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

    /// Announces how far this projection has come also while it waits for its store: one that is not heard of for long is
    /// taken for one that no longer exists.
    async fn repeat_progress(&self) -> Infallible {
        loop {
            tokio::time::sleep(NEWS_INTERVAL).await;
            if let Some(ProjectionState::Following(passed)) = self.statuses.state(self.projection.name()) {
                self.announce(passed, Urgency::Soon);
            }
        }
    }

    /// Follows from the checkpoint until something ends it. Each commit takes all that has come since the one before: the more
    /// that is, the less of the commit falls to each event. A view that is far behind also reads while it commits.
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
        self.tell(passed, Urgency::Soon);
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
                self.tell(passed, Urgency::Soon);
                continue;
            }
            let is_behind = events.len() >= BEHIND;
            let read_on = async {
                // Only what is there already: whoever waits for this commit must not wait for what comes after it.
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
            self.tell(passed, Urgency::Now);
        }
    }

    /// What was read from the log, with what is sealed in it opened; or why there is nothing more to be read.
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

    /// Commits a batch; if the store refuses it as a whole, one event after the other.
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
                        let (event_type, of_newer_program) = match &event {
                            Event::Read(recorded) => (recorded.envelope.event_type.to_string(), false),
                            Event::Unreadable(event) => (event.event_type.clone(), event.of_newer_program),
                        };
                        if of_newer_program || self.projection.on_failure() == OnFailure::Stop {
                            return Err(End::Stopped(format!(
                                "{event_type} at position {position}: {error}"
                            )));
                        }
                        // From here on it is one that is set aside.
                        event =
                            Event::Unreadable(Unreadable { position, event_type, error, of_newer_program });
                    }
                }
            }
            expected = checkpoint;
        }
        Ok(())
    }

    /// Commits events as one transaction, waiting out an outage of the store: all of them, or the first of them if they
    /// write too much together or one must begin a batch. Answers how many.
    async fn try_commit(&self, events: &[Event], expected: u64, checkpoint: u64) -> Result<usize, Refused> {
        let together = batch_length(&*self.projection, events.iter().map(Event::recorded));
        let (events, waiting) = events.split_at(together);
        let mut writes = self.see(events).await?;
        let mut parked = Vec::new();
        let mut taken = 0;
        for event in events {
            if writes.weight() >= COMMIT_WEIGHT {
                break;
            }
            taken += 1;
            match event {
                Event::Read(recorded) => {
                    // What it has written by then is thrown away, so a panic leaves nothing half done.
                    let project = AssertUnwindSafe(|| self.projection.project(recorded, &mut writes));
                    catch_unwind(project)
                        .map_err(|panic| Refused::Event(format!("it panicked: {}", panic_text(&*panic))))?
                        .map_err(|error| Refused::Event(with_causes(&error)))?;
                }
                Event::Unreadable(Unreadable { position, event_type, error, of_newer_program }) => {
                    if *of_newer_program || self.projection.on_failure() == OnFailure::Stop {
                        return Err(Refused::Event(error.clone()));
                    }
                    tracing::error!(
                        projection = self.projection.name(), %position, event_type, error, "an event is set aside"
                    );
                    metrics::counter!("chorus_projection_parked_total", "projection" => self.projection.name())
                        .increment(1);
                    let (event_type, error) = (event_type.clone(), error.clone());
                    parked.push(Parked { position: position.0, event_type, error });
                }
            }
        }
        let writes = Arc::new(writes.into_list());
        // Up to the last one taken; behind the last of all the log may hold more that is not for this projection.
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

    /// Writes that have seen what the projection looks at, waiting out an outage of the store.
    async fn see(&self, events: &[Event]) -> Result<Writes, Refused> {
        let preload = || {
            let read = events.iter().filter_map(Event::recorded);
            seeing(&*self.projection, &*self.projector.store, read)
        };
        let is_outage = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
        let writes = retry_until_available("the view store", preload, is_outage).await;
        writes.map_err(|error| Refused::Event(with_causes(&error)))
    }

    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.projector.store, of: self.projection.name() }
    }

    fn tell(&self, passed: u64, urgency: Urgency) {
        let projection = self.projection.name();
        self.statuses.set(projection, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "a position for a chart")]
        metrics::gauge!("chorus_projection_passed", "projection" => projection).set(passed as f64);
        metrics::gauge!("chorus_projection_stopped", "projection" => projection).set(0.0);
        self.announce(passed, urgency);
    }

    fn announce(&self, passed: u64, urgency: Urgency) {
        let projection = self.projection.name();
        let kinds = self.projection.kinds().to_vec();
        let progress = Progress { projection: projection.to_owned(), kinds, position: Position(passed) };
        self.projector.log.raw().announce(progress, urgency);
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

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}

/// Why a commit was refused.
enum Refused {
    Fenced,
    /// Something in it cannot be taken in; what was said of it.
    Event(String),
}
