use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Subject, UserId};

event_enum! {
    /// `follow.<follower>.<followee>`: a follow or follow request.
    FollowEvent {
        Followed = "follow.followed.v1",
        FollowRequested = "follow.requested.v1",
        FollowAccepted = "follow.accepted.v1",
        Unfollowed = "follow.unfollowed.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    pub follower: UserId,
    pub followee: UserId,
}

/// The followee's profile is private: the follow starts with the acceptance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FollowRequested {
    pub follower: UserId,
    pub followee: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FollowAccepted {
    pub follower: UserId,
    pub followee: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unfollowed {
    pub follower: UserId,
    pub followee: UserId,
    /// True if only a request was withdrawn, so that counts do not change.
    #[serde(default)]
    pub only_requested: bool,
}

impl FollowEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::Followed(event) => Subject::Follow(event.follower, event.followee),
            Self::FollowRequested(event) => Subject::Follow(event.follower, event.followee),
            Self::FollowAccepted(event) => Subject::Follow(event.follower, event.followee),
            Self::Unfollowed(event) => Subject::Follow(event.follower, event.followee),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::Followed(_) | Self::FollowRequested(_) | Self::FollowAccepted(_) | Self::Unfollowed(_) => {
                None
            }
        }
    }
}
