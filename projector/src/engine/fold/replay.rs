//! Takes single events into the views of one projection, to see what each of them changes.

use std::fmt;

use events::{LogError, RawEvent, SealedLog};
use views::ViewStore;

use super::family::Folder;
use super::window;
use super::{Family, FoldError, FoldOptions, Folded};
use crate::engine::batch::Event;
use crate::engine::parking::Parking;

/// A projection that takes single events.
pub struct Replay {
    log: SealedLog,
    folder: Folder,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replay({})", self.folder.projection.name())
    }
}

impl Replay {
    /// Into a store that holds nothing of the projection yet.
    pub fn new(log: &SealedLog, family: Family) -> Self {
        let Family { projection, store } = family;
        let weight = FoldOptions::default().weight;
        Self {
            log: log.clone(),
            folder: Folder { projection, store, checkpoint: 0, parking: Parking::default(), weight },
        }
    }

    pub fn store(&self) -> &dyn ViewStore {
        &*self.folder.store
    }

    /// Opens events, in order; those of kinds that the projection does not take are left out.
    ///
    /// # Errors
    /// If that is impossible; not if single events are unreadable.
    pub async fn open(&self, events: &[RawEvent]) -> Result<Vec<Opened>, LogError> {
        let events = window::open(&self.log, events, self.folder.projection.kinds()).await?;
        Ok(events.into_iter().map(Opened).collect())
    }

    /// Takes one event in, in a commit of its own.
    ///
    /// # Errors
    /// As for [`fold`](super::fold).
    pub async fn take(&mut self, event: &Opened) -> Result<(), FoldError> {
        let passed = event.0.position().0;
        self.folder.take(&[&event.0], passed, &mut Folded::default()).await
    }
}

/// An event that is ready to be taken.
#[derive(Debug)]
pub struct Opened(Event);

impl Opened {
    pub fn position(&self) -> events::Position {
        self.0.position()
    }
}
