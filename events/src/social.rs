//! Events of the photo network: posts, comments, likes, follows, stories, saved posts, moderation.

mod comments;
mod follows;
mod likes;
mod moderation;
mod notifications;
mod posts;
mod saves;
mod stories;

pub use comments::*;
pub use follows::*;
pub use likes::*;
pub use moderation::*;
pub use notifications::*;
pub use posts::*;
pub use saves::*;
pub use stories::*;
