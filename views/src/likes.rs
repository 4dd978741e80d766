//! Who likes which post.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "likes", indexes: &[&BY_POST, &BY_USER], layout: Layout::ByKey };

/// Those of one post, the newest first.
pub const BY_POST: Index =
    Index { name: "by_post", equals: &["post"], order: "position", direction: Direction::Descending };
/// Those of one user, the newest first.
pub const BY_USER: Index =
    Index { name: "by_user", equals: &["user"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Like {
    pub post: String,
    pub user: String,
    /// Milliseconds since 1970.
    pub liked: i64,
    pub position: i64,
}

/// The key of the like of a post by a user.
pub fn key(post: &str, user: &str) -> String {
    format!("{post}.{user}")
}

impl Document for Like {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.post, &self.user)
    }
}
