//! Public profiles. The follow counts are in the view of follows.

use serde::{Deserialize, Serialize};

use crate::social::posts::Image;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "profiles",
    indexes: &[&BY_USERNAME],
    layout: Layout::Clustered,
    personal: &["username", "folded_username", "firstname", "lastname", "bio"],
};

/// By the folded username, which is unique among accounts.
pub const BY_USERNAME: Index = Index {
    name: "by_username",
    equals: &["folded_username"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub user: String,
    /// As the owner spells it.
    pub username: String,
    pub folded_username: String,
    pub firstname: String,
    pub lastname: String,
    pub bio: String,
    pub photo: Option<Image>,
    pub private: bool,
    #[serde(rename = "standing")]
    pub status: AccountStatus,
    /// Milliseconds since 1970.
    pub joined: i64,
    /// Position of the sign-up event.
    pub position: i64,
    pub posts: i64,
}

/// Marks a post as not counted since it is deleted or removed, so that concurrent deletion and removal decrement the
/// count once. It has no indexed fields, so no index finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncountedPost {
    pub uncounted: String,
    /// Deleted, which is final.
    pub deleted: bool,
}

/// The key of such a document.
pub fn uncounted(post: &str) -> String {
    format!("post.{post}")
}

/// Whether an account and its content are visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountStatus {
    Active,
    /// Deactivated by its owner.
    Deactivated,
    /// Suspended by a moderator.
    Suspended,
}

impl Document for Profile {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.user.clone()
    }
}

impl Document for UncountedPost {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        uncounted(&self.uncounted)
    }
}
