//! The read side's documents with their indexes, the [`ViewStore`] port that keeps them, and its two adapters.
//! Nothing here knows HTTP, the log or its events: ids are plain text, positions plain numbers.
//!
//! Start with [`ViewStore`], then a view of your choice ([`posts`]), then [`Writes`] (how a projection speaks).

mod cursor;
mod document;
mod open;
mod query;
mod schema;
mod store;
mod writes;

pub mod absences;
pub mod accounts;
pub mod captions;
pub mod collections;
pub mod comments;
pub mod feeds;
pub mod follows;
pub mod likes;
pub mod mails;
pub mod notifications;
pub mod pictures;
pub mod posts;
pub mod profiles;
pub mod saves;
pub mod search;
pub mod sessions;
pub mod stories;
pub mod story_authors;
pub mod story_views;

mod mongo;
mod sqlite;

pub use self::sqlite::SqliteViews;
pub use cursor::{BadCursor, Cursor};
pub use document::{Document, StoredDocument};
pub use mongo::MongoViews;
pub use open::{OpenError, open};
pub use query::{Page, PageOf, Query};
pub use schema::{Direction, Index, Layout, View};
pub use store::{Commit, CommitError, Parked, Plan, StoreError, ViewSize, ViewStore, ViewStoreExt};
pub use writes::{Copy, DeleteEach, FanOut, KeyPart, Patch, PatchEach, Write, Writes};

/// Every view there is.
pub const ALL: &[&View] = &[
    &accounts::VIEW,
    &captions::VIEW,
    &collections::VIEW,
    &comments::VIEW,
    &feeds::AUTHORS,
    &feeds::HOME,
    &feeds::PUBLISHED,
    &feeds::SOURCES,
    &follows::VIEW,
    &likes::VIEW,
    &mails::VIEW,
    &notifications::VIEW,
    &pictures::VIEW,
    &posts::VIEW,
    &profiles::VIEW,
    &saves::VIEW,
    &search::VIEW,
    &sessions::VIEW,
    &stories::VIEW,
    &story_authors::VIEW,
    &story_views::VIEW,
];
