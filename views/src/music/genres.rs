//! Genres with the number of their listed songs.

use serde::{Deserialize, Serialize};

use crate::accounts::search::fold;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "genres", indexes: &[&LARGEST], layout: Layout::Clustered, personal: &[] };

/// Genres with the most listed songs first.
pub const LARGEST: Index =
    Index { name: "largest", equals: &[], order: "songs", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genre {
    /// See [`key_of`].
    pub genre: String,
    /// As the first song spelled it.
    pub name: String,
    /// Number of listed songs; 0 if only hidden songs have the genre.
    pub songs: i64,
}

impl Document for Genre {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.genre.clone()
    }
}

/// The key of a genre: spellings that differ in case, accents or spaces are the same genre.
pub fn key_of(name: &str) -> String {
    fold(name).split_whitespace().collect::<Vec<_>>().join(" ")
}
