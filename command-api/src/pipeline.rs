//! From a request to its events: the only way to load, decide and append, and what its routes share.

pub(crate) mod context;
pub(crate) mod execute;
pub(crate) mod outcome;
pub(crate) mod receipt;
pub(crate) mod rejections;
pub(crate) mod subject_cache;
pub(crate) mod tail;
pub(crate) mod text;
