//! How people show themselves. How many follow them stands with the follows.

use serde::{Deserialize, Serialize};

use crate::social::posts::Image;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "profiles", indexes: &[&BY_USERNAME], layout: Layout::ByKey };

/// By the folded form of the username, which is unique among accounts.
pub const BY_USERNAME: Index = Index {
    name: "by_username",
    equals: &["folded_username"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub user: String,
    /// As its owner spells it.
    pub username: String,
    pub folded_username: String,
    pub firstname: String,
    pub lastname: String,
    pub bio: String,
    pub photo: Option<Image>,
    pub private: bool,
    pub standing: Standing,
    /// Milliseconds since 1970.
    pub joined: i64,
    /// Of the event that made the account.
    pub position: i64,
    pub posts: i64,
}

/// A post that does not count, since it is deleted or removed: kept so that a deletion and a removal that were decided at the
/// same time do not take it off twice. No index has it: it lacks their fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncountedPost {
    pub uncounted: String,
    /// For good.
    pub deleted: bool,
}

/// The key of such a note.
pub fn uncounted(post: &str) -> String {
    format!("post.{post}")
}

/// Whether an account and what it published is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Active,
    /// Put to rest by its owner.
    Deactivated,
    /// Locked by a moderator.
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
