use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Day, Personal, PlayId, SongId, Subject, UserId};

event_enum! {
    /// `listen.<user>.<day>`: what a user listened to on one day (UTC).
    ListenEvent {
        SongPlayed = "listen.song_played.v1",
        PlayDeleted = "listen.play_deleted.v1",
    }
}

event_enum! {
    /// `listening.<user>`: private sessions, and deletions of spans of the history.
    ListeningEvent {
        PrivateSessionStarted = "listening.private_session_started.v1",
        PrivateSessionEnded = "listening.private_session_ended.v1",
        PlaysDeleted = "listening.plays_deleted.v1",
    }
}

/// A play that counts: the song is longer than 30 s, and half of it or 4 minutes were played.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SongPlayed {
    pub user: UserId,
    /// The day on which it started.
    pub day: Day,
    /// Derived from user, song and start: the same play is recorded once.
    pub play: PlayId,
    pub played: Personal<Played>,
}

/// Listening history is personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    pub song: SongId,
    /// Milliseconds since 1970.
    pub started: i64,
    /// Milliseconds.
    pub listened: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlayDeleted {
    pub user: UserId,
    pub day: Day,
    pub play: PlayId,
}

/// Until it ends, plays of the user are not recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivateSessionStarted {
    pub user: UserId,
    pub until: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivateSessionEnded {
    pub user: UserId,
}

/// Deletes all plays that were recorded before this event and started in the span.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaysDeleted {
    pub user: UserId,
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub until: DateTime<Utc>,
}

impl ListenEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::SongPlayed(event) => Subject::Listen(event.user, event.day),
            Self::PlayDeleted(event) => Subject::Listen(event.user, event.day),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::SongPlayed(event) => Some((event.user, &mut event.played)),
            Self::PlayDeleted(_) => None,
        }
    }
}

impl ListeningEvent {
    pub const fn user(&self) -> UserId {
        match self {
            Self::PrivateSessionStarted(event) => event.user,
            Self::PrivateSessionEnded(event) => event.user,
            Self::PlaysDeleted(event) => event.user,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Listening(self.user())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::PrivateSessionStarted(_) | Self::PrivateSessionEnded(_) | Self::PlaysDeleted(_) => None,
        }
    }
}
