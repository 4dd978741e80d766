//! The projections, each in the file of its feature.

mod absences;
mod accounts;
mod captions;
mod collections;
mod comments;
mod feeds;
mod follows;
mod likes;
mod mails;
mod notifications;
mod pictures;
mod posts;
mod profiles;
mod saves;
mod search;
mod sessions;
mod stories;
mod story_authors;
mod story_views;

use std::sync::Arc;

pub use accounts::Accounts;
pub use captions::Captions;
pub use collections::Collections;
pub use comments::Comments;
pub use feeds::Feeds;
pub use follows::Follows;
pub use mails::Mails;
pub use notifications::Notifications;
pub use pictures::Pictures;
pub use posts::Posts;
pub use profiles::Profiles;
pub use saves::Saves;
pub use search::Search;
pub use sessions::Sessions;
pub use stories::Stories;
pub use story_authors::StoryAuthors;
pub use story_views::StoryViews;

use service::config::FeedSettings;

use crate::Projection;

/// Every view is built by one of them.
pub fn all(feeds: &FeedSettings) -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(Accounts),
        Arc::new(Captions),
        Arc::new(Collections),
        Arc::new(Comments),
        Arc::new(Feeds::new(feeds.fan_out_limit)),
        Arc::new(Follows),
        Arc::new(Mails),
        Arc::new(Notifications),
        Arc::new(Pictures),
        Arc::new(Posts),
        Arc::new(Profiles),
        Arc::new(Saves),
        Arc::new(Search),
        Arc::new(Sessions),
        Arc::new(Stories),
        Arc::new(StoryAuthors),
        Arc::new(StoryViews),
    ]
}

/// A position as documents hold it.
pub(crate) fn position(recorded: &events::Recorded) -> i64 {
    i64::try_from(recorded.position.0).unwrap_or(i64::MAX)
}

/// When it happened, as documents hold it.
pub(crate) fn time(recorded: &events::Recorded) -> i64 {
    recorded.envelope.time.timestamp_millis()
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use service::config::FeedSettings;

    #[test]
    fn every_view_has_exactly_one_projection() {
        let views: BTreeSet<&str> = views::ALL.iter().map(|view| view.name).collect();
        let written: Vec<&str> =
            super::all(&FeedSettings::default()).iter().flat_map(|projection| projection.views()).collect();
        assert_eq!(written.iter().copied().collect::<BTreeSet<_>>(), views);
        assert_eq!(written.len(), views.len());
    }
}
