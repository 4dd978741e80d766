//! Songs of the catalogue, with their artists and albums.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use chrono::DateTime;
use events::{SongId, UserId};
use resources::{AlbumReference, ReplayGain, Song as SongPage, stream_url};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::music::albums::{self, Album};
use views::music::artists::{self, Artist};
use views::music::songs::{AudioFile, NEWEST, OF_PUBLISHER, Song, VIEW};
use views::{Index, Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use super::artists::show_credits;
use super::library::{self, Standing};
use super::word;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

/// The views that a page of songs reads.
pub(crate) const VIEWS: [&str; 4] = [VIEW.name, albums::VIEW.name, artists::VIEW.name, library::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_songs))
        .routes(routes!(list_published_songs))
        .routes(routes!(get_song))
}

impl Queries {
    /// Songs by id, in this order; none for those that do not exist or that the viewer may not see.
    pub async fn songs(
        &self,
        ids: &[String],
        viewer: Option<UserId>,
    ) -> Result<Vec<Option<SongPage>>, Problem> {
        let found = self.store.get_all::<Song>(ids).await.map_err(store_problem)?;
        self.show_songs(found, viewer).await
    }

    /// One page of the songs that an index finds, as shown.
    pub(super) async fn songs_page(
        &self,
        index: &'static Index,
        equals: Vec<Value>,
        paging: &Paging,
        viewer: Option<UserId>,
    ) -> Result<PageOf<SongPage>, Problem> {
        let query = Query::new(&VIEW, index, equals, paging.limit);
        let found = self.page_of::<Song>(query, paging).await?;
        let songs = self.show_songs(found.documents.into_iter().map(Some).collect(), viewer).await?;
        Ok(paging.page(songs.into_iter().flatten().collect(), found.next.as_ref(), index))
    }

    /// The visible ones of these songs, in order, as shown.
    pub(crate) async fn show_songs(
        &self,
        songs: Vec<Option<Song>>,
        viewer: Option<UserId>,
    ) -> Result<Vec<Option<SongPage>>, Problem> {
        let name = viewer.map(|viewer| viewer.to_string());
        let visible: Vec<Option<Song>> =
            songs.into_iter().map(|song| song.filter(|song| song.is_visible_to(name.as_deref()))).collect();
        let ids: Vec<String> = visible.iter().flatten().map(|song| song.song.clone()).collect();
        let mut albums: Vec<String> =
            visible.iter().flatten().filter_map(|song| song.album.clone()).collect();
        albums.sort_unstable();
        albums.dedup();
        let credits = visible.iter().flatten().flat_map(|song| &song.artists);
        let (albums, artists, standings) = futures::try_join!(
            async { self.store.get_all::<Album>(&albums).await.map_err(store_problem) },
            self.credited_artists(credits.map(|credit| &credit.artist)),
            self.standings(&ids, viewer)
        )?;
        let albums: HashMap<String, Album> =
            albums.into_iter().flatten().map(|album| (album.album.clone(), album)).collect();
        let show = |song: Song| {
            let album = song.album.as_ref().and_then(|album| albums.get(album));
            let standing = standings.get(&song.song).copied().unwrap_or_default();
            self.show_song(song.clone(), album, &artists, standing)
        };
        visible.into_iter().map(|song| song.map(show).transpose()).collect()
    }

    fn show_song(
        &self,
        song: Song,
        album: Option<&Album>,
        artists: &HashMap<String, Artist>,
        standing: Standing,
    ) -> Result<SongPage, Problem> {
        let AudioFile {
            key: _,
            format,
            duration,
            bit_rate,
            sample_rate,
            channels,
            size,
            track_gain,
            track_peak,
            album_gain,
            album_peak,
        } = song.file;
        let has_gain = [track_gain, track_peak, album_gain, album_peak].iter().any(Option::is_some);
        let replay_gain = has_gain.then_some(ReplayGain { track_gain, track_peak, album_gain, album_peak });
        let (loudness, peak, waveform) = match song.analysis {
            Some(analysis) => {
                let waveform = Some(analysis.waveform).filter(|_| analysis.loudness.is_some());
                (analysis.loudness, analysis.peak, waveform)
            }
            None => (None, None, None),
        };
        let cover = song.cover.as_ref().or_else(|| album.and_then(|album| album.cover.as_ref()));
        let reference =
            |album: &Album| AlbumReference { id: album.album.clone(), title: album.title.clone() };
        Ok(SongPage {
            artists: show_credits(&song.artists, artists)?,
            album: album.map(reference),
            cover: cover.map(|cover| self.cover(cover)),
            format: word(&format)?,
            visibility: word(&song.visibility)?,
            stream_url: stream_url(&self.public_url, &song.song),
            id: song.song,
            title: song.title,
            display_artist: song.display_artist,
            disc: song.disc,
            track: song.track,
            genres: song.genres,
            year: song.year,
            explicit: song.explicit,
            duration_ms: duration,
            bit_rate,
            sample_rate,
            channels,
            size,
            loudness,
            peak,
            waveform,
            replay_gain,
            musicbrainz: song.musicbrainz,
            likes: standing.users,
            viewer: standing.music_viewer(),
            published_at: DateTime::from_timestamp_millis(song.published).unwrap_or_default(),
        })
    }
}

/// List songs, newest first
#[utoipa::path(
    get, path = "/v1/songs", tag = "songs", security((), ("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<SongPage>), (status = 304), Problems)
)]
async fn list_songs(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let viewer = viewer.map(|session| session.user);
    let page = queries.songs_page(&NEWEST, vec![json!(true)], &paging, viewer).await?;
    answer(&conditions, caught_up, &page)
}

/// List the songs that the user published, newest first
///
/// Also private and unlisted songs, without removed ones.
#[utoipa::path(
    get, path = "/v1/me/published-songs", tag = "songs", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<SongPage>), (status = 304), Problems)
)]
async fn list_published_songs(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let (user, equals) = (session.user, vec![json!(session.user)]);
    let page = queries.songs_page(&OF_PUBLISHER, equals, &paging, Some(user)).await?;
    answer(&conditions, caught_up, &page)
}

/// A song with what lists leave out.
#[derive(Debug, Serialize, ToSchema)]
struct SongDetails {
    #[serde(flatten)]
    song: SongPage,
    /// Null if there are none.
    #[schema(example = "Light on the lake")]
    lyrics: Option<String>,
}

/// Get a song
///
/// Private songs are found by their publisher only.
#[utoipa::path(
    get, path = "/v1/songs/{song}", tag = "songs", security((), ("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = SongDetails), (status = 304), Problems)
)]
async fn get_song(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(song): Path<SongId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let found = queries.store.get::<Song>(&song.to_string()).await.map_err(store_problem)?;
    let lyrics = found.as_ref().and_then(|song| song.lyrics.clone());
    let shown = queries.show_songs(vec![found], viewer.map(|session| session.user)).await?;
    let song = shown.into_iter().flatten().next();
    let song = song.ok_or_else(|| Problem::not_found("There is no such song"))?;
    answer(&conditions, caught_up, &SongDetails { song, lyrics })
}
