//! Songs of the catalogue.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "songs",
    indexes: &[&NEWEST, &OF_ALBUM, &OF_PUBLISHER, &RANDOM],
    layout: Layout::Clustered,
    personal: &[],
};

/// `visibility` of songs that only their publisher sees.
pub const PRIVATE: &str = "private";

/// The key of the marker of a removed album; see [`crate::markers`].
pub fn album_key(album: &str) -> String {
    format!("album.{album}")
}

/// Listed songs, newest first.
pub const NEWEST: Index =
    Index { name: "newest", equals: &["listed"], order: "position", direction: Direction::Descending };
/// Listed songs of an album, by disc and track.
pub const OF_ALBUM: Index =
    Index { name: "of_album", equals: &["album", "listed"], order: "place", direction: Direction::Ascending };
/// Songs of one publisher, newest first, also those that are not listed.
pub const OF_PUBLISHER: Index = Index {
    name: "of_publisher",
    equals: &["publisher"],
    order: "position",
    direction: Direction::Descending,
};
/// Listed songs in a random but fixed order, to draw songs from.
pub const RANDOM: Index =
    Index { name: "random", equals: &["listed"], order: "random_key", direction: Direction::Ascending };

#[expect(clippy::struct_excessive_bools, reason = "independent facts that indexes and pages need")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Song {
    pub song: String,
    pub title: String,
    pub artists: Vec<Credit>,
    pub display_artist: String,
    pub album: Option<String>,
    pub disc: Option<u32>,
    pub track: Option<u32>,
    /// Disc and track as one number: the order within an album.
    pub place: i64,
    pub genres: Vec<String>,
    pub year: Option<i32>,
    pub explicit: bool,
    pub lyrics: Option<String>,
    pub musicbrainz: Option<String>,
    /// As in the event: `public`, `unlisted` or `private`.
    pub visibility: String,
    /// The account that published it.
    pub publisher: String,
    pub file: AudioFile,
    /// The song's own cover; none if it has the album's.
    pub cover: Option<Picture>,
    /// None until the song is analysed.
    pub analysis: Option<Analysis>,
    /// Removed until it is restored.
    pub removed: bool,
    /// Hidden until its album is restored.
    pub album_removed: bool,
    /// True if it is public and neither it nor its album is removed: lists and searches show it.
    pub listed: bool,
    /// The last digits of the id.
    pub random_key: String,
    /// Milliseconds since 1970.
    pub published: i64,
    pub position: i64,
}

/// An artist of a song or an album with the role in it, as in the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    pub artist: String,
    pub role: String,
}

/// A picture in the media store, with the size of its largest variant in pixels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    pub media: String,
    pub width: u32,
    pub height: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AudioFile {
    /// The key of the file in the media store.
    pub key: String,
    /// As in the event: `mp3`, `flac`, ...
    pub format: String,
    /// Milliseconds.
    pub duration: i64,
    /// Bits per second.
    pub bit_rate: u32,
    /// Hertz.
    pub sample_rate: u32,
    pub channels: u8,
    /// Bytes.
    pub size: i64,
    /// Decibels and fractions of full scale, from the tags.
    pub track_gain: Option<f32>,
    pub track_peak: Option<f32>,
    pub album_gain: Option<f32>,
    pub album_peak: Option<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// LUFS; none if the format cannot be decoded.
    pub loudness: Option<f32>,
    /// True peak in dBFS; none if the format cannot be decoded.
    pub peak: Option<f32>,
    /// Peaks of equal parts, 0 to 255.
    pub waveform: Vec<u8>,
}

impl Song {
    /// Whether a user sees the song: private songs are visible to their publisher only.
    pub fn is_visible_to(&self, viewer: Option<&str>) -> bool {
        let is_present = !self.removed && !self.album_removed;
        is_present && (self.visibility != PRIVATE || viewer == Some(self.publisher.as_str()))
    }
}

impl Document for Song {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.song.clone()
    }
}
