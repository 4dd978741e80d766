//! From a request to its events: load, decide, append; and the answers and errors that all commands share.

pub mod context;
pub mod errors;
pub mod execute;
pub(crate) mod partial_failure;
pub mod receipt;
pub(crate) mod snapshots;
pub(crate) mod subject_cache;
pub(crate) mod tail;
pub mod text;
