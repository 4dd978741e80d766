//! Who follows whom.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, View};

pub const VIEW: View = View { name: "follows", indexes: &[&FOLLOWERS, &FOLLOWINGS] };

/// Who follows one user, the newest first; or, not accepted yet, who asks to.
pub const FOLLOWERS: Index = Index {
    name: "followers",
    equals: &["followee", "accepted"],
    order: "position",
    direction: Direction::Descending,
};
/// Whom one user follows, the newest first; or asks to follow.
pub const FOLLOWINGS: Index = Index {
    name: "followings",
    equals: &["follower", "accepted"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    pub follower: String,
    pub followee: String,
    /// False while it is only asked for.
    pub accepted: bool,
    /// Milliseconds since 1970.
    pub since: i64,
    pub position: i64,
}

/// The key of somebody's following of somebody.
pub fn key(follower: &str, followee: &str) -> String {
    format!("{follower}.{followee}")
}

impl Document for Follow {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.follower, &self.followee)
    }
}
