use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};

use crate::event::DecodeError;
use crate::{Event, Kind, Message, Position, Stored, Subject};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the log did not answer.
#[derive(Debug, Error)]
pub enum LogError {
    /// It cannot be reached or cannot take more now: the same call may succeed later.
    #[error("the log is unavailable")]
    Unavailable(#[source] Cause),
    /// What stands in it cannot be read: no retry helps.
    #[error("the log holds what cannot be read{}", At(*.at))]
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
    /// The last event of the subject stands elsewhere than expected: read it again and decide again.
    #[error("the subject has changed since it was read")]
    Conflict,
    /// Whether the event was appended, or will be yet, could not be found out: the same append again tells.
    #[error("whether the event was appended is not known")]
    OutcomeUnknown(#[source] Cause),
    /// Nothing was appended.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// How new an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Any replica may answer, also one that is a little behind: enough for whoever then appends, since a conflict
    /// tells.
    Any,
    /// Never older than the last append that was acknowledged to anybody.
    Latest,
}

/// Which kinds of subjects somebody follows.
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

/// What an adapter tells a follower.
#[derive(Debug)]
pub(crate) enum Followed {
    Event(Stored),
    Unreadable(Unreadable),
    /// Every event up to this position that passes the filter has been delivered.
    Passed(Position),
}

/// Events after a position, in order and without gaps, then live. It goes on by itself after an outage and past an event
/// that cannot be read; the one error it can give, [`LogError::Corrupt`] for an engine that is no longer a log, is its
/// last. Dropping it ends it.
#[derive(Debug)]
pub struct Follow {
    delivered: mpsc::Receiver<Result<Followed, LogError>>,
    taken: Vec<Result<Followed, LogError>>,
    last_word: Option<LogError>,
}

/// What was waiting for a follower.
#[derive(Debug, Default)]
pub struct Batch {
    pub events: Vec<Stored>,
    /// Events among these, in order, whose envelope cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Every event up to here that passes the filter has been delivered, with this batch or before it.
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

/// An event whose envelope cannot be read, so that nothing is known of it but this.
#[derive(Debug)]
pub struct Unreadable {
    pub position: Position,
    /// As it stands there; empty if there is none.
    pub event_type: String,
    /// Always [`LogError::Corrupt`].
    pub error: LogError,
}

impl Unreadable {
    /// A type that this program does not know is a newer one's: then the envelope may be as that one writes it.
    pub(crate) fn new(position: Position, event_type: Option<&str>, error: LogError) -> Self {
        let event_type = event_type.unwrap_or_default().to_owned();
        let error = match Event::decode(&event_type, b"{}") {
            Err(unknown @ DecodeError::Unknown(_)) if !event_type.is_empty() => {
                LogError::corrupt(position, unknown)
            }
            _ => error,
        };
        Self { position, event_type, error }
    }
}

/// Events read ahead for a follower: enough that reading and using them overlap.
const READ_AHEAD: usize = 2048;

impl Follow {
    pub(crate) fn channel() -> (mpsc::Sender<Result<Followed, LogError>>, Self) {
        let (sender, delivered) = mpsc::channel(READ_AHEAD);
        (sender, Self { delivered, taken: Vec::new(), last_word: None })
    }

    /// Waits for news, then takes all that is there, up to `limit` events, without waiting for more. `None` after
    /// an error, or when the process shuts down.
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
                // What was delivered before it is still good.
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

/// News of a projection's checkpoint, for whoever waits for a view to have taken something in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The projection, which builds the view of the same name.
    pub projection: String,
    /// The kinds it follows.
    pub kinds: Vec<Kind>,
    /// Every event of these kinds up to here is in the view.
    pub position: Position,
}

/// How soon news is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Something was taken in, and somebody may wait for it.
    Now,
    /// With what comes next, or a moment later.
    Soon,
}

/// The log: the only truth. Adapters: `sqlite` for one machine, `jetstream` beyond. Both pass the contract in
/// `tests/src/contracts/log.rs`, which is the full specification of what is said here.
#[async_trait]
pub trait EventLog: fmt::Debug + Send + Sync + 'static {
    /// Appends one event if the last event of its subject stands at `expected` ([`Position::START`]: if there is
    /// none). Appending the same event again with the same expectation answers the same position, so an append
    /// whose answer was lost may be repeated; the adapter does so itself before it answers `OutcomeUnknown`.
    async fn append(&self, message: &Message, expected: Position) -> Result<Position, AppendError>;

    /// The last event of each subject, in the order asked for.
    async fn last(&self, subjects: &[Subject], freshness: Freshness)
    -> Result<Vec<Option<Stored>>, LogError>;

    /// The events of one subject after a position, in order; never older than the last append acknowledged.
    async fn read(&self, subject: Subject, after: Position) -> Result<Vec<Stored>, LogError>;

    fn follow(&self, filter: Filter, after: Position) -> Follow;

    /// The same for a process that uses little of the log and follows nothing else: the engine sends it that little, and
    /// it is not told how far it has passed the rest.
    fn listen(&self, filter: Filter, after: Position) -> Follow;

    /// The position of the last event; [`Position::START`] if there is none.
    async fn head(&self) -> Result<Position, LogError>;

    /// Whether the engine could store an event now, as far as it can tell without one: whether its disk is full.
    async fn check_writable(&self) -> Result<(), LogError>;

    /// Tells every process of a checkpoint; may be lost, costs nothing.
    fn announce(&self, progress: Progress, urgency: Urgency);

    /// The news that [`announce`](Self::announce) gives, from all processes, this one included.
    fn progress(&self) -> broadcast::Receiver<Progress>;

    /// The last call of a process that ends: afterwards a plain copy of the files, where the log is one, holds every event
    /// that was acknowledged. Later calls may answer [`LogError::Unavailable`].
    async fn close(&self) -> Result<(), LogError> {
        Ok(())
    }
}
