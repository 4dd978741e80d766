use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Personal, SongId, Subject, UserId};

event_enum! {
    /// `queue.<user>`: what a user's player plays next, shared by their devices.
    QueueEvent {
        QueueSaved = "queue.saved.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueSaved {
    pub user: UserId,
    pub queue: Personal<PlayQueue>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayQueue {
    pub songs: Vec<SongId>,
    /// Index of the current song; none if nothing plays.
    pub current: Option<u32>,
    /// Milliseconds from the start of the current song.
    pub place: u64,
    /// Name of the client that saved it.
    pub device: String,
}

impl QueueEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::QueueSaved(event) => Subject::Queue(event.user),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same signature for all kinds")]
    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::QueueSaved(event) => Some((event.user, &mut event.queue)),
        }
    }
}
