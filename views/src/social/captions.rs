//! All versions of a post's caption: the first one and every edit.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "captions",
    indexes: &[&BY_POST, &BY_AUTHOR],
    layout: Layout::Clustered,
    personal: &["caption"],
};

/// Captions of one post, newest first.
pub const BY_POST: Index =
    Index { name: "by_post", equals: &["post"], order: "position", direction: Direction::Descending };
/// Captions of one author, newest first.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caption {
    pub post: String,
    pub author: String,
    /// None if the post was published without a caption.
    pub caption: Option<String>,
    /// Milliseconds since 1970.
    pub written: i64,
    pub position: i64,
}

impl Document for Caption {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        format!("{}.{}", self.post, self.position)
    }
}
