//! Albums of the catalogue.

#![allow(dead_code, reason = "the decisions that publish songs read these states")]

use chrono::{DateTime, Utc};
use events::{AlbumDetails, AlbumEvent, Event, Image, MusicEvent, Recorded};
use web::problem::Problem;

use crate::pipeline::execute::Fold;

pub(crate) fn no_album() -> Problem {
    Problem::not_found("There is no such album")
}

/// The state of an album that decisions need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AlbumState {
    pub(crate) details: Option<AlbumDetails>,
    pub(crate) cover: Option<Image>,
    pub(crate) removed: Option<DateTime<Utc>>,
}

impl AlbumState {
    /// The details of the album, unless it is removed.
    pub(crate) fn visible(&self) -> Option<&AlbumDetails> {
        self.details.as_ref().filter(|_| self.removed.is_none())
    }
}

impl Fold for AlbumState {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Album(event)) = &recorded.event else { return };
        match event {
            AlbumEvent::AlbumAdded(event) => {
                self.details = Some(event.details.clone());
                self.cover = event.cover;
            }
            AlbumEvent::AlbumEdited(event) => self.details = Some(event.details.clone()),
            AlbumEvent::AlbumCoverChanged(event) => self.cover = event.cover,
            AlbumEvent::AlbumRemoved(_) => self.removed = Some(recorded.envelope.time),
            AlbumEvent::AlbumRestored(_) => self.removed = None,
        }
    }
}
