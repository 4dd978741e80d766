use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};

use crate::event::DecodeError;
use crate::{Event, Kind, Message, Position, RawEvent, RawFollow, Stored, Subject};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to the log failed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The log is unreachable or overloaded: the same call may succeed later.
    #[error("the log is unavailable")]
    Unavailable(#[source] Cause),
    /// The log contains unreadable data: retries do not help.
    #[error("the log contains unreadable data{}", At(*.at))]
    Corrupt { at: Option<Position>, source: Cause },
}

struct At(Option<Position>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |position| write!(f, " at position {position}"))
    }
}

impl LogError {
    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    pub(crate) fn corrupt(at: impl Into<Option<Position>>, cause: impl Into<Cause>) -> Self {
        Self::Corrupt { at: at.into(), source: cause.into() }
    }
}

/// Why an event was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The last event of the subject is not at the expected position: read and decide again.
    #[error("the subject has changed since it was read")]
    Conflict,
    /// It is unknown whether the event was or will be appended: repeating the same append reveals it.
    #[error("it is not known whether the event was appended")]
    OutcomeUnknown(#[source] Cause),
    /// Nothing was appended.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The required freshness of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Any replica may answer, even one that lags behind: sufficient before an append, which detects conflicts.
    Any,
    /// Never older than the last acknowledged append.
    Latest,
}

/// The kinds of subjects to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Arc<[Kind]>);

impl Filter {
    pub fn kinds(kinds: &[Kind]) -> Self {
        Self(kinds.into())
    }

    pub fn everything() -> Self {
        Self::kinds(Kind::ALL)
    }

    pub fn takes(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }

    pub fn as_kinds(&self) -> &[Kind] {
        &self.0
    }
}

/// An item that an adapter sends to a follower.
#[derive(Debug)]
pub(crate) enum Followed {
    Event(Stored),
    Unreadable(Unreadable),
    /// All matching events up to this position have been delivered.
    Passed(Position),
}

/// Events after a position, in order and without gaps, then live. It survives outages and unreadable events; its only
/// error, [`LogError::Corrupt`] for an engine that is no longer a log, is final. Dropping it ends it.
#[derive(Debug)]
pub struct Follow {
    delivered: mpsc::Receiver<Result<Followed, LogError>>,
    taken: Vec<Result<Followed, LogError>>,
    last_word: Option<LogError>,
}

/// The events that were ready for a follower.
#[derive(Debug, Default)]
pub struct Batch {
    pub events: Vec<Stored>,
    /// Events in this batch with unreadable envelopes, in order.
    pub unreadable: Vec<Unreadable>,
    /// All matching events up to this position have been delivered, with this batch or earlier.
    pub passed: Position,
}

impl Followed {
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Event(stored) => stored.position,
            Self::Unreadable(unreadable) => unreadable.position,
            Self::Passed(position) => *position,
        }
    }
}

/// An event with an unreadable envelope.
#[derive(Debug)]
pub struct Unreadable {
    pub position: Position,
    /// The stored type; empty if there is none.
    pub event_type: String,
    /// As it is stored.
    pub subject: String,
    /// Always [`LogError::Corrupt`].
    pub error: LogError,
}

impl Unreadable {
    /// An unknown type is assumed to be a newer version's, whose envelope format may differ.
    pub(crate) fn new(
        position: Position,
        event_type: Option<&str>,
        subject: String,
        error: LogError,
    ) -> Self {
        let event_type = event_type.unwrap_or_default().to_owned();
        let error = match Event::decode(&event_type, b"{}") {
            Err(unknown @ DecodeError::Unknown(_)) if !event_type.is_empty() => {
                LogError::corrupt(position, unknown)
            }
            _ => error,
        };
        Self { position, event_type, subject, error }
    }
}

/// Number of events read ahead for a follower, so that reading and processing overlap.
const READ_AHEAD: usize = 2048;

impl Follow {
    pub(crate) fn channel() -> (mpsc::Sender<Result<Followed, LogError>>, Self) {
        let (sender, delivered) = mpsc::channel(READ_AHEAD);
        (sender, Self { delivered, taken: Vec::new(), last_word: None })
    }

    /// Waits for events, then returns all that are ready, up to `limit`, without waiting for more. `None` after an
    /// error, or when the process shuts down.
    pub async fn next_batch(&mut self, limit: usize) -> Option<Result<Batch, LogError>> {
        if let Some(error) = self.last_word.take() {
            return Some(Err(error));
        }
        if self.delivered.recv_many(&mut self.taken, limit).await == 0 {
            return None;
        }
        let mut batch = Batch { events: Vec::with_capacity(self.taken.len()), ..Batch::default() };
        for item in self.taken.drain(..) {
            match item {
                Ok(Followed::Event(stored)) => {
                    batch.passed = stored.position;
                    batch.events.push(stored);
                }
                Ok(Followed::Unreadable(unreadable)) => {
                    batch.passed = unreadable.position;
                    batch.unreadable.push(unreadable);
                }
                Ok(Followed::Passed(position)) => batch.passed = position,
                // Items before the error are still valid.
                Err(error) => self.last_word = Some(error),
            }
        }
        match self.last_word.take() {
            Some(error) if batch.passed == Position::START => Some(Err(error)),
            last_word => {
                self.last_word = last_word;
                Some(Ok(batch))
            }
        }
    }
}

/// A progress notification of a projection, for requests that wait for a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The projection, which builds the view of the same name.
    pub projection: String,
    /// The kinds of events that it follows.
    pub kinds: Vec<Kind>,
    /// The view contains all events of these kinds up to this position.
    pub position: Position,
}

/// When a progress notification is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Immediately: events were processed, and requests may be waiting.
    Now,
    /// With the next notification, or after a short delay.
    Soon,
}

/// The event log, the single source of truth. Adapters: `sqlite` for one machine, `jetstream` otherwise. Both pass
/// the contract in `tests/src/contracts/log.rs`, which specifies this trait completely. Each can also be opened to be
/// read only: then nothing is created, and appends fail.
#[async_trait]
pub trait EventLog: fmt::Debug + Send + Sync + 'static {
    /// Appends an event if the last event of its subject is at `expected` ([`Position::START`]: if there is none).
    /// Repeating the same append returns the same position, so an append with a lost answer can be repeated; the
    /// adapter does so itself before it returns `OutcomeUnknown`.
    async fn append(&self, message: &Message, expected: Position) -> Result<Position, AppendError>;

    /// The last event of each subject, in the requested order.
    async fn last(&self, subjects: &[Subject], freshness: Freshness)
    -> Result<Vec<Option<Stored>>, LogError>;

    /// The events of one subject after a position, in order; includes all acknowledged appends.
    async fn read(&self, subject: Subject, after: Position) -> Result<Vec<Stored>, LogError>;

    fn follow(&self, filter: Filter, after: Position) -> Follow;

    /// Like [`follow`](Self::follow), for processes that need few events and follow nothing else: the engine only
    /// sends matching events, and the position of other events is not reported.
    fn listen(&self, filter: Filter, after: Position) -> Follow;

    /// The position of the last event; [`Position::START`] if the log is empty.
    async fn head(&self) -> Result<Position, LogError>;

    /// For operators: the events after a position as they are stored, at most `limit` and at most
    /// [`RAW_LIMIT`](crate::RAW_LIMIT), in order and without gaps; of all kinds and types, also unreadable ones. Fewer
    /// mean that the end is reached.
    async fn raw(&self, after: Position, limit: usize) -> Result<Vec<RawEvent>, LogError>;

    /// Like [`raw`](Self::raw), the events of one subject, whose kind may be unknown.
    async fn raw_of(&self, subject: &str, after: Position, limit: usize) -> Result<Vec<RawEvent>, LogError>;

    /// Like [`raw`](Self::raw), then new events within 50 ms of their append.
    fn raw_follow(&self, after: Position) -> RawFollow;

    /// Whether the engine could store an event now, as far as known without an append: detects a full disk.
    async fn check_writable(&self) -> Result<(), LogError>;

    /// Notifies all processes of a checkpoint; best effort and cheap.
    fn publish_progress(&self, progress: Progress, urgency: Urgency);

    /// Receives the notifications of [`publish_progress`](Self::publish_progress) from all processes, including this
    /// one.
    fn progress(&self) -> broadcast::Receiver<Progress>;

    /// Called last, at shutdown: afterwards a plain copy of the files, if any, contains every acknowledged event.
    /// Later calls may return [`LogError::Unavailable`].
    async fn close(&self) -> Result<(), LogError> {
        Ok(())
    }
}
