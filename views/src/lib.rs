//! The read side's documents with their indexes, the [`ViewStore`] port that keeps them, and its two adapters.
//! Nothing here knows HTTP, the log or its events: ids are plain text, positions plain numbers.
//!
//! Start with [`ViewStore`], then a view of your choice ([`social::posts`]), then [`Writes`] (how a projection speaks).

mod cursor;
mod document;
mod open;
mod query;
mod schema;
mod store;
mod writes;

pub mod absences;
pub mod accounts;
pub mod mails;
pub mod social;

#[cfg(feature = "mongodb")]
mod mongo;
mod sqlite;

use std::sync::LazyLock;

pub use self::sqlite::SqliteViews;
pub use cursor::{BadCursor, Cursor};
pub use document::{Document, StoredDocument};
#[cfg(feature = "mongodb")]
pub use mongo::MongoViews;
pub use open::{OpenError, open};
pub use query::{Page, PageOf, Query};
pub use schema::{Direction, Index, Layout, View};
pub use store::{Commit, CommitError, Parked, Plan, StoreError, ViewSize, ViewStore, ViewStoreExt};
pub use writes::{Copy, DeleteEach, FanOut, KeyPart, Patch, PatchEach, Write, Writes};

static ALL: LazyLock<Vec<&'static View>> =
    LazyLock::new(|| [accounts::VIEWS, social::VIEWS, &[&mails::VIEW]].concat());

/// Every view there is.
pub fn all() -> &'static [&'static View] {
    &ALL
}
