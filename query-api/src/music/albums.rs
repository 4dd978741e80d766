//! Albums of the catalogue, with their songs.

use axum::extract::State;
use axum::response::Response;
use chrono::DateTime;
use events::{AlbumId, UserId};
use resources::{Album as AlbumPage, Song as SongPage};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::music::albums::{Album, NEWEST, VIEW};
use views::music::artists;
use views::music::songs::{self, OF_ALBUM};
use views::{Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use super::artists::show_credits;
use super::library;
use super::listed::SongsOf;
use super::word;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

const VIEWS: [&str; 4] = [VIEW.name, artists::VIEW.name, library::VIEW.name, songs::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_albums))
        .routes(routes!(get_album))
        .routes(routes!(list_album_songs))
}

fn no_album() -> Problem {
    Problem::not_found("There is no such album")
}

impl Queries {
    /// An album by its id.
    ///
    /// # Errors
    /// 404 if there is none that the viewer may see.
    async fn album(&self, album: AlbumId, viewer: Option<UserId>) -> Result<Album, Problem> {
        let found: Option<Album> = self.store.get(&album.to_string()).await.map_err(store_problem)?;
        let album = found.filter(|album| album.listed).ok_or_else(no_album)?;
        if self.is_found(SongsOf::Album(&album.album), viewer).await? { Ok(album) } else { Err(no_album()) }
    }

    /// Albums by id, in this order; none for those that do not exist or are removed.
    pub async fn albums(
        &self,
        ids: &[String],
        viewer: Option<UserId>,
    ) -> Result<Vec<Option<AlbumPage>>, Problem> {
        let found = self.store.get_all::<Album>(ids).await.map_err(store_problem)?;
        let listed = found.into_iter().map(|album| album.filter(|album| album.listed));
        self.show_albums(listed.collect(), viewer).await
    }

    async fn show_albums(
        &self,
        albums: Vec<Option<Album>>,
        viewer: Option<UserId>,
    ) -> Result<Vec<Option<AlbumPage>>, Problem> {
        let ids: Vec<String> = albums.iter().flatten().map(|album| album.album.clone()).collect();
        let credits = albums.iter().flatten().flat_map(|album| &album.artists);
        let (artists, standings) = futures::try_join!(
            self.credited_artists(credits.map(|credit| &credit.artist)),
            self.standings(&ids, viewer)
        )?;
        let show = |album: Album| -> Result<AlbumPage, Problem> {
            let standing = standings.get(&album.album).copied().unwrap_or_default();
            Ok(AlbumPage {
                artists: show_credits(&album.artists, &artists)?,
                kind: word(&album.kind)?,
                cover: album.cover.map(|cover| self.cover(&cover)),
                id: album.album,
                title: album.title,
                display_artist: album.display_artist,
                year: album.year,
                version: album.version,
                disc_titles: album.disc_titles,
                musicbrainz: album.musicbrainz,
                likes: standing.users,
                viewer: standing.music_viewer(),
                added_at: DateTime::from_timestamp_millis(album.added).unwrap_or_default(),
            })
        };
        albums.into_iter().map(|album| album.map(show).transpose()).collect()
    }
}

/// List albums, newest first
///
/// In the order in which they were added. Albums whose songs are all private or unlisted are left out.
#[utoipa::path(
    get, path = "/v1/albums", tag = "albums", security((), ("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<AlbumPage>), (status = 304), Problems)
)]
async fn list_albums(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &NEWEST, vec![json!(true)], paging.limit);
    let page = queries.page_of::<Album>(query, &paging).await?;
    let viewer = viewer.map(|session| session.user);
    let albums = queries.only_listed(page.documents, |album| SongsOf::Album(&album.album)).await?;
    let items = queries.show_albums(albums.into_iter().map(Some).collect(), viewer).await?;
    let items = items.into_iter().flatten().collect();
    answer(&conditions, caught_up, &paging.page::<AlbumPage>(items, page.next.as_ref(), &NEWEST))
}

/// Get an album
///
/// An album whose songs are all private is found by their publisher only.
#[utoipa::path(
    get, path = "/v1/albums/{album}", tag = "albums", security((), ("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = AlbumPage), (status = 304), Problems)
)]
async fn get_album(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(album): Path<AlbumId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let viewer = viewer.map(|session| session.user);
    let album = queries.album(album, viewer).await?;
    let shown = queries.show_albums(vec![Some(album)], viewer).await?;
    answer(&conditions, caught_up, &shown.into_iter().flatten().next().ok_or_else(no_album)?)
}

/// List an album's songs
///
/// By disc and track. Only public songs are listed.
#[utoipa::path(
    get, path = "/v1/albums/{album}/songs", tag = "albums", security((), ("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<SongPage>), (status = 304), Problems)
)]
async fn list_album_songs(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(album): Path<AlbumId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &super::songs::VIEWS).await;
    let viewer = viewer.map(|session| session.user);
    let album = queries.album(album, viewer).await?.album;
    let page = queries.songs_page(&OF_ALBUM, vec![json!(album), json!(true)], &paging, viewer).await?;
    answer(&conditions, caught_up, &page)
}
