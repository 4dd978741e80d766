//! The only load → decide → append → try-again in the code base.

use std::time::Duration;

use events::{AppendError, Draft, Event, Freshness, Kind, LogError, Position, Recorded, Subject};
use rand::RngExt;

use crate::Commands;
use crate::pipeline::context::{Context, Repetition};
use crate::pipeline::subject_cache::History;

/// Attempts at a command whose subject others are writing to at the same time.
const ATTEMPTS: u32 = 12;
/// Longest pause before the second attempt; each further one may be twice as long, up to the limit.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_LIMIT: Duration = Duration::from_millis(100);

/// What a decision knows: folded from events, minimal, local to its area.
pub(crate) trait Fold: Default {
    fn apply(&mut self, recorded: &Recorded);

    /// A subject to be looked at as well, that only what has been applied so far tells of.
    fn also(&self) -> Option<Subject> {
        None
    }
}

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    /// Of the event that made it so, now or before; the start if nothing ever had to happen.
    pub(crate) position: Position,
    pub(crate) kind: Kind,
    /// False if it was so already.
    pub(crate) changed: bool,
}

/// Why a command came to nothing.
#[derive(Debug)]
pub(crate) enum Failure<R> {
    Rejected(R),
    /// The `Idempotency-Key` was used before for something else.
    KeyReused,
    /// Others kept changing the subject, attempt after attempt.
    Contended,
    /// Whether the event was appended is not known.
    OutcomeUnknown(Box<dyn std::error::Error + Send + Sync>),
    Log(LogError),
}

impl<R> Failure<R> {
    /// What the decision refused; any other failure stays one, of whatever command this one is part of.
    pub(crate) fn rejection<S>(self) -> Result<R, Failure<S>> {
        match self {
            Self::Rejected(rejection) => Ok(rejection),
            Self::KeyReused => Err(Failure::KeyReused),
            Self::Contended => Err(Failure::Contended),
            Self::OutcomeUnknown(cause) => Err(Failure::OutcomeUnknown(cause)),
            Self::Log(error) => Err(Failure::Log(error)),
        }
    }
}

impl<R> From<LogError> for Failure<R> {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

struct Loaded<S> {
    state: S,
    target: History,
    /// True if some of it was supposed or remembered, not read.
    remembered: bool,
}

/// What a decision may be made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// The target has no event; of the others what is remembered.
    Supposed,
    Remembered,
    Fresh,
}

impl Commands {
    /// Loads `target` and `others`, decides, and appends the event to `target` under the condition that nothing has
    /// been appended there since. The others are read without a condition: what a race with them leaves behind must be
    /// harmless.
    ///
    /// A decision answers no event if what is wished is so already, or a rejection if it cannot be. Both are only
    /// believed of a fresh state.
    pub(crate) async fn execute<S: Fold, R>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        decide: impl Fn(&S) -> Result<Option<Event>, R>,
    ) -> Result<Done, Failure<R>> {
        self.attempt(context, target, others, decide, Knowledge::Remembered).await
    }

    /// As [`execute`](Self::execute), for a target of which there is most likely no event yet: it is supposed to have
    /// none, without a look, and the condition of the append tells if that was wrong.
    pub(crate) async fn begin<S: Fold, R>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        decide: impl Fn(&S) -> Result<Option<Event>, R>,
    ) -> Result<Done, Failure<R>> {
        // A repeated request must find its own event.
        let known = if context.is_repeatable() { Knowledge::Remembered } else { Knowledge::Supposed };
        self.attempt(context, target, others, decide, known).await
    }

    async fn attempt<S: Fold, R>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        decide: impl Fn(&S) -> Result<Option<Event>, R>,
        mut known: Knowledge,
    ) -> Result<Done, Failure<R>> {
        let kind = target.kind();
        let mut attempt = 0;
        loop {
            let Loaded { state, target: history, remembered } =
                self.load::<S>(context, target, others, known).await?;
            for (id, position) in history.ids() {
                match context.repeats(self.log.keys(), target, id) {
                    Repetition::Same => {
                        context.note_appended(id);
                        return Ok(Done { position, kind, changed: false });
                    }
                    Repetition::KeyReused => return Err(Failure::KeyReused),
                    Repetition::None => {}
                }
            }
            let event = match decide(&state) {
                Ok(Some(event)) => event,
                _ if remembered => {
                    known = Knowledge::Fresh;
                    continue;
                }
                Ok(None) => return Ok(Done { position: history.last(), kind, changed: false }),
                Err(rejection) => return Err(Failure::Rejected(rejection)),
            };
            match self.append(context, target, event, history.last()).await {
                Ok(position) => return Ok(Done { position, kind, changed: true }),
                // Nobody else need have been there.
                Err(AppendError::Conflict) if known == Knowledge::Supposed => known = Knowledge::Fresh,
                Err(AppendError::Conflict) => {
                    attempt += 1;
                    if attempt >= ATTEMPTS {
                        return Err(Failure::Contended);
                    }
                    known = Knowledge::Fresh;
                    tokio::time::sleep(pause(attempt)).await;
                }
                Err(AppendError::OutcomeUnknown(cause)) => return Err(Failure::OutcomeUnknown(cause)),
                Err(AppendError::Log(error)) => return Err(error.into()),
            }
        }
    }

    /// The event that this request itself has appended to a subject before, if it is a repeated one: what is costly to
    /// make for an event need not be made again.
    pub(crate) async fn event_before<R>(
        &self,
        context: &Context,
        target: Subject,
    ) -> Result<Option<(Event, Done)>, Failure<R>> {
        if !context.is_repeatable() {
            return Ok(None);
        }
        let (history, _) = self.history(target, true, true).await?;
        for recorded in &*history.events {
            match context.repeats(self.log.keys(), target, recorded.envelope.id) {
                Repetition::Same => {
                    context.note_appended(recorded.envelope.id);
                    let done = Done { position: recorded.position, kind: target.kind(), changed: false };
                    return Ok(Some((recorded.event.clone(), done)));
                }
                Repetition::KeyReused => return Err(Failure::KeyReused),
                Repetition::None => {}
            }
        }
        Ok(None)
    }

    async fn append(
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
        let position = self.log.append(draft, expected).await?;
        context.note_appended(id);
        self.histories.changed(target, position);
        context.appended.note();
        Ok(position)
    }

    async fn load<S: Fold>(
        &self,
        context: &Context,
        target: Subject,
        others: &[Subject],
        known: Knowledge,
    ) -> Result<Loaded<S>, LogError> {
        let fresh = known == Knowledge::Fresh;
        let (history, mut remembered) = if known == Knowledge::Supposed {
            (History::default(), true)
        } else {
            // A repeated request must find its own event, which need not be the last.
            self.history(target, fresh, context.is_repeatable()).await?
        };
        let mut state = S::default();
        history.events.iter().for_each(|event| state.apply(event));
        for &other in others {
            remembered |= self.apply(other, fresh, &mut state).await?;
        }
        if let Some(other) = state.also() {
            remembered |= self.apply(other, fresh, &mut state).await?;
        }
        Ok(Loaded { state, target: history, remembered })
    }

    /// The state of a subject that nothing is appended to.
    pub(crate) async fn look_at<S: Fold>(&self, subject: Subject) -> Result<S, LogError> {
        let mut state = S::default();
        self.apply(subject, true, &mut state).await?;
        Ok(state)
    }

    /// As [`look_at`](Self::look_at), by what is remembered of it, if anything is.
    pub(crate) async fn look_at_remembered<S: Fold>(&self, subject: Subject) -> Result<S, LogError> {
        let mut state = S::default();
        self.apply(subject, false, &mut state).await?;
        Ok(state)
    }

    /// Applies what stands of a subject. True if it was remembered, not read.
    async fn apply<S: Fold>(&self, subject: Subject, fresh: bool, state: &mut S) -> Result<bool, LogError> {
        let (history, remembered) = self.history(subject, fresh, false).await?;
        history.events.iter().for_each(|event| state.apply(event));
        Ok(remembered)
    }

    /// The events of a subject, and whether they were remembered. Fresh ones are never older than the last append
    /// that was acknowledged to anybody.
    async fn history(&self, subject: Subject, fresh: bool, whole: bool) -> Result<(History, bool), LogError> {
        if !fresh && let Some(history) = self.histories.get(subject) {
            return Ok((history, true));
        }
        let ticket = self.histories.before_reading(subject);
        if subject.kind().last_event_is_state() && !whole {
            // Any replica may answer, also one that is behind: the append tells, or a fresh look.
            let freshness = if fresh { Freshness::Latest } else { Freshness::Any };
            let last = self.log.last(&[subject], freshness).await?.pop().flatten();
            return Ok((History { events: last.into_iter().collect() }, !fresh));
        }
        let history = History { events: self.log.read(subject, Position::START).await?.into() };
        self.histories.remember(ticket, &history);
        Ok((history, false))
    }
}

fn pause(attempt: u32) -> Duration {
    let longest = PAUSE.saturating_mul(1 << attempt.min(10)).min(PAUSE_LIMIT);
    longest.mul_f64(rand::rng().random())
}
