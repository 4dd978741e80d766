//! Stories, until their day is over.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "stories", indexes: &[&NEWEST, &BY_AUTHOR], layout: Layout::ByKey };

/// Everybody's, the newest first.
pub const NEWEST: Index =
    Index { name: "newest", equals: &[], order: "position", direction: Direction::Descending };
/// One author's, the newest first.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    pub story: String,
    pub author: String,
    /// The picture in the media store, and its size in pixels.
    pub media: String,
    pub width: u32,
    pub height: u32,
    /// What it shows; empty where nothing was said.
    pub alt: String,
    /// Its `BlurHash`.
    pub placeholder: String,
    /// A moderator has removed it: nobody is shown it, until it is restored.
    #[serde(default)]
    pub removed: bool,
    /// Milliseconds since 1970.
    pub published: i64,
    /// Not shown from here on, whether or not the story has left the view yet. Milliseconds since 1970.
    pub until: i64,
    /// Of the event that published it.
    pub position: i64,
}

impl Document for Story {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.story.clone()
    }
}
