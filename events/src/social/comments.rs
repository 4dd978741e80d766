use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{CommentId, Personal, PostId, Subject, UserId};

event_enum! {
    /// `comment.<post>.<comment>`: words under a post.
    CommentEvent {
        Commented = "comment.commented.v2",
        CommentDeleted = "comment.deleted.v2",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commented {
    pub post: PostId,
    pub comment: CommentId,
    pub author: UserId,
    pub post_author: UserId,
    /// The comment that this one answers; that one answers none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<CommentId>,
    /// Who wrote that one; not told of replies before version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to_author: Option<UserId>,
    pub text: Personal<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommentDeleted {
    pub post: PostId,
    pub comment: CommentId,
    pub author: UserId,
    pub post_author: UserId,
    /// Who wrote the comment that this one answered; not told before version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to_author: Option<UserId>,
}

impl CommentEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::Commented(event) => Subject::Comment(event.post, event.comment),
            Self::CommentDeleted(event) => Subject::Comment(event.post, event.comment),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::Commented(event) => Some((event.author, &mut event.text)),
            Self::CommentDeleted(_) => None,
        }
    }
}
