//! Who is deactivated, suspended or erased, and which posts are deleted: notes that a projection keeps in a view of its own
//! where it must place what others do at the same time. Commands look at such things without a lock, so that a like may
//! stand in the log behind the deletion of its post. There is no note of who is active, nor of a post that is there.

use serde::{Deserialize, Serialize};

/// Such a note. No index has it: it lacks their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub absence: Absence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// Deactivated or suspended: an account that may come back.
    Hidden,
    /// An account that is erased.
    Erased,
    /// A post that is deleted.
    Deleted,
}

/// The key of the note about an account.
pub fn of_account(user: &str) -> String {
    format!("account.{user}")
}

/// The key of the note about a post.
pub fn of_post(post: &str) -> String {
    format!("post.{post}")
}
