//! What shows each picture. Pictures are served only while that is visible.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "pictures", indexes: &[&BY_SUBJECT, &BY_OWNER], layout: Layout::Clustered, personal: &[] };

/// Pictures of one post, story, profile, artist, album or song.
pub const BY_SUBJECT: Index =
    Index { name: "by_subject", equals: &["subject"], order: "position", direction: Direction::Ascending };
/// Pictures of one user.
pub const BY_OWNER: Index =
    Index { name: "by_owner", equals: &["owner"], order: "position", direction: Direction::Ascending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    pub picture: String,
    /// None for pictures of the catalogue.
    pub owner: Option<String>,
    /// The subject that shows it: a post, story, profile, artist, album or song.
    pub subject: String,
    /// A moderator has removed the content.
    #[serde(default)]
    pub removed: bool,
    /// Position of the publishing event.
    pub position: i64,
}

impl Document for Picture {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.picture.clone()
    }
}
