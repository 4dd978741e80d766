//! Playlists, their members, entries and history. One projection writes them together.

use serde::{Deserialize, Serialize};

use crate::music::songs::Picture;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "playlists",
    indexes: &[&OF_OWNER, &PUBLIC_OF_OWNER],
    layout: Layout::Clustered,
    personal: &["name", "description"],
};

/// Playlists of one owner, newest first.
pub const OF_OWNER: Index =
    Index { name: "of_owner", equals: &["owner"], order: "position", direction: Direction::Descending };
/// Playlists of one owner that everybody can see, newest first.
pub const PUBLIC_OF_OWNER: Index = Index {
    name: "public_of_owner",
    equals: &["owner", "listed"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Playlist {
    pub playlist: String,
    pub owner: String,
    pub name: String,
    pub description: String,
    pub public: bool,
    pub cover: Option<Picture>,
    /// Number of entries that are not removed.
    pub entries: i64,
    /// Position of the last event that changed the entries.
    pub version: i64,
    /// False while the owner is deactivated: then nobody sees it.
    pub shown: bool,
    /// True if it is public and shown.
    pub listed: bool,
    /// Milliseconds since 1970.
    pub created: i64,
    /// The last change of entries or details, in milliseconds since 1970.
    pub changed: i64,
    pub position: i64,
}

impl Document for Playlist {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.playlist.clone()
    }
}

pub const MEMBERS: View = View {
    name: "playlist_members",
    indexes: &[&OF_USER, &OF_PLAYLIST],
    layout: Layout::Clustered,
    personal: &[],
};

/// Playlists that a user owns or edits, newest membership first.
pub const OF_USER: Index =
    Index { name: "of_user", equals: &["user"], order: "position", direction: Direction::Descending };
/// Members of one playlist, first the owner.
pub const OF_PLAYLIST: Index =
    Index { name: "of_playlist", equals: &["playlist"], order: "position", direction: Direction::Ascending };

/// A user who may edit a playlist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub playlist: String,
    pub user: String,
    pub is_owner: bool,
    pub position: i64,
}

/// The key of a user's membership.
pub fn member_key(playlist: &str, user: &str) -> String {
    format!("{playlist}.{user}")
}

impl Document for Member {
    const VIEW: &'static View = &MEMBERS;

    fn key(&self) -> String {
        member_key(&self.playlist, &self.user)
    }
}

pub const ENTRIES: View =
    View { name: "playlist_entries", indexes: &[&IN_ORDER], layout: Layout::Heap, personal: &[] };

/// Entries of one playlist, either those that are removed or the others, in the order of the list.
pub const IN_ORDER: Index = Index {
    name: "in_order",
    equals: &["playlist", "removed"],
    order: "place",
    direction: Direction::Ascending,
};

/// An entry of a playlist. A removed one stays, so that a restored version finds its song.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub entry: String,
    pub playlist: String,
    pub song: String,
    /// The place in the list: a text that is between those of its neighbours.
    pub place: String,
    pub removed: bool,
    /// None if it is unknown.
    pub added_by: Option<String>,
    /// Milliseconds since 1970.
    pub added: i64,
}

impl Document for Entry {
    const VIEW: &'static View = &ENTRIES;

    fn key(&self) -> String {
        self.entry.clone()
    }
}

pub const HISTORY: View =
    View { name: "playlist_history", indexes: &[&NEWEST_CHANGES], layout: Layout::Clustered, personal: &[] };

/// Changes of one playlist, newest first.
pub const NEWEST_CHANGES: Index = Index {
    name: "newest_changes",
    equals: &["playlist"],
    order: "position",
    direction: Direction::Descending,
};

/// A change of a playlist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub playlist: String,
    pub kind: ChangeKind,
    /// None if it is unknown.
    pub by: Option<String>,
    /// Number of entries that were added, moved or removed; of the whole list if it was replaced or restored.
    pub entries: i64,
    /// The collaborator who was added or removed.
    pub user: Option<String>,
    /// The version that was restored.
    pub restored: Option<i64>,
    /// True if the change made a version that can be restored.
    pub is_version: bool,
    /// Milliseconds since 1970.
    pub at: i64,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Created,
    DetailsChanged,
    MadePublic,
    MadePrivate,
    CoverChanged,
    CollaboratorAdded,
    CollaboratorRemoved,
    EntriesAdded,
    EntriesMoved,
    EntriesRemoved,
    EntriesReplaced,
    Restored,
}

impl Document for Change {
    const VIEW: &'static View = &HISTORY;

    fn key(&self) -> String {
        format!("{}.{}", self.playlist, self.position)
    }
}
