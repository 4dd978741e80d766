//! Stories, for a day.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "stories",
    indexes: &[&NEWEST, &BY_AUTHOR],
    layout: Layout::Clustered,
    personal: &["alt", "placeholder"],
};

/// All stories, newest first.
pub const NEWEST: Index =
    Index { name: "newest", equals: &[], order: "position", direction: Direction::Descending };
/// Stories of one author, newest first.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    pub story: String,
    pub author: String,
    /// The picture in the media store, with its size in pixels.
    pub media: String,
    pub width: u32,
    pub height: u32,
    /// The alternative text; may be empty.
    pub alt: String,
    /// Its `BlurHash`.
    pub placeholder: String,
    /// Removed by a moderator and hidden until it is restored.
    #[serde(default)]
    pub removed: bool,
    /// Milliseconds since 1970.
    pub published: i64,
    /// Not shown after this time, even if the story is still in the view. Milliseconds since 1970.
    #[serde(rename = "until")]
    pub expires_at: i64,
    /// Position of the publishing event.
    pub position: i64,
}

impl Document for Story {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.story.clone()
    }
}
