//! Likes of posts. A like is also the notification of the post's author, so that it is written once. The
//! [`Post`](crate::social::posts::Post) is the group header of its likes.

use serde::{Deserialize, Serialize};

use crate::social::notifications::Role;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "likes",
    indexes: &[&BY_POST, &BY_USER, &OF_OWNER],
    layout: Layout::Clustered,
    personal: &[],
};

/// Likes of one post, newest first.
pub const BY_POST: Index =
    Index { name: "by_post", equals: &["post", "role"], order: "position", direction: Direction::Descending };
/// Likes of one user, either those that notify the author of the post or the others, newest first.
pub const BY_USER: Index = Index {
    name: "by_user",
    equals: &["user", "tells", "role"],
    order: "position",
    direction: Direction::Descending,
};
/// Likes that notify one user, newest first.
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
    /// The post's author, who is notified; none for an own like.
    pub owner: Option<String>,
    /// Whether there is an owner.
    #[serde(rename = "tells")]
    pub notifies: bool,
    /// [`Role::Activity`], or [`Role::HiddenActivity`] while the user is deactivated or suspended: then the like is
    /// not counted.
    pub role: Role,
    /// Milliseconds since 1970.
    pub liked: i64,
    pub position: i64,
}

/// The key of a user's like of a post.
pub fn key(post: &str, user: &str) -> String {
    format!("{post}.{user}")
}

impl Document for Like {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.post, &self.user)
    }
}
