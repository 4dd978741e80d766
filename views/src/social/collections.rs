//! Collections of saved posts.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View =
    View { name: "collections", indexes: &[&OF_USER], layout: Layout::Clustered, personal: &["name"] };

/// Collections of one user, newest first.
pub const OF_USER: Index =
    Index { name: "of_user", equals: &["user"], order: "position", direction: Direction::Descending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    pub collection: String,
    pub user: String,
    pub name: String,
    /// Milliseconds since 1970.
    pub created: i64,
    pub position: i64,
}

impl Document for Collection {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        self.collection.clone()
    }
}
