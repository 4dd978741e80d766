//! Authors who may have current stories, so that readers query only these of the followed users. An entry outlives
//! the story: there is one per author, and the next story replaces it.

use serde::{Deserialize, Serialize};

use crate::{Document, Layout, View};

pub const VIEW: View = View { name: "story_authors", indexes: &[], layout: Layout::Clustered, personal: &[] };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryAuthor {
    pub author: String,
    /// When the newest story expires. Milliseconds since 1970.
    #[serde(rename = "until")]
    pub expires_at: i64,
    /// Position of the event that published the newest story, even if it is deleted.
    pub position: i64,
}

impl Document for StoryAuthor {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.author.clone()
    }
}
