//! Builds views from the log. A projection is a pure function from an event to writes. The runner reads events,
//! commits the writes together with the checkpoint, and publishes the progress. The [`reactions`] run beside it: side
//! effects of events, such as mail.
//!
//! Start with [`Projection`], then one of [`social`], then [`run`]; for mail, with [`reactions::mails`].

#![deny(clippy::wildcard_enum_match_arm, reason = "a new event must be handled by every projection")]

pub mod accounts;
mod engine;
pub mod mail;
mod mails;
pub mod music;
pub mod reactions;
pub mod social;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use service::config::FeedSettings;

pub use engine::builder::{BuildError, BuildSettings, Built, build, claim, drop_generation};
pub use engine::fold;
pub use engine::generations::{Feeder, feed};
pub use engine::lost_events::{LostEvents, refuse_lost_events};
pub use engine::parking::{Incoming, PARKED_LIMIT, Parking, TooManyParked};
pub use engine::projection::{OnFailure, Projection, Search, batch_length, preload};
pub use engine::runner::{COMMIT_WEIGHT, Projector, run};
pub use engine::status::{ProjectionState, Statuses};
pub use engine::stores::StoreSettings;
pub use mails::Mails;

/// All projections; together they build all views.
pub fn projections(feeds: &FeedSettings) -> Vec<Arc<dyn Projection>> {
    let mut all = accounts::projections();
    all.extend(social::projections(feeds));
    all.extend(music::projections());
    all.push(Arc::new(Mails));
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use service::config::FeedSettings;

    #[test]
    fn every_projection_has_a_family_with_its_views() {
        let projections = super::projections(&FeedSettings::default());
        for projection in &projections {
            let family = views::families().iter().find(|family| family.name == projection.name()).unwrap();
            let of_family: BTreeSet<&str> = family.views.iter().map(|view| view.name).collect();
            assert_eq!(projection.views().into_iter().collect::<BTreeSet<_>>(), of_family, "{}", family.name);
        }
        assert_eq!(views::families().len(), projections.len());
    }

    #[test]
    fn every_view_has_exactly_one_projection() {
        let views: BTreeSet<&str> = views::all().iter().map(|view| view.name).collect();
        let written: Vec<&str> = super::projections(&FeedSettings::default())
            .iter()
            .flat_map(|projection| projection.views())
            .collect();
        assert_eq!(written.iter().copied().collect::<BTreeSet<_>>(), views);
        assert_eq!(written.len(), views.len());
    }
}
