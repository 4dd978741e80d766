//! The songs of each artist: one document per song and credited artist.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "song_artists", indexes: &[&OF_ARTIST], layout: Layout::Clustered, personal: &[] };

/// Listed songs of an artist, newest first.
pub const OF_ARTIST: Index = Index {
    name: "of_artist",
    equals: &["artist", "listed"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SongArtist {
    /// As the song credits it, even if it was merged into another.
    pub artist: String,
    pub song: String,
    /// As in the song.
    pub listed: bool,
    /// That of the song.
    pub position: i64,
}

/// The key of an artist of a song.
pub fn key(song: &str, artist: &str) -> String {
    format!("{song}.{artist}")
}

impl Document for SongArtist {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.song, &self.artist)
    }
}
