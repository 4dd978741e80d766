//! Feeds projections from the log and commits what they write.

pub(crate) mod checkpoint;
pub(crate) mod lost_events;
pub(crate) mod projection;
pub(crate) mod runner;
pub(crate) mod status;
