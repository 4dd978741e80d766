//! Albums of the catalogue.

use events::{AlbumAdded, AlbumEvent, Event, MusicEvent, Recorded, Subject};

use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};

/// The state of an album that decisions need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AlbumState {
    pub(crate) exists: bool,
}

impl Fold for AlbumState {
    fn apply(&mut self, recorded: &Recorded) {
        if let Event::Music(MusicEvent::Album(AlbumEvent::AlbumAdded(_))) = &recorded.event {
            self.exists = true;
        }
    }
}

fn add(state: AlbumState, event: &AlbumAdded) -> Option<Event> {
    (!state.exists).then(|| event.clone().into())
}

impl Commands {
    /// Adds an album unless it exists.
    pub(crate) async fn add_album<R>(
        &self,
        context: &Context,
        event: &AlbumAdded,
    ) -> Result<Outcome, CommandError<R>> {
        let decide = |state: &AlbumState| Ok(add(*state, event));
        let context = context.clone().without_idempotency_key();
        self.execute(&context, Subject::Album(event.album), &[], decide).await
    }
}
