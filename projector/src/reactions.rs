//! The reactions: side effects of events. Unlike a projection, a reaction is never repeated for its effects: what it has
//! done stands in the log, or does no harm a second time, where an empty view store has it done again.

pub mod erasures;
pub mod mailboxes;
pub mod mails;
pub mod media;
pub mod purges;
mod repeatable;
pub mod stories;
