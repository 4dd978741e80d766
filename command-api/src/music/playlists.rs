//! Playlists: created, described, shared and deleted by their owner.

mod entries;
mod list;
mod transfer;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use events::{
    CollaboratorAdded, CollaboratorRemoved, Event, Personal, PlaylistCreated, PlaylistDeleted,
    PlaylistDetails, PlaylistDetailsChanged, PlaylistId, PlaylistVisibilityChanged, Position, Recorded,
    SongId, Subject, UserId,
};
use serde::{Deserialize, Serialize};
use service::telemetry::with_causes;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::{Json, Path};
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{AccountStatus, no_user};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Cached, Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};
use crate::pipeline::text::{self, Fields};

pub(crate) use self::list::{EditRejected, List};

/// Users who may edit one playlist besides its owner.
const COLLABORATORS_LIMIT: usize = 100;
/// Lengths in Unicode scalar values.
const NAME_LIMIT: usize = 100;
const DESCRIPTION_LIMIT: usize = 1000;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaylistRejected {
    /// It does not exist, or the user may not see it.
    NotFound,
    /// The user may see the playlist, but not change it.
    NotYours,
    Deleted,
    TooManyCollaborators,
    NoUser,
    /// A song does not exist, or the user may not see it.
    NoSong(SongId),
    Edit(EditRejected),
}

impl From<PlaylistRejected> for Problem {
    fn from(rejected: PlaylistRejected) -> Self {
        match rejected {
            PlaylistRejected::NotFound => Self::not_found("There is no such playlist"),
            PlaylistRejected::NotYours => Self::forbidden("This playlist belongs to another user"),
            PlaylistRejected::Deleted => Self::conflict("playlist-deleted", "This playlist was deleted"),
            PlaylistRejected::TooManyCollaborators => Self::conflict(
                "too-many-collaborators",
                format!("This playlist has {COLLABORATORS_LIMIT} collaborators: remove one first"),
            ),
            PlaylistRejected::NoUser => no_user(),
            PlaylistRejected::NoSong(song) => {
                let message = format!("there is no song {song}");
                Self::invalid(vec![FieldProblem::new("songs", FieldCode::NotAllowed, message)])
            }
            PlaylistRejected::Edit(rejected) => rejected.into(),
        }
    }
}

impl From<EditRejected> for Problem {
    fn from(rejected: EditRejected) -> Self {
        match rejected {
            EditRejected::Full => Self::conflict(
                "playlist-full",
                format!("A playlist has at most {} entries", list::ENTRIES_LIMIT),
            ),
            EditRejected::NoEntry => Self::not_found("There is no such entry in this playlist"),
            EditRejected::EntryRemoved => {
                Self::conflict("entry-removed", "An entry to move was removed from the playlist")
            }
            EditRejected::VersionTooOld => Self::conflict(
                "version-too-old",
                "The playlist has changed too often since this version: load it again",
            ),
            EditRejected::NoVersion => {
                let field =
                    FieldProblem::new("version", FieldCode::NotAllowed, "is no version of this playlist");
                Self::invalid(vec![field])
            }
        }
    }
}

/// A playlist, and whether its owner is active.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Playlist {
    pub(crate) list: Arc<List>,
    owner: AccountStatus,
}

impl Fold for Playlist {
    fn apply(&mut self, recorded: &Recorded) {
        Arc::make_mut(&mut self.list).apply(recorded);
        self.owner.apply(recorded);
    }

    fn further_subject(&self) -> Option<Subject> {
        self.list.owner.map(Subject::Account)
    }

    fn to_cache(&self) -> Option<Cached> {
        Some(Arc::<List>::clone(&self.list))
    }

    fn from_cache(cached: Cached) -> Option<Self> {
        Some(Self { list: cached.downcast().ok()?, ..Self::default() })
    }
}

impl Playlist {
    /// The list and its owner, if the user may see it.
    fn seen_by(&self, user: UserId) -> Result<(&List, UserId), PlaylistRejected> {
        let owner = self.list.owner.ok_or(PlaylistRejected::NotFound)?;
        let is_member = owner == user || self.list.collaborators.contains(&user);
        if self.owner != AccountStatus::Active || !(is_member || self.list.public) {
            return Err(PlaylistRejected::NotFound);
        }
        match (self.list.deleted, is_member) {
            (false, _) => Ok((&self.list, owner)),
            (true, true) => Err(PlaylistRejected::Deleted),
            (true, false) => Err(PlaylistRejected::NotFound),
        }
    }

    /// The list, if the user may change its entries.
    pub(crate) fn edited_by(&self, user: UserId) -> Result<&List, PlaylistRejected> {
        let (list, owner) = self.seen_by(user)?;
        if owner == user || list.collaborators.contains(&user) {
            Ok(list)
        } else {
            Err(PlaylistRejected::NotYours)
        }
    }

    /// The list, if it belongs to the user.
    pub(crate) fn owned_by(&self, user: UserId) -> Result<&List, PlaylistRejected> {
        let (list, owner) = self.seen_by(user)?;
        if owner == user { Ok(list) } else { Err(PlaylistRejected::NotYours) }
    }
}

fn create(state: &List, event: &PlaylistCreated) -> Option<Event> {
    // Only a replay can name a playlist that exists.
    state.owner.is_none().then(|| event.clone().into())
}

/// Fields that are not given keep their values.
fn describe(
    state: &Playlist,
    playlist: PlaylistId,
    user: UserId,
    name: Option<&str>,
    description: Option<&str>,
) -> Result<Option<Event>, PlaylistRejected> {
    let before = state.owned_by(user)?.details.as_ref().and_then(Personal::open);
    let now = before
        .cloned()
        .unwrap_or_else(|| PlaylistDetails { name: String::new(), description: String::new() });
    let details = PlaylistDetails {
        name: name.map_or(now.name, str::to_owned),
        description: description.map_or(now.description, str::to_owned),
    };
    let changed = before != Some(&details);
    let event = || PlaylistDetailsChanged { playlist, owner: user, details: Personal::Open(details) }.into();
    Ok(changed.then(event))
}

fn publish(
    state: &Playlist,
    playlist: PlaylistId,
    user: UserId,
    public: bool,
) -> Result<Option<Event>, PlaylistRejected> {
    let list = state.owned_by(user)?;
    Ok((list.public != public).then(|| PlaylistVisibilityChanged { playlist, public }.into()))
}

fn delete(state: &Playlist, playlist: PlaylistId, user: UserId) -> Result<Option<Event>, PlaylistRejected> {
    if state.list.deleted && state.list.owner == Some(user) {
        return Ok(None);
    }
    state.owned_by(user)?;
    Ok(Some(PlaylistDeleted { playlist, owner: user }.into()))
}

fn admit(
    state: &Playlist,
    playlist: PlaylistId,
    user: UserId,
    (added, status): (UserId, AccountStatus),
) -> Result<Option<Event>, PlaylistRejected> {
    let list = state.owned_by(user)?;
    if added == user || list.collaborators.contains(&added) {
        return Ok(None);
    }
    if status != AccountStatus::Active {
        return Err(PlaylistRejected::NoUser);
    }
    if list.collaborators.len() >= COLLABORATORS_LIMIT {
        return Err(PlaylistRejected::TooManyCollaborators);
    }
    Ok(Some(CollaboratorAdded { playlist, user: added }.into()))
}

/// The owner removes any collaborator, collaborators themselves.
fn dismiss(
    state: &Playlist,
    playlist: PlaylistId,
    user: UserId,
    removed: UserId,
) -> Result<Option<Event>, PlaylistRejected> {
    let list = if removed == user { state.seen_by(user)?.0 } else { state.owned_by(user)? };
    Ok(list.collaborators.contains(&removed).then(|| CollaboratorRemoved { playlist, user: removed }.into()))
}

// ----------------------------------------------------------------- commands

/// The fields of a new playlist, checked.
#[derive(Debug)]
pub struct NewPlaylist {
    pub name: String,
    pub description: String,
    pub public: bool,
}

impl NewPlaylist {
    /// # Errors
    /// Names the fields that are refused.
    pub fn checked(name: &str, description: &str, public: bool) -> Result<Self, Problem> {
        let mut fields = Fields::default();
        let name = fields.take("name", text::required_line(name, NAME_LIMIT));
        let description = fields.take("description", text::free(description, DESCRIPTION_LIMIT));
        fields.finish()?;
        Ok(Self { name, description, public })
    }
}

impl Commands {
    /// Creates a playlist without entries. Under an `Idempotency-Key` its id is derived from the key.
    ///
    /// # Errors
    /// If the event cannot be appended.
    pub async fn create_playlist(
        &self,
        context: Context,
        user: UserId,
        new: &NewPlaylist,
    ) -> Result<(PlaylistId, Outcome), CommandError<Infallible>> {
        let context = context.with_actor(user);
        let playlist = PlaylistId::new(context.new_id(self.log.keys(), "playlist"));
        let details = PlaylistDetails { name: new.name.clone(), description: new.description.clone() };
        let details = Personal::Open(details);
        let event = PlaylistCreated { playlist, owner: user, public: new.public, details };
        let decide = |state: &List| Ok::<_, Infallible>(create(state, &event));
        let outcome = self.execute_new(&context, Subject::Playlist(playlist), &[], decide).await?;
        Ok((playlist, outcome))
    }

    /// Executes a decision about a playlist, and takes a snapshot if one is due.
    pub(crate) async fn change_playlist(
        &self,
        context: &Context,
        playlist: PlaylistId,
        decide: impl Fn(&Playlist) -> Result<Option<Event>, PlaylistRejected>,
    ) -> Result<Outcome, CommandError<PlaylistRejected>> {
        let outcome = self.execute(context, Subject::Playlist(playlist), &[], decide).await?;
        self.playlist_changed(context, playlist, outcome).await;
        Ok(outcome)
    }

    /// Takes a snapshot if one is due after a change.
    pub(crate) async fn playlist_changed(&self, context: &Context, playlist: PlaylistId, outcome: Outcome) {
        if outcome.changed && !outcome.replayed {
            self.take_due_snapshot(context, playlist).await;
        }
    }

    /// Looks at the events that the change has read. The change is done, so a failure is only logged: the next change tries
    /// again.
    async fn take_due_snapshot(&self, context: &Context, playlist: PlaylistId) {
        let subject = Subject::Playlist(playlist);
        let Some(read) = self.snapshot_cache.events(subject) else { return };
        let Some((last, included)) = Self::due_snapshot(&read) else { return };
        let mut list = List::default();
        for recorded in included {
            list.apply(recorded);
        }
        let position = included.last().map_or(Position::START, |recorded| recorded.position);
        let Some(snapshot) = list.snapshot(playlist, position) else { return };
        // Without the request's key, which another process may use for its snapshot at the same time.
        let context = context.clone().without_idempotency_key();
        let snapshots = Subject::PlaylistSnapshot(playlist);
        if let Err(error) = self.append(&context, snapshots, snapshot.into(), last).await {
            // A conflict too: another process has taken one.
            tracing::warn!(%playlist, error = with_causes(&error), "no snapshot was taken");
        }
        self.snapshot_cache.remove(subject);
    }

    /// The version of a playlist after a command.
    pub(crate) async fn playlist_version(&self, playlist: PlaylistId) -> Result<Position, Problem> {
        let list: List = self
            .read_cached_state(Subject::Playlist(playlist))
            .await
            .map_err(crate::pipeline::errors::log_problem)?;
        Ok(list.version)
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(create_playlist))
        .routes(routes!(edit_playlist, delete_playlist))
        .routes(routes!(add_collaborator, remove_collaborator))
        .merge(entries::routes())
        .merge(transfer::routes())
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaylistBody {
    /// A single line of text.
    #[schema(min_length = 1, max_length = 100, example = "Road trip")]
    name: String,
    #[serde(default)]
    #[schema(max_length = 1000, example = "For long drives")]
    description: String,
    /// Whether everybody can see it. Without, only its owner and collaborators can.
    #[serde(default)]
    public: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedPlaylist {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the playlist.
    id: String,
    /// The version of its entries.
    #[schema(example = 4711)]
    version: u64,
}

/// The outcome of a command about a playlist.
#[derive(Debug, Serialize, ToSchema)]
struct PlaylistReceipt {
    #[serde(flatten)]
    receipt: Receipt,
    /// The version of the playlist's entries.
    #[schema(example = 4711)]
    version: u64,
}

/// Create a playlist
#[utoipa::path(
    post, path = "/v1/playlists", tag = "playlists", request_body = PlaylistBody, security(("token" = [])),
    params(CommandHeaders),
    responses((status = 201, body = CreatedPlaylist), (status = 202, body = CreatedPlaylist), Problems)
)]
async fn create_playlist(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(body): Json<PlaylistBody>,
) -> Result<Response, Problem> {
    let new = NewPlaylist::checked(&body.name, &body.description, body.public)?;
    let payload = [new.name.as_bytes(), new.description.as_bytes(), &[u8::from(new.public)]];
    let context = context.with_payload(payload);
    let (id, outcome) = commands.create_playlist(context, session.user, &new).await?;
    let version = outcome.position.0;
    let body = |receipt| CreatedPlaylist { receipt, id: id.to_string(), version };
    Ok(commands.created(prefer, outcome, &format!("/v1/playlists/{id}"), body).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlaylistChange {
    /// A single line of text.
    #[schema(min_length = 1, max_length = 100, example = "Road trip")]
    name: Option<String>,
    #[schema(max_length = 1000, example = "For long drives")]
    description: Option<String>,
    /// Whether everybody can see it.
    public: Option<bool>,
}

/// Edit the details of a playlist
///
/// For its owner. Fields that are not sent keep their values.
#[utoipa::path(
    patch, path = "/v1/playlists/{playlist}", tag = "playlists", request_body = PlaylistChange,
    security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn edit_playlist(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
    Json(change): Json<PlaylistChange>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let name = change.name.map(|name| fields.take("name", text::required_line(&name, NAME_LIMIT)));
    let description = change
        .description
        .map(|description| fields.take("description", text::free(&description, DESCRIPTION_LIMIT)));
    fields.finish()?;
    let user = session.user;
    let payload = serde_json::to_vec(&(&name, &description, change.public)).map_err(Problem::internal)?;
    let context = context.with_actor(user).with_payload([&payload[..]]);
    let decide = |state: &Playlist| describe(state, playlist, user, name.as_deref(), description.as_deref());
    let mut outcome = commands.change_playlist(&context, playlist, decide).await?;
    if let Some(public) = change.public {
        let decide = |state: &Playlist| publish(state, playlist, user, public);
        let published = commands.change_playlist(&context.for_step("visibility"), playlist, decide).await?;
        outcome = if published.changed { published } else { outcome };
    }
    commands.playlist_receipt(prefer, playlist, outcome).await
}

/// Delete a playlist
///
/// For its owner.
#[utoipa::path(
    delete, path = "/v1/playlists/{playlist}", tag = "playlists", security(("token" = [])),
    params(("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn delete_playlist(
    State(commands): State<Commands>,
    session: Session,
    Path(playlist): Path<PlaylistId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Playlist| delete(state, playlist, user);
    let outcome = commands.change_playlist(&context.with_actor(user), playlist, decide).await?;
    commands.playlist_receipt(prefer, playlist, outcome).await
}

/// Add a collaborator
///
/// For the owner of the playlist. Collaborators see it, and change its entries.
#[utoipa::path(
    put, path = "/v1/playlists/{playlist}/collaborators/{user}", tag = "playlists", security(("token" = [])),
    params(
        ("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn add_collaborator(
    State(commands): State<Commands>,
    session: Session,
    Path((playlist, added)): Path<(PlaylistId, UserId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    // Read without a condition: the view ignores collaborators who are erased at the same moment.
    let status: AccountStatus = commands
        .read_cached_state(Subject::Account(added))
        .await
        .map_err(crate::pipeline::errors::log_problem)?;
    let decide = |state: &Playlist| admit(state, playlist, user, (added, status));
    let outcome = commands.change_playlist(&context.with_actor(user), playlist, decide).await?;
    commands.playlist_receipt(prefer, playlist, outcome).await
}

/// Remove a collaborator
///
/// For the owner of the playlist, and for collaborators who leave it.
#[utoipa::path(
    delete, path = "/v1/playlists/{playlist}/collaborators/{user}", tag = "playlists", security(("token" = [])),
    params(
        ("playlist" = String, Path, pattern = "^[0-9a-f]{32}$"), ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses((status = 200, body = PlaylistReceipt), (status = 202, body = PlaylistReceipt), Problems)
)]
async fn remove_collaborator(
    State(commands): State<Commands>,
    session: Session,
    Path((playlist, removed)): Path<(PlaylistId, UserId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let decide = |state: &Playlist| dismiss(state, playlist, user, removed);
    let outcome = commands.change_playlist(&context.with_actor(user), playlist, decide).await?;
    commands.playlist_receipt(prefer, playlist, outcome).await
}

impl Commands {
    async fn playlist_receipt(
        &self,
        prefer: Prefer,
        playlist: PlaylistId,
        outcome: Outcome,
    ) -> Result<Response, Problem> {
        let version = self.playlist_version(playlist).await?.0;
        Ok(self.receipt_with(prefer, outcome, |receipt| PlaylistReceipt { receipt, version }).await)
    }
}

#[cfg(test)]
mod tests;
