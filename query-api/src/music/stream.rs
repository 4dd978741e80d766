//! The audio of songs, as it was uploaded.

use axum::extract::State;
use axum::response::Response;
use chrono::DateTime;
use events::{SongId, UserId};
use http::{HeaderMap, Method, StatusCode};
use media::{CACHE_CONTROL, MediaKey};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::ViewStoreExt;
use views::music::songs::Song;
use web::extract::{Path, Query};
use web::problem::{Problem, Problems};
use web::sessions::Session;
use web::tokens::TokenError;

use crate::reading::files::{Delivery, serve};
use crate::{Queries, store_problem};

/// `Cache-Control` of songs that not everybody may play.
const PRIVATE_CACHE: &str = "private, max-age=300";
/// Through this server, not by a redirect: players send later ranges to the redirected address, which has expired by then.
const DELIVERY: Delivery =
    Delivery { what: "song", cache_control: CACHE_CONTROL, by_link: false, modified: None };

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(stream_song))
}

#[derive(Debug, Deserialize)]
struct StreamParams {
    link: Option<String>,
}

impl Queries {
    /// Who plays a song by a signed link.
    async fn viewer_by_link(&self, link: &str, song: SongId) -> Result<UserId, Problem> {
        match self.authenticator.verify_link(link).await {
            Ok(claims) if claims.song == song => Ok(claims.sub),
            Err(TokenError::Expired) => {
                Err(Problem::new(StatusCode::GONE, "link-expired", "The link has expired: create a new one"))
            }
            Ok(_) | Err(TokenError::Invalid | TokenError::UnknownKey) => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "link-invalid",
                "The link is not one of this song: was it altered?",
            )),
        }
    }
}

/// Stream a song
///
/// The file as it was uploaded, whole or one range of it; several ranges get the whole file. A private song needs its
/// publisher's token or a link of its publisher, which is refused with 403 if it was altered and with 410 if it has expired. The
/// query parameters `format` and `maxBitRate` are accepted, and the original is sent. Streaming does not
/// count as a play.
#[utoipa::path(
    get, path = "/v1/songs/{song}/stream", tag = "songs", security((), ("token" = [])),
    params(
        ("song" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("Range" = Option<String>, Header, example = "bytes=0-1023"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` or `Last-Modified` that `Range` refers to."),
        ("link" = Option<String>, Query, description = "The signature of a stream link, instead of a token."),
    ),
    responses(
        (status = 200, content((Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/mp4"), (Vec<u8> = "audio/ogg"))),
        (status = 206, content((Vec<u8> = "audio/mpeg"), (Vec<u8> = "audio/mp4"), (Vec<u8> = "audio/ogg"))),
        (status = 304), Problems
    )
)]
async fn stream_song(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    method: Method,
    Path(song): Path<SongId>,
    Query(StreamParams { link }): Query<StreamParams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let viewer = match link {
        Some(link) => Some(queries.viewer_by_link(&link, song).await?),
        None => viewer.map(|session| session.user),
    };
    let viewer = viewer.map(|user| user.to_string());
    let found: Option<Song> = queries.store.get(&song.to_string()).await.map_err(store_problem)?;
    let song = found.filter(|song| song.is_visible_to(viewer.as_deref()));
    let song = song.ok_or_else(|| DELIVERY.missing())?;
    let key = MediaKey::parse(&song.file.key);
    let key = key.ok_or_else(|| Problem::internal("the key of a song's file is invalid"))?;
    let cache_control = if song.visibility == "private" { PRIVATE_CACHE } else { CACHE_CONTROL };
    let modified = DateTime::from_timestamp_millis(song.published);
    let delivery = Delivery { cache_control, modified, ..DELIVERY };
    serve(&*queries.media, &method, &key, &headers, delivery).await
}
