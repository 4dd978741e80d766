//! The library of a user: liked songs and albums, followed artists, ratings and bookmarks.

use axum::extract::State;
use axum::response::Response;
use events::{
    AlbumId, AlbumLikeEvent, AlbumLiked, AlbumUnliked, ArtistFollowEvent, ArtistFollowed, ArtistId,
    ArtistUnfollowed, BookmarkDeleted, BookmarkEvent, BookmarkSet, Event, MusicEvent, Personal, Rated,
    RatedItem, RatingCleared, RatingEvent, Recorded, SongId, SongLikeEvent, SongLiked, SongUnliked, Subject,
    UserId,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::problem::{FieldCode, FieldProblem, Problem, Problems, Refused};
use web::sessions::Session;

use super::albums::{AlbumState, no_album};
use super::artists::{ArtistState, no_artist};
use super::songs::{SongState, no_song};
use crate::Commands;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

const STARS: std::ops::RangeInclusive<u8> = 1..=5;
/// Longest comment of a bookmark in characters.
const COMMENT_LIMIT: usize = 500;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LibraryRejected {
    NoSong,
    NoAlbum,
    NoArtist,
    /// The bookmark is after the end of its song.
    BeyondEnd,
}

impl From<LibraryRejected> for Problem {
    fn from(rejected: LibraryRejected) -> Self {
        match rejected {
            LibraryRejected::NoSong => no_song(),
            LibraryRejected::NoAlbum => no_album(),
            LibraryRejected::NoArtist => no_artist(),
            LibraryRejected::BeyondEnd => {
                let message = "must not be after the end of the song";
                Self::invalid(vec![FieldProblem::new("position_ms", FieldCode::OutOfRange, message)])
            }
        }
    }
}

/// A song, an album or an artist, and its place in the library of one user.
#[derive(Debug, Clone, Default, PartialEq)]
struct Library {
    song: SongState,
    album: AlbumState,
    artist: ArtistState,
    /// Whether the user likes or follows it; none if they never did.
    added: Option<bool>,
    stars: Option<u8>,
    bookmark: Option<Bookmark>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bookmark {
    /// Milliseconds from the start of the song.
    place: u64,
    comment: String,
}

impl Fold for Library {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(event) = &recorded.event else { return };
        match event {
            MusicEvent::SongLike(event) => self.added = Some(matches!(event, SongLikeEvent::SongLiked(_))),
            MusicEvent::AlbumLike(event) => self.added = Some(matches!(event, AlbumLikeEvent::AlbumLiked(_))),
            MusicEvent::ArtistFollow(event) => {
                self.added = Some(matches!(event, ArtistFollowEvent::ArtistFollowed(_)));
            }
            MusicEvent::Rating(RatingEvent::Rated(event)) => self.stars = Some(event.stars),
            MusicEvent::Rating(RatingEvent::RatingCleared(_)) => self.stars = None,
            MusicEvent::Bookmark(BookmarkEvent::BookmarkSet(event)) => {
                let comment = event.comment.open().cloned().unwrap_or_default();
                self.bookmark = Some(Bookmark { place: event.place, comment });
            }
            MusicEvent::Bookmark(BookmarkEvent::BookmarkDeleted(_)) => self.bookmark = None,
            MusicEvent::Song(_) | MusicEvent::Album(_) => {
                self.song.apply(recorded);
                self.album.apply(recorded);
            }
            MusicEvent::Artist(_) => self.artist.apply(recorded),
            MusicEvent::ArtistLink(_)
            | MusicEvent::Audio(_)
            | MusicEvent::Playlist(_)
            | MusicEvent::PlaylistSnapshot(_)
            | MusicEvent::Listen(_)
            | MusicEvent::Listening(_)
            | MusicEvent::ChartDay(_)
            | MusicEvent::Queue(_) => {}
        }
    }

    /// The album of the song.
    fn further_subject(&self) -> Option<Subject> {
        self.song.further_subject()
    }
}

impl Library {
    /// # Errors
    /// If the user cannot see the item.
    fn check(&self, item: RatedItem, user: UserId) -> Result<(), LibraryRejected> {
        let (is_visible, rejected) = match item {
            RatedItem::Song { .. } => (self.song.visible_to(user).is_some(), LibraryRejected::NoSong),
            RatedItem::Album { .. } => (self.album.is_listed(), LibraryRejected::NoAlbum),
            RatedItem::Artist { .. } => (self.artist.is_listed(), LibraryRejected::NoArtist),
        };
        if is_visible { Ok(()) } else { Err(rejected) }
    }
}

/// Likes a song or an album, or follows an artist.
fn add(state: &Library, item: RatedItem, user: UserId) -> Result<Option<Event>, LibraryRejected> {
    state.check(item, user)?;
    Ok((state.added != Some(true)).then(|| match item {
        RatedItem::Song { song } => SongLiked { song, user }.into(),
        RatedItem::Album { album } => AlbumLiked { album, user }.into(),
        RatedItem::Artist { artist } => ArtistFollowed { artist, user }.into(),
    }))
}

/// Has no effect if the item is not in the library. The item need not be visible. Users who never followed an artist may do so
/// because another one was merged into it, which the log of their follow does not tell.
fn remove(state: &Library, item: RatedItem, user: UserId) -> Option<Event> {
    let may_be_there = match item {
        RatedItem::Song { .. } | RatedItem::Album { .. } => state.added == Some(true),
        RatedItem::Artist { .. } => state.added.unwrap_or(state.artist.is_listed()),
    };
    may_be_there.then(|| match item {
        RatedItem::Song { song } => SongUnliked { song, user }.into(),
        RatedItem::Album { album } => AlbumUnliked { album, user }.into(),
        RatedItem::Artist { artist } => ArtistUnfollowed { artist, user }.into(),
    })
}

fn rate(state: &Library, item: RatedItem, user: UserId, stars: u8) -> Result<Option<Event>, LibraryRejected> {
    state.check(item, user)?;
    Ok((state.stars != Some(stars)).then(|| Rated { item, user, stars }.into()))
}

/// The item need not be visible.
fn clear_rating(state: &Library, item: RatedItem, user: UserId) -> Option<Event> {
    state.stars.map(|_| RatingCleared { item, user }.into())
}

fn set_bookmark(
    state: &Library,
    song: SongId,
    user: UserId,
    bookmark: &Bookmark,
) -> Result<Option<Event>, LibraryRejected> {
    let published = state.song.visible_to(user).ok_or(LibraryRejected::NoSong)?;
    if bookmark.place > published.file.duration {
        return Err(LibraryRejected::BeyondEnd);
    }
    if state.bookmark.as_ref() == Some(bookmark) {
        return Ok(None);
    }
    let Bookmark { place, comment } = bookmark.clone();
    Ok(Some(BookmarkSet { user, song, place, comment: Personal::Open(comment) }.into()))
}

/// The song need not be visible.
fn delete_bookmark(state: &Library, song: SongId, user: UserId) -> Option<Event> {
    state.bookmark.as_ref().map(|_| BookmarkDeleted { user, song }.into())
}

// ----------------------------------------------------------------- commands

/// The subject of the item itself.
fn subject(item: RatedItem) -> Subject {
    match item {
        RatedItem::Song { song } => Subject::Song(song),
        RatedItem::Album { album } => Subject::Album(album),
        RatedItem::Artist { artist } => Subject::Artist(artist),
    }
}

/// The subject of the item's place in the library.
fn place(item: RatedItem, user: UserId) -> Subject {
    match item {
        RatedItem::Song { song } => Subject::SongLike(song, user),
        RatedItem::Album { album } => Subject::AlbumLike(album, user),
        RatedItem::Artist { artist } => Subject::ArtistFollow(artist, user),
    }
}

impl Commands {
    /// Likes a song or an album, or follows an artist.
    pub async fn add_to_library(
        &self,
        context: &Context,
        item: RatedItem,
        user: UserId,
    ) -> Result<Outcome, CommandError<LibraryRejected>> {
        // An item that is removed at the same moment is in the library and shown nowhere.
        let decide = |state: &Library| add(state, item, user);
        self.execute_new(context, place(item, user), &[subject(item)], decide).await
    }

    /// Removes the like or follow, if there is one.
    pub async fn remove_from_library(
        &self,
        context: &Context,
        item: RatedItem,
        user: UserId,
    ) -> Result<Outcome, CommandError<LibraryRejected>> {
        let outcome = self.remove_one(context, item, user).await?;
        let RatedItem::Artist { artist } = item else { return Ok(outcome) };
        let (remaining, _) = self.find_artist(artist).await?;
        if remaining == artist {
            return Ok(outcome);
        }
        // Views list a merged artist as the one that remains.
        let item = RatedItem::Artist { artist: remaining };
        let second = self.remove_one(&context.for_step("merged"), item, user).await?;
        Ok(if second.changed { second } else { outcome })
    }

    async fn remove_one(
        &self,
        context: &Context,
        item: RatedItem,
        user: UserId,
    ) -> Result<Outcome, CommandError<LibraryRejected>> {
        let decide = |state: &Library| Ok(remove(state, item, user));
        let others = match item {
            RatedItem::Song { .. } | RatedItem::Album { .. } => None,
            RatedItem::Artist { artist } => Some(Subject::Artist(artist)),
        };
        self.execute(context, place(item, user), others.as_slice(), decide).await
    }

    async fn add(&self, parts: Parts, item: RatedItem) -> Result<Response, Problem> {
        let Parts { user, context, prefer } = parts;
        let outcome = self.add_to_library(&context, item, user).await?;
        Ok(self.receipt(prefer, outcome).await)
    }

    async fn remove(&self, parts: Parts, item: RatedItem) -> Result<Response, Problem> {
        let Parts { user, context, prefer } = parts;
        let outcome = self.remove_from_library(&context, item, user).await?;
        Ok(self.receipt(prefer, outcome).await)
    }

    async fn rate(&self, parts: Parts, item: RatedItem, stars: u8) -> Result<Response, Problem> {
        if !STARS.contains(&stars) {
            let message = format!("must be {} to {}", STARS.start(), STARS.end());
            return Err(Problem::invalid(vec![FieldProblem::new("stars", FieldCode::OutOfRange, message)]));
        }
        let Parts { user, context, prefer } = parts;
        let context = context.with_payload([&[stars][..]]);
        let decide = |state: &Library| rate(state, item, user, stars);
        let outcome = self.execute(&context, Subject::Rating(item, user), &[subject(item)], decide).await?;
        Ok(self.receipt(prefer, outcome).await)
    }

    async fn clear_rating(&self, parts: Parts, item: RatedItem) -> Result<Response, Problem> {
        let Parts { user, context, prefer } = parts;
        let decide = |state: &Library| Ok::<_, LibraryRejected>(clear_rating(state, item, user));
        let outcome = self.execute(&context, Subject::Rating(item, user), &[], decide).await?;
        Ok(self.receipt(prefer, outcome).await)
    }
}

/// What every route of the library extracts.
struct Parts {
    user: UserId,
    context: Context,
    prefer: Prefer,
}

impl Parts {
    fn new(session: Session, context: Context, prefer: Prefer) -> Self {
        Self { user: session.user, context: context.with_actor(session.user), prefer }
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(like_song, unlike_song))
        .routes(routes!(like_album, unlike_album))
        .routes(routes!(follow_artist, unfollow_artist))
        .routes(routes!(rate_song, clear_song_rating))
        .routes(routes!(rate_album, clear_album_rating))
        .routes(routes!(rate_artist, clear_artist_rating))
        .routes(routes!(set_song_bookmark, delete_song_bookmark))
}

/// A rating.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewRating {
    #[schema(minimum = 1, maximum = 5, example = 4)]
    stars: u8,
}

/// A place in a song to continue from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBookmark {
    /// Milliseconds from the start of the song.
    #[schema(value_type = i64, minimum = 0, example = 61_000)]
    position_ms: u64,
    /// At most 500 characters.
    #[schema(example = "The solo")]
    comment: Option<String>,
}

/// Like a song
#[utoipa::path(
    put, path = "/v1/songs/{song}/like", tag = "library", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn like_song(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.add(Parts::new(session, context, prefer), RatedItem::Song { song }).await
}

/// Remove the like of a song
#[utoipa::path(
    delete, path = "/v1/songs/{song}/like", tag = "library", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn unlike_song(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.remove(Parts::new(session, context, prefer), RatedItem::Song { song }).await
}

/// Like an album
#[utoipa::path(
    put, path = "/v1/albums/{album}/like", tag = "library", security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn like_album(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.add(Parts::new(session, context, prefer), RatedItem::Album { album }).await
}

/// Remove the like of an album
#[utoipa::path(
    delete, path = "/v1/albums/{album}/like", tag = "library", security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn unlike_album(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.remove(Parts::new(session, context, prefer), RatedItem::Album { album }).await
}

/// Follow an artist
#[utoipa::path(
    put, path = "/v1/artists/{artist}/follow", tag = "library", security(("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn follow_artist(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.add(Parts::new(session, context, prefer), RatedItem::Artist { artist }).await
}

/// Unfollow an artist
#[utoipa::path(
    delete, path = "/v1/artists/{artist}/follow", tag = "library", security(("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn unfollow_artist(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.remove(Parts::new(session, context, prefer), RatedItem::Artist { artist }).await
}

/// Rate a song
///
/// Ratings are visible to their user only.
#[utoipa::path(
    put, path = "/v1/songs/{song}/rating", tag = "library", request_body = NewRating, security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn rate_song(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
    Json(NewRating { stars }): Json<NewRating>,
) -> Result<Response, Problem> {
    commands.rate(Parts::new(session, context, prefer), RatedItem::Song { song }, stars).await
}

/// Clear the rating of a song
#[utoipa::path(
    delete, path = "/v1/songs/{song}/rating", tag = "library", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn clear_song_rating(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.clear_rating(Parts::new(session, context, prefer), RatedItem::Song { song }).await
}

/// Rate an album
///
/// Ratings are visible to their user only.
#[utoipa::path(
    put, path = "/v1/albums/{album}/rating", tag = "library", request_body = NewRating, security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn rate_album(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
    Json(NewRating { stars }): Json<NewRating>,
) -> Result<Response, Problem> {
    commands.rate(Parts::new(session, context, prefer), RatedItem::Album { album }, stars).await
}

/// Clear the rating of an album
#[utoipa::path(
    delete, path = "/v1/albums/{album}/rating", tag = "library", security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn clear_album_rating(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.clear_rating(Parts::new(session, context, prefer), RatedItem::Album { album }).await
}

/// Rate an artist
///
/// Ratings are visible to their user only.
#[utoipa::path(
    put, path = "/v1/artists/{artist}/rating", tag = "library", request_body = NewRating, security(("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn rate_artist(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
    Json(NewRating { stars }): Json<NewRating>,
) -> Result<Response, Problem> {
    commands.rate(Parts::new(session, context, prefer), RatedItem::Artist { artist }, stars).await
}

/// Clear the rating of an artist
#[utoipa::path(
    delete, path = "/v1/artists/{artist}/rating", tag = "library", security(("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn clear_artist_rating(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    commands.clear_rating(Parts::new(session, context, prefer), RatedItem::Artist { artist }).await
}

/// Set a bookmark in a song
///
/// Each user has at most one bookmark per song, visible to them only: it replaces an earlier one.
#[utoipa::path(
    put, path = "/v1/songs/{song}/bookmark", tag = "library", request_body = NewBookmark,
    security(("token" = [])), params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn set_song_bookmark(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
    Json(new): Json<NewBookmark>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let comment = fields.take("comment", text::free(new.comment.as_deref().unwrap_or(""), COMMENT_LIMIT));
    let place = fields.take("position_ms", place_in_song(new.position_ms));
    fields.finish()?;
    let Parts { user, context, prefer } = Parts::new(session, context, prefer);
    let context = context.with_payload([&place.to_be_bytes()[..], comment.as_bytes()]);
    let bookmark = Bookmark { place, comment };
    let decide = |state: &Library| set_bookmark(state, song, user, &bookmark);
    let target = Subject::Bookmark(user, song);
    let outcome = commands.execute(&context, target, &[Subject::Song(song)], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Places are signed numbers in views.
pub(super) fn place_in_song(place: u64) -> Result<u64, Refused> {
    let bad = |_| Refused::new(FieldCode::OutOfRange, "must not be after the end of the song");
    i64::try_from(place).map(|_| place).map_err(bad)
}

/// Delete a bookmark
#[utoipa::path(
    delete, path = "/v1/songs/{song}/bookmark", tag = "library", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_song_bookmark(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let Parts { user, context, prefer } = Parts::new(session, context, prefer);
    let decide = |state: &Library| Ok::<_, LibraryRejected>(delete_bookmark(state, song, user));
    let outcome = commands.execute(&context, Subject::Bookmark(user, song), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use events::{SongDetails, SongVisibility};
    use uuid::Uuid;

    use super::*;
    use crate::music::songs::testing;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));
    const ALBUM: AlbumId = AlbumId::new(Uuid::from_u128(0xa1));
    const ARTIST: ArtistId = ArtistId::new(Uuid::from_u128(0xa7));
    const ITEMS: [RatedItem; 3] = [
        RatedItem::Song { song: SONG },
        RatedItem::Album { album: ALBUM },
        RatedItem::Artist { artist: ARTIST },
    ];

    fn song(visibility: SongVisibility) -> SongState {
        SongState::of(ANN, SongDetails { visibility, ..testing::details(ARTIST) })
    }

    /// A visible song, album and artist.
    fn visible() -> Library {
        Library {
            song: song(SongVisibility::Public),
            album: AlbumState { exists: true, removed: false },
            artist: ArtistState { exists: true, merged_into: None },
            ..Library::default()
        }
    }

    #[test]
    fn items_are_added_once_and_removed_once() {
        let added = Library { added: Some(true), ..visible() };
        let events: [(Event, Event); 3] = [
            (SongLiked { song: SONG, user: BOB }.into(), SongUnliked { song: SONG, user: BOB }.into()),
            (AlbumLiked { album: ALBUM, user: BOB }.into(), AlbumUnliked { album: ALBUM, user: BOB }.into()),
            (
                ArtistFollowed { artist: ARTIST, user: BOB }.into(),
                ArtistUnfollowed { artist: ARTIST, user: BOB }.into(),
            ),
        ];
        for (item, (liked, unliked)) in ITEMS.into_iter().zip(events) {
            assert_eq!(add(&visible(), item, BOB), Ok(Some(liked)));
            assert_eq!(add(&added, item, BOB), Ok(None));
            assert_eq!(remove(&added, item, BOB), Some(unliked));
            assert_eq!(remove(&Library { added: Some(false), ..visible() }, item, BOB), None);
        }
    }

    #[test]
    fn only_an_artist_may_be_followed_without_an_event_of_its_own() {
        let changes = |state: &Library| ITEMS.map(|item| remove(state, item, BOB).is_some());
        assert_eq!(changes(&visible()), [false, false, true]);
        assert_eq!(changes(&Library::default()), [false; 3]);
        let artist = ArtistState { exists: true, merged_into: Some(ARTIST) };
        assert_eq!(changes(&Library { artist, ..visible() }), [false; 3]);
    }

    #[test]
    fn invisible_items_are_removed_but_neither_added_nor_rated() {
        let unknown = Library { added: Some(true), stars: Some(3), ..Library::default() };
        let rejections = [LibraryRejected::NoSong, LibraryRejected::NoAlbum, LibraryRejected::NoArtist];
        for (item, rejected) in ITEMS.into_iter().zip(rejections) {
            assert_eq!(add(&unknown, item, BOB), Err(rejected));
            assert_eq!(rate(&unknown, item, BOB, 4), Err(rejected));
            assert!(remove(&unknown, item, BOB).is_some());
            assert_eq!(clear_rating(&unknown, item, BOB), Some(RatingCleared { item, user: BOB }.into()));
        }
        let private = Library { song: song(SongVisibility::Private), ..visible() };
        assert_eq!(add(&private, ITEMS[0], BOB), Err(LibraryRejected::NoSong));
        assert!(add(&private, ITEMS[0], ANN).is_ok());
        let removed =
            Library { song: song(SongVisibility::Public).removed_at(DateTime::UNIX_EPOCH), ..visible() };
        assert_eq!(add(&removed, ITEMS[0], BOB), Err(LibraryRejected::NoSong));
        let album = AlbumState { exists: true, removed: true };
        assert_eq!(add(&Library { album, ..visible() }, ITEMS[1], BOB), Err(LibraryRejected::NoAlbum));
        let artist = ArtistState { exists: true, merged_into: Some(ARTIST) };
        assert_eq!(add(&Library { artist, ..visible() }, ITEMS[2], BOB), Err(LibraryRejected::NoArtist));
    }

    #[test]
    fn rating_is_changed_and_cleared() {
        for item in ITEMS {
            let rated = Library { stars: Some(4), ..visible() };
            let event = |stars| Ok(Some(Event::from(Rated { item, user: BOB, stars })));
            assert_eq!(rate(&visible(), item, BOB, 4), event(4));
            assert_eq!(rate(&rated, item, BOB, 5), event(5));
            assert_eq!(rate(&rated, item, BOB, 4), Ok(None));
            assert_eq!(clear_rating(&visible(), item, BOB), None);
        }
    }

    #[test]
    fn bookmark_is_within_its_song_and_replaces_an_earlier_one() {
        let bookmark = |place| Bookmark { place, comment: "The solo".into() };
        let set = |place| {
            let comment = Personal::Open("The solo".to_owned());
            Ok(Some(Event::from(BookmarkSet { user: BOB, song: SONG, place, comment })))
        };
        let with = |place| Library { bookmark: Some(bookmark(place)), ..visible() };
        // The song is 200 seconds long.
        assert_eq!(set_bookmark(&visible(), SONG, BOB, &bookmark(200_000)), set(200_000));
        assert_eq!(set_bookmark(&with(7), SONG, BOB, &bookmark(9)), set(9));
        assert_eq!(set_bookmark(&with(7), SONG, BOB, &bookmark(7)), Ok(None));
        let beyond = set_bookmark(&visible(), SONG, BOB, &bookmark(200_001));
        assert_eq!(beyond, Err(LibraryRejected::BeyondEnd));
        let unknown = set_bookmark(&Library::default(), SONG, BOB, &bookmark(7));
        assert_eq!(unknown, Err(LibraryRejected::NoSong));
        let deleted = BookmarkDeleted { user: BOB, song: SONG }.into();
        assert_eq!(delete_bookmark(&with(7), SONG, BOB), Some(deleted));
        assert_eq!(delete_bookmark(&visible(), SONG, BOB), None);
    }
}
