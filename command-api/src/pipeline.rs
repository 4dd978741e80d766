//! The way from a request to its events: load, decide, append; and the answers and errors that all commands share.

pub(crate) mod context;
pub(crate) mod errors;
pub(crate) mod execute;
pub(crate) mod partial_failure;
pub(crate) mod receipt;
pub(crate) mod subject_cache;
pub(crate) mod tail;
pub(crate) mod text;
