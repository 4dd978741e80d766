//! Artists of the catalogue.

#![allow(dead_code, reason = "the decisions that publish songs read these states")]

use std::collections::HashMap;

use events::{ArtistDetails, ArtistEvent, ArtistId, Event, Image, MusicEvent, Recorded, UserId};
use web::problem::Problem;

use crate::pipeline::execute::Fold;

pub(crate) fn no_artist() -> Problem {
    Problem::not_found("There is no such artist")
}

/// The state of an artist that decisions need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ArtistState {
    pub(crate) details: Option<ArtistDetails>,
    /// The account that added it; none if an import did.
    pub(crate) added_by: Option<UserId>,
    pub(crate) image: Option<Image>,
    pub(crate) merged_into: Option<ArtistId>,
}

impl ArtistState {
    /// Whether songs and albums can credit the artist.
    pub(crate) fn is_listed(&self) -> bool {
        self.details.is_some() && self.merged_into.is_none()
    }
}

impl Fold for ArtistState {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Artist(event)) = &recorded.event else { return };
        match event {
            ArtistEvent::ArtistAdded(event) => {
                self.details = Some(event.details.clone());
                self.added_by = recorded.envelope.actor;
            }
            ArtistEvent::ArtistEdited(event) => self.details = Some(event.details.clone()),
            ArtistEvent::ArtistImageChanged(event) => self.image = event.image,
            ArtistEvent::ArtistMerged(event) => self.merged_into = Some(event.into),
        }
    }
}

/// Several artists, for decisions about things that credit them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ArtistStates(pub(crate) HashMap<ArtistId, ArtistState>);

impl ArtistStates {
    pub(crate) fn is_listed(&self, artist: ArtistId) -> bool {
        self.0.get(&artist).is_some_and(ArtistState::is_listed)
    }
}

impl Fold for ArtistStates {
    fn apply(&mut self, recorded: &Recorded) {
        if let Event::Music(MusicEvent::Artist(event)) = &recorded.event {
            self.0.entry(event.artist()).or_default().apply(recorded);
        }
    }
}
