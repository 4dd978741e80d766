//! The library of a user: liked songs and albums, followed artists, ratings, bookmarks and the play queue; and how many
//! users have an item in their library.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::UserId;
use resources::{Album as AlbumPage, Artist as ArtistPage, ArtistViewer, MusicViewer, Song as SongPage};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::music::bookmarks::{self, Bookmark};
pub(crate) use views::music::library::VIEW;
use views::music::library::{ALBUM, ARTIST, LibraryEntry, OF_USER, SONG, Tally, key};
use views::music::queue::PlayQueue;
use views::music::ratings::{self, Rating};
use views::music::{albums, artists, songs};
use views::{PageOf as Found, Query, ViewStoreExt};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use super::word;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

/// All other views of the library are written by the same projection.
const VIEWS: [&str; 4] = [VIEW.name, songs::VIEW.name, albums::VIEW.name, artists::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_liked_songs))
        .routes(routes!(list_liked_albums))
        .routes(routes!(list_followed_artists))
        .routes(routes!(list_ratings))
        .routes(routes!(list_bookmarks))
        .routes(routes!(get_play_queue))
}

/// A song that the caller likes.
#[derive(Debug, Serialize, ToSchema)]
struct LikedSong {
    song: SongPage,
    liked_at: DateTime<Utc>,
}

/// An album that the caller likes.
#[derive(Debug, Serialize, ToSchema)]
struct LikedAlbum {
    album: AlbumPage,
    liked_at: DateTime<Utc>,
}

/// An artist that the caller follows.
#[derive(Debug, Serialize, ToSchema)]
struct FollowedArtist {
    /// Id of the artist.
    id: String,
    artist: ArtistPage,
    followed_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LibraryKind {
    Song,
    Album,
    Artist,
}

/// A rating by the caller, of a song, an album or an artist: the other two are null. So is a rated item that the caller
/// cannot see any more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rating)]
struct RatingPage {
    kind: LibraryKind,
    /// Id of the rated item.
    id: String,
    /// 1 to 5.
    #[schema(example = 4)]
    stars: u8,
    song: Option<SongPage>,
    album: Option<AlbumPage>,
    artist: Option<ArtistPage>,
    rated_at: DateTime<Utc>,
}

/// A place in a song to continue from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Bookmark)]
struct BookmarkPage {
    song: SongPage,
    /// Milliseconds from the start of the song.
    #[schema(example = 61_000)]
    position_ms: i64,
    /// Empty if there is none.
    #[schema(example = "The solo")]
    comment: String,
    set_at: DateTime<Utc>,
}

/// A song in a queue.
#[derive(Debug, Serialize, ToSchema)]
struct QueuedSong {
    id: String,
    /// Null if there is no such song any more, or the caller cannot see it.
    song: Option<SongPage>,
}

/// What the caller's player plays next.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlayQueue)]
struct QueuePage {
    /// Empty if no queue was saved.
    songs: Vec<QueuedSong>,
    /// Index of the current song, from 0; null if nothing plays.
    #[schema(example = 0)]
    current: Option<u32>,
    /// Milliseconds from the start of the current song.
    #[schema(example = 61_000)]
    position_ms: i64,
    /// Name of the client that saved the queue; null if no queue was saved.
    #[schema(example = "Kitchen")]
    device: Option<String>,
    /// Null if no queue was saved.
    saved_at: Option<DateTime<Utc>>,
}

/// How many users have an item in their library, and the viewer's relation to it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Without hidden users.
    pub(crate) users: i64,
    /// Whether the viewer has the item in the library, and the viewer's rating; none without a viewer.
    viewer: Option<(bool, Option<u8>)>,
}

impl Standing {
    pub(crate) fn music_viewer(self) -> Option<MusicViewer> {
        self.viewer.map(|(liked, stars)| MusicViewer { liked, stars })
    }

    pub(crate) fn artist_viewer(self) -> Option<ArtistViewer> {
        self.viewer.map(|(followed, stars)| ArtistViewer { followed, stars })
    }
}

fn time(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}

impl Queries {
    /// One page of the items of a kind in a user's library.
    async fn library_page(
        &self,
        user: UserId,
        kind: &str,
        paging: &Paging,
    ) -> Result<Found<LibraryEntry>, Problem> {
        let equals = vec![json!(user), json!(kind), json!(true)];
        self.page_of(Query::new(&VIEW, &OF_USER, equals, paging.limit), paging).await
    }

    /// Ids of the songs that a user likes, newest first.
    pub(crate) async fn liked_songs(&self, user: UserId, limit: usize) -> Result<Vec<String>, Problem> {
        let query = Query::new(&VIEW, &OF_USER, vec![json!(user), json!(SONG), json!(true)], limit);
        let found = self.store.page_of::<LibraryEntry>(query).await.map_err(store_problem)?;
        Ok(found.documents.into_iter().map(|entry| entry.item).collect())
    }

    /// The standing of each of these items by its id.
    pub(crate) async fn standings(
        &self,
        ids: &[String],
        viewer: Option<UserId>,
    ) -> Result<HashMap<String, Standing>, Problem> {
        let name = viewer.map(|viewer| viewer.to_string());
        let keys = |key: fn(&str, &str) -> String| -> Vec<String> {
            name.iter().flat_map(|viewer| ids.iter().map(move |id| key(id, viewer))).collect()
        };
        let (entries, ratings) = (keys(key), keys(ratings::key));
        let (tallies, entries, ratings) = futures::try_join!(
            self.store.get_all::<Tally>(ids),
            self.store.get_all::<LibraryEntry>(&entries),
            self.store.get_all::<Rating>(&ratings)
        )
        .map_err(store_problem)?;
        let (mut entries, mut ratings) = (entries.into_iter(), ratings.into_iter());
        let standing = |(id, tally): (&String, Option<Tally>)| {
            let added = entries.next().flatten().is_some();
            let stars = ratings.next().flatten().map(|rating| rating.stars);
            let users = tally.map_or(0, |tally| tally.users);
            (id.clone(), Standing { users, viewer: viewer.map(|_| (added, stars)) })
        };
        Ok(ids.iter().zip(tallies).map(standing).collect())
    }

    /// Artists by id, in this order; a merged artist is the one that it was merged into.
    async fn artists(&self, ids: &[String], viewer: UserId) -> Result<Vec<Option<ArtistPage>>, Problem> {
        let found = self.credited_artists(ids).await?;
        self.show_artists(ids.iter().map(|id| found.get(id).cloned()).collect(), Some(viewer)).await
    }

    async fn show_ratings(&self, found: Vec<Rating>, user: UserId) -> Result<Vec<RatingPage>, Problem> {
        let of = |kind: &str| -> Vec<String> {
            found.iter().filter(|rating| rating.kind == kind).map(|rating| rating.item.clone()).collect()
        };
        let (songs, albums, artists) = (of(SONG), of(ALBUM), of(ARTIST));
        let (songs, albums, artists) = futures::try_join!(
            self.songs(&songs, Some(user)),
            self.albums(&albums, Some(user)),
            self.artists(&artists, user)
        )?;
        let (mut songs, mut albums, mut artists) =
            (songs.into_iter(), albums.into_iter(), artists.into_iter());
        let show = |Rating { kind, item, stars, rated, .. }: Rating| {
            let kind = word(&kind)?;
            let mut page = RatingPage {
                kind,
                id: item,
                stars,
                song: None,
                album: None,
                artist: None,
                rated_at: time(rated),
            };
            match kind {
                LibraryKind::Song => page.song = songs.next().flatten(),
                LibraryKind::Album => page.album = albums.next().flatten(),
                LibraryKind::Artist => page.artist = artists.next().flatten(),
            }
            Ok(page)
        };
        found.into_iter().map(show).collect()
    }
}

/// List the user's liked songs, newest first
#[utoipa::path(
    get, path = "/v1/me/songs", tag = "library", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<LikedSong>), (status = 304), Problems)
)]
async fn list_liked_songs(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let found = queries.library_page(session.user, SONG, &paging).await?;
    let ids: Vec<String> = found.documents.iter().map(|entry| entry.item.clone()).collect();
    let songs = queries.songs(&ids, Some(session.user)).await?;
    let items = songs
        .into_iter()
        .zip(found.documents)
        .filter_map(|(song, entry)| Some(LikedSong { song: song?, liked_at: time(entry.added) }));
    answer(&conditions, caught_up, &paging.page(items.collect(), found.next.as_ref(), &OF_USER))
}

/// List the user's liked albums, newest first
#[utoipa::path(
    get, path = "/v1/me/albums", tag = "library", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<LikedAlbum>), (status = 304), Problems)
)]
async fn list_liked_albums(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let found = queries.library_page(session.user, ALBUM, &paging).await?;
    let ids: Vec<String> = found.documents.iter().map(|entry| entry.item.clone()).collect();
    let albums = queries.albums(&ids, Some(session.user)).await?;
    let items = albums
        .into_iter()
        .zip(found.documents)
        .filter_map(|(album, entry)| Some(LikedAlbum { album: album?, liked_at: time(entry.added) }));
    answer(&conditions, caught_up, &paging.page(items.collect(), found.next.as_ref(), &OF_USER))
}

/// List the artists that the user follows, newest first
#[utoipa::path(
    get, path = "/v1/me/artists", tag = "library", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<FollowedArtist>), (status = 304), Problems)
)]
async fn list_followed_artists(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let found = queries.library_page(session.user, ARTIST, &paging).await?;
    let ids: Vec<String> = found.documents.iter().map(|entry| entry.item.clone()).collect();
    let artists = queries.artists(&ids, session.user).await?;
    let items = artists.into_iter().zip(found.documents).filter_map(|(artist, entry)| {
        Some(FollowedArtist { id: entry.item, artist: artist?, followed_at: time(entry.added) })
    });
    answer(&conditions, caught_up, &paging.page(items.collect(), found.next.as_ref(), &OF_USER))
}

/// List the user's ratings, newest first
#[utoipa::path(
    get, path = "/v1/me/ratings", tag = "library", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<RatingPage>), (status = 304), Problems)
)]
async fn list_ratings(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let index = &ratings::OF_USER;
    let query = Query::new(&ratings::VIEW, index, vec![json!(session.user)], paging.limit);
    let found = queries.page_of::<Rating>(query, &paging).await?;
    let items = queries.show_ratings(found.documents, session.user).await?;
    answer(&conditions, caught_up, &paging.page(items, found.next.as_ref(), index))
}

/// List the user's bookmarks, newest first
#[utoipa::path(
    get, path = "/v1/me/bookmarks", tag = "library", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<BookmarkPage>), (status = 304), Problems)
)]
async fn list_bookmarks(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let index = &bookmarks::OF_USER;
    let query = Query::new(&bookmarks::VIEW, index, vec![json!(session.user)], paging.limit);
    let found = queries.page_of::<Bookmark>(query, &paging).await?;
    let ids: Vec<String> = found.documents.iter().map(|bookmark| bookmark.song.clone()).collect();
    let songs = queries.songs(&ids, Some(session.user)).await?;
    let items = songs.into_iter().zip(found.documents).filter_map(|(song, bookmark)| {
        let Bookmark { place, comment, set, .. } = bookmark;
        Some(BookmarkPage { song: song?, position_ms: place, comment, set_at: time(set) })
    });
    answer(&conditions, caught_up, &paging.page(items.collect(), found.next.as_ref(), index))
}

/// Get the play queue
#[utoipa::path(
    get, path = "/v1/me/queue", tag = "library", security(("token" = [])), params(QueryHeaders),
    responses((status = 200, body = QueuePage), (status = 304), Problems)
)]
async fn get_play_queue(
    State(queries): State<Queries>,
    session: Session,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let queue: Option<PlayQueue> =
        queries.store.get(&session.user.to_string()).await.map_err(store_problem)?;
    let Some(PlayQueue { songs, current, place, device, saved, .. }) = queue else {
        let songs = Vec::new();
        let none = QueuePage { songs, current: None, position_ms: 0, device: None, saved_at: None };
        return answer(&conditions, caught_up, &none);
    };
    let shown = queries.songs(&songs, Some(session.user)).await?;
    let songs = songs.into_iter().zip(shown).map(|(id, song)| QueuedSong { id, song }).collect();
    let (device, saved_at) = (Some(device), Some(time(saved)));
    answer(&conditions, caught_up, &QueuePage { songs, current, position_ms: place, device, saved_at })
}
