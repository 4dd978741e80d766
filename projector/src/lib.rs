//! Builds views from the log. A projection is a pure function from an event to writes; the runner feeds it, commits
//! its writes together with its checkpoint, and tells everybody how far it has come. Beside it run the
//! [`reactions`]: what happens outside because of events, such as mail.
//!
//! Start with [`Projection`], then one of [`projections`], then [`run`]; for mail, with [`reactions::mails`].

#![deny(clippy::wildcard_enum_match_arm, reason = "a new event asks every projection for its verdict")]

mod checkpoint;
pub mod mail;
pub mod projections;
pub mod reactions;
mod runner;
mod status;

pub use runner::{Projector, run};
pub use status::{ProjectionState, Statuses};

use std::collections::BTreeSet;

use events::{Kind, Recorded};
use views::{StoreError, ViewStore, Writes};

/// The beginning of a batch: what its projection must see of its own view.
pub async fn begin<'a>(
    projection: &dyn Projection,
    store: &dyn ViewStore,
    events: impl Iterator<Item = &'a Recorded>,
) -> Result<Writes, StoreError> {
    let keys: BTreeSet<String> = events.flat_map(|recorded| projection.looks_at(recorded)).collect();
    let view = views::ALL.iter().find(|view| view.name == projection.name());
    let Some(view) = view.filter(|_| !keys.is_empty()) else { return Ok(Writes::default()) };
    let keys: Vec<String> = keys.into_iter().collect();
    let found = store.get_many(view, &keys).await?;
    Writes::having_seen(view, keys.into_iter().zip(found))
}

/// Builds the view of its name. It can always be rebuilt, so it looks at nothing but the events, and at documents that
/// it has made of events before: no clock, no other view.
pub trait Projection: Send + Sync + 'static {
    /// The view's name, and the checkpoint's.
    fn name(&self) -> &'static str;

    /// The kinds of events it takes.
    fn kinds(&self) -> &'static [Kind];

    /// What to do with an event that cannot be taken in.
    fn on_failure(&self) -> OnFailure;

    /// The keys of documents of its own view that it must see to take in an event; nearly none needs any.
    fn looks_at(&self, _recorded: &Recorded) -> Vec<String> {
        Vec::new()
    }

    /// The writes that an event leads to.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a document that cannot be written.
    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError>;
}

/// What becomes of a projection when an event cannot be taken in, attempt after attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The event is set aside with its error, and the view goes on without it.
    Park,
    /// The view would be wrong without it, so the projection stops and says so.
    Stop,
}
