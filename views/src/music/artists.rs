//! Artists of the catalogue.

use serde::{Deserialize, Serialize};

use crate::music::songs::Picture;
use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "artists", indexes: &[&BY_NAME, &MERGED_INTO], layout: Layout::Clustered, personal: &[] };

/// Artists by sort name; merged ones are not listed.
pub const BY_NAME: Index =
    Index { name: "by_name", equals: &["listed"], order: "sort_key", direction: Direction::Ascending };
/// Artists that were merged into one.
pub const MERGED_INTO: Index = Index {
    name: "merged_into",
    equals: &["merged_into"],
    order: "position",
    direction: Direction::Ascending,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artist {
    pub artist: String,
    pub name: String,
    pub sort_name: Option<String>,
    /// The folded sort name, or the folded name without its article.
    pub sort_key: String,
    pub musicbrainz: Option<String>,
    pub image: Option<Picture>,
    /// The artist that this one is; none unless merged.
    pub merged_into: Option<String>,
    /// False once it is merged into another.
    pub listed: bool,
    pub position: i64,
}

impl Document for Artist {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.artist.clone()
    }
}
