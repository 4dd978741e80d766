//! Comments under posts.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "comments", indexes: &[&BY_POST, &BY_AUTHOR, &BY_PARENT], layout: Layout::ByKey };

/// Those under one post, the oldest first.
pub const BY_POST: Index =
    Index { name: "by_post", equals: &["post"], order: "position", direction: Direction::Ascending };
/// Those of one author, the newest first.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };

/// The replies to one comment, the oldest first.
pub const BY_PARENT: Index =
    Index { name: "by_parent", equals: &["reply_to"], order: "position", direction: Direction::Ascending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub comment: String,
    pub post: String,
    pub author: String,
    pub reply_to: Option<String>,
    /// How many comments answer this one.
    #[serde(default)]
    pub replies: i64,
    pub text: String,
    /// Milliseconds since 1970.
    pub commented: i64,
    pub position: i64,
}

impl Document for Comment {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.comment.clone()
    }
}
