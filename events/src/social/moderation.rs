use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Content, Personal, Subject, UserId};

event_enum! {
    /// `moderation.<content>`: what moderators did about a post, a comment or a story. Who did it is the event's actor.
    ModerationEvent {
        ContentRemoved = "moderation.content_removed.v1",
        ContentRestored = "moderation.content_restored.v1",
    }
}

/// How long after its removal content can be restored. Its files are kept that long.
pub const REMOVAL_REVERSIBLE: TimeDelta = TimeDelta::days(30);

/// A moderator has removed it: nobody is shown it any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentRemoved {
    pub content: Content,
    pub author: UserId,
    /// Why, for the author. Sealed as the author's: it is about what they published, and is erased with them.
    pub reason: Personal<String>,
}

/// A moderator has restored what was removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentRestored {
    pub content: Content,
    pub author: UserId,
}

impl ModerationEvent {
    pub const fn content(&self) -> Content {
        match self {
            Self::ContentRemoved(event) => event.content,
            Self::ContentRestored(event) => event.content,
        }
    }

    /// Whose content it is.
    pub const fn author(&self) -> UserId {
        match self {
            Self::ContentRemoved(event) => event.author,
            Self::ContentRestored(event) => event.author,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Moderation(self.content())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::ContentRemoved(event) => Some((event.author, &mut event.reason)),
            Self::ContentRestored(_) => None,
        }
    }
}
