use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{ArtistId, Image, Subject, UserId};

event_enum! {
    /// `artist.<artist>`: an artist of the catalogue. Catalogue facts are not personal data.
    ArtistEvent {
        ArtistAdded = "artist.added.v1",
        ArtistEdited = "artist.edited.v1",
        ArtistImageChanged = "artist.image_changed.v1",
        ArtistMerged = "artist.merged.v1",
    }
}

event_enum! {
    /// `artistlink.<artist>.<user>`: whether an account manages an artist.
    ArtistLinkEvent {
        ArtistLinked = "artistlink.linked.v1",
        ArtistUnlinked = "artistlink.unlinked.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtistDetails {
    pub name: String,
    /// The name to sort by, such as "Beatles, The"; none if it is the name.
    pub sort_name: Option<String>,
    /// The `MusicBrainz` id of the artist.
    pub musicbrainz: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistAdded {
    pub artist: ArtistId,
    pub details: ArtistDetails,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistEdited {
    pub artist: ArtistId,
    pub details: ArtistDetails,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistImageChanged {
    pub artist: ArtistId,
    /// None if the image is removed.
    pub image: Option<Image>,
}

/// The artist is the same as another, which takes over its albums, songs and followers. Its id keeps referring to the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistMerged {
    pub artist: ArtistId,
    pub into: ArtistId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistLinked {
    pub artist: ArtistId,
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistUnlinked {
    pub artist: ArtistId,
    pub user: UserId,
}

impl ArtistEvent {
    pub const fn artist(&self) -> ArtistId {
        match self {
            Self::ArtistAdded(event) => event.artist,
            Self::ArtistEdited(event) => event.artist,
            Self::ArtistImageChanged(event) => event.artist,
            Self::ArtistMerged(event) => event.artist,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Artist(self.artist())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::ArtistAdded(_)
            | Self::ArtistEdited(_)
            | Self::ArtistImageChanged(_)
            | Self::ArtistMerged(_) => None,
        }
    }
}

impl ArtistLinkEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::ArtistLinked(event) => Subject::ArtistLink(event.artist, event.user),
            Self::ArtistUnlinked(event) => Subject::ArtistLink(event.artist, event.user),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::ArtistLinked(_) | Self::ArtistUnlinked(_) => None,
        }
    }
}
