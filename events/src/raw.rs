//! The log as it is stored, for operators: events of kinds and types that this program does not know, and events with
//! unreadable envelopes, each with its position.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::log_health::with_causes;
use crate::{
    Envelope, Event, EventId, Kind, LogError, Message, Position, Recorded, Stored, Subject, UnknownEvent,
    Unreadable, UserId,
};

/// Maximum number of events per raw read.
pub const RAW_LIMIT: usize = 1000;
/// Number of events read ahead for an operator who follows the log.
const RAW_READ_AHEAD: usize = 256;

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    pub position: Position,
    /// Empty if it has none.
    pub subject: String,
    /// Wire name with version; empty if it has none.
    pub event_type: String,
    /// JSON, unless another program wrote it.
    pub body: Bytes,
    /// The rest of the envelope, or why it cannot be read.
    pub attributes: Result<Attributes, String>,
}

/// The attributes of an envelope beside subject and type: see [`Envelope`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub id: EventId,
    pub source: String,
    pub time: DateTime<Utc>,
    pub actor: Option<UserId>,
    pub correlation: Uuid,
    pub causation: Option<EventId>,
    pub traceparent: Option<String>,
}

impl RawEvent {
    /// The kind of its subject; none if this program does not know it.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(&self.subject)
    }

    /// Why this program cannot process the event, if it cannot: its envelope is unreadable, its type or subject is
    /// unknown, or its body is not of its type.
    pub fn problem(&self) -> Option<String> {
        let stored = match self.stored() {
            Ok(stored) => stored,
            Err(problem) => return Some(problem),
        };
        let Message { envelope, body } = stored.message;
        match Event::decode(&envelope.event_type, &body) {
            Ok(event) if event.subject() == envelope.subject => None,
            Ok(event) => {
                Some(format!("it is about {}, but is stored under another subject", event.subject()))
            }
            Err(error) => Some(with_causes(&error)),
        }
    }

    /// Whether a newer program may have appended the event: its envelope is readable, but its type is unknown.
    pub fn has_unknown_type(&self) -> bool {
        self.attributes.is_ok() && UnknownEvent::is(&self.event_type)
    }

    /// The decoded event with its personal data sealed, or why there is none, as a follower gets it.
    ///
    /// # Errors
    /// If its envelope is unreadable, or this program cannot decode it.
    pub fn recorded(&self) -> Result<Recorded, Unreadable> {
        let position = self.position;
        let stored = self.stored().map_err(|problem| {
            let (event_type, subject) = (Some(self.event_type.as_str()), self.subject.clone());
            Unreadable::new(position, event_type, subject, LogError::corrupt(position, problem))
        })?;
        Recorded::sealed(stored).map_err(|error| {
            let (event_type, subject) = (self.event_type.clone(), self.subject.clone());
            Unreadable { position, event_type, subject, error }
        })
    }

    /// Stands for an event that a log without gaps should have.
    pub(crate) fn missing(position: Position) -> Self {
        Self {
            position,
            subject: String::new(),
            event_type: String::new(),
            body: Bytes::new(),
            attributes: Err("there is no event at this position: the log has lost it".to_owned()),
        }
    }

    /// The event with its typed envelope.
    ///
    /// # Errors
    /// Why there is none.
    pub fn stored(&self) -> Result<Stored, String> {
        let attributes = self.attributes.clone()?;
        let subject = self.subject.parse::<Subject>().map_err(|error| {
            // An unknown type says more than its unknown subject.
            let is_newer = UnknownEvent::is(&self.event_type);
            if is_newer { UnknownEvent(self.event_type.clone()).to_string() } else { error.to_string() }
        })?;
        let envelope = Envelope {
            id: attributes.id,
            event_type: self.event_type.clone().into(),
            source: attributes.source.into(),
            time: attributes.time,
            subject,
            actor: attributes.actor,
            correlation: attributes.correlation,
            causation: attributes.causation,
            traceparent: attributes.traceparent,
        };
        Ok(Stored { position: self.position, message: Message { envelope, body: self.body.clone() } })
    }
}

/// Events as they are stored, after a position in order, then new ones as they are appended. Dropping it ends it.
#[derive(Debug)]
pub struct RawFollow {
    delivered: mpsc::Receiver<Result<RawEvent, LogError>>,
}

impl RawFollow {
    pub(crate) fn channel() -> (mpsc::Sender<Result<RawEvent, LogError>>, Self) {
        let (sender, delivered) = mpsc::channel(RAW_READ_AHEAD);
        (sender, Self { delivered })
    }

    /// The next event. After [`LogError::Unavailable`] it continues when the log is back; `None` after any other
    /// error.
    pub async fn next(&mut self) -> Option<Result<RawEvent, LogError>> {
        self.delivered.recv().await
    }
}
