use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{EntryId, Image, Personal, PlaylistId, Position, SongId, Subject, UserId};

event_enum! {
    /// `playlist.<playlist>`: an ordered list of songs. The position of the last event that changed its entries is its
    /// version.
    PlaylistEvent {
        PlaylistCreated = "playlist.created.v1",
        PlaylistDetailsChanged = "playlist.details_changed.v1",
        PlaylistVisibilityChanged = "playlist.visibility_changed.v1",
        PlaylistCoverChanged = "playlist.cover_changed.v1",
        CollaboratorAdded = "playlist.collaborator_added.v1",
        CollaboratorRemoved = "playlist.collaborator_removed.v1",
        EntriesAdded = "playlist.entries_added.v1",
        EntriesMoved = "playlist.entries_moved.v1",
        EntriesRemoved = "playlist.entries_removed.v1",
        EntriesReplaced = "playlist.entries_replaced.v1",
        PlaylistRestored = "playlist.restored.v1",
        PlaylistDeleted = "playlist.deleted.v1",
    }
}

event_enum! {
    /// `playlistsnapshot.<playlist>`: all entries at one position, so that decisions need not read the whole history.
    PlaylistSnapshotEvent {
        PlaylistSnapshot = "playlistsnapshot.taken.v1",
    }
}

/// Written by the owner; collaborators' changes are sealed with the owner's key too.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaylistDetails {
    pub name: String,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistCreated {
    pub playlist: PlaylistId,
    pub owner: UserId,
    pub public: bool,
    pub details: Personal<PlaylistDetails>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistDetailsChanged {
    pub playlist: PlaylistId,
    pub owner: UserId,
    pub details: Personal<PlaylistDetails>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistVisibilityChanged {
    pub playlist: PlaylistId,
    pub public: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistCoverChanged {
    pub playlist: PlaylistId,
    /// None if the cover is removed.
    pub cover: Option<Image>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollaboratorAdded {
    pub playlist: PlaylistId,
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollaboratorRemoved {
    pub playlist: PlaylistId,
    pub user: UserId,
}

/// The neighbours of a block of entries when the change was decided: entries of the list that are not removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// The entry before the block; none at the start of the list.
    pub after: Option<EntryId>,
    /// The entry behind the block; none at the end of the list.
    pub before: Option<EntryId>,
}

/// The id of each new entry is derived from the event and its place in `songs` ([`EntryId::of_event`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntriesAdded {
    pub playlist: PlaylistId,
    pub songs: Vec<SongId>,
    pub between: Neighbours,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntriesMoved {
    pub playlist: PlaylistId,
    /// In their new order.
    pub entries: Vec<EntryId>,
    pub between: Neighbours,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntriesRemoved {
    pub playlist: PlaylistId,
    pub entries: Vec<EntryId>,
}

/// The whole new list. Entries that it does not keep are removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntriesReplaced {
    pub playlist: PlaylistId,
    pub entries: Vec<ReplacedEntry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplacedEntry {
    /// An entry of the old list.
    Kept(EntryId),
    /// A new entry; its id is derived from the event and its place in the new list.
    New(SongId),
}

/// The list is as it was at an earlier version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistRestored {
    pub playlist: PlaylistId,
    pub version: Position,
    pub entries: Vec<SnapshotEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistDeleted {
    pub playlist: PlaylistId,
    pub owner: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlaylistSnapshot {
    pub playlist: PlaylistId,
    /// Includes all events of the playlist up to this position.
    pub position: Position,
    /// Position of the last event that changed the entries.
    pub version: Position,
    pub owner: UserId,
    pub public: bool,
    pub details: Personal<PlaylistDetails>,
    pub cover: Option<Image>,
    pub collaborators: Vec<UserId>,
    pub entries: Vec<SnapshotEntry>,
}

/// An entry that is not removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    pub entry: EntryId,
    pub song: SongId,
}

impl PlaylistEvent {
    pub const fn playlist(&self) -> PlaylistId {
        match self {
            Self::PlaylistCreated(event) => event.playlist,
            Self::PlaylistDetailsChanged(event) => event.playlist,
            Self::PlaylistVisibilityChanged(event) => event.playlist,
            Self::PlaylistCoverChanged(event) => event.playlist,
            Self::CollaboratorAdded(event) => event.playlist,
            Self::CollaboratorRemoved(event) => event.playlist,
            Self::EntriesAdded(event) => event.playlist,
            Self::EntriesMoved(event) => event.playlist,
            Self::EntriesRemoved(event) => event.playlist,
            Self::EntriesReplaced(event) => event.playlist,
            Self::PlaylistRestored(event) => event.playlist,
            Self::PlaylistDeleted(event) => event.playlist,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Playlist(self.playlist())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::PlaylistCreated(event) => Some((event.owner, &mut event.details)),
            Self::PlaylistDetailsChanged(event) => Some((event.owner, &mut event.details)),
            Self::PlaylistVisibilityChanged(_)
            | Self::PlaylistCoverChanged(_)
            | Self::CollaboratorAdded(_)
            | Self::CollaboratorRemoved(_)
            | Self::EntriesAdded(_)
            | Self::EntriesMoved(_)
            | Self::EntriesRemoved(_)
            | Self::EntriesReplaced(_)
            | Self::PlaylistRestored(_)
            | Self::PlaylistDeleted(_) => None,
        }
    }
}

impl PlaylistSnapshotEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::PlaylistSnapshot(event) => Subject::PlaylistSnapshot(event.playlist),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the same signature for all kinds")]
    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::PlaylistSnapshot(event) => Some((event.owner, &mut event.details)),
        }
    }
}
