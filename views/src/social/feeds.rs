//! Home feeds: four views that the projection `feeds` writes together. They hold the entries of homes, the authors
//! that feed each home, the posts of each author, and the state of authors. They only hold ids and positions: readers
//! check what is visible.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

/// The projection that writes these views; also the name of its checkpoint.
pub const PROJECTION: &str = "feeds";

pub const HOME: View = View { name: "home", indexes: &[&BY_OWNER], layout: Layout::Heap, personal: &[] };

/// The entries of one home, newest first.
pub const BY_OWNER: Index =
    Index { name: "by_owner", equals: &["owner"], order: "position", direction: Direction::Descending };

pub const SOURCES: View = View {
    name: "home_sources",
    indexes: &[&BY_AUTHOR, &TO_MERGE],
    layout: Layout::Clustered,
    personal: &[],
};

/// The homes that one author feeds.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "owner", direction: Direction::Ascending };
/// The authors that feed one home, those with the most posts to merge first.
pub const TO_MERGE: Index =
    Index { name: "to_merge", equals: &["owner"], order: "merged_below", direction: Direction::Descending };

pub const PUBLISHED: View =
    View { name: "home_posts", indexes: &[&OF_AUTHOR], layout: Layout::Clustered, personal: &[] };

/// The posts of one author, newest first.
pub const OF_AUTHOR: Index =
    Index { name: "of_author", equals: &["author"], order: "position", direction: Direction::Descending };

pub const AUTHORS: View =
    View { name: "home_authors", indexes: &[], layout: Layout::Clustered, personal: &[] };

/// A post in a user's home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub owner: String,
    pub author: String,
    pub post: String,
    /// Position of the publishing event: the order of the feed.
    pub position: i64,
}

/// A post, independent of homes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub author: String,
    pub post: String,
    /// Position of the publishing event.
    pub position: i64,
}

/// An author whom the owner of a home follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub owner: String,
    pub author: String,
    /// Posts before this position may be missing in the home, so readers merge them. Later posts are in the home.
    pub merged_below: i64,
}

impl Source {
    /// In `merged_below`: all posts are merged, past and future ones.
    pub const ALL: i64 = i64::MAX;
}

/// The state of an author for feeding homes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    pub author: String,
    /// Follows less unfollows. A follower who was erased still counts, so fan-out may end early.
    pub followers: i64,
    /// Whether the author has too many followers for fan-out.
    pub wide: bool,
    /// Number of posts so far, including deleted ones.
    pub published: i64,
    /// Position of the latest post whose number is a multiple of the backfill, and of the one before that; 0 if there
    /// is none.
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

/// The key of a post in a user's home.
pub fn entry_key(owner: &str, post: &str) -> String {
    format!("{owner}.{post}")
}

/// The key of the source that connects an author to a home.
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
