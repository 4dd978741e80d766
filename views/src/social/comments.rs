//! Comments under posts and their counts, in one view so that commits change both together.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "comments",
    indexes: &[&BY_POST, &TOP_LEVEL, &BY_AUTHOR, &BY_PARENT],
    layout: Layout::Clustered,
    personal: &["text"],
};

/// Shown or hidden comments under one post, oldest first.
pub const BY_POST: Index =
    Index { name: "by_post", equals: &["post", "shown"], order: "position", direction: Direction::Ascending };
/// Comments under one post that are not replies, oldest first.
pub const TOP_LEVEL: Index = Index {
    name: "top_level",
    equals: &["top_level_of", "shown"],
    order: "position",
    direction: Direction::Ascending,
};
/// Comments of one author, newest first.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };

/// Shown or hidden replies to one comment, oldest first.
pub const BY_PARENT: Index = Index {
    name: "by_parent",
    equals: &["reply_to", "shown"],
    order: "position",
    direction: Direction::Ascending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    pub comment: String,
    pub post: String,
    pub author: String,
    pub reply_to: Option<String>,
    /// The post, unless the comment is a reply.
    pub top_level_of: Option<String>,
    /// The number of shown replies.
    pub replies: i64,
    /// False while the author is deactivated or suspended, or a moderator has removed the comment.
    pub shown: bool,
    /// Removed by a moderator.
    #[serde(default)]
    pub removed: bool,
    pub text: String,
    /// Milliseconds since 1970.
    pub commented: i64,
    pub position: i64,
}

/// The number of shown comments under a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub tally_of: String,
    pub comments: i64,
}

/// The key of the tally of a post.
pub fn tally_of(post: &str) -> String {
    format!("tally.{post}")
}

impl Document for Tally {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        tally_of(&self.tally_of)
    }
}

impl Document for Comment {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.comment.clone()
    }
}
