use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Content, Personal, Subject, UserId};

event_enum! {
    /// `moderation.<content>`: removals and restorations of a post, a comment or a story. The moderator is the
    /// event's actor.
    ModerationEvent {
        ContentRemoved = "moderation.content_removed.v1",
        ContentRestored = "moderation.content_restored.v1",
    }
}

/// How long removed content can be restored. Its files are kept that long.
pub const REMOVAL_REVERSIBLE: TimeDelta = TimeDelta::days(30);

/// A moderator has removed the content: it is not shown any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentRemoved {
    pub content: Content,
    pub author: UserId,
    /// The reason, for the author. Sealed with the author's key: it is about their content, and is erased with it.
    pub reason: Personal<String>,
}

/// A moderator has restored the content.
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

    /// The author of the content.
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
