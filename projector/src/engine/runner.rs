//! Runs a projection: reads events in batches and commits their writes together with the checkpoint. Outages are
//! retried. An event that cannot be projected is parked or stops the projection; it is never skipped silently.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use events::{EventLog, Filter, LogError, Position, Progress, Recorded, SealedLog, Stored, Urgency};
use futures::FutureExt;
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::sync::{Mutex, MutexGuard, Notify, watch};
use tokio::time::Instant;
use views::{Parked, StoreError, ViewStore};

use crate::engine::batch::{Event, Projected, Unreadable, panic_text, preload_planned, project};
use crate::engine::checkpoint::{Checkpoint, NotMoved, Pause, backoff_delay};
use crate::engine::parking::{Parking, TooManyParked};
use crate::engine::status::{Activity, watch_lag};
use crate::{Projection, ProjectionState, Statuses, batch_length};

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
/// How often the position of a leader is read while a runner waits for it and does not see it move.
const LEADER_POLL: Duration = Duration::from_millis(3);

/// The dependencies of projections.
#[derive(Debug, Clone)]
pub struct Projector {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
}

/// What the generation that a runner feeds is for.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    /// The name under which it is reported.
    pub(crate) label: String,
    /// Whether queries read it.
    pub(crate) serves: bool,
    /// Whether its progress is published: requests wait for it.
    pub(crate) announces: bool,
    /// The generation that it must not pass. Queries may read that one, too, so only what both have is published.
    pub(crate) leader: Option<Peer>,
}

/// A generation that this process feeds or stands by for, to ask how far it is.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) store: Arc<dyn ViewStore>,
    pub(crate) state: watch::Receiver<ProjectionState>,
}

impl Peer {
    /// Its checkpoint alone may be older: it moves rarely while only events of other kinds come.
    pub(crate) async fn position(&self, projection: &str) -> Result<u64, StoreError> {
        let passed = self.state.borrow().passed().unwrap_or_default();
        Ok(self.store.checkpoint(projection).await?.max(passed))
    }

    /// Whether it is fed, here or by another process, as far as is known.
    pub(crate) fn runs(&self) -> bool {
        !matches!(*self.state.borrow(), ProjectionState::Stopped(_) | ProjectionState::Panicked(_))
    }

    /// Until it has moved since the last call. Another process may feed it: then it is polled.
    async fn moved(&mut self) {
        let ended = tokio::time::timeout(LEADER_POLL, self.state.changed()).await;
        if matches!(ended, Ok(Err(_))) {
            tokio::time::sleep(LEADER_POLL).await;
        }
    }
}

impl Role {
    /// Of a projection without generations, or with one alone.
    pub(crate) fn serving(projection: &dyn Projection) -> Self {
        Self { label: projection.name().to_owned(), serves: true, announces: true, leader: None }
    }
}

/// Starts projections on one store, without generations, each in its own task, so that none waits for another.
pub fn run(projector: &Projector, projections: Vec<Arc<dyn Projection>>, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    for projection in projections {
        let name = projection.name();
        let role = watch::Sender::new(Role::serving(&*projection));
        let runner = Runner::new(projector.clone(), projection, role.subscribe(), statuses.clone());
        tasks.spawn_until_stopping(name, async move {
            runner.run().await;
            drop(role);
        });
    }
    watch_lag_of(projector.log.raw(), &statuses, tasks);
    statuses
}

/// Keeps the lag of the views up to date.
pub(crate) fn watch_lag_of(log: &Arc<dyn EventLog>, statuses: &Statuses, tasks: &Tasks) {
    tasks.spawn_until_stopping("lag of the views", watch_lag(Arc::clone(log), statuses.clone()));
}

/// Feeds one generation of the views of a projection.
pub(crate) struct Runner {
    projector: Projector,
    projection: Arc<dyn Projection>,
    role: watch::Receiver<Role>,
    statuses: Statuses,
    state: watch::Sender<ProjectionState>,
    /// The newest event that its store has, or its checkpoint if no event came yet.
    newest: AtomicU64,
    /// Wakes the task that publishes.
    moved: Notify,
    /// Number of parked events.
    parked: AtomicUsize,
    /// Held during a commit.
    commits: Arc<Mutex<()>>,
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

impl Runner {
    pub(crate) fn new(
        projector: Projector,
        projection: Arc<dyn Projection>,
        role: watch::Receiver<Role>,
        statuses: Statuses,
    ) -> Self {
        let runner = Self {
            projector,
            projection,
            role,
            statuses,
            state: watch::Sender::new(ProjectionState::Starting),
            newest: AtomicU64::new(0),
            moved: Notify::new(),
            parked: AtomicUsize::new(0),
            commits: Arc::default(),
        };
        runner.set_state(ProjectionState::Starting);
        runner
    }

    /// Its state, under whatever name it is reported.
    pub(crate) fn state(&self) -> watch::Receiver<ProjectionState> {
        self.state.subscribe()
    }

    /// The lock of its commits. Once it was acquired after a change of the role, every later commit follows the new role.
    pub(crate) fn commits(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.commits)
    }

    pub(crate) async fn run(self) {
        tokio::select! {
            () = self.follow_and_restart() => {}
            never = self.keep_announcing() => match never {},
        }
    }

    async fn follow_and_restart(&self) {
        let name = self.projection.name();
        let mut panics = 0;
        loop {
            let began = Instant::now();
            let followed = AssertUnwindSafe(self.follow()).catch_unwind().await;
            match followed.unwrap_or_else(|panic| End::Panicked(panic_text(&*panic))) {
                End::Fenced => {
                    tracing::info!(projection = name, "another worker builds this view: on standby");
                    // The view contains everything up to the other worker's checkpoint.
                    let seen = |checkpoint| {
                        self.set_state(ProjectionState::Standby(checkpoint));
                        self.newest.store(checkpoint, Ordering::Release);
                        self.moved.notify_one();
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
                    self.stopped(ProjectionState::Stopped(why));
                    return;
                }
                End::Panicked(why) => {
                    if began.elapsed() > RESTART_PAUSE.1 {
                        panics = 0;
                    }
                    let pause = backoff_delay(RESTART_PAUSE, panics);
                    tracing::error!(projection = name, why, ?pause, "a projection panicked; restarting it");
                    metrics::counter!("chorus_projection_panics_total", "projection" => name).increment(1);
                    self.stopped(ProjectionState::Panicked(why));
                    panics += 1;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn stopped(&self, state: ProjectionState) {
        if self.role.borrow().serves {
            metrics::gauge!("chorus_projection_stopped", "projection" => self.projection.name()).set(1.0);
        }
        self.set_state(state);
    }

    fn label(&self) -> String {
        self.role.borrow().label.clone()
    }

    fn set_state(&self, state: ProjectionState) {
        self.state.send_replace(state.clone());
        let role = self.role.borrow();
        if role.serves {
            self.statuses.set(&role.label, state);
        } else {
            self.statuses.set_beside(&role.label, state);
        }
    }

    /// Names what the projection does until the guard is dropped: the reason if it stalls.
    fn doing(&self, what: &'static str) -> Activity {
        self.statuses.doing(&self.label(), what)
    }

    /// Publishes the progress when it or the role changes, and periodically, also while the store is unavailable: notifications may
    /// be lost, and trackers forget a projection that does not report.
    async fn keep_announcing(&self) -> Infallible {
        let mut role = self.role.clone();
        let (mut published, mut published_newest): (Option<(u64, Instant)>, _) = (None, None);
        loop {
            let Role { announces, leader, .. } = role.borrow_and_update().clone();
            let passed = self.state.borrow().passed();
            let newest = self.newest.load(Ordering::Acquire);
            let mut again_after = NEWS_INTERVAL;
            let before = published.map(|(position, _)| position);
            let in_both = match (passed, leader) {
                (Some(passed), Some(leader)) => match leader.position(self.projection.name()).await {
                    Ok(at) if at >= newest => Some(passed),
                    Ok(_) => {
                        again_after = LEADER_POLL;
                        before
                    }
                    Err(_outage) => before,
                },
                (passed, _) => passed,
            };
            if let Some(position) = in_both.filter(|_| announces) {
                let is_due = published.is_some_and(|(_, at)| at.elapsed() >= NEWS_INTERVAL);
                if before != Some(position) || is_due {
                    // Nobody waits for positions of other kinds.
                    let has_new_events = published_newest.replace(newest) != Some(newest);
                    self.publish(position, if has_new_events { Urgency::Now } else { Urgency::Soon });
                    published = Some((position, Instant::now()));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(again_after) => {}
                () = self.moved.notified() => {}
                changed = role.changed() => if changed.is_err() { std::future::pending().await },
            }
        }
    }

    /// Follows the log from the checkpoint until an [`End`]. Each commit takes all events that arrived during the
    /// previous one (group commit). A projection that is far behind reads the next batch while it commits.
    async fn follow(&self) -> End {
        let starting = self.doing("reading its checkpoint and parked events from the view store");
        let mut checkpoint = match self.checkpoint().read().await {
            Ok(checkpoint) => checkpoint,
            Err(error) => return End::Stopped(with_causes(&error)),
        };
        let log = self.projector.log.raw();
        let mut parking = match self.parking().await {
            Ok(parking) => parking,
            Err(error) => return End::Stopped(error),
        };
        drop(starting);
        self.newest.store(checkpoint, Ordering::Release);
        let mut follow = log.follow(Filter::kinds(self.projection.kinds()), Position(checkpoint));
        let mut passed = checkpoint;
        let mut committed_at = Instant::now();
        let mut ahead = None;
        self.report(passed);
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
            // The first move at once: views without a checkpoint count as lost when a process starts.
            let is_first = checkpoint == 0;
            let is_due = passed > checkpoint && (is_first || committed_at.elapsed() > CHECKPOINT_INTERVAL);
            if events.is_empty() && !is_due {
                self.report(passed);
                continue;
            }
            let newest = events.last().map(Event::position);
            let turn = self.wait_for_turn(newest).await;
            let is_behind = events.len() >= BEHIND;
            let read_on = async {
                // Only take events that are already there: clients waiting for this commit must not wait for later
                // events.
                let there = is_behind.then(|| follow.next_batch(BATCH).now_or_never()).flatten()?;
                Some(self.opened(there).await)
            };
            let commit = async {
                let committed = self.commit(events, checkpoint, passed, &mut parking).await;
                drop(turn);
                committed
            };
            let (committed, read) = tokio::join!(commit, read_on);
            if let Err(end) = committed {
                return end;
            }
            ahead = read;
            checkpoint = passed;
            committed_at = Instant::now();
            if let Some(Position(newest)) = newest {
                self.newest.store(newest, Ordering::Release);
            }
            self.report(passed);
            // It is published before the next batch is looked at.
            tokio::task::yield_now().await;
        }
    }

    /// Waits until the generation that this one must not pass has the event, if there is one, and takes the lock of commits
    /// under that role. Positions of other kinds do not matter: there the two are equal.
    async fn wait_for_turn(&self, newest: Option<Position>) -> MutexGuard<'_, ()> {
        let mut role = self.role.clone();
        loop {
            let leader = role.borrow_and_update().leader.clone();
            if let (Some(newest), Some(leader)) = (newest, leader) {
                tokio::select! {
                    () = self.wait_for(leader, newest) => {}
                    Ok(()) = role.changed() => continue,
                }
            }
            let turn = self.commits.lock().await;
            // There is an error while the process ends.
            if !role.has_changed().unwrap_or_default() {
                return turn;
            }
        }
    }

    async fn wait_for(&self, mut leader: Peer, position: Position) {
        let _waiting = self.doing("waiting for the generation that it must not pass");
        loop {
            leader.state.mark_unchanged();
            match leader.position(self.projection.name()).await {
                Ok(at) if at >= position.0 => return,
                // During an outage, or after the leader was dropped: the role changes then.
                Ok(_) | Err(_) => leader.moved().await,
            }
        }
    }

    /// Decodes a batch and unseals its personal data.
    async fn opened(&self, read: Option<Result<events::Batch, LogError>>) -> Result<Batch, End> {
        match read {
            None => Err(End::Closed),
            Some(Err(error)) => Err(End::Stopped(with_causes(&error))),
            Some(Ok(events::Batch { events, unreadable, passed })) => {
                let unreadable = unreadable.into_iter().map(Unreadable::from).collect();
                Ok(Batch { events: self.open(events, unreadable).await, passed })
            }
        }
    }

    async fn open(&self, stored: Vec<Stored>, mut unreadable: Vec<Unreadable>) -> Vec<Event> {
        let mut recorded = Vec::with_capacity(stored.len());
        for one in stored {
            let (position, envelope) = (one.position, &one.message.envelope);
            let (event_type, subject) = (envelope.event_type.clone(), envelope.subject);
            match Recorded::sealed(one) {
                Ok(one) => recorded.push(one),
                Err(error) => unreadable.push(Unreadable::new(
                    position,
                    event_type.into_owned(),
                    subject.to_string(),
                    &error,
                )),
            }
        }
        let unsealing = self.doing("reading keys of personal data from the key vault");
        let mut pause = Pause::default();
        let failed = loop {
            match self.projector.log.unseal(&mut recorded).await {
                Ok(failed) => break failed,
                Err(error) => pause.wait_out(self.projection.name(), &error).await,
            }
        };
        drop(unsealing);
        Event::in_order(recorded, failed, unreadable)
    }

    /// The parked events of the projection. Read after the checkpoint: another worker that parks one later also moves
    /// the checkpoint, which fences this one.
    async fn parking(&self) -> Result<Parking, String> {
        let parking = self.checkpoint().parking().await.map_err(|error| with_causes(&error))?;
        let parking = parking.map_err(|full| full.to_string())?;
        self.parked.store(parking.len(), Ordering::Relaxed);
        Ok(parking)
    }

    /// Commits a batch. If the store rejects the batch, commits its events one by one.
    async fn commit(
        &self,
        events: Vec<Event>,
        expected: u64,
        checkpoint: u64,
        parking: &mut Parking,
    ) -> Result<(), End> {
        let newest = events.iter().rev().find_map(|event| match event {
            Event::Read(recorded) => Some(recorded.envelope.time),
            Event::Unreadable(_) => None,
        });
        let mut expected = expected;
        let mut rest = events;
        loop {
            match self.try_commit(&rest, expected, checkpoint, parking).await {
                Ok(taken) if taken == rest.len() => break,
                Ok(taken) => {
                    let last = rest.drain(..taken).next_back();
                    expected = last.map_or(expected, |event| event.position().0);
                }
                Err(Refused::Fenced) => return Err(End::Fenced),
                Err(Refused::Event(_) | Refused::TooManyParked) => {
                    self.commit_one_by_one(rest, expected, checkpoint, parking).await?;
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
        parking: &mut Parking,
    ) -> Result<(), End> {
        let last = events.len().saturating_sub(1);
        for (place, event) in events.into_iter().enumerate() {
            let position = event.position();
            let checkpoint = if place == last { checkpoint } else { position.0 };
            let mut attempt = 0;
            let mut event = event;
            loop {
                match self.try_commit(std::slice::from_ref(&event), expected, checkpoint, parking).await {
                    Ok(_) => break,
                    Err(Refused::Fenced) => return Err(End::Fenced),
                    Err(Refused::TooManyParked) => {
                        return Err(End::Stopped(format!("at position {position}: {TooManyParked}")));
                    }
                    Err(Refused::Event(_)) if attempt + 1 < ATTEMPTS => attempt += 1,
                    Err(Refused::Event(error)) => {
                        if event.stops(&*self.projection) {
                            let event_type = event.incoming().event_type;
                            return Err(End::Stopped(format!(
                                "{event_type} at position {position}: {error}"
                            )));
                        }
                        // Retry with the event parked.
                        event = event.refused(error);
                    }
                }
            }
            expected = checkpoint;
        }
        Ok(())
    }

    /// Commits events in one transaction and retries during outages. Commits only a prefix of them if they write too
    /// many documents or if a later event must start a new batch. Returns the number of committed events.
    async fn try_commit(
        &self,
        events: &[Event],
        expected: u64,
        checkpoint: u64,
        parking: &mut Parking,
    ) -> Result<usize, Refused> {
        let together = batch_length(&*self.projection, events.iter().map(Event::recorded));
        let (events, waiting) = events.split_at(together);
        let plan = parking.plan(events.iter().map(Event::incoming));
        let reading = self.doing("reading documents from the view store");
        let preload = || preload_planned(&*self.projection, &*self.projector.store, events, &plan);
        let writes = retry_until_available("the view store", preload, StoreError::is_outage).await;
        drop(reading);
        let writes = writes.map_err(|error| Refused::Event(with_causes(&error)))?;
        let projected = project(&*self.projection, events, plan, writes, COMMIT_WEIGHT);
        let Projected { writes, parked, taken } = projected.map_err(Refused::Event)?;
        parking.has_room_for(&parked).map_err(|TooManyParked| Refused::TooManyParked)?;
        let writes = Arc::new(writes.into_list());
        // If all events are committed, the checkpoint also covers later events of other kinds.
        let is_last = taken == events.len() && waiting.is_empty();
        let reached = if is_last {
            checkpoint
        } else {
            events[..taken].last().map_or(expected, |last| last.position().0)
        };
        let committing = self.doing("committing to the view store");
        let began = Instant::now();
        let committed = self.checkpoint().commit(&writes, &parked, expected, reached).await;
        drop(committing);
        match committed {
            Ok(()) => {
                self.measure(taken, began.elapsed());
                self.record_parked(&parked, parking);
                Ok(taken)
            }
            Err(NotMoved::Fenced) => Err(Refused::Fenced),
            Err(NotMoved::Corrupt(error)) => Err(Refused::Event(with_causes(&error))),
        }
    }

    fn measure(&self, events: usize, took: Duration) {
        let name = self.projection.name();
        metrics::histogram!("chorus_projection_commit_seconds", "projection" => name).record(took);
        #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
        metrics::histogram!("chorus_projection_batch_events", "projection" => name).record(events as f64);
    }

    /// Takes note of events that were committed as parked.
    fn record_parked(&self, parked: &[Parked], parking: &mut Parking) {
        if parked.is_empty() {
            return;
        }
        let name = self.projection.name();
        for Parked { position, event_type, subject, error } in parked {
            tracing::error!(projection = name, position, event_type, subject, error, "event parked");
            metrics::counter!("chorus_projection_parked_total", "projection" => name).increment(1);
        }
        parking.add(parked);
        self.parked.store(parking.len(), Ordering::Relaxed);
    }

    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.projector.store, of: self.projection.name() }
    }

    fn report(&self, passed: u64) {
        self.set_state(ProjectionState::Following(passed));
        if self.role.borrow().serves {
            let projection = self.projection.name();
            #[expect(clippy::cast_precision_loss, reason = "a position for a chart")]
            metrics::gauge!("chorus_projection_passed", "projection" => projection).set(passed as f64);
            metrics::gauge!("chorus_projection_stopped", "projection" => projection).set(0.0);
            #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
            let parked = self.parked.load(Ordering::Relaxed) as f64;
            metrics::gauge!("chorus_projection_parked", "projection" => projection).set(parked);
        }
        self.moved.notify_one();
    }

    fn publish(&self, passed: u64, urgency: Urgency) {
        let projection = self.projection.name();
        let kinds = self.projection.kinds().to_vec();
        let progress = Progress { projection: projection.to_owned(), kinds, position: Position(passed) };
        self.projector.log.raw().publish_progress(progress, urgency);
    }
}

/// Why a commit was refused.
enum Refused {
    Fenced,
    /// An event cannot be projected, with the error.
    Event(String),
    TooManyParked,
}
