//! Follows and their counts, in one view so that commits change both together.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "follows", indexes: &[&FOLLOWERS, &FOLLOWINGS], layout: Layout::Clustered, personal: &[] };

/// Followers of one user, newest first: active or inactive ones, accepted or requested.
pub const FOLLOWERS: Index = Index {
    name: "followers",
    equals: &["followee", "accepted", "follower_active"],
    order: "position",
    direction: Direction::Descending,
};
/// Followings of one user, newest first: active or inactive ones, accepted or requested.
pub const FOLLOWINGS: Index = Index {
    name: "followings",
    equals: &["follower", "accepted", "followee_active"],
    order: "position",
    direction: Direction::Descending,
};

/// A follow or a follow request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    pub follower: String,
    pub followee: String,
    /// False while it is a request.
    pub accepted: bool,
    /// Deactivated and suspended users are excluded from the lists and counts of others.
    pub follower_active: bool,
    pub followee_active: bool,
    /// Milliseconds since 1970.
    pub since: i64,
    pub position: i64,
}

/// The numbers of followers and followings of a user, equal to the lists of active users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circle {
    pub user: String,
    /// Neither deactivated nor suspended.
    pub active: bool,
    pub followers: i64,
    pub followings: i64,
}

/// The key of a follow.
pub fn key(follower: &str, followee: &str) -> String {
    format!("{follower}.{followee}")
}

/// Follower and followee of a follow's key.
pub fn parties(key: &str) -> Option<(&str, &str)> {
    key.split_once('.')
}

impl Document for Follow {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.follower, &self.followee)
    }
}

impl Document for Circle {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.user.clone()
    }
}
