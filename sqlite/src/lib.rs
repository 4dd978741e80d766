//! What the SQLite adapters of `events` and `views` share, a closed list: how a database file is opened and
//! brought to its schema, how it is read from many tasks at once, and the one writer that commits waiting
//! work together. No SQL of either room stands here.

mod checkpointer;
mod database;
mod error;
mod writer;

pub use database::{Database, Durability, Schema};
pub use error::Error;
pub use rusqlite;
