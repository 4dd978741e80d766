//! Bookmarks: places in songs to continue from, visible to their user only.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "bookmarks",
    indexes: &[&OF_USER],
    layout: Layout::Clustered,
    personal: &["place", "comment"],
};

/// Bookmarks of one user, newest first.
pub const OF_USER: Index =
    Index { name: "of_user", equals: &["user"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    pub user: String,
    pub song: String,
    /// Milliseconds from the start of the song.
    pub place: i64,
    /// Empty if there is none.
    pub comment: String,
    /// Milliseconds since 1970.
    pub set: i64,
    pub position: i64,
}

/// The key of a user's bookmark in a song.
pub fn key(user: &str, song: &str) -> String {
    format!("{user}.{song}")
}

impl Document for Bookmark {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.user, &self.song)
    }
}
