//! Who follows whom, and how many: lists and counts in one view, so that they are changed by the same commits.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "follows", indexes: &[&FOLLOWERS, &FOLLOWINGS], layout: Layout::ByKey };

/// Who follows one user, the newest first: those who are active, or those who are not; or, not accepted yet, who asks to.
pub const FOLLOWERS: Index = Index {
    name: "followers",
    equals: &["followee", "accepted", "follower_active"],
    order: "position",
    direction: Direction::Descending,
};
/// Whom one user follows, the newest first: those who are active, or those who are not; or asks to follow.
pub const FOLLOWINGS: Index = Index {
    name: "followings",
    equals: &["follower", "accepted", "followee_active"],
    order: "position",
    direction: Direction::Descending,
};

/// That somebody follows somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    pub follower: String,
    pub followee: String,
    /// False while it is only asked for.
    pub accepted: bool,
    /// Who is deactivated or suspended is left out of others' lists and counts until they come back.
    pub follower_active: bool,
    pub followee_active: bool,
    /// Milliseconds since 1970.
    pub since: i64,
    pub position: i64,
}

/// How many follow somebody, and how many they follow: as many as the lists have, of active people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circle {
    pub user: String,
    /// Neither deactivated nor suspended.
    pub active: bool,
    pub followers: i64,
    pub followings: i64,
}

/// The key of somebody's following of somebody.
pub fn key(follower: &str, followee: &str) -> String {
    format!("{follower}.{followee}")
}

/// Who follows whom, by the key of a follow.
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
