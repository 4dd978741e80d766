//! Shared parts of all queries: consistency with commands, pages, links; and the pages that document the API.

pub mod answer;
pub(crate) mod documentation;
pub(crate) mod files;
pub(crate) mod links;
pub(crate) mod paging;
pub(crate) mod random;
pub(crate) mod tail;
pub(crate) mod welcome;
