//! People by the words of their names.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, View};

pub const VIEW: View = View { name: "search", indexes: &[&BY_TERM, &BY_USER] };

/// By the beginning of a term.
pub const BY_TERM: Index =
    Index { name: "by_term", equals: &[], order: "term", direction: Direction::Ascending };
/// All terms of one user.
pub const BY_USER: Index =
    Index { name: "by_user", equals: &["user"], order: "term", direction: Direction::Ascending };

/// One word by which one user is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Folded: lower case, without accents.
    pub term: String,
    pub user: String,
}

impl Document for Term {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        format!("{}.{}", self.user, self.term)
    }
}
