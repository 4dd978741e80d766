use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Personal, Position, SessionId, Subject, UserId};

event_enum! {
    /// `session.<user>.<session>`: one log-in on one device.
    SessionEvent {
        SessionStarted = "session.started.v1",
        SessionSeen = "session.seen.v1",
        SessionEnded = "session.ended.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStarted {
    pub user: UserId,
    pub session: SessionId,
    /// Tokens of the session expire at this time at the latest.
    pub expires: DateTime<Utc>,
    pub client: Personal<Client>,
}

/// The client of a log-in, shown in the user's list of sessions.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The `User-Agent`, truncated to a readable length.
    pub device: String,
    /// The network address of the request.
    pub address: String,
}

/// The session was used again after some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSeen {
    pub user: UserId,
    pub session: SessionId,
    /// Position of the event that started it, so that this event alone is the session's state.
    pub since: Position,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionEnded {
    pub user: UserId,
    pub session: SessionId,
    pub reason: SessionEndReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEndReason {
    LoggedOut,
    /// Ended by its owner from another session.
    Revoked,
    PasswordChanged,
    Suspended,
    Erased,
}

impl SessionEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::SessionStarted(event) => Subject::Session(event.user, event.session),
            Self::SessionSeen(event) => Subject::Session(event.user, event.session),
            Self::SessionEnded(event) => Subject::Session(event.user, event.session),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::SessionStarted(event) => Some((event.user, &mut event.client)),
            Self::SessionSeen(_) | Self::SessionEnded(_) => None,
        }
    }
}
