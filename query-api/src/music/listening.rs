//! What the caller listened to: their history, what they play most, and summaries of years. Visible to them only.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeZone, Utc};
use events::UserId;
use futures::future::try_join_all;
use resources::{Album as AlbumPage, Artist as ArtistPage, CreditRole, Song as SongPage};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::music::listening::{
    ALL_TIME, MOST_PLAYED, OF_SONG, OF_USER, OF_YEAR, Play, PlayTotal, PrivateSession, SONGS, SongPlays,
    VIEW, total_key,
};
use views::music::{albums, artists, library, songs};
use views::{Cursor, Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{FieldCode, Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging, limit_within};
use crate::{Queries, store_problem};

/// All other views of listening are written by the same projection.
const VIEWS: [&str; 5] =
    [VIEW.name, songs::VIEW.name, albums::VIEW.name, artists::VIEW.name, library::VIEW.name];

/// Songs that the ranks of artists and albums are computed from: those played most.
const RANKED_SONGS: usize = 500;
/// Default and maximum number of ranked artists and albums.
const DEFAULT_RANKS: usize = 20;
const RANKS: usize = 100;
/// Songs and artists of the summary of a year.
const YEAR_RANKS: usize = 10;
/// Years that can have plays.
const YEARS: std::ops::RangeInclusive<i32> = 2002..=9998;
const MINUTE: i64 = 60_000;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_plays))
        .routes(routes!(list_top_songs))
        .routes(routes!(list_top_artists))
        .routes(routes!(list_top_albums))
        .routes(routes!(get_year))
        .routes(routes!(get_private_session))
}

/// A play in the caller's history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Play)]
struct PlayPage {
    id: String,
    /// The day of its start in UTC. A request that deletes the play names it.
    #[schema(example = "2026-02-03")]
    day: String,
    /// Id of the song.
    song_id: String,
    /// Null if there is no such song any more, or the caller cannot see it.
    song: Option<SongPage>,
    started_at: DateTime<Utc>,
    #[schema(example = 180_000)]
    listened_ms: i64,
}

/// A song, with the caller's plays of it.
#[derive(Debug, Serialize, ToSchema)]
struct TopSong {
    song: SongPage,
    #[schema(example = 42)]
    plays: i64,
    #[schema(example = 126)]
    minutes: i64,
    /// Start of the last play.
    last_played_at: Option<DateTime<Utc>>,
}

/// An artist, with the caller's plays of their songs.
#[derive(Debug, Serialize, ToSchema)]
struct TopArtist {
    artist: ArtistPage,
    #[schema(example = 42)]
    plays: i64,
    #[schema(example = 126)]
    minutes: i64,
}

/// An album, with the caller's plays of its songs.
#[derive(Debug, Serialize, ToSchema)]
struct TopAlbum {
    album: AlbumPage,
    #[schema(example = 42)]
    plays: i64,
    #[schema(example = 126)]
    minutes: i64,
}

/// Artists by the caller's plays.
#[derive(Debug, Serialize, ToSchema)]
struct TopArtists {
    items: Vec<TopArtist>,
}

/// Albums by the caller's plays.
#[derive(Debug, Serialize, ToSchema)]
struct TopAlbums {
    items: Vec<TopAlbum>,
}

/// What the caller listened to in one year (UTC).
#[derive(Debug, Serialize, ToSchema)]
struct YearSummary {
    #[schema(example = 2026)]
    year: i32,
    #[schema(example = 1200)]
    plays: i64,
    #[schema(example = 3900)]
    minutes: i64,
    /// The 10 songs with the most plays in the year.
    songs: Vec<TopSong>,
    /// The 10 artists with the most plays in the year.
    artists: Vec<TopArtist>,
    /// The first play of the year; null if there is none.
    first: Option<PlayPage>,
    /// The last play of the year so far; null if there is none.
    last: Option<PlayPage>,
}

/// Whether plays of the caller are recorded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PrivateSession)]
struct PrivateSessionPage {
    /// Until this time no play is recorded; null if there is no private session.
    until: Option<DateTime<Utc>>,
}

/// The requested ranks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RankParams {
    /// Maximum number of items.
    #[param(value_type = usize, required = false, minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
}

fn time(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}

/// Plays and listened milliseconds of an artist or an album.
#[derive(Debug, Default, Clone, Copy)]
struct Listened {
    plays: i64,
    milliseconds: i64,
}

/// Ids with the most plays first; equal ones by id.
fn ranked(counts: HashMap<String, Listened>, limit: usize) -> Vec<(String, Listened)> {
    let mut ranked: Vec<(String, Listened)> = counts.into_iter().collect();
    ranked.sort_unstable_by(|(one, a), (other, b)| b.plays.cmp(&a.plays).then_with(|| one.cmp(other)));
    ranked.truncate(limit);
    ranked
}

impl Queries {
    /// The plays of a user, latest start first.
    pub async fn latest_plays(&self, user: UserId, limit: usize) -> Result<Vec<Play>, Problem> {
        let query = Query::new(&VIEW, &OF_USER, vec![json!(user)], limit);
        Ok(self.store.page_of(query).await.map_err(store_problem)?.documents)
    }

    async fn show_plays(&self, plays: Vec<Play>, user: UserId) -> Result<Vec<PlayPage>, Problem> {
        let ids: Vec<String> = plays.iter().map(|play| play.song.clone()).collect();
        let songs = self.songs(&ids, Some(user)).await?;
        let show = |(song, play): (Option<SongPage>, Play)| PlayPage {
            id: play.play,
            day: play.day,
            song_id: play.song,
            song,
            started_at: time(play.started),
            listened_ms: play.listened,
        };
        Ok(songs.into_iter().zip(plays).map(show).collect())
    }

    async fn last_play(&self, user: UserId, song: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        let query = Query::new(&VIEW, &OF_SONG, vec![json!(user), json!(song)], 1);
        let page = self.store.page_of::<Play>(query).await.map_err(store_problem)?;
        Ok(page.documents.first().map(|play| time(play.started)))
    }

    /// The visible ones of these songs, in order.
    async fn show_top_songs(&self, counts: &[SongPlays], user: UserId) -> Result<Vec<TopSong>, Problem> {
        let ids: Vec<String> = counts.iter().map(|count| count.song.clone()).collect();
        let (songs, last) = futures::try_join!(
            self.songs(&ids, Some(user)),
            try_join_all(ids.iter().map(|song| self.last_play(user, song)))
        )?;
        let items = songs.into_iter().zip(counts).zip(last).filter_map(|((song, count), last_played_at)| {
            let SongPlays { plays, listened, .. } = count;
            Some(TopSong { song: song?, plays: *plays, minutes: listened / MINUTE, last_played_at })
        });
        Ok(items.collect())
    }

    /// The songs that a user played most in a period, with their plays. Invisible ones are left out.
    async fn most_played(&self, user: UserId, period: &str) -> Result<Vec<(SongPage, SongPlays)>, Problem> {
        let equals = vec![json!(user), json!(period)];
        let query = Query::new(&SONGS, &MOST_PLAYED, equals, RANKED_SONGS);
        let counts = self.store.page_of::<SongPlays>(query).await.map_err(store_problem)?.documents;
        let ids: Vec<String> = counts.iter().map(|count| count.song.clone()).collect();
        let songs = self.songs(&ids, Some(user)).await?;
        Ok(songs.into_iter().zip(counts).filter_map(|(song, count)| Some((song?, count))).collect())
    }

    async fn top_artists(
        &self,
        songs: &[(SongPage, SongPlays)],
        user: UserId,
        limit: usize,
    ) -> Result<Vec<TopArtist>, Problem> {
        let mut counts: HashMap<String, Listened> = HashMap::new();
        for (song, of) in songs {
            for credit in song.artists.iter().filter(|credit| credit.role == CreditRole::Main) {
                let count = counts.entry(credit.id.clone()).or_default();
                count.plays += of.plays;
                count.milliseconds += of.listened;
            }
        }
        let ranked = ranked(counts, limit);
        let artists = self.credited_artists(ranked.iter().map(|(id, _)| id)).await?;
        let artists = ranked.iter().map(|(id, _)| artists.get(id).cloned()).collect();
        let artists = self.show_artists(artists, Some(user)).await?;
        let items = artists.into_iter().zip(ranked).filter_map(|(artist, (_, of))| {
            let Listened { plays, milliseconds } = of;
            Some(TopArtist { artist: artist?, plays, minutes: milliseconds / MINUTE })
        });
        Ok(items.collect())
    }

    async fn year(&self, user: UserId, year: i32) -> Result<YearSummary, Problem> {
        let period = year.to_string();
        let key = total_key(&user.to_string(), &period);
        let total: Option<PlayTotal> = self.store.get(&key).await.map_err(store_problem)?;
        let (plays, listened) = total.map_or((0, 0), |total| (total.plays, total.listened));
        let most_played = self.most_played(user, &period).await?;
        let artists = self.top_artists(&most_played, user, YEAR_RANKS).await?;
        let counts: Vec<SongPlays> =
            most_played.into_iter().take(YEAR_RANKS).map(|(_, count)| count).collect();
        let songs = self.show_top_songs(&counts, user).await?;
        let first = Query::new(&VIEW, &OF_YEAR, vec![json!(user), json!(year)], 1);
        let first = self.store.page_of::<Play>(first).await.map_err(store_problem)?.documents;
        let next_year = Utc.with_ymd_and_hms(year + 1, 1, 1, 0, 0, 0).single().unwrap_or_default();
        let end = Cursor::below(next_year.timestamp_millis());
        let last = Query::new(&VIEW, &OF_USER, vec![json!(user)], 1).after(Some(end));
        let mut last = self.store.page_of::<Play>(last).await.map_err(store_problem)?.documents;
        last.retain(|play| play.year == year);
        Ok(YearSummary {
            year,
            plays,
            minutes: listened / MINUTE,
            songs,
            artists,
            first: self.show_plays(first, user).await?.pop(),
            last: self.show_plays(last, user).await?.pop(),
        })
    }
}

/// List the user's plays, latest start first
#[utoipa::path(
    get, path = "/v1/me/plays", tag = "listening", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<PlayPage>), (status = 304), Problems)
)]
async fn list_plays(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &OF_USER, vec![json!(session.user)], paging.limit);
    let found = queries.page_of::<Play>(query, &paging).await?;
    let items = queries.show_plays(found.documents, session.user).await?;
    answer(&conditions, caught_up, &paging.page(items, found.next.as_ref(), &OF_USER))
}

/// List the songs that the user played most
///
/// Over all time.
#[utoipa::path(
    get, path = "/v1/me/top/songs", tag = "listening", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<TopSong>), (status = 304), Problems)
)]
async fn list_top_songs(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let equals = vec![json!(session.user), json!(ALL_TIME)];
    let query = Query::new(&SONGS, &MOST_PLAYED, equals, paging.limit);
    let found = queries.page_of::<SongPlays>(query, &paging).await?;
    let items = queries.show_top_songs(&found.documents, session.user).await?;
    answer(&conditions, caught_up, &paging.page(items, found.next.as_ref(), &MOST_PLAYED))
}

/// List the artists that the user played most
///
/// Over all time, from the 500 songs that the user played most. Main artists count, featured ones do not.
#[utoipa::path(
    get, path = "/v1/me/top/artists", tag = "listening", security(("token" = [])), params(RankParams, QueryHeaders),
    responses((status = 200, body = TopArtists), (status = 304), Problems)
)]
async fn list_top_artists(
    State(queries): State<Queries>,
    session: Session,
    web::extract::Query(RankParams { limit }): web::extract::Query<RankParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = limit_within(limit, DEFAULT_RANKS, RANKS)?;
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let songs = queries.most_played(session.user, ALL_TIME).await?;
    let items = queries.top_artists(&songs, session.user, limit).await?;
    answer(&conditions, caught_up, &TopArtists { items })
}

/// List the albums that the user played most
///
/// Over all time, from the 500 songs that the user played most.
#[utoipa::path(
    get, path = "/v1/me/top/albums", tag = "listening", security(("token" = [])), params(RankParams, QueryHeaders),
    responses((status = 200, body = TopAlbums), (status = 304), Problems)
)]
async fn list_top_albums(
    State(queries): State<Queries>,
    session: Session,
    web::extract::Query(RankParams { limit }): web::extract::Query<RankParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = limit_within(limit, DEFAULT_RANKS, RANKS)?;
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let mut counts: HashMap<String, Listened> = HashMap::new();
    for (song, of) in queries.most_played(session.user, ALL_TIME).await? {
        if let Some(album) = song.album {
            let count = counts.entry(album.id).or_default();
            count.plays += of.plays;
            count.milliseconds += of.listened;
        }
    }
    let ranked = ranked(counts, limit);
    let ids: Vec<String> = ranked.iter().map(|(id, _)| id.clone()).collect();
    let albums = queries.albums(&ids, Some(session.user)).await?;
    let items =
        albums.into_iter().zip(ranked).filter_map(|(album, (_, Listened { plays, milliseconds }))| {
            Some(TopAlbum { album: album?, plays, minutes: milliseconds / MINUTE })
        });
    answer(&conditions, caught_up, &TopAlbums { items: items.collect() })
}

/// Get the summary of a year
///
/// Days are those of UTC.
#[utoipa::path(
    get, path = "/v1/me/years/{year}", tag = "listening", security(("token" = [])),
    params(("year" = i32, Path, minimum = 2002, maximum = 9998, example = 2026), QueryHeaders),
    responses((status = 200, body = YearSummary), (status = 304), Problems)
)]
async fn get_year(
    State(queries): State<Queries>,
    session: Session,
    Path(year): Path<String>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let bad = || {
        let message = format!("must be {} to {}", YEARS.start(), YEARS.end());
        Problem::malformed("year", FieldCode::OutOfRange, message)
    };
    let year = year.parse().ok().filter(|year| YEARS.contains(year)).ok_or_else(bad)?;
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    answer(&conditions, caught_up, &queries.year(session.user, year).await?)
}

/// Get the private session
#[utoipa::path(
    get, path = "/v1/me/private-session", tag = "listening", security(("token" = [])), params(QueryHeaders),
    responses((status = 200, body = PrivateSessionPage), (status = 304), Problems)
)]
async fn get_private_session(
    State(queries): State<Queries>,
    session: Session,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name]).await;
    let found: Option<PrivateSession> =
        queries.store.get(&session.user.to_string()).await.map_err(store_problem)?;
    let until = found.map(|session| time(session.until)).filter(|until| *until > queries.clock.now());
    answer(&conditions, caught_up, &PrivateSessionPage { until })
}
