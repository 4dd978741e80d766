//! Posts with their like counts; [comments](crate::social::comments) are counted in their own view. A post is also
//! the group header of its likes.

use serde::{Deserialize, Serialize};

use crate::social::notifications::Role;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "posts",
    indexes: &[&NEWEST, &BY_AUTHOR, &BY_NEWEST_LIKE],
    layout: Layout::Clustered,
    personal: &["caption", "images.alt", "images.placeholder"],
};

/// All posts, newest first.
pub const NEWEST: Index =
    Index { name: "newest", equals: &[], order: "position", direction: Direction::Descending };
/// Posts of one author, newest first.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };
/// Posts of one author with likes by others, newest like first.
pub const BY_NEWEST_LIKE: Index =
    Index { name: "told", equals: &["author", "head"], order: "told", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Post {
    pub post: String,
    pub author: String,
    pub images: Vec<Image>,
    /// None if no caption was given.
    pub caption: Option<String>,
    pub edited: bool,
    /// Removed by a moderator and hidden until it is restored.
    #[serde(default)]
    pub removed: bool,
    /// Milliseconds since 1970.
    pub published: i64,
    /// Position of the publishing event: the order of feeds.
    pub position: i64,
    /// Likes by active users.
    pub likes: i64,
    /// Position of the last change of the like count; 0 before the first like.
    #[serde(default)]
    pub liked: i64,
    /// [`Role::Header`] or [`Role::StaleHeader`]; none before the first like that notifies the author.
    #[serde(rename = "head", default)]
    pub likes_header: Option<Role>,
    /// Position of the newest like so far that notifies the author; 0 before the first.
    #[serde(rename = "told", default)]
    pub last_notified_position: i64,
}

/// A picture in the media store, with the size of its largest variant in pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub media: String,
    pub width: u32,
    pub height: u32,
    /// The alternative text; may be empty.
    pub alt: String,
    /// Its `BlurHash`; none for older posts.
    #[serde(default)]
    pub placeholder: Option<String>,
}

impl Document for Post {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.post.clone()
    }
}
