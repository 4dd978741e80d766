use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{PostId, Subject, UserId};

event_enum! {
    /// `like.<post>.<user>`: a like of a post.
    LikeEvent {
        PostLiked = "like.liked.v1",
        PostUnliked = "like.unliked.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostLiked {
    pub post: PostId,
    pub user: UserId,
    pub post_author: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostUnliked {
    pub post: PostId,
    pub user: UserId,
    pub post_author: UserId,
}

impl LikeEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::PostLiked(event) => Subject::Like(event.post, event.user),
            Self::PostUnliked(event) => Subject::Like(event.post, event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::PostLiked(_) | Self::PostUnliked(_) => None,
        }
    }
}
