//! Who may have stories to show, so that of all whom somebody follows only these need be asked for theirs. An entry
//! stays when the day is over: there is one for each author, and the next story renews it.

use serde::{Deserialize, Serialize};

use crate::{Document, Layout, View};

pub const VIEW: View = View { name: "story_authors", indexes: &[], layout: Layout::ByKey };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryAuthor {
    pub author: String,
    /// When the day of the newest is over. Milliseconds since 1970.
    pub until: i64,
    /// Of the event that published the newest, also if it has been deleted since.
    pub position: i64,
}

impl Document for StoryAuthor {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.author.clone()
    }
}
