use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{EventId, Position, Subject, UserId};

/// `ce-source` of every event that Chorus writes.
pub const EVENT_SOURCE: &str = "chorus";

/// What is known of an event beside its body: the attributes of CloudEvents 1.0, and who and what caused it.
/// Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub id: EventId,
    /// Wire name with version, such as `post.published.v1`.
    pub event_type: Cow<'static, str>,
    pub source: Cow<'static, str>,
    /// When it was decided, to the microsecond.
    pub time: DateTime<Utc>,
    pub subject: Subject,
    /// Whose wish it was; none for what the system does by itself.
    pub actor: Option<UserId>,
    /// Shared by all that one request caused.
    pub correlation: Uuid,
    /// The event that this one is a consequence of.
    pub causation: Option<EventId>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// An event on its way into the log: sealed, encoded, without a position yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub envelope: Envelope,
    /// JSON, in which nothing personal is readable.
    pub body: Bytes,
}

/// A message that stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    pub message: Message,
}
