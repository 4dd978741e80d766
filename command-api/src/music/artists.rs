//! Artists of the catalogue, and the accounts that manage them.

use axum::extract::State;
use axum::response::Response;
use events::{
    AccountsEvent, ArtistAdded, ArtistDetails, ArtistEdited, ArtistEvent, ArtistId, ArtistLinkEvent,
    ArtistLinked, ArtistMerged, ArtistUnlinked, Event, Image, LogError, MusicEvent, Recorded, Role, Subject,
    UserId, artist_id,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use web::extract::{Json, Path};
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{AccountStatus, no_user};
use crate::accounts::roles::Authority;
use crate::music::editing::{Clearable, Editor, NAME_LIMIT, clearable};
use crate::music::publishing::is_publisher;
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

/// Maximum number of merges from an artist to the one that remains.
const MERGES_LIMIT: usize = 8;

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtistRejected {
    NotFound,
    /// Only artists and admins add artists.
    NotAllowed,
    NotAdmin,
    /// The account does not manage the artist.
    NotManaged,
    NoUser,
    /// An artist cannot be merged into itself, nor into one that does not exist.
    BadTarget,
    /// It was merged into another artist before.
    Merged,
}

impl From<ArtistRejected> for Problem {
    fn from(rejected: ArtistRejected) -> Self {
        match rejected {
            ArtistRejected::NotFound => no_artist(),
            ArtistRejected::NotAllowed => Self::forbidden("Only artists and admins add artists"),
            ArtistRejected::NotAdmin => {
                Self::forbidden("Only admins merge artists and link them to accounts")
            }
            ArtistRejected::NotManaged => Self::forbidden(
                "Your account does not manage this artist: an admin can link it to your account",
            ),
            ArtistRejected::NoUser => no_user(),
            ArtistRejected::BadTarget => {
                let message = "must be the id of another artist";
                Self::invalid(vec![FieldProblem::new("into", FieldCode::Incorrect, message)])
            }
            ArtistRejected::Merged => {
                Self::conflict("artist-merged", "This artist was merged into another one")
            }
        }
    }
}

pub(crate) fn no_artist() -> Problem {
    Problem::not_found("There is no such artist")
}

/// The state of an artist that decisions need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ArtistState {
    pub(crate) exists: bool,
    pub(crate) merged_into: Option<ArtistId>,
}

impl ArtistState {
    /// A merged artist is listed as the one that it was merged into.
    pub(crate) fn is_listed(self) -> bool {
        self.exists && self.merged_into.is_none()
    }
}

impl Fold for ArtistState {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Artist(event)) = &recorded.event else { return };
        self.exists = true;
        if let ArtistEvent::ArtistMerged(event) = event {
            self.merged_into = Some(event.into);
        }
    }
}

/// An artist with all that can be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WholeArtist {
    state: ArtistState,
    details: Option<ArtistDetails>,
    pub(crate) image: Option<Image>,
}

impl WholeArtist {
    pub(crate) const fn exists(&self) -> bool {
        self.state.exists
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.details.as_ref().map(|details| details.name.as_str())
    }
}

impl Fold for WholeArtist {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Artist(event)) = &recorded.event else { return };
        self.state.apply(recorded);
        match event {
            ArtistEvent::ArtistAdded(event) => self.details = Some(event.details.clone()),
            ArtistEvent::ArtistEdited(event) => self.details = Some(event.details.clone()),
            ArtistEvent::ArtistImageChanged(event) => self.image = event.image,
            ArtistEvent::ArtistMerged(_) => {}
        }
    }
}

fn add(state: ArtistState, event: &ArtistAdded) -> Option<Event> {
    (!state.exists).then(|| event.clone().into())
}

/// The fields to change.
#[derive(Debug, Clone, Default)]
struct ArtistEdit {
    name: Option<String>,
    sort_name: Clearable<String>,
    musicbrainz: Clearable<Uuid>,
}

fn edit(
    artist: &WholeArtist,
    editor: &Editor,
    id: ArtistId,
    change: &ArtistEdit,
) -> Result<Option<Event>, ArtistRejected> {
    let before = artist.details.as_ref().ok_or(ArtistRejected::NotFound)?;
    if !editor.manages(id) {
        return Err(ArtistRejected::NotManaged);
    }
    let ArtistEdit { name, sort_name, musicbrainz } = change.clone();
    let details = ArtistDetails {
        name: name.unwrap_or_else(|| before.name.clone()),
        sort_name: sort_name.unwrap_or_else(|| before.sort_name.clone()),
        musicbrainz: musicbrainz.unwrap_or(before.musicbrainz),
    };
    Ok((details != *before).then(|| ArtistEdited { artist: id, details }.into()))
}

/// `present` is the artist that this one is now, and `target` the one that it is to be; none if that does not exist.
fn merge(
    state: ArtistState,
    by: &Authority,
    artist: ArtistId,
    present: ArtistId,
    target: Option<ArtistId>,
) -> Result<Option<Event>, ArtistRejected> {
    if !by.has(Role::Admin) {
        return Err(ArtistRejected::NotAdmin);
    }
    if !state.exists {
        return Err(ArtistRejected::NotFound);
    }
    let into = target.filter(|into| *into != artist).ok_or(ArtistRejected::BadTarget)?;
    match state.merged_into {
        None => Ok(Some(ArtistMerged { artist, into }.into())),
        Some(before) if before == into || present == into => Ok(None),
        Some(_) => Err(ArtistRejected::Merged),
    }
}

/// Whether an account manages an artist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Managed {
    pub(crate) linked: bool,
}

impl Fold for Managed {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::ArtistLink(event)) = &recorded.event else { return };
        self.linked = matches!(event, ArtistLinkEvent::ArtistLinked(_));
    }
}

/// An account becomes the manager of an artist that does not exist yet.
fn manage(state: Managed, artist_exists: bool, link: &ArtistLinked) -> Result<Option<Event>, ArtistRejected> {
    match (state.linked, artist_exists) {
        (true, _) => Ok(None),
        (false, false) => Ok(Some(link.clone().into())),
        (false, true) => Err(ArtistRejected::NotManaged),
    }
}

/// A link, the artist and the account that it is about.
#[derive(Debug, Default)]
struct Linking {
    managed: Managed,
    artist: ArtistState,
    account: AccountStatus,
}

impl Fold for Linking {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Music(MusicEvent::ArtistLink(_)) => self.managed.apply(recorded),
            Event::Music(MusicEvent::Artist(_)) => self.artist.apply(recorded),
            Event::Accounts(AccountsEvent::Account(_)) => self.account.apply(recorded),
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

fn link(
    state: &Linking,
    by: &Authority,
    artist: ArtistId,
    user: UserId,
) -> Result<Option<Event>, ArtistRejected> {
    may_link(state, by)?;
    if matches!(state.account, AccountStatus::None | AccountStatus::Erased) {
        return Err(ArtistRejected::NoUser);
    }
    Ok((!state.managed.linked).then(|| ArtistLinked { artist, user }.into()))
}

/// Also of an account that was erased.
fn unlink(
    state: &Linking,
    by: &Authority,
    artist: ArtistId,
    user: UserId,
) -> Result<Option<Event>, ArtistRejected> {
    may_link(state, by)?;
    Ok(state.managed.linked.then(|| ArtistUnlinked { artist, user }.into()))
}

fn may_link(state: &Linking, by: &Authority) -> Result<(), ArtistRejected> {
    if !by.has(Role::Admin) {
        return Err(ArtistRejected::NotAdmin);
    }
    if state.artist.exists { Ok(()) } else { Err(ArtistRejected::NotFound) }
}

// ----------------------------------------------------------------- commands

fn details(name: &str) -> ArtistDetails {
    ArtistDetails { name: name.to_owned(), sort_name: None, musicbrainz: None }
}

impl Commands {
    /// Checks that the account manages the artist of this name. It becomes the manager of a new artist: it is linked before
    /// the artist is added, so that a crash between the two leaves no artist without a manager.
    pub(crate) async fn manage_artist(
        &self,
        context: &Context,
        user: UserId,
        name: &str,
    ) -> Result<(), CommandError<ArtistRejected>> {
        let (artist, known) = self.find_artist(artist_id(&details(name))).await?;
        self.become_manager(context, user, artist, known.exists()).await
    }

    async fn become_manager(
        &self,
        context: &Context,
        user: UserId,
        artist: ArtistId,
        is_known: bool,
    ) -> Result<(), CommandError<ArtistRejected>> {
        // Another process may have added it a moment ago.
        let exists = is_known || self.read_state::<ArtistState>(Subject::Artist(artist)).await?.exists;
        let link = ArtistLinked { artist, user };
        let decide = |managed: &Managed| manage(*managed, exists, &link);
        let context = context.clone().without_idempotency_key();
        self.execute(&context, Subject::ArtistLink(artist, user), &[], decide).await?;
        Ok(())
    }

    /// The artist of this name, or the one that it was merged into; and the event that adds it if there is none.
    pub(crate) async fn artist_of_name(
        &self,
        name: &str,
    ) -> Result<(ArtistId, Option<ArtistAdded>), LogError> {
        let details = details(name);
        let event = ArtistAdded { artist: artist_id(&details), details };
        let (artist, known) = self.find_artist(event.artist).await?;
        Ok((artist, (!known.exists()).then_some(event)))
    }

    /// Adds an artist of a song, unless it exists.
    pub(crate) async fn add_artist_of_song<R>(
        &self,
        context: &Context,
        event: &ArtistAdded,
    ) -> Result<(), CommandError<R>> {
        let decide = |state: &ArtistState| Ok(add(*state, event));
        // Every request adds the same event, so a repeated one needs no key to find its own.
        let context = context.clone().without_idempotency_key();
        self.execute(&context, Subject::Artist(event.artist), &[], decide).await?;
        Ok(())
    }

    /// The artist, or the one that it was merged into.
    pub(crate) async fn find_artist(&self, mut id: ArtistId) -> Result<(ArtistId, WholeArtist), LogError> {
        let mut artist: WholeArtist = self.read_cached_state(Subject::Artist(id)).await?;
        for _ in 0..MERGES_LIMIT {
            let Some(into) = artist.state.merged_into else { break };
            id = into;
            artist = self.read_cached_state(Subject::Artist(id)).await?;
        }
        Ok((id, artist))
    }

    /// Adds an artist unless it exists. An account that is no admin becomes its manager.
    async fn add_artist(
        &self,
        context: &Context,
        user: UserId,
        details: ArtistDetails,
    ) -> Result<(ArtistId, Outcome), CommandError<ArtistRejected>> {
        let account = self.account(user).await?;
        if !is_publisher(&account) {
            return Err(CommandError::Rejected(ArtistRejected::NotAllowed));
        }
        let event = ArtistAdded { artist: artist_id(&details), details };
        if !account.roles.contains(&Role::Admin) {
            let (artist, known) = self.find_artist(event.artist).await?;
            self.become_manager(context, user, artist, known.exists()).await?;
        }
        let decide = |state: &ArtistState| Ok(add(*state, &event));
        let outcome = self.execute(context, Subject::Artist(event.artist), &[], decide).await?;
        Ok((self.find_artist(event.artist).await?.0, outcome))
    }

    async fn edit_artist(
        &self,
        context: &Context,
        user: UserId,
        artist: ArtistId,
        change: &ArtistEdit,
    ) -> Result<Outcome, CommandError<ArtistRejected>> {
        let (artist, _) = self.find_artist(artist).await?;
        let editor = self.editor(user, [artist]).await?;
        let decide = |state: &WholeArtist| edit(state, &editor, artist, change);
        self.execute(context, Subject::Artist(artist), &[], decide).await
    }

    async fn merge_artist(
        &self,
        context: &Context,
        user: UserId,
        artist: ArtistId,
        into: ArtistId,
    ) -> Result<Outcome, CommandError<ArtistRejected>> {
        let by = self.authority(user).await?;
        let (present, _) = self.find_artist(artist).await?;
        let (target, state) = self.find_artist(into).await?;
        let target = state.exists().then_some(target);
        let decide = |state: &ArtistState| merge(*state, &by, artist, present, target);
        self.execute(context, Subject::Artist(artist), &[], decide).await
    }

    async fn set_manager(
        &self,
        context: &Context,
        by: &Authority,
        artist: ArtistId,
        user: UserId,
        linked: bool,
    ) -> Result<Outcome, CommandError<ArtistRejected>> {
        let (artist, _) = self.find_artist(artist).await?;
        let decide = |state: &Linking| match linked {
            true => link(state, by, artist, user),
            false => unlink(state, by, artist, user),
        };
        let others = [Subject::Artist(artist), Subject::Account(user)];
        self.execute(context, Subject::ArtistLink(artist, user), &others, decide).await
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(create_artist))
        .routes(routes!(edit_artist))
        .routes(routes!(merge_artists))
        .routes(routes!(add_manager, remove_manager))
}

/// A new artist of the catalogue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CatalogueArtist {
    #[schema(min_length = 1, max_length = 300, example = "The Lakes")]
    name: String,
    /// The name to sort by, if it is another one.
    #[schema(min_length = 1, max_length = 300, example = "Lakes, The")]
    sort_name: Option<String>,
    /// `MusicBrainz` id of the artist. It tells apart artists with the same name.
    #[schema(example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    musicbrainz: Option<Uuid>,
}

/// The fields of an artist to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ArtistChange {
    #[schema(min_length = 1, max_length = 300, example = "The Lakes")]
    name: Option<String>,
    /// Null if the name is sorted as it is.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 300, example = "Lakes, The")]
    sort_name: Clearable<String>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Uuid>, example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    musicbrainz: Clearable<Uuid>,
}

/// The artist that remains.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MergeTarget {
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    into: ArtistId,
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedArtist {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the artist. `changed` is false if the catalogue had it already.
    id: String,
}

/// Add an artist
///
/// For artists and admins. The same `MusicBrainz` id is the same artist, or without one the same name. An account that is no
/// admin becomes the manager of an artist that is new, and gets 403 for one that it does not manage.
#[utoipa::path(
    post, path = "/v1/artists", tag = "artists", request_body = CatalogueArtist, security(("token" = [])),
    params(CommandHeaders),
    responses((status = 201, body = CreatedArtist), (status = 202, body = CreatedArtist), Problems)
)]
async fn create_artist(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(new): Json<CatalogueArtist>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let name = fields.take("name", text::required_line(&new.name, NAME_LIMIT));
    let sort_name =
        new.sort_name.as_deref().map(|name| fields.take("sort_name", text::required_line(name, NAME_LIMIT)));
    fields.finish()?;
    let payload = format!("{new:?}");
    let context = context.with_actor(session.user).with_payload([payload.as_bytes()]);
    let details = ArtistDetails { name, sort_name, musicbrainz: new.musicbrainz };
    let (id, outcome) = commands.add_artist(&context, session.user, details).await?;
    let body = |receipt| CreatedArtist { receipt, id: id.to_string() };
    Ok(commands.created(prefer, outcome, &format!("/v1/artists/{id}"), body).await)
}

/// Edit an artist
///
/// For its managers and admins. Fields that are not sent keep their values. The id stays, also if the name changes.
#[utoipa::path(
    patch, path = "/v1/artists/{artist}", tag = "artists", request_body = ArtistChange, security(("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn edit_artist(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
    Json(change): Json<ArtistChange>,
) -> Result<Response, Problem> {
    let payload = format!("{change:?}");
    let ArtistChange { name, sort_name, musicbrainz } = change;
    let mut fields = Fields::default();
    let mut line = |field, text: &str| fields.take(field, text::required_line(text, NAME_LIMIT));
    let name = name.map(|name| line("name", &name));
    let sort_name = sort_name.map(|name| name.map(|name| line("sort_name", &name)));
    fields.finish()?;
    let context = context.with_actor(session.user).with_payload([payload.as_bytes()]);
    let change = ArtistEdit { name, sort_name, musicbrainz };
    let outcome = commands.edit_artist(&context, session.user, artist, &change).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Merge an artist into another
///
/// For admins. The artist's albums, songs and followers become those of the other, and its id keeps referring to the other. Its
/// managers do not become managers of the other. A merge cannot be undone.
#[utoipa::path(
    post, path = "/v1/artists/{artist}/merge", tag = "artists", request_body = MergeTarget,
    security(("token" = [])),
    params(("artist" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn merge_artists(
    State(commands): State<Commands>,
    session: Session,
    Path(artist): Path<ArtistId>,
    context: Context,
    prefer: Prefer,
    Json(MergeTarget { into }): Json<MergeTarget>,
) -> Result<Response, Problem> {
    let into_bytes = into.uuid().into_bytes();
    let context = context.with_actor(session.user).with_payload([into_bytes.as_slice()]);
    let outcome = commands.merge_artist(&context, session.user, artist, into).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Make a user the manager of an artist
///
/// For admins. A manager with the role `artist` publishes for the artist, and edits it, its albums and its songs.
#[utoipa::path(
    put, path = "/v1/artists/{artist}/managers/{user}", tag = "artists", security(("token" = [])),
    params(
        ("artist" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn add_manager(
    State(commands): State<Commands>,
    session: Session,
    Path((artist, user)): Path<(ArtistId, UserId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let by = commands.authority(session.user).await.map_err(log_problem)?;
    let outcome = commands.set_manager(&context.with_actor(session.user), &by, artist, user, true).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Remove a manager of an artist
///
/// For admins.
#[utoipa::path(
    delete, path = "/v1/artists/{artist}/managers/{user}", tag = "artists", security(("token" = [])),
    params(
        ("artist" = String, Path, pattern = "^[0-9a-f]{32}$"),
        ("user" = String, Path, pattern = "^[0-9a-f]{32}$"),
        CommandHeaders
    ),
    responses(ReceiptAnswers, Problems)
)]
async fn remove_manager(
    State(commands): State<Commands>,
    session: Session,
    Path((artist, user)): Path<(ArtistId, UserId)>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let by = commands.authority(session.user).await.map_err(log_problem)?;
    let outcome = commands.set_manager(&context.with_actor(session.user), &by, artist, user, false).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTIST: ArtistId = ArtistId::new(Uuid::from_u128(0xa1));
    const OTHER: ArtistId = ArtistId::new(Uuid::from_u128(0xa2));
    const THIRD: ArtistId = ArtistId::new(Uuid::from_u128(0xa3));
    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));

    fn by(roles: &[Role]) -> Authority {
        Authority::Person { user: ANN, roles: roles.iter().copied().collect() }
    }

    #[test]
    fn account_manages_new_artists_and_those_linked_to_it() {
        let link = ArtistLinked { artist: ARTIST, user: ANN };
        let (linked, other) = (Managed { linked: true }, Managed::default());
        assert_eq!(manage(other, false, &link), Ok(Some(link.clone().into())));
        assert_eq!(manage(other, true, &link), Err(ArtistRejected::NotManaged));
        assert_eq!((manage(linked, true, &link), manage(linked, false, &link)), (Ok(None), Ok(None)));
    }

    #[test]
    fn managers_and_admins_edit_an_artist() {
        let before = ArtistDetails { sort_name: Some("Lakes, The".into()), ..details("The Lakes") };
        let artist = WholeArtist {
            state: ArtistState { exists: true, merged_into: None },
            details: Some(before.clone()),
            image: None,
        };
        let change = ArtistEdit { sort_name: Some(None), ..ArtistEdit::default() };
        let edited = ArtistEdited { artist: ARTIST, details: details("The Lakes") };
        for editor in [Editor::of(ANN, &[Role::Admin], &[]), Editor::of(ANN, &[Role::Artist], &[ARTIST])] {
            assert_eq!(edit(&artist, &editor, ARTIST, &change), Ok(Some(edited.clone().into())));
            assert_eq!(edit(&artist, &editor, ARTIST, &ArtistEdit::default()), Ok(None));
            let nothing = edit(&WholeArtist::default(), &editor, ARTIST, &change);
            assert_eq!(nothing, Err(ArtistRejected::NotFound));
        }
        let other = Editor::of(ANN, &[Role::Artist], &[OTHER]);
        assert_eq!(edit(&artist, &other, ARTIST, &change), Err(ArtistRejected::NotManaged));
    }

    #[test]
    fn admins_merge_an_artist_once() {
        let admin = by(&[Role::Admin]);
        let there = ArtistState { exists: true, merged_into: None };
        let merged = ArtistMerged { artist: ARTIST, into: OTHER };
        assert_eq!(merge(there, &admin, ARTIST, ARTIST, Some(OTHER)), Ok(Some(merged.into())));
        let before = ArtistState { merged_into: Some(OTHER), ..there };
        assert_eq!(merge(before, &admin, ARTIST, OTHER, Some(OTHER)), Ok(None));
        // The other was merged into a third one meanwhile.
        assert_eq!(merge(before, &admin, ARTIST, THIRD, Some(THIRD)), Ok(None));
        assert_eq!(merge(before, &admin, ARTIST, OTHER, Some(THIRD)), Err(ArtistRejected::Merged));
        for target in [None, Some(ARTIST)] {
            assert_eq!(merge(there, &admin, ARTIST, ARTIST, target), Err(ArtistRejected::BadTarget));
        }
        let nothing = merge(ArtistState::default(), &admin, ARTIST, ARTIST, Some(OTHER));
        assert_eq!(nothing, Err(ArtistRejected::NotFound));
        let artist = merge(there, &by(&[Role::Artist]), ARTIST, ARTIST, Some(OTHER));
        assert_eq!(artist, Err(ArtistRejected::NotAdmin));
    }

    #[test]
    fn admins_link_accounts_that_exist() {
        let admin = by(&[Role::Admin]);
        let artist = ArtistState { exists: true, merged_into: None };
        let free = || Linking { artist, account: AccountStatus::Active, managed: Managed::default() };
        let linked = || Linking { managed: Managed { linked: true }, ..free() };
        let event = ArtistLinked { artist: ARTIST, user: ANN };
        assert_eq!(link(&free(), &admin, ARTIST, ANN), Ok(Some(event.into())));
        assert_eq!(link(&linked(), &admin, ARTIST, ANN), Ok(None));
        let event = ArtistUnlinked { artist: ARTIST, user: ANN };
        assert_eq!(unlink(&linked(), &admin, ARTIST, ANN), Ok(Some(event.clone().into())));
        assert_eq!(unlink(&free(), &admin, ARTIST, ANN), Ok(None));
        let erased = Linking { account: AccountStatus::Erased, ..linked() };
        assert_eq!(link(&erased, &admin, ARTIST, ANN), Err(ArtistRejected::NoUser));
        assert_eq!(unlink(&erased, &admin, ARTIST, ANN), Ok(Some(event.into())));
        let unknown = Linking { artist: ArtistState::default(), ..free() };
        assert_eq!(link(&unknown, &admin, ARTIST, ANN), Err(ArtistRejected::NotFound));
        for roles in [&[][..], &[Role::Artist, Role::Moderator]] {
            assert_eq!(link(&free(), &by(roles), ARTIST, ANN), Err(ArtistRejected::NotAdmin));
            assert_eq!(unlink(&linked(), &by(roles), ARTIST, ANN), Err(ArtistRejected::NotAdmin));
        }
    }
}
