//! Whose each picture is, so that it is given out only while its owner's things are shown.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "pictures", indexes: &[&BY_SUBJECT, &BY_OWNER], layout: Layout::ByKey };

/// Those of one post, story or profile.
pub const BY_SUBJECT: Index =
    Index { name: "by_subject", equals: &["subject"], order: "position", direction: Direction::Ascending };
/// All of one person.
pub const BY_OWNER: Index =
    Index { name: "by_owner", equals: &["owner"], order: "position", direction: Direction::Ascending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    pub picture: String,
    pub owner: String,
    /// The subject of the post, story or profile that shows it.
    pub subject: String,
    /// A moderator has removed what shows it.
    #[serde(default)]
    pub removed: bool,
    /// Of the event that published it.
    pub position: i64,
}

impl Document for Picture {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.picture.clone()
    }
}
