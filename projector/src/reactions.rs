//! The reactions: side effects of events. Unlike a projection, a reaction is never repeated: what it has done stands in
//! the log, and an empty view store or a rebuild does none of it again.

pub mod mailboxes;
pub mod mails;
pub mod stories;
