//! Songs and albums that users like, and artists that they follow.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "library", indexes: &[&OF_USER, &OF_ITEM], layout: Layout::Clustered, personal: &[] };

/// Kinds of items, as entries store them.
pub const SONG: &str = "song";
pub const ALBUM: &str = "album";
pub const ARTIST: &str = "artist";
pub const KINDS: [&str; 3] = [SONG, ALBUM, ARTIST];

/// A user's items of one kind, newest first.
pub const OF_USER: Index = Index {
    name: "of_user",
    equals: &["user", "kind", "shown"],
    order: "position",
    direction: Direction::Descending,
};
/// The users who have an item in their library, newest first.
pub const OF_ITEM: Index = Index {
    name: "of_item",
    equals: &["item", "shown"],
    order: "position",
    direction: Direction::Descending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryEntry {
    pub user: String,
    /// One of [`KINDS`].
    pub kind: String,
    /// Id of the song, album or artist.
    pub item: String,
    /// False while the user is hidden: then the entry is not counted.
    pub shown: bool,
    /// Milliseconds since 1970.
    pub added: i64,
    pub position: i64,
}

/// The number of shown entries of an item. It exists once the item had an entry. Ids of different kinds differ, and no
/// index finds a tally.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub tally_of: String,
    pub users: i64,
}

pub const MERGES: View =
    View { name: "library_merges", indexes: &[&INTO], layout: Layout::Clustered, personal: &[] };

/// The artists that were merged into one.
pub const INTO: Index =
    Index { name: "into", equals: &["into"], order: "position", direction: Direction::Ascending };

/// An artist whose followers follow another one, into which it was merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    pub artist: String,
    /// The artist that remains, also after several merges.
    pub into: String,
    pub position: i64,
}

impl Document for Merge {
    const VIEW: &'static View = &MERGES;

    fn key(&self) -> String {
        self.artist.clone()
    }
}

/// The key of a user's entry of an item.
pub fn key(item: &str, user: &str) -> String {
    format!("{item}.{user}")
}

impl Document for LibraryEntry {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.item, &self.user)
    }
}

impl Document for Tally {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.tally_of.clone()
    }
}
