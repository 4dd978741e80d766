//! The shared base of the SQLite adapters of `events` and `views`: opening and migrating a database file, concurrent
//! reads, the single writer with group commit, and copies of files in use. It contains no SQL of either crate.

mod checkpointer;
mod copy;
mod database;
mod error;
mod read_only;
mod writer;

pub use copy::{check_integrity, copy, open_existing};
pub use database::{Database, Durability, Schema, limit_memory};
pub use error::Error;
pub use rusqlite;
