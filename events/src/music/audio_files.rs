use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{MediaId, SongId, Subject, UserId};

event_enum! {
    /// `audio.<file>`: who uses a stored audio file. A song that is being published claims it, and the clean-up releases it
    /// before it deletes the file. Of the two, one finds that the subject has changed. The last event is the state.
    AudioEvent {
        AudioClaimed = "audio.claimed.v1",
        AudioReleased = "audio.released.v1",
    }
}

/// Protects the file until the song is published, for a day at most. From then on the song does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioClaimed {
    pub audio: MediaId,
    pub song: SongId,
}

/// No song has the file any more. Its id is never used again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioReleased {
    pub audio: MediaId,
}

impl AudioEvent {
    pub const fn audio(&self) -> MediaId {
        match self {
            Self::AudioClaimed(event) => event.audio,
            Self::AudioReleased(event) => event.audio,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Audio(self.audio())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::AudioClaimed(_) | Self::AudioReleased(_) => None,
        }
    }
}
