//! Home feeds. Four views, written together by the projection `feeds`: what is in each home, whom each home is fed
//! by, what each author has published, and what has to be known of an author to feed homes. All of it is ids and
//! positions: what may be seen is for the reader to find out.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

/// The projection that writes these views, and its checkpoint.
pub const PROJECTION: &str = "feeds";

pub const HOME: View = View { name: "home", indexes: &[&BY_OWNER], layout: Layout::AsPut };

/// What is in one home, the newest first.
pub const BY_OWNER: Index =
    Index { name: "by_owner", equals: &["owner"], order: "position", direction: Direction::Descending };

pub const SOURCES: View =
    View { name: "home_sources", indexes: &[&BY_AUTHOR, &TO_MERGE], layout: Layout::ByKey };

/// The homes that one author feeds.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "owner", direction: Direction::Ascending };
/// What feeds one home; those of whom most is to be merged first.
pub const TO_MERGE: Index =
    Index { name: "to_merge", equals: &["owner"], order: "merged_below", direction: Direction::Descending };

pub const PUBLISHED: View = View { name: "home_posts", indexes: &[&OF_AUTHOR], layout: Layout::ByKey };

/// What one author has published, the newest first.
pub const OF_AUTHOR: Index =
    Index { name: "of_author", equals: &["author"], order: "position", direction: Direction::Descending };

pub const AUTHORS: View = View { name: "home_authors", indexes: &[], layout: Layout::ByKey };

/// A post in somebody's home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub owner: String,
    pub author: String,
    pub post: String,
    /// Of the event that published it: the order of the feed.
    pub position: i64,
}

/// A post, whosever homes it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub author: String,
    pub post: String,
    /// Of the event that published it.
    pub position: i64,
}

/// An author whom the owner of a home follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub owner: String,
    pub author: String,
    /// The author's posts before this position need not be in the home: whoever reads it merges them. The others
    /// are there.
    pub merged_below: i64,
}

impl Source {
    /// In `merged_below`: nothing need be in the home, whenever it was or will be published.
    pub const ALL: i64 = i64::MAX;
}

/// What has to be known of an author to feed homes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    pub author: String,
    pub followers: i64,
    /// Has so many followers that posts are not put into their homes.
    pub wide: bool,
    /// Posts so far, also those deleted since.
    pub published: i64,
    /// Position of the latest post whose number is a multiple of the projection's backfill, and of the one before
    /// that; 0 where there is none yet.
    pub milestone: i64,
    pub milestone_before: i64,
}

impl Document for Entry {
    const VIEW: &'static View = &HOME;

    fn key(&self) -> String {
        entry_key(&self.owner, &self.post)
    }
}

impl Document for Published {
    const VIEW: &'static View = &PUBLISHED;

    fn key(&self) -> String {
        self.post.clone()
    }
}

/// The key of a post in somebody's home.
pub fn entry_key(owner: &str, post: &str) -> String {
    format!("{owner}.{post}")
}

/// The key of the source that an author is to a home.
pub fn source_key(owner: &str, author: &str) -> String {
    format!("{owner}.{author}")
}

impl Document for Source {
    const VIEW: &'static View = &SOURCES;

    fn key(&self) -> String {
        source_key(&self.owner, &self.author)
    }
}

impl Document for Author {
    const VIEW: &'static View = &AUTHORS;

    fn key(&self) -> String {
        self.author.clone()
    }
}
