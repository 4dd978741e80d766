//! Feeds projections from the log and commits what they write.

pub(crate) mod batch;
pub(crate) mod builder;
pub(crate) mod checkpoint;
pub mod fold;
pub(crate) mod generations;
pub(crate) mod log;
pub(crate) mod lost_events;
pub(crate) mod parking;
pub(crate) mod projection;
pub(crate) mod runner;
pub(crate) mod status;
pub(crate) mod stores;
