//! Links to the audio of songs, for players that cannot send a token. They are not in the log: a link is signed, expires, and
//! is no session.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use events::{Event, SongId, Subject, UserId};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::music::songs::{SongRejected, SongState};
use crate::pipeline::context::Context;
use crate::pipeline::receipt::CommandHeaders;

/// How long a link is valid: a listener may pause, and players then ask for the rest.
const LINK_LIFETIME: TimeDelta = TimeDelta::hours(12);

/// Who may play a song may hand that on. A link leads to no event.
fn link(state: &SongState, user: UserId) -> Result<Option<Event>, SongRejected> {
    state.visible_to(user).map(|_| None).ok_or(SongRejected::NotFound)
}

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(create_stream_link))
}

/// An address of a song's audio.
#[derive(Debug, Serialize, ToSchema)]
struct StreamLink {
    /// The stream, with a signature in its query string.
    #[schema(
        example = "https://chorus.example/v1/songs/0191e2a400008000800000000000000a/stream?link=eyJ0eXAi…"
    )]
    url: String,
    /// The link is refused from then on.
    expires_at: DateTime<Utc>,
}

/// Create a stream link
///
/// For players that cannot send a token. Who has the link can play this song as its creator can, for 12 hours, and nothing
/// else. It ends earlier when the song is removed or made private by another user.
#[utoipa::path(
    post, path = "/v1/songs/{song}/stream-links", tag = "songs", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 201, body = StreamLink), Problems)
)]
async fn create_stream_link(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
) -> Result<Response, Problem> {
    let (user, now) = (session.user, context.now);
    let decide = |state: &SongState| link(state, user);
    commands.execute(&context.with_actor(user), Subject::Song(song), &[], decide).await?;
    // The link names seconds.
    let expires = (now + LINK_LIFETIME).trunc_subsecs(0);
    let token = commands.signing.sign_link(user, song, expires).map_err(Problem::internal)?;
    let url = format!("{}?link={token}", resources::stream_url(&commands.public_url, &song.to_string()));
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let body = StreamLink { url, expires_at: expires };
    Ok((StatusCode::CREATED, headers, axum::Json(body)).into_response())
}

#[cfg(test)]
mod tests {
    use events::{ArtistId, SongVisibility};
    use uuid::Uuid;

    use super::*;
    use crate::music::songs::testing::details;

    const PUBLISHER: UserId = UserId::new(Uuid::from_u128(1));
    const OTHER: UserId = UserId::new(Uuid::from_u128(2));

    #[test]
    fn link_is_for_those_who_may_play_the_song() {
        let details = details(ArtistId::new(Uuid::from_u128(3)));
        let public = SongState::of(PUBLISHER, details.clone());
        let private =
            SongState::of(PUBLISHER, events::SongDetails { visibility: SongVisibility::Private, ..details });
        for (state, user, allowed) in [
            (&public, OTHER, true),
            (&private, PUBLISHER, true),
            (&private, OTHER, false),
            (&public.clone().removed_at(DateTime::UNIX_EPOCH), PUBLISHER, false),
            (&SongState::default(), PUBLISHER, false),
        ] {
            match link(state, user) {
                Ok(event) => assert!(allowed && event.is_none(), "{event:?}"),
                Err(refused) => assert!(!allowed && matches!(refused, SongRejected::NotFound), "{refused:?}"),
            }
        }
    }
}
