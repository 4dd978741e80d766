//! Viewers of stories, while the story exists.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "story_views", indexes: &[&BY_STORY, &BY_VIEWER], layout: Layout::Clustered, personal: &[] };

/// Active or inactive viewers of one story, latest first.
pub const BY_STORY: Index = Index {
    name: "by_story",
    equals: &["story", "active"],
    order: "position",
    direction: Direction::Descending,
};
/// Views by one viewer, latest first.
pub const BY_VIEWER: Index =
    Index { name: "by_viewer", equals: &["viewer"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryView {
    pub story: String,
    pub viewer: String,
    /// False while the viewer is deactivated or suspended: then the view is neither listed nor counted.
    pub active: bool,
    /// Milliseconds since 1970.
    pub viewed: i64,
    pub position: i64,
}

/// The key of a viewer's view of a story.
pub fn key(story: &str, viewer: &str) -> String {
    format!("{story}.{viewer}")
}

impl Document for StoryView {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.story, &self.viewer)
    }
}
