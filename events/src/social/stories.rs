use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Image, Personal, StoryId, Subject, UserId};

event_enum! {
    /// `story.<user>.<story>`: a picture that is shown for a day.
    StoryEvent {
        StoryPublished = "story.published.v1",
        StoryDeleted = "story.deleted.v1",
        StoryExpired = "story.expired.v1",
    }
}

event_enum! {
    /// `storyview.<story>.<viewer>`: a view of a story.
    StoryViewEvent {
        StoryViewed = "storyview.viewed.v1",
    }
}

/// How long a story is shown, from the time of its publishing event. Then [`StoryExpired`] is due.
pub const STORY_LIFETIME: TimeDelta = TimeDelta::hours(24);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryPublished {
    pub author: UserId,
    pub story: StoryId,
    pub image: Image,
    pub text: Personal<StoryText>,
}

/// The texts of a story's picture.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryText {
    /// The alternative text; may be empty.
    pub alt: String,
    /// `BlurHash` of the picture.
    pub placeholder: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryDeleted {
    pub author: UserId,
    pub story: StoryId,
}

/// The story has expired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryExpired {
    pub author: UserId,
    pub story: StoryId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoryViewed {
    pub story: StoryId,
    pub viewer: UserId,
    pub author: UserId,
}

impl StoryEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::StoryPublished(event) => Subject::Story(event.author, event.story),
            Self::StoryDeleted(event) => Subject::Story(event.author, event.story),
            Self::StoryExpired(event) => Subject::Story(event.author, event.story),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::StoryPublished(event) => Some((event.author, &mut event.text)),
            Self::StoryDeleted(_) | Self::StoryExpired(_) => None,
        }
    }
}

impl StoryViewEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::StoryViewed(event) => Subject::StoryView(event.story, event.viewer),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::StoryViewed(_) => None,
        }
    }
}
