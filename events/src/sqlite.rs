//! The log and the key vault on one machine: two SQLite files, `events.db` and `keys.db`.

mod files;
mod log;
mod raw;
mod vault;

pub use files::{Contents, LogFiles};
pub use log::SqliteLog;
pub use vault::SqliteVault;
