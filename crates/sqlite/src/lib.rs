//! What the SQLite adapters of `events` and `views` share, a closed list: how a database file is opened and
//! brought to its schema, how it is read from many tasks at once, and the one writer that commits waiting
//! work together; copies of files in use. It has no SQL of either crate.

mod checkpointer;
mod copy;
mod database;
mod error;
mod writer;

pub use copy::{check_integrity, copy, open_existing};
pub use database::{Database, Durability, Schema};
pub use error::Error;
pub use rusqlite;
