use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{EventId, Position, Subject, UserId};

/// `ce-source` of all events that Chorus writes.
pub const EVENT_SOURCE: &str = "chorus";

/// The metadata of an event: the attributes of CloudEvents 1.0, and its actor and causes. Source:
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub id: EventId,
    /// Wire name with version, such as `post.published.v1`.
    pub event_type: Cow<'static, str>,
    pub source: Cow<'static, str>,
    /// The time of the decision, in microseconds.
    pub time: DateTime<Utc>,
    pub subject: Subject,
    /// The user whose command caused it; none for events by the system.
    pub actor: Option<UserId>,
    /// Shared by all events of one request.
    pub correlation: Uuid,
    /// The event that caused this one.
    pub causation: Option<EventId>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// An event ready to be appended: sealed and encoded, without a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub envelope: Envelope,
    /// JSON in which all personal data is sealed.
    pub body: Bytes,
}

/// A message with its position in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    pub message: Message,
}
