//! Artists of the catalogue, and the accounts that manage them.

use events::{
    ArtistAdded, ArtistDetails, ArtistEvent, ArtistId, ArtistLinkEvent, ArtistLinked, Event, LogError,
    MusicEvent, Recorded, Subject, UserId, artist_id,
};
use web::problem::Problem;

use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::Fold;

/// Maximum number of merges from an artist to the one that remains.
const MERGES_LIMIT: usize = 8;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtistRejected {
    /// The account does not manage the artist.
    NotManaged,
}

impl From<ArtistRejected> for Problem {
    fn from(rejected: ArtistRejected) -> Self {
        match rejected {
            ArtistRejected::NotManaged => Self::forbidden(
                "Your account does not manage this artist: an admin can link it to your account",
            ),
        }
    }
}

/// The state of an artist that decisions need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ArtistState {
    pub(crate) exists: bool,
    pub(crate) merged_into: Option<ArtistId>,
}

impl Fold for ArtistState {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Artist(event)) = &recorded.event else { return };
        self.exists = true;
        if let ArtistEvent::ArtistMerged(event) = event {
            self.merged_into = Some(event.into);
        }
    }
}

fn add(state: ArtistState, event: &ArtistAdded) -> Option<Event> {
    (!state.exists).then(|| event.clone().into())
}

/// Whether an account manages an artist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Managed {
    linked: bool,
}

impl Fold for Managed {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::ArtistLink(event)) = &recorded.event else { return };
        self.linked = matches!(event, ArtistLinkEvent::ArtistLinked(_));
    }
}

/// An account becomes the manager of an artist that does not exist yet.
fn manage(state: Managed, artist_exists: bool, link: &ArtistLinked) -> Result<Option<Event>, ArtistRejected> {
    match (state.linked, artist_exists) {
        (true, _) => Ok(None),
        (false, false) => Ok(Some(link.clone().into())),
        (false, true) => Err(ArtistRejected::NotManaged),
    }
}

// ----------------------------------------------------------------- commands

fn details(name: &str) -> ArtistDetails {
    ArtistDetails { name: name.to_owned(), sort_name: None, musicbrainz: None }
}

impl Commands {
    /// Checks that the account manages the artist of this name. It becomes the manager of a new artist: it is linked before
    /// the artist is added, so that a crash between the two leaves no artist without a manager.
    pub(crate) async fn manage_artist(
        &self,
        context: &Context,
        user: UserId,
        name: &str,
    ) -> Result<(), CommandError<ArtistRejected>> {
        let (artist, state) = self.artist_named(name).await?;
        let link = ArtistLinked { artist, user };
        let decide = |managed: &Managed| manage(*managed, state.exists, &link);
        let context = context.clone().without_idempotency_key();
        self.execute(&context, Subject::ArtistLink(artist, user), &[], decide).await?;
        Ok(())
    }

    /// The artist of this name, which is added unless it exists; or the one that it was merged into.
    pub(crate) async fn find_or_add_artist<R>(
        &self,
        context: &Context,
        name: &str,
    ) -> Result<ArtistId, CommandError<R>> {
        let details = details(name);
        let event = ArtistAdded { artist: artist_id(&details), details };
        let decide = |state: &ArtistState| Ok(add(*state, &event));
        // Every request adds the same event, so a repeated one needs no key to find its own.
        let context = context.clone().without_idempotency_key();
        self.execute(&context, Subject::Artist(event.artist), &[], decide).await?;
        Ok(self.artist_named(name).await?.0)
    }

    /// The artist of this name, or the one that it was merged into.
    async fn artist_named(&self, name: &str) -> Result<(ArtistId, ArtistState), LogError> {
        let mut id = artist_id(&details(name));
        let mut state: ArtistState = self.read_cached_state(Subject::Artist(id)).await?;
        for _ in 0..MERGES_LIMIT {
            let Some(into) = state.merged_into else { break };
            id = into;
            state = self.read_cached_state(Subject::Artist(id)).await?;
        }
        Ok((id, state))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn account_manages_new_artists_and_those_linked_to_it() {
        let link = ArtistLinked {
            artist: ArtistId::new(Uuid::from_u128(0xa1)),
            user: UserId::new(Uuid::from_u128(0xa)),
        };
        let (linked, other) = (Managed { linked: true }, Managed::default());
        assert_eq!(manage(other, false, &link), Ok(Some(link.clone().into())));
        assert_eq!(manage(other, true, &link), Err(ArtistRejected::NotManaged));
        assert_eq!((manage(linked, true, &link), manage(linked, false, &link)), (Ok(None), Ok(None)));
    }
}
