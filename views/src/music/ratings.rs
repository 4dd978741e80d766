//! Ratings of songs, albums and artists, visible to their user only.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "ratings", indexes: &[&OF_USER], layout: Layout::Clustered, personal: &[] };

/// Ratings of one user, newest first.
pub const OF_USER: Index =
    Index { name: "of_user", equals: &["user"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rating {
    pub user: String,
    /// As in [`library`](super::library).
    pub kind: String,
    /// Id of the song, album or artist.
    pub item: String,
    /// 1 to 5.
    pub stars: u8,
    /// Milliseconds since 1970.
    pub rated: i64,
    pub position: i64,
}

/// The key of a user's rating of an item.
pub fn key(item: &str, user: &str) -> String {
    format!("{item}.{user}")
}

impl Document for Rating {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.item, &self.user)
    }
}
