//! The audio of songs, as it was uploaded.

use axum::extract::State;
use axum::response::Response;
use chrono::DateTime;
use events::SongId;
use http::{HeaderMap, Method};
use media::{CACHE_CONTROL, MediaKey};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::ViewStoreExt;
use views::music::songs::Song;
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

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

/// Stream a song
///
/// The file as it was uploaded, whole or one range of it; several ranges get the whole file. A private song needs its
/// publisher's token. The query parameters `format` and `maxBitRate` are accepted, and the original is sent. Streaming does not
/// count as a play.
#[utoipa::path(
    get, path = "/v1/songs/{song}/stream", tag = "songs", security((), ("token" = [])),
    params(
        ("song" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("Range" = Option<String>, Header, example = "bytes=0-1023"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` or `Last-Modified` that `Range` refers to."),
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
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let viewer = viewer.map(|session| session.user.to_string());
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
