//! The play queue of a user, shared by their devices.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::Response;
use events::{
    Event, MusicEvent, Personal, PlayQueue, QueueEvent, QueueSaved, Recorded, SongId, Subject, UserId,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Json;
use web::problem::{FieldCode, Problem, Problems, Refused};
use web::sessions::Session;

use super::library::place_in_song;
use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

/// Maximum number of songs in a queue: their ids fit into the body of a request.
const SONGS_LIMIT: usize = 1000;
/// Longest name of a device in characters.
const DEVICE_LIMIT: usize = 100;

// ---------------------------------------------------------------- decisions

/// The saved queue of one user.
#[derive(Clone, Default, PartialEq)]
struct Queue {
    saved: Option<PlayQueue>,
}

impl Fold for Queue {
    fn apply(&mut self, recorded: &Recorded) {
        if let Event::Music(MusicEvent::Queue(QueueEvent::QueueSaved(event))) = &recorded.event {
            self.saved = event.queue.open().cloned();
        }
    }
}

/// The last device that saves the queue wins. The songs need not exist: readers leave out what they cannot see.
fn save(state: &Queue, user: UserId, queue: &PlayQueue) -> Option<Event> {
    let is_saved = state.saved.as_ref() == Some(queue);
    (!is_saved).then(|| QueueSaved { user, queue: Personal::Open(queue.clone()) }.into())
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// Replaces the play queue of a user.
    pub async fn save_queue(
        &self,
        context: &Context,
        user: UserId,
        queue: &PlayQueue,
    ) -> Result<Outcome, CommandError<Infallible>> {
        let decide = |state: &Queue| Ok(save(state, user, queue));
        self.execute(context, Subject::Queue(user), &[], decide).await
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(save_play_queue))
}

/// What the caller's player plays next.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPlayQueue {
    /// Ids of at most 1,000 songs, in order.
    #[schema(value_type = Vec<String>, max_items = 1000, example = json!(["0199a7c61c9b7d0c9f6c4c1d2a9e5b30"]))]
    songs: Vec<SongId>,
    /// Index of the current song, from 0; null if nothing plays.
    #[schema(example = 0)]
    current: Option<u32>,
    /// Milliseconds from the start of the current song.
    #[schema(value_type = i64, minimum = 0, example = 61_000)]
    position_ms: u64,
    /// Name of the client, for other devices to show; at most 100 characters.
    #[schema(example = "Kitchen")]
    device: String,
}

/// Save the play queue
///
/// Replaces the queue that any device of the user saved before. Save it when it changes and when playback starts, pauses or
/// ends, not all the time: each request is stored.
#[utoipa::path(
    put, path = "/v1/me/queue", tag = "library", request_body = NewPlayQueue, security(("token" = [])),
    params(CommandHeaders), responses(ReceiptAnswers, Problems)
)]
async fn save_play_queue(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(new): Json<NewPlayQueue>,
) -> Result<Response, Problem> {
    let NewPlayQueue { songs, current, position_ms, device } = new;
    let mut fields = Fields::default();
    fields.take("songs", within_limit(songs.len()));
    fields.take("current", within_queue(current, songs.len()));
    let place = fields.take("position_ms", place_in_song(position_ms));
    let device = fields.take("device", text::line(&device, DEVICE_LIMIT));
    fields.finish()?;
    let queue = PlayQueue { songs, current, place, device };
    let user = session.user;
    let payload = serde_json::to_vec(&queue).map_err(Problem::internal)?;
    let context = context.with_actor(user).with_payload([payload.as_slice()]);
    let outcome = commands.save_queue(&context, user, &queue).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

fn within_limit(songs: usize) -> Result<(), Refused> {
    let bad = || Refused::new(FieldCode::TooMany, format!("must be at most {SONGS_LIMIT}"));
    if songs <= SONGS_LIMIT { Ok(()) } else { Err(bad()) }
}

fn within_queue(current: Option<u32>, songs: usize) -> Result<(), Refused> {
    let is_within = current.is_none_or(|current| usize::try_from(current).is_ok_and(|index| index < songs));
    let bad = || Refused::new(FieldCode::OutOfRange, "must be the index of a song in the queue");
    if is_within { Ok(()) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));

    #[test]
    fn queue_is_saved_unless_it_is_the_same() {
        let queue = |place| PlayQueue { songs: vec![SONG], current: Some(0), place, device: "Phone".into() };
        let saved = |place| Some(QueueSaved { user: ANN, queue: Personal::Open(queue(place)) }.into());
        assert_eq!(save(&Queue::default(), ANN, &queue(1)), saved(1));
        let state = Queue { saved: Some(queue(1)) };
        assert_eq!(save(&state, ANN, &queue(2)), saved(2));
        assert_eq!(save(&state, ANN, &queue(1)), None);
    }

    #[test]
    fn current_song_is_in_the_queue() {
        for (current, songs, good) in
            [(None, 0, true), (Some(0), 1, true), (Some(1), 1, false), (Some(0), 0, false)]
        {
            assert_eq!(within_queue(current, songs).is_ok(), good, "{current:?} of {songs}");
        }
        assert!(within_limit(SONGS_LIMIT).is_ok() && within_limit(SONGS_LIMIT + 1).is_err());
    }
}
