//! Reactions: side effects of events. Rebuilding a view store does not repeat their effects: each effect is recorded
//! in the log or is idempotent.

pub mod erasures;
mod idempotent;
pub mod mailboxes;
pub mod mails;
pub mod media;
pub mod purges;
pub mod stories;
