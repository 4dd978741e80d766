//! Pictures, served from the media store, or by a link to it.

use axum::extract::State;
use axum::response::Response;
use events::Subject;
use http::{HeaderMap, Method};
use media::{CACHE_CONTROL, ImageVariant, MediaKey};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles::{AccountStatus, Profile};
use views::music::albums::Album;
use views::music::artists::Artist;
use views::music::songs::Song;
use views::social::pictures::Picture;
use views::{StoreError, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};

use crate::reading::files::{Delivery, serve};
use crate::{Queries, store_problem};

const DELIVERY: Delivery =
    Delivery { what: "picture", cache_control: CACHE_CONTROL, by_link: true, modified: None };

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_media))
}

impl Queries {
    pub fn image_url(&self, picture: &str, variant: ImageVariant) -> String {
        variant.url(&self.public_url, picture)
    }

    /// Whether a picture belongs to visible content.
    async fn is_shown(&self, picture: &str) -> Result<bool, StoreError> {
        let Some(Picture { owner, subject, removed: false, .. }) = self.store.get(picture).await? else {
            return Ok(false);
        };
        let Some(owner) = owner else { return self.is_in_catalogue(&subject).await };
        let owner: Option<Profile> = self.store.get(&owner).await?;
        Ok(owner.is_some_and(|owner| owner.status == AccountStatus::Active))
    }

    /// Whether an artist, an album or a song is visible, to its publisher at least: like pictures of private accounts, those of
    /// private songs need no token, and their ids are secret.
    async fn is_in_catalogue(&self, subject: &str) -> Result<bool, StoreError> {
        match subject.parse() {
            Ok(Subject::Artist(artist)) => {
                let artist: Option<Artist> = self.store.get(&artist.to_string()).await?;
                Ok(artist.is_some_and(|artist| artist.merged_into.is_none()))
            }
            Ok(Subject::Album(album)) => {
                let album: Option<Album> = self.store.get(&album.to_string()).await?;
                Ok(album.is_some_and(|album| album.listed))
            }
            Ok(Subject::Song(song)) => {
                let song: Option<Song> = self.store.get(&song.to_string()).await?;
                Ok(song.is_some_and(|song| song.is_visible_to(Some(&song.publisher))))
            }
            Ok(_) | Err(_) => Ok(false),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Place {
    picture: String,
    file: String,
}

/// Get a picture
///
/// Needs no token. The content of a URL never changes. The picture is not found any more once its post, story or playlist is
/// deleted or removed, its owner is deactivated, suspended or erased, or its album or song is removed.
#[utoipa::path(
    get, path = "/media/images/{picture}/{file}", tag = "media",
    params(
        ("picture" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("file" = String, Path, example = "feed.jpg"),
        ("Range" = Option<String>, Header, example = "bytes=0-1023"),
        ("If-Range" = Option<String>, Header, description = "The `ETag` that `Range` refers to."),
    ),
    responses(
        (status = 200, content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
        (status = 206, content((Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"))),
        (status = 304), (status = 307), Problems
    )
)]
async fn get_media(
    State(queries): State<Queries>,
    method: Method,
    Path(Place { picture, file }): Path<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let key = MediaKey::parse(&format!("images/{picture}/{file}")).ok_or_else(|| DELIVERY.missing())?;
    if !queries.is_shown(&picture).await.map_err(store_problem)? {
        return Err(DELIVERY.missing());
    }
    serve(&*queries.media, &method, &key, &headers, DELIVERY).await
}
