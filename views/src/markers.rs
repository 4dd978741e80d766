//! Markers of deactivated, suspended and erased accounts and of deleted posts. A projection keeps them in its own
//! view if it must handle concurrent events: commands read such state without a lock, so a like can follow the
//! deletion of its post in the log. Active accounts and existing posts have no marker.

use serde::{Deserialize, Serialize};

/// The document of a marker. It has no indexed fields, so no index finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkerDocument {
    #[serde(rename = "absence")]
    pub marker: Marker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Marker {
    /// Deactivated or suspended: the account may become active again.
    Hidden,
    /// The account is erased.
    Erased,
    /// The post is deleted.
    Deleted,
}

/// The key of an account's marker.
pub fn account_key(user: &str) -> String {
    format!("account.{user}")
}

/// The key of a post's marker.
pub fn post_key(post: &str) -> String {
    format!("post.{post}")
}
