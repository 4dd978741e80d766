//! Posts, each with the count of its likes; their comments are counted with the [comments](crate::social::comments). A post also stands for its likes among what its author is told.

use serde::{Deserialize, Serialize};

use crate::social::notifications::Role;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "posts", indexes: &[&NEWEST, &BY_AUTHOR, &TOLD], layout: Layout::ByKey };

/// Everybody's, the newest first.
pub const NEWEST: Index =
    Index { name: "newest", equals: &[], order: "position", direction: Direction::Descending };
/// One author's, the newest first.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };
/// Those of one author that others have liked, the newest of these likes first.
pub const TOLD: Index =
    Index { name: "told", equals: &["author", "head"], order: "told", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Post {
    pub post: String,
    pub author: String,
    pub images: Vec<Image>,
    /// None where no caption was given at all.
    pub caption: Option<String>,
    pub edited: bool,
    /// A moderator has removed it: nobody is shown it, until it is restored.
    #[serde(default)]
    pub removed: bool,
    /// Milliseconds since 1970.
    pub published: i64,
    /// Of the event that published it: the order of feeds.
    pub position: i64,
    /// By active people.
    pub likes: i64,
    /// Position of the event that its likes were counted at last; 0 before the first.
    #[serde(default)]
    pub liked: i64,
    /// [`Role::Head`] or [`Role::HeadUnsettled`] of the likes that the author is told of; none before the first.
    #[serde(default)]
    pub head: Option<Role>,
    /// Position of the newest like by somebody else that there has been; 0 before the first.
    #[serde(default)]
    pub told: i64,
}

/// A picture in the media store; its size is that of its largest variant, in pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub media: String,
    pub width: u32,
    pub height: u32,
    /// What it shows; empty where nothing was said.
    pub alt: String,
    /// Its `BlurHash`; none of older posts.
    #[serde(default)]
    pub placeholder: Option<String>,
}

impl Document for Post {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.post.clone()
    }
}
