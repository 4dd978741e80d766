//! Artists of the catalogue, with their albums and songs.

use std::collections::{BTreeMap, HashMap};

use axum::extract::State;
use axum::response::Response;
use events::{ArtistId, UserId};
use resources::{Album as AlbumPage, Artist as ArtistPage, Cover, Credit, Song as SongPage};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::music::album_artists::{self, AlbumArtist};
use views::music::albums;
use views::music::artists::{Artist, BY_NAME, MERGED_INTO, VIEW};
use views::music::song_artists::{self, SongArtist};
use views::{Cursor, Document, Index, Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use super::listed::SongsOf;
use super::{library, word};
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

/// Artists merged into one whose albums and songs its lists show; the list of each is one more read.
pub(super) const MERGED_LIMIT: usize = 50;

const VIEWS: [&str; 3] = [VIEW.name, library::VIEW.name, song_artists::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_artists))
        .routes(routes!(get_artist))
        .routes(routes!(list_artist_albums))
        .routes(routes!(list_artist_songs))
}

pub(crate) fn no_artist() -> Problem {
    Problem::not_found("There is no such artist")
}

impl Queries {
    pub(crate) fn cover(&self, picture: &views::music::songs::Picture) -> Cover {
        Cover::new(&self.public_url, &picture.media)
    }

    /// Artists in this order, as shown.
    pub(crate) async fn show_artists(
        &self,
        artists: Vec<Option<Artist>>,
        viewer: Option<UserId>,
    ) -> Result<Vec<Option<ArtistPage>>, Problem> {
        let ids: Vec<String> = artists.iter().flatten().map(|artist| artist.artist.clone()).collect();
        let standings = self.standings(&ids, viewer).await?;
        let show = |artist: Artist| {
            let Artist { artist: id, name, sort_name, musicbrainz, image, .. } = artist;
            let standing = standings.get(&id).copied().unwrap_or_default();
            let image = image.map(|image| self.cover(&image));
            let (followers, viewer) = (standing.users, standing.artist_viewer());
            ArtistPage { id, name, sort_name, musicbrainz, image, followers, viewer }
        };
        Ok(artists.into_iter().map(|artist| artist.map(show)).collect())
    }

    /// An artist, or the one that it was merged into.
    ///
    /// # Errors
    /// 404 if there is none that the viewer may see.
    async fn artist(&self, artist: ArtistId, viewer: Option<UserId>) -> Result<Artist, Problem> {
        let found: Option<Artist> = self.store.get(&artist.to_string()).await.map_err(store_problem)?;
        let found = found.ok_or_else(no_artist)?;
        let artist = match &found.merged_into {
            None => found,
            Some(into) => self.store.get(into).await.map_err(store_problem)?.ok_or_else(no_artist)?,
        };
        if self.is_found(SongsOf::Artist(&artist.artist), viewer).await? {
            Ok(artist)
        } else {
            Err(no_artist())
        }
    }

    /// Artists by the ids that songs and albums credit; a merged artist is the one that it was merged into.
    pub(crate) async fn credited_artists(
        &self,
        ids: impl IntoIterator<Item = &String>,
    ) -> Result<HashMap<String, Artist>, Problem> {
        let mut ids: Vec<String> = ids.into_iter().cloned().collect();
        ids.sort_unstable();
        ids.dedup();
        let found = self.store.get_all::<Artist>(&ids).await.map_err(store_problem)?;
        let mut artists: HashMap<String, Artist> =
            ids.into_iter().zip(found).filter_map(|(id, artist)| Some((id, artist?))).collect();
        let mut merged: Vec<String> =
            artists.values().filter_map(|artist| artist.merged_into.clone()).collect();
        merged.sort_unstable();
        merged.dedup();
        let remaining = self.store.get_all::<Artist>(&merged).await.map_err(store_problem)?;
        let remaining: HashMap<String, Artist> =
            remaining.into_iter().flatten().map(|artist| (artist.artist.clone(), artist)).collect();
        for artist in artists.values_mut() {
            if let Some(into) = artist.merged_into.as_ref().and_then(|into| remaining.get(into)) {
                *artist = into.clone();
            }
        }
        Ok(artists)
    }

    /// The artist and those merged into it, as songs and albums may credit it.
    async fn names_of(&self, artist: ArtistId, viewer: Option<UserId>) -> Result<Vec<String>, Problem> {
        let artist = self.artist(artist, viewer).await?.artist;
        let query = Query::new(&VIEW, &MERGED_INTO, vec![json!(artist)], MERGED_LIMIT);
        let merged = self.store.keys(&query).await.map_err(store_problem)?;
        Ok([artist].into_iter().chain(merged).collect())
    }

    /// One page of the documents of several artists in the order of their positions, newest first.
    async fn newest_credits<T: Document>(
        &self,
        artists: &[String],
        index: &'static Index,
        paging: &Paging,
        place: impl Fn(&T) -> (i64, String),
    ) -> Result<(Vec<String>, Option<Cursor>), Problem> {
        let below = paging.below(index)?;
        let pages = artists.iter().map(async |artist| {
            let query = Query::new(T::VIEW, index, vec![json!(artist), json!(true)], paging.limit);
            self.store.page_of::<T>(query.after(below.map(Cursor::below))).await
        });
        let pages = futures::future::try_join_all(pages).await.map_err(store_problem)?;
        let mut more = pages.iter().any(|page| page.next.is_some());
        // A song may credit several of these artists, and is listed once.
        let found: BTreeMap<i64, String> = pages.iter().flat_map(|page| &page.documents).map(place).collect();
        more |= found.len() > paging.limit;
        let newest: Vec<(i64, String)> = found.into_iter().rev().take(paging.limit).collect();
        let next = newest.last().filter(|_| more).map(|(position, _)| Cursor::below(*position));
        Ok((newest.into_iter().map(|(_, key)| key).collect(), next))
    }
}

/// Artists of a song or an album, as shown. Unknown artists are left out.
pub(crate) fn show_credits(
    credits: &[views::music::songs::Credit],
    artists: &HashMap<String, Artist>,
) -> Result<Vec<Credit>, Problem> {
    let known = credits.iter().filter_map(|credit| Some((credit, artists.get(&credit.artist)?)));
    known
        .map(|(credit, artist)| {
            let (id, name) = (artist.artist.clone(), artist.name.clone());
            Ok(Credit { id, name, role: word(&credit.role)? })
        })
        .collect()
}

/// List artists by name
///
/// Articles at the beginning of a name do not count. Artists whose songs are all private or unlisted are left out.
#[utoipa::path(
    get, path = "/v1/artists", tag = "artists", security((), ("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<ArtistPage>), (status = 304), Problems)
)]
async fn list_artists(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &BY_NAME, vec![json!(true)], paging.limit);
    let page = queries.page_of::<Artist>(query, &paging).await?;
    let viewer = viewer.map(|session| session.user);
    let artists = queries.only_listed(page.documents, |artist| SongsOf::Artist(&artist.artist)).await?;
    let items = queries.show_artists(artists.into_iter().map(Some).collect(), viewer).await?;
    let items = items.into_iter().flatten().collect();
    answer(&conditions, caught_up, &paging.page::<ArtistPage>(items, page.next.as_ref(), &BY_NAME))
}

/// Get an artist
///
/// The id of an artist that was merged into another answers with the other. An artist whose songs are all private is found by
/// their publisher only.
#[utoipa::path(
    get, path = "/v1/artists/{artist}", tag = "artists", security((), ("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = ArtistPage), (status = 304), Problems)
)]
async fn get_artist(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(artist): Path<ArtistId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let viewer = viewer.map(|session| session.user);
    let artist = queries.artist(artist, viewer).await?;
    let shown = queries.show_artists(vec![Some(artist)], viewer).await?;
    answer(&conditions, caught_up, &shown.into_iter().flatten().next().ok_or_else(no_artist)?)
}

/// List an artist's albums, newest first
///
/// Also albums that credit the artist in another role than `main`.
#[utoipa::path(
    get, path = "/v1/artists/{artist}/albums", tag = "artists", security((), ("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<AlbumPage>), (status = 304), Problems)
)]
async fn list_artist_albums(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(artist): Path<ArtistId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let views = [VIEW.name, albums::VIEW.name, library::VIEW.name, song_artists::VIEW.name];
    let caught_up = queries.catch_up(&conditions, &views).await;
    let viewer = viewer.map(|session| session.user);
    let artists = queries.names_of(artist, viewer).await?;
    let index = &album_artists::OF_ARTIST;
    let place = |entry: &AlbumArtist| (entry.position, entry.album.clone());
    let (albums, next) = queries.newest_credits(&artists, index, &paging, place).await?;
    let albums = queries.only_listed(albums, |album| SongsOf::Album(album)).await?;
    let items = queries.albums(&albums, viewer).await?.into_iter().flatten().collect();
    answer(&conditions, caught_up, &paging.page::<AlbumPage>(items, next.as_ref(), index))
}

/// List an artist's songs, newest first
///
/// Also songs that credit the artist in another role than `main`.
#[utoipa::path(
    get, path = "/v1/artists/{artist}/songs", tag = "artists", security((), ("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<SongPage>), (status = 304), Problems)
)]
async fn list_artist_songs(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(artist): Path<ArtistId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &super::songs::VIEWS).await;
    let viewer = viewer.map(|session| session.user);
    let artists = queries.names_of(artist, viewer).await?;
    let index = &song_artists::OF_ARTIST;
    let place = |entry: &SongArtist| (entry.position, entry.song.clone());
    let (songs, next) = queries.newest_credits(&artists, index, &paging, place).await?;
    let items = queries.songs(&songs, viewer).await?.into_iter().flatten().collect();
    answer(&conditions, caught_up, &paging.page::<SongPage>(items, next.as_ref(), index))
}
