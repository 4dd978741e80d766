//! Who likes which post. A like is also what the post's author is told of it, so that it is written once; what stands for
//! all likes of a post in the author's list of groups is the [`Post`](crate::social::posts::Post).

use serde::{Deserialize, Serialize};

use crate::social::notifications::Role;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "likes", indexes: &[&BY_POST, &BY_USER, &OF_OWNER], layout: Layout::ByKey };

/// Those of one post, the newest first.
pub const BY_POST: Index =
    Index { name: "by_post", equals: &["post", "role"], order: "position", direction: Direction::Descending };
/// Those of one user that somebody is told of, or that nobody is, the newest first.
pub const BY_USER: Index = Index {
    name: "by_user",
    equals: &["user", "tells", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// Those that one person is told of, the newest first.
pub const OF_OWNER: Index = Index {
    name: "of_owner",
    equals: &["owner", "role"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Like {
    pub post: String,
    pub user: String,
    /// The post's author, who is told; nobody is told of their own.
    pub owner: Option<String>,
    /// Whether there is an owner.
    pub tells: bool,
    /// [`Role::Act`]; or [`Role::ActAway`] while the user is deactivated or suspended: then the like is not counted.
    pub role: Role,
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
