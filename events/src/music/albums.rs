use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{AlbumId, ArtistCredit, Image, Subject, UserId};

event_enum! {
    /// `album.<album>`: an album of the catalogue.
    AlbumEvent {
        AlbumAdded = "album.added.v1",
        AlbumEdited = "album.edited.v1",
        AlbumCoverChanged = "album.cover_changed.v1",
        AlbumRemoved = "album.removed.v1",
        AlbumRestored = "album.restored.v1",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlbumKind {
    Album,
    Single,
    Ep,
    Compilation,
    Live,
    Soundtrack,
    Other,
}

impl AlbumKind {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Album => "album",
            Self::Single => "single",
            Self::Ep => "ep",
            Self::Compilation => "compilation",
            Self::Live => "live",
            Self::Soundtrack => "soundtrack",
            Self::Other => "other",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlbumDetails {
    pub title: String,
    /// In the order of the display text; at least one.
    pub artists: Vec<ArtistCredit>,
    /// The artists as the album shows them, such as "A feat. B".
    pub display_artist: String,
    pub kind: AlbumKind,
    /// Year of the original release.
    pub year: Option<i32>,
    /// Distinguishes editions with the same title, such as "Deluxe Edition".
    pub version: Option<String>,
    /// Title of each disc, in order; empty if they have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disc_titles: Vec<String>,
    /// The `MusicBrainz` id of the release.
    pub musicbrainz: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlbumAdded {
    pub album: AlbumId,
    pub details: AlbumDetails,
    pub cover: Option<Image>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlbumEdited {
    pub album: AlbumId,
    pub details: AlbumDetails,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlbumCoverChanged {
    pub album: AlbumId,
    /// None if the cover is removed.
    pub cover: Option<Image>,
}

/// The album and its songs disappear from the catalogue until it is restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlbumRemoved {
    pub album: AlbumId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlbumRestored {
    pub album: AlbumId,
}

impl AlbumEvent {
    pub const fn album(&self) -> AlbumId {
        match self {
            Self::AlbumAdded(event) => event.album,
            Self::AlbumEdited(event) => event.album,
            Self::AlbumCoverChanged(event) => event.album,
            Self::AlbumRemoved(event) => event.album,
            Self::AlbumRestored(event) => event.album,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Album(self.album())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::AlbumAdded(_)
            | Self::AlbumEdited(_)
            | Self::AlbumCoverChanged(_)
            | Self::AlbumRemoved(_)
            | Self::AlbumRestored(_) => None,
        }
    }
}
