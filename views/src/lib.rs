//! The documents of the read side with their indexes, the [`ViewStore`] port, and its two adapters. This crate knows
//! neither HTTP nor the log and its events: ids are plain text, positions are plain numbers.
//!
//! Start with [`ViewStore`], then a view such as [`social::posts`], then [`Writes`], the interface for projections.

pub mod counts;
mod cursor;
mod document;
mod families;
pub mod generations;
mod open;
mod personal;
mod query;
mod schema;
mod serving;
mod store;
mod writes;

pub mod accounts;
pub mod mails;
pub mod markers;
pub mod music;
pub mod social;

#[cfg(feature = "mongodb")]
mod mongo;
mod sqlite;

use std::sync::LazyLock;

pub use self::sqlite::{SqliteGenerations, SqliteViews};
pub use ::sqlite::limit_memory as limit_sqlite_memory;
pub use cursor::{BadCursor, Cursor};
pub use document::{Document, StoredDocument};
pub use families::{Family, families};
#[cfg(feature = "mongodb")]
pub use mongo::{LoadProgress, MongoGenerations, MongoViews};
pub use open::{OpenError, open, open_generations, open_read_only};
pub use query::{Page, PageOf, Query};
pub use schema::{Direction, Index, Layout, View};
pub use serving::Views;
pub use store::{
    Commit, CommitError, NotServing, Parked, Plan, StoreError, ViewSize, ViewStore, ViewStoreExt,
};
pub use writes::{Copy, DeleteEach, FanOut, KeyPart, Patch, PatchEach, Write, Writes};

static ALL: LazyLock<Vec<&'static View>> =
    LazyLock::new(|| [accounts::VIEWS, social::VIEWS, music::VIEWS, &[&mails::VIEW]].concat());

/// All views.
pub fn all() -> &'static [&'static View] {
    &ALL
}
