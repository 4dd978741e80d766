//! Albums of the catalogue.

use serde::{Deserialize, Serialize};

use crate::music::songs::{Credit, Picture};
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "albums", indexes: &[&NEWEST, &BY_TITLE], layout: Layout::Clustered, personal: &[] };

/// Albums in the order of their publication here, newest first.
pub const NEWEST: Index =
    Index { name: "newest", equals: &["listed"], order: "position", direction: Direction::Descending };
/// Albums by folded title.
pub const BY_TITLE: Index =
    Index { name: "by_title", equals: &["listed"], order: "sort_key", direction: Direction::Ascending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Album {
    pub album: String,
    pub title: String,
    pub artists: Vec<Credit>,
    pub display_artist: String,
    /// As in the event: `album`, `single`, ...
    pub kind: String,
    pub year: Option<i32>,
    pub version: Option<String>,
    pub disc_titles: Vec<String>,
    pub musicbrainz: Option<String>,
    pub cover: Option<Picture>,
    /// The folded title.
    pub sort_key: String,
    /// False while the album is removed.
    pub listed: bool,
    /// Milliseconds since 1970.
    pub added: i64,
    pub position: i64,
}

impl Document for Album {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.album.clone()
    }
}
