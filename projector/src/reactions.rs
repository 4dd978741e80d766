//! The reactions: side effects of events. Unlike a projection, a reaction is never repeated: what it has done stands in
//! the log, or does no harm a second time; an empty view store or a rebuild does none of it again.

pub mod erasures;
pub mod mailboxes;
pub mod mails;
pub mod media;
mod repeatable;
pub mod stories;
