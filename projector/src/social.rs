//! Projections of the photo network.

mod captions;
mod collections;
mod comments;
mod feeds;
mod follows;
mod likes;
mod notifications;
pub(crate) mod pictures;
mod posts;
mod saves;
mod stories;
mod story_authors;
mod story_views;

use std::sync::Arc;

use service::config::FeedSettings;

pub use captions::Captions;
pub use collections::Collections;
pub use comments::Comments;
pub use feeds::Feeds;
pub use follows::Follows;
pub use notifications::Notifications;
pub use pictures::Pictures;
pub use posts::Posts;
pub use saves::Saves;
pub use stories::Stories;
pub use story_authors::StoryAuthors;
pub use story_views::StoryViews;

use crate::Projection;

pub(crate) fn projections(feeds: &FeedSettings) -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(Captions),
        Arc::new(Collections),
        Arc::new(Comments),
        Arc::new(Feeds::new(feeds.fan_out_limit)),
        Arc::new(Follows),
        Arc::new(Notifications),
        Arc::new(Pictures),
        Arc::new(Posts),
        Arc::new(Saves),
        Arc::new(Stories),
        Arc::new(StoryAuthors),
        Arc::new(StoryViews),
    ]
}
