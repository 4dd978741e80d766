//! Albums of the catalogue.

use axum::extract::State;
use axum::response::Response;
use events::{
    AlbumAdded, AlbumCoverChanged, AlbumDetails, AlbumEdited, AlbumEvent, AlbumId, AlbumKind, AlbumRemoved,
    AlbumRestored, Event, Image, LogError, MusicEvent, Recorded, Subject, UserId, album_id,
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
use crate::music::editing::{
    Clearable, Credits, Editor, NAME_LIMIT, NewCredit, VALUES_LIMIT, clearable, main_artists, year,
};
use crate::music::publishing::is_publisher;
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

// ---------------------------------------------------------------- decisions

#[derive(Debug)]
pub enum AlbumRejected {
    NotFound,
    /// Only artists and admins add albums.
    NotAllowed,
    /// The account manages none of the album's main artists.
    NotManaged,
    Removed,
    Fields(Box<Problem>),
}

impl From<AlbumRejected> for Problem {
    fn from(rejected: AlbumRejected) -> Self {
        match rejected {
            AlbumRejected::NotFound => no_album(),
            AlbumRejected::NotAllowed => Self::forbidden("Only artists and admins add albums"),
            AlbumRejected::NotManaged => {
                Self::forbidden("Your account manages none of this album's main artists")
            }
            AlbumRejected::Removed => {
                Self::conflict("album-removed", "This album was removed: restore it instead")
            }
            AlbumRejected::Fields(problem) => *problem,
        }
    }
}

pub(crate) fn no_album() -> Problem {
    Problem::not_found("There is no such album")
}

/// The state of an album that decisions need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AlbumState {
    pub(crate) exists: bool,
    pub(crate) removed: bool,
}

impl AlbumState {
    pub(crate) fn is_listed(self) -> bool {
        self.exists && !self.removed
    }
}

impl Fold for AlbumState {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Album(event)) = &recorded.event else { return };
        match event {
            AlbumEvent::AlbumAdded(_) => self.exists = true,
            AlbumEvent::AlbumRemoved(_) => self.removed = true,
            AlbumEvent::AlbumRestored(_) => self.removed = false,
            AlbumEvent::AlbumEdited(_) | AlbumEvent::AlbumCoverChanged(_) => {}
        }
    }
}

/// An album with all that can be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WholeAlbum {
    pub(crate) state: AlbumState,
    details: Option<AlbumDetails>,
    pub(crate) cover: Option<Image>,
}

impl Fold for WholeAlbum {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Music(MusicEvent::Album(event)) = &recorded.event else { return };
        self.state.apply(recorded);
        match event {
            AlbumEvent::AlbumAdded(event) => {
                self.details = Some(event.details.clone());
                self.cover = event.cover;
            }
            AlbumEvent::AlbumEdited(event) => self.details = Some(event.details.clone()),
            AlbumEvent::AlbumCoverChanged(event) => self.cover = event.cover,
            AlbumEvent::AlbumRemoved(_) | AlbumEvent::AlbumRestored(_) => {}
        }
    }
}

impl WholeAlbum {
    /// The album, also a removed one, if the editor manages one of its main artists.
    pub(crate) fn for_editor(&self, editor: &Editor) -> Result<&AlbumDetails, AlbumRejected> {
        let details = self.details.as_ref().ok_or(AlbumRejected::NotFound)?;
        if editor.manages_main_of(&details.artists) { Ok(details) } else { Err(AlbumRejected::NotManaged) }
    }
}

fn add(state: AlbumState, event: &AlbumAdded) -> Option<Event> {
    (!state.exists).then(|| event.clone().into())
}

fn create(state: AlbumState, event: &AlbumAdded) -> Result<Option<Event>, AlbumRejected> {
    if state.removed { Err(AlbumRejected::Removed) } else { Ok(add(state, event)) }
}

/// The fields to change.
#[derive(Debug, Clone, Default)]
struct AlbumEdit {
    title: Option<String>,
    credits: Option<Credits>,
    display_artist: Option<String>,
    kind: Option<AlbumKind>,
    year: Clearable<i32>,
    version: Clearable<String>,
    disc_titles: Option<Vec<String>>,
    musicbrainz: Clearable<Uuid>,
}

fn edit(
    album: &WholeAlbum,
    editor: &Editor,
    id: AlbumId,
    change: &AlbumEdit,
) -> Result<Option<Event>, AlbumRejected> {
    let before = album.for_editor(editor)?;
    let AlbumEdit { title, credits, display_artist, kind, year, version, disc_titles, musicbrainz } =
        change.clone();
    let (artists, display) = match credits {
        Some(Credits { artists, display }) => (artists, display),
        None => (before.artists.clone(), before.display_artist.clone()),
    };
    if !editor.manages_main_of(&artists) {
        return Err(AlbumRejected::NotManaged);
    }
    let details = AlbumDetails {
        title: title.unwrap_or_else(|| before.title.clone()),
        artists,
        display_artist: display_artist.unwrap_or(display),
        kind: kind.unwrap_or(before.kind),
        year: year.unwrap_or(before.year),
        version: version.unwrap_or_else(|| before.version.clone()),
        disc_titles: disc_titles.unwrap_or_else(|| before.disc_titles.clone()),
        musicbrainz: musicbrainz.unwrap_or(before.musicbrainz),
    };
    Ok((details != *before).then(|| AlbumEdited { album: id, details }.into()))
}

fn remove(album: &WholeAlbum, editor: &Editor, id: AlbumId) -> Result<Option<Event>, AlbumRejected> {
    album.for_editor(editor)?;
    Ok((!album.state.removed).then(|| AlbumRemoved { album: id }.into()))
}

fn restore(album: &WholeAlbum, editor: &Editor, id: AlbumId) -> Result<Option<Event>, AlbumRejected> {
    album.for_editor(editor)?;
    Ok(album.state.removed.then(|| AlbumRestored { album: id }.into()))
}

/// The cover of a song becomes that of an album that has none.
fn take_cover(album: &WholeAlbum, id: AlbumId, cover: Image) -> Option<Event> {
    let is_free = album.state.exists && album.cover.is_none();
    is_free.then(|| AlbumCoverChanged { album: id, cover: Some(cover) }.into())
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// Adds an album unless it exists.
    pub(crate) async fn add_album<R>(
        &self,
        context: &Context,
        event: &AlbumAdded,
    ) -> Result<Outcome, CommandError<R>> {
        let decide = |state: &AlbumState| Ok(add(*state, event));
        let context = context.clone().without_idempotency_key();
        self.execute(&context, Subject::Album(event.album), &[], decide).await
    }

    /// Sets the cover of an album that has none.
    pub(crate) async fn give_album_cover<R>(
        &self,
        context: &Context,
        album: AlbumId,
        cover: Image,
    ) -> Result<Outcome, CommandError<R>> {
        let decide = |state: &WholeAlbum| Ok(take_cover(state, album, cover));
        let context = context.clone().without_idempotency_key();
        self.execute(&context, Subject::Album(album), &[], decide).await
    }

    /// The album, and the user as its editor.
    pub(crate) async fn album_for(
        &self,
        user: UserId,
        album: AlbumId,
    ) -> Result<(WholeAlbum, Editor), LogError> {
        let whole: WholeAlbum = self.read_state(Subject::Album(album)).await?;
        let artists: Vec<_> =
            whole.details.iter().flat_map(|details| main_artists(&details.artists)).collect();
        Ok((whole, self.editor(user, artists).await?))
    }

    async fn create_album(
        &self,
        context: &Context,
        user: UserId,
        details: AlbumDetails,
    ) -> Result<(AlbumId, Outcome), CommandError<AlbumRejected>> {
        let editor = self.editor(user, main_artists(&details.artists)).await?;
        if !editor.manages_main_of(&details.artists) {
            return Err(CommandError::Rejected(AlbumRejected::NotManaged));
        }
        let event = AlbumAdded { album: album_id(&details), details, cover: None };
        let decide = |state: &AlbumState| create(*state, &event);
        let outcome = self.execute(context, Subject::Album(event.album), &[], decide).await?;
        Ok((event.album, outcome))
    }

    async fn edit_album(
        &self,
        context: &Context,
        user: UserId,
        album: AlbumId,
        change: AlbumChange,
    ) -> Result<Outcome, CommandError<AlbumRejected>> {
        let of_fields = |problem| CommandError::Rejected(AlbumRejected::Fields(Box::new(problem)));
        let (whole, editor) = self.album_for(user, album).await?;
        // Before the fields, so that only editors learn which of them are wrong.
        let before = whole.for_editor(&editor).map_err(CommandError::Rejected)?;
        let new = change.artists.clone();
        let mut change = change.checked().map_err(of_fields)?;
        if let Some(given) = new {
            change.credits = Some(self.credits_of(&given).await.map_err(of_fields)?);
        }
        let new = change.credits.iter().flat_map(|credits| main_artists(&credits.artists));
        let artists: Vec<_> = main_artists(&before.artists).chain(new).collect();
        let editor = self.editor(user, artists).await?;
        let decide = |state: &WholeAlbum| edit(state, &editor, album, &change);
        self.execute(context, Subject::Album(album), &[], decide).await
    }

    async fn set_album_removed(
        &self,
        context: &Context,
        user: UserId,
        album: AlbumId,
        removed: bool,
    ) -> Result<Outcome, CommandError<AlbumRejected>> {
        let (_, editor) = self.album_for(user, album).await?;
        let decide = |state: &WholeAlbum| match removed {
            true => remove(state, &editor, album),
            false => restore(state, &editor, album),
        };
        self.execute(context, Subject::Album(album), &[], decide).await
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(create_album))
        .routes(routes!(edit_album, remove_album))
        .routes(routes!(restore_album))
}

/// A new album of the catalogue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CatalogueAlbum {
    #[schema(min_length = 1, max_length = 300, example = "Still Water")]
    title: String,
    #[schema(min_items = 1, max_items = 20)]
    artists: Vec<NewCredit>,
    /// The artists as the album shows them; their names if left out.
    #[schema(min_length = 1, max_length = 300, example = "The Lakes feat. Ann Lee")]
    display_artist: Option<String>,
    kind: Option<resources::AlbumKind>,
    /// Year of the original release.
    #[schema(minimum = 1000, maximum = 2999, example = 1998)]
    year: Option<i32>,
    /// Distinguishes editions with the same title.
    #[schema(min_length = 1, max_length = 300, example = "Deluxe Edition")]
    version: Option<String>,
    /// Title of each disc, in order.
    #[serde(default)]
    #[schema(max_items = 20)]
    disc_titles: Vec<String>,
    /// `MusicBrainz` id of the release.
    #[schema(example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    musicbrainz: Option<Uuid>,
}

/// The fields of an album to change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AlbumChange {
    #[schema(min_length = 1, max_length = 300, example = "Still Water")]
    title: Option<String>,
    /// All artists of the album.
    #[schema(min_items = 1, max_items = 20)]
    artists: Option<Vec<NewCredit>>,
    /// The artists as the album shows them; the names of new `artists` if left out.
    #[schema(min_length = 1, max_length = 300, example = "The Lakes feat. Ann Lee")]
    display_artist: Option<String>,
    kind: Option<resources::AlbumKind>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<i32>, minimum = 1000, maximum = 2999, example = 1998)]
    year: Clearable<i32>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 300, example = "Deluxe Edition")]
    version: Clearable<String>,
    /// Title of each disc, in order; empty if they have none.
    #[schema(max_items = 20)]
    disc_titles: Option<Vec<String>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Uuid>, example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    musicbrainz: Clearable<Uuid>,
}

impl AlbumChange {
    /// The change without its artists, which are checked against the log.
    fn checked(self) -> Result<AlbumEdit, Problem> {
        let Self { title, artists: _, display_artist, kind, year: of, version, disc_titles, musicbrainz } =
            self;
        let mut fields = Fields::default();
        let mut line = |field: &str, text: &str| fields.take(field, text::required_line(text, NAME_LIMIT));
        let edit = AlbumEdit {
            title: title.map(|title| line("title", &title)),
            credits: None,
            display_artist: display_artist.map(|artist| line("display_artist", &artist)),
            kind: kind.map(album_kind),
            version: version.map(|version| version.map(|version| line("version", &version))),
            disc_titles: disc_titles.map(|titles| {
                titles
                    .iter()
                    .enumerate()
                    .map(|(n, title)| line(&format!("disc_titles[{n}]"), title))
                    .collect()
            }),
            year: of.map(|of| of.map(|of| fields.take("year", year(of)))),
            musicbrainz,
        };
        fields.finish()?;
        if edit.disc_titles.as_ref().is_some_and(|titles| titles.len() > VALUES_LIMIT) {
            let message = format!("must have at most {VALUES_LIMIT} titles");
            return Err(Problem::invalid(vec![FieldProblem::new(
                "disc_titles",
                FieldCode::TooMany,
                message,
            )]));
        }
        Ok(edit)
    }
}

const fn album_kind(given: resources::AlbumKind) -> AlbumKind {
    match given {
        resources::AlbumKind::Album => AlbumKind::Album,
        resources::AlbumKind::Single => AlbumKind::Single,
        resources::AlbumKind::Ep => AlbumKind::Ep,
        resources::AlbumKind::Compilation => AlbumKind::Compilation,
        resources::AlbumKind::Live => AlbumKind::Live,
        resources::AlbumKind::Soundtrack => AlbumKind::Soundtrack,
        resources::AlbumKind::Other => AlbumKind::Other,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedAlbum {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the album. `changed` is false if the catalogue had it already.
    id: String,
}

/// Add an album
///
/// For managers of one of its main artists, and admins. The same `MusicBrainz` id is the same album, or without one the same
/// title, main artists, version, year and disc titles.
#[utoipa::path(
    post, path = "/v1/albums", tag = "albums", request_body = CatalogueAlbum, security(("token" = [])),
    params(CommandHeaders),
    responses((status = 201, body = CreatedAlbum), (status = 202, body = CreatedAlbum), Problems)
)]
async fn create_album(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(new): Json<CatalogueAlbum>,
) -> Result<Response, Problem> {
    let payload = format!("{new:?}");
    if !is_publisher(&commands.account(session.user).await.map_err(log_problem)?) {
        return Err(AlbumRejected::NotAllowed.into());
    }
    let details = commands.details_of(new).await?;
    let context = context.with_actor(session.user).with_payload([payload.as_bytes()]);
    let (id, outcome) = commands.create_album(&context, session.user, details).await?;
    let body = |receipt| CreatedAlbum { receipt, id: id.to_string() };
    Ok(commands.created(prefer, outcome, &format!("/v1/albums/{id}"), body).await)
}

impl Commands {
    async fn details_of(&self, new: CatalogueAlbum) -> Result<AlbumDetails, Problem> {
        let fields = AlbumChange {
            title: Some(new.title),
            display_artist: new.display_artist,
            year: Some(new.year),
            version: Some(new.version),
            disc_titles: Some(new.disc_titles),
            ..AlbumChange::default()
        };
        let AlbumEdit { title, display_artist, year, version, disc_titles, .. } = fields.checked()?;
        let Credits { artists, display } = self.credits_of(&new.artists).await?;
        Ok(AlbumDetails {
            title: title.unwrap_or_default(),
            artists,
            display_artist: display_artist.unwrap_or(display),
            kind: new.kind.map_or(AlbumKind::Album, album_kind),
            year: year.flatten(),
            version: version.flatten(),
            disc_titles: disc_titles.unwrap_or_default(),
            musicbrainz: new.musicbrainz,
        })
    }
}

/// Edit an album
///
/// For managers of one of its main artists, and admins. Fields that are not sent keep their values. The id stays.
#[utoipa::path(
    patch, path = "/v1/albums/{album}", tag = "albums", request_body = AlbumChange, security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn edit_album(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
    Json(change): Json<AlbumChange>,
) -> Result<Response, Problem> {
    let payload = format!("{change:?}");
    let context = context.with_actor(session.user).with_payload([payload.as_bytes()]);
    let outcome = commands.edit_album(&context, session.user, album, change).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Remove an album
///
/// For managers of one of its main artists, and admins. The album and its songs disappear from the catalogue until it is
/// restored.
#[utoipa::path(
    delete, path = "/v1/albums/{album}", tag = "albums", security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn remove_album(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let context = context.with_actor(session.user);
    let outcome = commands.set_album_removed(&context, session.user, album, true).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Restore a removed album
///
/// For managers of one of its main artists, and admins.
#[utoipa::path(
    post, path = "/v1/albums/{album}/restore", tag = "albums", security(("token" = [])),
    params(("album" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn restore_album(
    State(commands): State<Commands>,
    session: Session,
    Path(album): Path<AlbumId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let context = context.with_actor(session.user);
    let outcome = commands.set_album_removed(&context, session.user, album, false).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use events::{ArtistCredit, ArtistId, CreditRole, MediaId, Role};

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const ARTIST: ArtistId = ArtistId::new(Uuid::from_u128(0xa1));
    const GUEST: ArtistId = ArtistId::new(Uuid::from_u128(0xa2));
    const ALBUM: AlbumId = AlbumId::new(Uuid::from_u128(0xa3));
    const COVER: Image = Image { media: MediaId::new(Uuid::from_u128(7)), width: 1000, height: 1000 };

    fn details() -> AlbumDetails {
        AlbumDetails {
            title: "Still Water".into(),
            artists: vec![
                ArtistCredit { artist: ARTIST, role: CreditRole::Main },
                ArtistCredit { artist: GUEST, role: CreditRole::Featured },
            ],
            display_artist: "The Lakes feat. Ann Lee".into(),
            kind: AlbumKind::Album,
            year: Some(1998),
            version: None,
            disc_titles: Vec::new(),
            musicbrainz: None,
        }
    }

    fn album(removed: bool) -> WholeAlbum {
        WholeAlbum { state: AlbumState { exists: true, removed }, details: Some(details()), cover: None }
    }

    fn manager(of: ArtistId) -> Editor {
        Editor::of(ANN, &[Role::Artist], &[of])
    }

    #[test]
    fn managers_of_main_artists_and_admins_edit_an_album() {
        let change = AlbumEdit { year: Some(None), title: Some("Stiller".into()), ..AlbumEdit::default() };
        let edited = AlbumEdited {
            album: ALBUM,
            details: AlbumDetails { title: "Stiller".into(), year: None, ..details() },
        };
        for editor in [manager(ARTIST), Editor::of(ANN, &[Role::Admin], &[])] {
            assert_eq!(edit(&album(false), &editor, ALBUM, &change).unwrap(), Some(edited.clone().into()));
            assert_eq!(edit(&album(false), &editor, ALBUM, &AlbumEdit::default()).unwrap(), None);
            let nothing = edit(&WholeAlbum::default(), &editor, ALBUM, &change);
            assert!(matches!(nothing, Err(AlbumRejected::NotFound)), "{nothing:?}");
        }
        let guest = edit(&album(false), &manager(GUEST), ALBUM, &change);
        assert!(matches!(guest, Err(AlbumRejected::NotManaged)), "{guest:?}");
    }

    #[test]
    fn album_is_not_given_to_artists_of_others() {
        let credits = |artist| Credits {
            artists: vec![ArtistCredit { artist, role: CreditRole::Main }],
            display: "Ann Lee".into(),
        };
        let change = AlbumEdit { credits: Some(credits(GUEST)), ..AlbumEdit::default() };
        let refused = edit(&album(false), &manager(ARTIST), ALBUM, &change);
        assert!(matches!(refused, Err(AlbumRejected::NotManaged)), "{refused:?}");
        let both = Editor::of(ANN, &[Role::Artist], &[ARTIST, GUEST]);
        let Credits { artists, display: display_artist } = credits(GUEST);
        let details = AlbumDetails { artists, display_artist, ..details() };
        let edited = AlbumEdited { album: ALBUM, details };
        assert_eq!(edit(&album(false), &both, ALBUM, &change).unwrap(), Some(edited.into()));
    }

    #[test]
    fn removed_album_is_restored_and_not_added_again() {
        let editor = manager(ARTIST);
        let (there, removed) = (album(false), album(true));
        assert_eq!(remove(&there, &editor, ALBUM).unwrap(), Some(AlbumRemoved { album: ALBUM }.into()));
        assert_eq!(remove(&removed, &editor, ALBUM).unwrap(), None);
        assert_eq!(restore(&removed, &editor, ALBUM).unwrap(), Some(AlbumRestored { album: ALBUM }.into()));
        assert_eq!(restore(&there, &editor, ALBUM).unwrap(), None);
        for refused in [remove(&there, &manager(GUEST), ALBUM), restore(&removed, &manager(GUEST), ALBUM)] {
            assert!(matches!(refused, Err(AlbumRejected::NotManaged)), "{refused:?}");
        }
        let event = AlbumAdded { album: ALBUM, details: details(), cover: None };
        assert_eq!(create(AlbumState::default(), &event).unwrap(), Some(event.clone().into()));
        assert_eq!(create(there.state, &event).unwrap(), None);
        assert!(matches!(create(removed.state, &event), Err(AlbumRejected::Removed)));
    }

    #[test]
    fn only_an_album_without_a_cover_takes_that_of_a_song() {
        let taken = AlbumCoverChanged { album: ALBUM, cover: Some(COVER) };
        assert_eq!(take_cover(&album(false), ALBUM, COVER), Some(taken.into()));
        let with_cover = WholeAlbum { cover: Some(COVER), ..album(false) };
        assert_eq!(take_cover(&with_cover, ALBUM, COVER), None);
    }
}
