//! The only load → decide → append → retry in the code base.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use chrono::{DateTime, SubsecRound, Utc};
use events::{AppendError, Draft, Event, Freshness, Kind, LogError, Position, Recorded, Subject};

use crate::Commands;
use crate::pipeline::context::{Context, Replay};
use crate::pipeline::errors::CommandError;
use crate::pipeline::snapshots::snapshots_of;
use crate::pipeline::subject_cache::SubjectEvents;

/// Retries of a command whose subject is being changed concurrently. Jitter adds up to as much again.
const CONTENTION: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(1))
    .with_max_delay(Duration::from_millis(50))
    .with_max_times(11)
    .with_jitter();

/// The state of a decision: folded from events, minimal, local to its area.
pub(crate) trait Fold: Default {
    fn apply(&mut self, recorded: &Recorded);

    /// One more subject to load, whose id is only known from the events applied so far.
    fn further_subject(&self) -> Option<Subject> {
        None
    }

    /// The state to cache, of subjects with a long history.
    fn to_cache(&self) -> Option<Cached> {
        None
    }

    /// The state that was cached, if it is one of this type.
    fn from_cache(_: Cached) -> Option<Self> {
        None
    }
}

/// A folded state of any type.
pub(crate) type Cached = Arc<dyn Any + Send + Sync>;

/// The outcome of a command that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Position of the event that established the requested state, now or earlier; the start if there is none.
    pub position: Position,
    pub kind: Kind,
    /// False if the command had no effect. A replay answers what the first request did.
    pub changed: bool,
    /// The event was appended by an earlier copy of the same request.
    pub replayed: bool,
    /// When the event was recorded, in whole milliseconds as views have it.
    pub time: DateTime<Utc>,
}

impl Outcome {
    fn new(position: Position, kind: Kind, changed: bool, time: DateTime<Utc>) -> Self {
        Self { position, kind, changed, replayed: false, time: time.trunc_subsecs(3) }
    }

    fn unchanged(recorded: &Recorded, kind: Kind) -> Self {
        Self::new(recorded.position, kind, false, recorded.envelope.time)
    }

    fn replayed(recorded: &Recorded, kind: Kind) -> Self {
        Self { replayed: true, ..Self::new(recorded.position, kind, true, recorded.envelope.time) }
    }
}

struct Loaded<S> {
    state: S,
    target: SubjectEvents,
    /// True if a part was assumed or came from the cache, not from the log.
    may_be_stale: bool,
}

/// How fresh the state of a decision must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadConsistency {
    /// The target is assumed to have no event; the other subjects may come from the cache.
    AssumeNew,
    /// All subjects may come from the cache.
    Cached,
    /// All subjects are read from the log.
    Fresh,
}

impl Commands {
    /// Loads `target` and `others`, decides, and appends the event to `target` on the condition that nothing has been
    /// appended there since. The others are read without a condition: a race with them must leave nothing harmful.
    ///
    /// A decision without an event (the command has no effect) and a rejection are repeated on a fresh state before they are
    /// returned.
    pub(crate) async fn execute<S: Fold, R>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        decide: impl Fn(&S) -> Result<Option<Event>, R>,
    ) -> Result<Outcome, CommandError<R>> {
        self.attempt(context, target, others, decide, ReadConsistency::Cached).await
    }

    /// Like [`execute`](Self::execute), for a target that most likely has no event yet. It is assumed to have none and not
    /// read; the condition of the append fails if it has.
    pub(crate) async fn execute_new<S: Fold, R>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        decide: impl Fn(&S) -> Result<Option<Event>, R>,
    ) -> Result<Outcome, CommandError<R>> {
        // A replayed request must find its own event.
        let replayable = context.has_idempotency_key();
        let consistency = if replayable { ReadConsistency::Cached } else { ReadConsistency::AssumeNew };
        self.attempt(context, target, others, decide, consistency).await
    }

    /// Like [`execute`](Self::execute), for several decisions about one subject: it is read once, not before each append.
    /// No decision may depend on the events of the others. Replays are not recognised: the state must tell what has been
    /// done. Outcomes and rejections are in the order of the decisions.
    pub(crate) async fn execute_series<S: Fold, R>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        decisions: &[impl Fn(&S) -> Result<Option<Event>, R>],
    ) -> Result<Vec<Result<Outcome, R>>, CommandError<R>> {
        debug_assert!(!context.has_idempotency_key(), "the events of a series would have the same id");
        let kind = target.kind();
        let mut loaded = self.load::<S>(context, target, others, ReadConsistency::Fresh).await?;
        let mut last = loaded.target.last();
        let mut outcomes = Vec::with_capacity(decisions.len());
        for decide in decisions {
            let mut delays = CONTENTION.build();
            let outcome = loop {
                let event = match decide(&loaded.state) {
                    Ok(Some(event)) => event,
                    Ok(None) => break Ok(Outcome::new(last, kind, false, context.now)),
                    Err(rejection) => break Err(rejection),
                };
                match self.append(context, target, event, last).await {
                    Ok(position) => {
                        last = position;
                        break Ok(Outcome::new(position, kind, true, context.now));
                    }
                    Err(AppendError::Conflict) => {
                        let Some(delay) = delays.next() else { return Err(CommandError::Contended) };
                        tokio::time::sleep(delay).await;
                        loaded = self.load::<S>(context, target, others, ReadConsistency::Fresh).await?;
                        last = loaded.target.last();
                    }
                    Err(AppendError::OutcomeUnknown(cause)) => {
                        return Err(CommandError::OutcomeUnknown(cause));
                    }
                    Err(AppendError::Log(error)) => return Err(error.into()),
                }
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn attempt<S: Fold, R>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        decide: impl Fn(&S) -> Result<Option<Event>, R>,
        mut consistency: ReadConsistency,
    ) -> Result<Outcome, CommandError<R>> {
        let kind = target.kind();
        let mut delays = CONTENTION.build();
        loop {
            let Loaded { state, target: loaded, may_be_stale } =
                self.load::<S>(context, target, others, consistency).await?;
            for recorded in &*loaded.events {
                let id = recorded.envelope.id;
                match context.replay_of(self.log.keys(), target, id) {
                    Replay::Same => {
                        context.set_first_event(id);
                        return Ok(Outcome::replayed(recorded, kind));
                    }
                    Replay::KeyReused => return Err(CommandError::KeyReused),
                    Replay::None => {}
                }
            }
            let event = match decide(&state) {
                Ok(Some(event)) => event,
                _ if may_be_stale => {
                    consistency = ReadConsistency::Fresh;
                    continue;
                }
                Ok(None) => {
                    let none = Outcome::new(Position::START, kind, false, context.now);
                    return Ok(loaded.events.last().map_or(none, |last| Outcome::unchanged(last, kind)));
                }
                Err(rejection) => return Err(CommandError::Rejected(rejection)),
            };
            match self.append(context, target, event, loaded.last()).await {
                Ok(position) => return Ok(self.appended(context, target, position).await?),
                // The assumption was wrong; there need not be a concurrent append.
                Err(AppendError::Conflict) if consistency == ReadConsistency::AssumeNew => {
                    consistency = ReadConsistency::Fresh;
                }
                Err(AppendError::Conflict) => {
                    let Some(delay) = delays.next() else { return Err(CommandError::Contended) };
                    consistency = ReadConsistency::Fresh;
                    tokio::time::sleep(delay).await;
                }
                Err(AppendError::OutcomeUnknown(cause)) => return Err(CommandError::OutcomeUnknown(cause)),
                Err(AppendError::Log(error)) => return Err(error.into()),
            }
        }
    }

    /// The outcome of an append under the request's key. The log acknowledges it also if a concurrent copy of the request was
    /// faster: then the event of the other copy is stored.
    async fn appended(
        &self,
        context: &Context,
        target: Subject,
        position: Position,
    ) -> Result<Outcome, LogError> {
        let own = Outcome::new(position, target.kind(), true, context.now);
        if !context.has_idempotency_key() {
            return Ok(own);
        }
        let (loaded, _) = self.events_of(target, true, true).await?;
        let is_of_a_copy =
            |one: &&Recorded| one.position == position && one.envelope.correlation != context.correlation;
        let of_a_copy = loaded.events.iter().find(is_of_a_copy);
        Ok(of_a_copy.map_or(own, |stored| Outcome::replayed(stored, target.kind())))
    }

    /// The event that the first copy of this request appended to a subject, if it is a replay. This saves work such as
    /// hashing a password.
    pub(crate) async fn replayed_event<R>(
        &self,
        context: &Context,
        target: Subject,
    ) -> Result<Option<(Event, Outcome)>, CommandError<R>> {
        if !context.has_idempotency_key() {
            return Ok(None);
        }
        let (events, _) = self.events_of(target, true, true).await?;
        for recorded in &*events.events {
            match context.replay_of(self.log.keys(), target, recorded.envelope.id) {
                Replay::Same => {
                    context.set_first_event(recorded.envelope.id);
                    return Ok(Some((recorded.event.clone(), Outcome::replayed(recorded, target.kind()))));
                }
                Replay::KeyReused => return Err(CommandError::KeyReused),
                Replay::None => {}
            }
        }
        Ok(None)
    }

    pub(crate) async fn append(
        &self,
        context: &Context,
        target: Subject,
        event: Event,
        expected: Position,
    ) -> Result<Position, AppendError> {
        debug_assert_eq!(event.subject(), target, "a decision may only write to its target");
        let id = context.event_id(self.log.keys(), target);
        let draft = Draft {
            id,
            time: context.now,
            actor: context.actor,
            correlation: context.correlation,
            causation: context.cause(),
            traceparent: context.traceparent.clone(),
            event,
        };
        let kind = target.kind().as_str();
        metrics::counter!("chorus_command_attempts_total", "kind" => kind).increment(1);
        let appended = self.log.append(draft, expected).await;
        if matches!(appended, Err(AppendError::Conflict)) {
            metrics::counter!("chorus_command_conflicts_total", "kind" => kind).increment(1);
        }
        let position = appended?;
        context.set_first_event(id);
        self.subject_cache.changed(target, position);
        Ok(position)
    }

    async fn load<S: Fold>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        consistency: ReadConsistency,
    ) -> Result<Loaded<S>, LogError> {
        let fresh = consistency == ReadConsistency::Fresh;
        let (loaded, mut may_be_stale) = if consistency == ReadConsistency::AssumeNew {
            (SubjectEvents::default(), true)
        } else {
            // A replayed request must find its own event, which need not be the last.
            self.events_of(target, fresh, context.has_idempotency_key()).await?
        };
        let mut state: S = self.snapshot_cache.fold(target, &loaded);
        for &other in others {
            may_be_stale |= self.apply(other, fresh, &mut state).await?;
        }
        if let Some(other) = state.further_subject() {
            may_be_stale |= self.apply(other, fresh, &mut state).await?;
        }
        Ok(Loaded { state, target: loaded, may_be_stale })
    }

    /// The state of a subject, read from the log.
    pub(crate) async fn read_state<S: Fold>(&self, subject: Subject) -> Result<S, LogError> {
        let (loaded, _) = self.events_of(subject, true, false).await?;
        Ok(self.snapshot_cache.fold(subject, &loaded))
    }

    /// The state of a subject from the cache, or from the log if the cache does not have it.
    pub(crate) async fn read_cached_state<S: Fold>(&self, subject: Subject) -> Result<S, LogError> {
        let (loaded, _) = self.events_of(subject, false, false).await?;
        Ok(self.snapshot_cache.fold(subject, &loaded))
    }

    /// The state of a subject and its [`further_subject`](Fold::further_subject), read from the log.
    pub(crate) async fn read_whole_state<S: Fold>(&self, subject: Subject) -> Result<S, LogError> {
        let mut state = self.read_state::<S>(subject).await?;
        if let Some(other) = state.further_subject() {
            self.apply(other, true, &mut state).await?;
        }
        Ok(state)
    }

    /// Applies the events of a subject. True if they may be stale.
    async fn apply<S: Fold>(&self, subject: Subject, fresh: bool, state: &mut S) -> Result<bool, LogError> {
        let (loaded, may_be_stale) = self.events_of(subject, fresh, false).await?;
        loaded.events.iter().for_each(|event| state.apply(event));
        Ok(may_be_stale)
    }

    /// The events of a subject, and whether they may be stale. Fresh ones include every append that was acknowledged before
    /// the call. Unless `whole`, the last event is enough for a subject whose last event is its state.
    async fn events_of(
        &self,
        subject: Subject,
        fresh: bool,
        whole: bool,
    ) -> Result<(SubjectEvents, bool), LogError> {
        if let Some(snapshots) = snapshots_of(subject) {
            return Ok((self.events_since_snapshot(subject, snapshots).await?, false));
        }
        if !fresh && let Some(cached) = self.subject_cache.get(subject) {
            return Ok((cached, true));
        }
        let reading = self.subject_cache.start_reading(subject);
        if subject.kind().last_event_is_state() && !whole {
            // Any replica may answer, even a stale one: the append detects it, or the fresh read that follows.
            let freshness = if fresh { Freshness::Latest } else { Freshness::Any };
            let last = self.log.last(&[subject], freshness).await?.pop().flatten();
            return Ok((SubjectEvents { events: last.into_iter().collect() }, !fresh));
        }
        let loaded = SubjectEvents { events: self.log.read(subject, Position::START).await?.into() };
        self.subject_cache.insert(reading, &loaded);
        Ok((loaded, false))
    }
}
