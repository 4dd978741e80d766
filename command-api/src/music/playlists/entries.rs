//! Changes of the entries of a playlist, by its owner and collaborators.

use std::collections::HashSet;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use events::{EntryId, Event, LogError, PlaylistId, Position, SnapshotEntry, SongId, Subject, UserId};
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use super::list::{CALL_LIMIT, EditRejected, List, Place};
use super::{Playlist, PlaylistReceipt, PlaylistRejected};
use crate::Commands;
use crate::music::songs::SongState;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};
use crate::pipeline::snapshots::as_snapshot;

/// Bytes of a body: [`CALL_LIMIT`] ids of 32 characters, and the JSON around them.
const BODY_LIMIT: usize = 512 * 1024;
/// Songs that are loaded at the same time.
const SONGS_AT_ONCE: usize = 32;

// -------------------------------------------------------------------- songs

impl Commands {
    /// The first of these songs that does not exist, or that the user may not see. Songs are read without a condition: one that is
    /// removed at the same moment is a gap in the list, as when it is removed later.
    async fn first_hidden_song(&self, songs: &[SongId], user: UserId) -> Result<Option<SongId>, LogError> {
        let hidden = self.hidden_songs(songs, user).await?;
        Ok(songs.iter().copied().find(|song| hidden.contains(song)))
    }

    /// Those of these songs that do not exist, or that the user may not see.
    pub(crate) async fn hidden_songs(
        &self,
        songs: &[SongId],
        user: UserId,
    ) -> Result<HashSet<SongId>, LogError> {
        let distinct: HashSet<SongId> = songs.iter().copied().collect();
        let loaded = stream::iter(distinct).map(async |song| {
            let state: SongState = self.read_whole_state(Subject::Song(song)).await?;
            Ok::<_, LogError>(state.visible_to(user).is_none().then_some(song))
        });
        loaded.buffer_unordered(SONGS_AT_ONCE).try_filter_map(async |song| Ok(song)).try_collect().await
    }
}

// ----------------------------------------------------------------- commands

/// A change of the entries of a playlist.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Add { songs: Vec<SongId>, place: Place },
    Move { entries: Vec<EntryId>, place: Place },
    Remove { entries: Vec<EntryId> },
    Replace { songs: Vec<SongId> },
}

impl Commands {
    /// Changes the entries. `version` is the one that the client has seen.
    pub(crate) async fn edit_entries(
        &self,
        context: &Context,
        playlist: PlaylistId,
        user: UserId,
        edit: &Edit,
        version: Option<Position>,
    ) -> Result<Outcome, CommandError<PlaylistRejected>> {
        let state: Playlist = self.read_whole_state(Subject::Playlist(playlist)).await?;
        // Songs are not loaded for users who may not edit.
        let hidden = match (edit, state.edited_by(user)) {
            (Edit::Add { songs, .. }, Ok(_)) => self.first_hidden_song(songs, user).await?,
            // Songs that stay need not be visible.
            (Edit::Replace { songs }, Ok(list)) => {
                let known: HashSet<SongId> = list.entries().into_iter().map(|entry| entry.song).collect();
                let new: Vec<SongId> = songs.iter().copied().filter(|song| !known.contains(song)).collect();
                self.first_hidden_song(&new, user).await?
            }
            (Edit::Move { .. } | Edit::Remove { .. }, _) | (_, Err(_)) => None,
        };
        let decide = |state: &Playlist| decide(state, playlist, user, edit, version, hidden);
        self.change_playlist(context, playlist, decide).await
    }

    /// Makes the entries what they were at a version.
    pub(crate) async fn restore_entries(
        &self,
        context: &Context,
        playlist: PlaylistId,
        user: UserId,
        version: Position,
    ) -> Result<Outcome, CommandError<PlaylistRejected>> {
        // Read only for users who may edit: for an old version it is the whole history.
        let state: Playlist = self.read_whole_state(Subject::Playlist(playlist)).await?;
        let entries = match state.edited_by(user) {
            Ok(_) => self.entries_at(playlist, version).await?,
            Err(_) => None,
        };
        let decide = |state: &Playlist| restore(state, playlist, user, version, entries.as_deref());
        self.change_playlist(context, playlist, decide).await
    }

    /// The entries at a version; none if the playlist has not had it.
    async fn entries_at(
        &self,
        playlist: PlaylistId,
        version: Position,
    ) -> Result<Option<Vec<SnapshotEntry>>, LogError> {
        let subject = Subject::Playlist(playlist);
        let recent = self.events_since_snapshot(subject, Subject::PlaylistSnapshot(playlist)).await?.events;
        let is_recent =
            recent.first().and_then(as_snapshot).is_none_or(|snapshot| version >= snapshot.version);
        let events = if is_recent { recent } else { self.log.read(subject, Position::START).await?.into() };
        let mut list = List::default();
        for recorded in &*events {
            // A snapshot was taken later than the version that it contains.
            if recorded.position > version && as_snapshot(recorded).is_none() {
                break;
            }
            list.apply(recorded);
        }
        Ok((list.version == version && version > Position::START).then(|| list.entries()))
    }
}

fn decide(
    state: &Playlist,
    playlist: PlaylistId,
    user: UserId,
    edit: &Edit,
    version: Option<Position>,
    hidden: Option<SongId>,
) -> Result<Option<Event>, PlaylistRejected> {
    let list = state.edited_by(user)?;
    if let Some(song) = hidden {
        return Err(PlaylistRejected::NoSong(song));
    }
    match edit {
        Edit::Add { songs, place } => list.add(playlist, songs, *place, version),
        Edit::Move { entries, place } => list.move_entries(playlist, entries, *place, version),
        Edit::Remove { entries } => list.remove(playlist, entries, version),
        Edit::Replace { songs } => list.replace(playlist, songs, version),
    }
    .map_err(PlaylistRejected::Edit)
}

fn restore(
    state: &Playlist,
    playlist: PlaylistId,
    user: UserId,
    version: Position,
    entries: Option<&[SnapshotEntry]>,
) -> Result<Option<Event>, PlaylistRejected> {
    let list = state.edited_by(user)?;
    let entries = entries.ok_or(PlaylistRejected::Edit(EditRejected::NoVersion))?;
    Ok(list.restore(playlist, version, entries))
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(add_entries, replace_entries))
        .routes(routes!(move_entries))
        .routes(routes!(remove_entries))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .routes(routes!(restore_playlist))
}

/// An end of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ListEnd {
    Start,
    End,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AddedSongs {
    /// Ids of songs, in order. A song can be in a playlist several times.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 5000)]
    songs: Vec<SongId>,
    /// Id of the entry to add them after, which may have been removed meanwhile. Without `after` and `at`: at the end.
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{32}$")]
    after: Option<EntryId>,
    /// Instead of `after`.
    at: Option<ListEnd>,
    /// The version of the playlist that the client has seen.
    version: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MovedEntries {
    /// Ids of entries, in their new order. They become one block.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 5000)]
    entries: Vec<EntryId>,
    /// Id of the entry to move them after, which may have been removed meanwhile. Without `after` and `at`: to the end.
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{32}$")]
    after: Option<EntryId>,
    /// Instead of `after`.
    at: Option<ListEnd>,
    /// The version of the playlist that the client has seen.
    version: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RemovedEntries {
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 5000)]
    entries: Vec<EntryId>,
    /// The version of the playlist that the client has seen.
    version: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReplacingSongs {
    /// Ids of songs: the whole list.
    #[schema(value_type = Vec<String>, max_items = 5000)]
    songs: Vec<SongId>,
    /// The version of the playlist that the client has seen. Entries that were added after it stay.
    version: Option<u64>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RestoredVersion {
    /// A version of the playlist, from its history.
    #[schema(minimum = 1)]
    version: u64,
}

/// The outcome of an addition.
#[derive(Debug, Serialize, ToSchema)]
struct AddedReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// The version of the playlist's entries.
    #[schema(example = 4711)]
    version: u64,
    /// Ids of the new entries, in the order of the songs.
    entries: Vec<String>,
}

fn place(after: Option<EntryId>, at: Option<ListEnd>) -> Result<Place, Problem> {
    match (after, at) {
        (Some(_), Some(_)) => {
            Err(Problem::malformed("at", FieldCode::NotAllowed, "is given instead of `after`"))
        }
        (Some(entry), None) => Ok(Place::After(entry)),
        (None, Some(ListEnd::Start)) => Ok(Place::Start),
        (None, Some(ListEnd::End) | None) => Ok(Place::End),
    }
}

fn at_most_the_limit(field: &str, length: usize) -> Result<(), Problem> {
    let message = format!("has at most {CALL_LIMIT} items");
    let too_many = || Problem::invalid(vec![FieldProblem::new(field, FieldCode::TooMany, message)]);
    if length > CALL_LIMIT { Err(too_many()) } else { Ok(()) }
}

/// A list of at least one item, and of none twice.
fn distinct(entries: &[EntryId]) -> Result<(), Problem> {
    at_most_the_limit("entries", entries.len())?;
    let mut seen = HashSet::new();
    let refused = match entries.iter().position(|entry| !seen.insert(*entry)) {
        Some(twice) => {
            FieldProblem::new(format!("entries[{twice}]"), FieldCode::Duplicate, "is listed before")
        }
        None if entries.is_empty() => FieldProblem::new("entries", FieldCode::Empty, "must not be empty"),
        None => return Ok(()),
    };
    Err(Problem::invalid(vec![refused]))
}

/// The payload of an edit, for the `Idempotency-Key`.
fn payload(edit: &Edit, version: Option<u64>) -> Vec<u8> {
    let place_bytes = |place: &Place| match place {
        Place::Start => vec![0],
        Place::End => vec![1],
        Place::After(entry) => entry.uuid().as_bytes().to_vec(),
    };
    let mut bytes = match edit {
        Edit::Add { place, .. } | Edit::Move { place, .. } => place_bytes(place),
        Edit::Remove { .. } | Edit::Replace { .. } => Vec::new(),
    };
    bytes.extend(version.map_or(u64::MAX, |version| version).to_be_bytes());
    match edit {
        Edit::Add { songs, .. } | Edit::Replace { songs } => {
            bytes.extend(songs.iter().flat_map(|song| *song.uuid().as_bytes()));
        }
        Edit::Move { entries, .. } | Edit::Remove { entries } => {
            bytes.extend(entries.iter().flat_map(|entry| *entry.uuid().as_bytes()));
        }
    }
    bytes
}

impl Commands {
    async fn edit_and_answer(
        &self,
        (context, prefer): (Context, Prefer),
        playlist: PlaylistId,
        user: UserId,
        edit: &Edit,
        version: Option<u64>,
    ) -> Result<Response, Problem> {
        let context = context.with_actor(user).with_payload([&payload(edit, version)[..]]);
        let outcome = self.edit_entries(&context, playlist, user, edit, version.map(Position)).await?;
        let version = self.version_after(playlist, outcome).await?;
        Ok(self.receipt_with(prefer, outcome, |receipt| PlaylistReceipt { receipt, version }).await)
    }

    /// The version after a change of the entries: its own position, or the one before if it had no effect.
    async fn version_after(&self, playlist: PlaylistId, outcome: Outcome) -> Result<u64, Problem> {
        Ok(if outcome.changed { outcome.position.0 } else { self.playlist_version(playlist).await?.0 })
    }
}

/// Add songs to a playlist
///
/// For its owner and collaborators. A client that has not seen the newest version can still name any entry of its own version.
#[utoipa::path(
    post, path = "/v1/playlists/{playlist}/entries", tag = "playlists", request_body = AddedSongs,
    security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = AddedReceipt), (status = 202, body = AddedReceipt), Problems)
)]
async fn add_entries(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
    Json(body): Json<AddedSongs>,
) -> Result<Response, Problem> {
    let AddedSongs { songs, after, at, version } = body;
    at_most_the_limit("songs", songs.len())?;
    if songs.is_empty() {
        let empty = FieldProblem::new("songs", FieldCode::Empty, "must not be empty");
        return Err(Problem::invalid(vec![empty]));
    }
    let (count, user) = (songs.len(), session.user);
    let edit = Edit::Add { songs, place: place(after, at)? };
    let context = context.with_actor(user).with_payload([&payload(&edit, version)[..]]);
    let outcome = commands.edit_entries(&context, playlist, user, &edit, version.map(Position)).await?;
    let version = commands.version_after(playlist, outcome).await?;
    // The request's only event.
    let event = context.cause().ok_or_else(|| Problem::internal("an addition without an event"))?;
    let entries = (0..).take(count).map(|place| EntryId::of_event(event, place).to_string()).collect();
    Ok(commands.receipt_with(prefer, outcome, |receipt| AddedReceipt { receipt, version, entries }).await)
}

/// Move entries of a playlist
///
/// For its owner and collaborators. An entry that was removed meanwhile is refused with `entry-removed`.
#[utoipa::path(
    post, path = "/v1/playlists/{playlist}/entries/move", tag = "playlists", request_body = MovedEntries,
    security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn move_entries(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
    Json(body): Json<MovedEntries>,
) -> Result<Response, Problem> {
    let MovedEntries { entries, after, at, version } = body;
    distinct(&entries)?;
    let edit = Edit::Move { entries, place: place(after, at)? };
    commands.edit_and_answer((context, prefer), playlist, session.user, &edit, version).await
}

/// Remove entries from a playlist
///
/// For its owner and collaborators. Entries that are removed already are left out.
#[utoipa::path(
    post, path = "/v1/playlists/{playlist}/entries/remove", tag = "playlists", request_body = RemovedEntries,
    security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn remove_entries(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
    Json(body): Json<RemovedEntries>,
) -> Result<Response, Problem> {
    let RemovedEntries { entries, version } = body;
    distinct(&entries)?;
    let edit = Edit::Remove { entries };
    commands.edit_and_answer((context, prefer), playlist, session.user, &edit, version).await
}

/// Replace all entries of a playlist
///
/// For its owner and collaborators. Entries whose songs stay keep their ids.
#[utoipa::path(
    put, path = "/v1/playlists/{playlist}/entries", tag = "playlists", request_body = ReplacingSongs,
    security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn replace_entries(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
    Json(body): Json<ReplacingSongs>,
) -> Result<Response, Problem> {
    let ReplacingSongs { songs, version } = body;
    at_most_the_limit("songs", songs.len())?;
    let edit = Edit::Replace { songs };
    commands.edit_and_answer((context, prefer), playlist, session.user, &edit, version).await
}

/// Restore an earlier version of a playlist
///
/// For its owner and collaborators. Its entries become what they were; its details stay.
#[utoipa::path(
    post, path = "/v1/playlists/{playlist}/restore", tag = "playlists", request_body = RestoredVersion,
    security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn restore_playlist(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
    Json(body): Json<RestoredVersion>,
) -> Result<Response, Problem> {
    let (user, version) = (session.user, Position(body.version));
    let context = context.with_actor(user).with_payload([&body.version.to_be_bytes()[..]]);
    let outcome = commands.restore_entries(&context, playlist, user, version).await?;
    let version = commands.version_after(playlist, outcome).await?;
    Ok(commands.receipt_with(prefer, outcome, |receipt| PlaylistReceipt { receipt, version }).await)
}
