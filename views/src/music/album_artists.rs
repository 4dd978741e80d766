//! The albums of each artist: one document per album and credited artist.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "album_artists", indexes: &[&OF_ARTIST], layout: Layout::Clustered, personal: &[] };

/// Listed albums of an artist, newest first.
pub const OF_ARTIST: Index = Index {
    name: "of_artist",
    equals: &["artist", "listed"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlbumArtist {
    /// As the album credits it, even if it was merged into another.
    pub artist: String,
    pub album: String,
    /// As in the album.
    pub listed: bool,
    /// That of the album.
    pub position: i64,
}

/// The key of an artist of an album.
pub fn key(album: &str, artist: &str) -> String {
    format!("{album}.{artist}")
}

impl Document for AlbumArtist {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.album, &self.artist)
    }
}
