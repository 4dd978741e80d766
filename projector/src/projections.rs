//! The projections, each in the file of its feature.

mod accounts;
mod comments;
mod follows;
mod likes;
mod mails;
mod posts;
mod profiles;
mod search;
mod sessions;
mod stories;
mod story_authors;
mod story_views;

use std::sync::Arc;

pub use accounts::Accounts;
pub use comments::Comments;
pub use follows::Follows;
pub use likes::Likes;
pub use mails::Mails;
pub use posts::Posts;
pub use profiles::Profiles;
pub use search::Search;
pub use sessions::Sessions;
pub use stories::Stories;
pub use story_authors::StoryAuthors;
pub use story_views::StoryViews;

use crate::Projection;

/// One for each view.
pub fn all() -> Vec<Arc<dyn Projection>> {
    vec![
        Arc::new(Accounts),
        Arc::new(Comments),
        Arc::new(Follows),
        Arc::new(Likes),
        Arc::new(Mails),
        Arc::new(Posts),
        Arc::new(Profiles),
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

    #[test]
    fn every_view_has_exactly_one_projection() {
        let views: BTreeSet<&str> = views::ALL.iter().map(|view| view.name).collect();
        let projections: Vec<&str> = super::all().iter().map(|projection| projection.name()).collect();
        assert_eq!(projections.iter().copied().collect::<BTreeSet<_>>(), views);
        assert_eq!(projections.len(), views.len());
    }
}
