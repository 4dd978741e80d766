use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{CommentId, Personal, PostId, Subject, UserId};

event_enum! {
    /// `comment.<post>.<comment>`: a comment on a post.
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
    /// The parent comment, which is not a reply itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<CommentId>,
    /// The author of the parent comment; they were not notified of replies before version 2.
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
    /// The author of the parent comment; they were not notified before version 2.
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
