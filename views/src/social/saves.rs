//! Saved posts.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "saves",
    indexes: &[&OF_USER, &IN_COLLECTION, &BY_AUTHOR, &OF_POST],
    layout: Layout::Clustered,
    personal: &[],
};

/// Saves of one user, newest first.
pub const OF_USER: Index = Index {
    name: "of_user",
    equals: &["user", "shown"],
    order: "position",
    direction: Direction::Descending,
};
/// Saves in one collection of a user, newest first.
pub const IN_COLLECTION: Index = Index {
    name: "in_collection",
    equals: &["user", "collection", "shown"],
    order: "position",
    direction: Direction::Descending,
};
/// Saves of posts by one author.
pub const BY_AUTHOR: Index =
    Index { name: "by_author", equals: &["author"], order: "position", direction: Direction::Descending };
/// Saves of one post.
pub const OF_POST: Index =
    Index { name: "of_post", equals: &["post"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Save {
    pub user: String,
    pub post: String,
    /// The author of the post.
    pub author: String,
    /// None if the save is in no collection.
    pub collection: Option<String>,
    /// False while the post's author is hidden: then the save is neither listed nor counted.
    pub shown: bool,
    /// Milliseconds since 1970.
    pub saved: i64,
    pub position: i64,
}

/// The key of a user's save of a post.
pub fn key(user: &str, post: &str) -> String {
    format!("{user}.{post}")
}

impl Document for Save {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        key(&self.user, &self.post)
    }
}
