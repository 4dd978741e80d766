//! The songs of each genre: one document per song and genre.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "song_genres", indexes: &[&OF_GENRE], layout: Layout::Clustered, personal: &[] };

/// Listed songs of a genre, newest first.
pub const OF_GENRE: Index = Index {
    name: "of_genre",
    equals: &["genre", "listed"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SongGenre {
    /// The key of the genre.
    pub genre: String,
    pub song: String,
    /// As in the song.
    pub listed: bool,
    /// That of the song.
    pub position: i64,
}

/// The key of a genre of a song.
pub fn key(song: &str, genre: &str) -> String {
    format!("{song}.{genre}")
}

impl Document for SongGenre {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.song, &self.genre)
    }
}
