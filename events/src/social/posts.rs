use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{MediaId, Personal, PostId, Subject, UserId};

event_enum! {
    /// `post.<post>`: pictures with a caption.
    PostEvent {
        PostPublished = "post.published.v2",
        CaptionEdited = "post.caption_edited.v1",
        PostDeleted = "post.deleted.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostPublished {
    pub post: PostId,
    pub author: UserId,
    pub images: Vec<Image>,
    pub text: Personal<PostText>,
}

/// A picture in the media store, with the size of its largest variant in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub media: MediaId,
    pub width: u32,
    pub height: u32,
}

/// The texts of the author.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostText {
    /// None if no caption was given; an empty caption was given as empty.
    pub caption: Option<String>,
    /// The alternative text of each image, in order; may be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alt: Vec<String>,
    /// The `BlurHash` of each image, in order, shown while the image loads; none for older posts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placeholders: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaptionEdited {
    pub post: PostId,
    pub author: UserId,
    pub caption: Personal<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PostDeleted {
    pub post: PostId,
    pub author: UserId,
}

impl PostEvent {
    pub const fn post(&self) -> PostId {
        match self {
            Self::PostPublished(event) => event.post,
            Self::CaptionEdited(event) => event.post,
            Self::PostDeleted(event) => event.post,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Post(self.post())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::PostPublished(event) => Some((event.author, &mut event.text)),
            Self::CaptionEdited(event) => Some((event.author, &mut event.caption)),
            Self::PostDeleted(_) => None,
        }
    }
}
