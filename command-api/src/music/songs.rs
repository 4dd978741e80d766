//! Songs of the catalogue.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{
    AlbumEvent, AlbumId, AudioFile, Event, Image, LogError, MusicEvent, REMOVAL_REVERSIBLE, Recorded, Role,
    SongDetails, SongEdited, SongEvent, SongId, SongRemoved, SongRestored, SongVisibility, Subject, UserId,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use web::extract::{Json, Path};
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::roles::Authority;
use crate::music::albums::AlbumRejected;
use crate::music::editing::{
    Clearable, Credits, Editor, LYRICS_LIMIT, NAME_LIMIT, NewCredit, VALUES_LIMIT, clearable, main_artists,
    number, year,
};
use crate::music::publishing::visibility;
use crate::music::spool::{Counting, UploadRejected};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

// ---------------------------------------------------------------- decisions

#[derive(Debug)]
pub enum SongRejected {
    NotFound,
    NotYours,
    /// It was removed so long ago that its file may be deleted.
    TooLate,
    /// The account manages none of the main artists that the song is to have.
    NotManaged,
    /// The album that the song is to be on.
    Album(AlbumRejected),
    /// The storage of its publisher is full, or cannot be counted.
    Storage(Box<Problem>),
    Fields(Box<Problem>),
}

impl From<SongRejected> for Problem {
    fn from(rejected: SongRejected) -> Self {
        match rejected {
            SongRejected::NotFound => no_song(),
            SongRejected::NotYours => Self::forbidden("This song was published by another user"),
            SongRejected::TooLate => Self::conflict(
                "removal-final",
                "This song was removed more than 30 days ago and cannot be restored",
            ),
            SongRejected::NotManaged => Self::forbidden(
                "Your account manages none of these main artists: an admin can link it to one",
            ),
            SongRejected::Album(rejected) => rejected.into(),
            SongRejected::Storage(problem) | SongRejected::Fields(problem) => *problem,
        }
    }
}

impl From<UploadRejected> for CommandError<SongRejected> {
    fn from(rejected: UploadRejected) -> Self {
        Self::Rejected(SongRejected::Storage(Box::new(rejected.into())))
    }
}

pub(crate) fn no_song() -> Problem {
    Problem::not_found("There is no such song")
}

/// The state of a song that decisions need. A fold that contains it must apply the events of the song and its album, and
/// must return its [`further_subject`](Fold::further_subject).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SongState {
    published: Option<Published>,
    pub(crate) cover: Option<Image>,
    removed: Option<DateTime<Utc>>,
    removed_albums: Vec<AlbumId>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) publisher: UserId,
    pub(crate) details: SongDetails,
    pub(crate) file: AudioFile,
}

impl SongState {
    /// The song, also a removed one.
    pub(crate) fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.is_some()
    }

    /// The song, if it and its album exist and the user may see it.
    pub(crate) fn visible_to(&self, user: UserId) -> Option<&Published> {
        let published = self.published.as_ref()?;
        let may_see = match published.details.visibility {
            SongVisibility::Public | SongVisibility::Unlisted => true,
            SongVisibility::Private => published.publisher == user,
        };
        let album_removed = published.details.album.is_some_and(|album| self.removed_albums.contains(&album));
        Some(published).filter(|_| may_see && self.removed.is_none() && !album_removed)
    }
}

impl Fold for SongState {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Music(MusicEvent::Song(event)) => match event {
                SongEvent::SongPublished(event) => {
                    let (publisher, details, file) = (event.publisher, event.details.clone(), event.file);
                    self.published = Some(Published { publisher, details, file });
                    self.cover = event.cover;
                }
                SongEvent::SongEdited(event) => {
                    if let Some(published) = &mut self.published {
                        published.details = event.details.clone();
                    }
                }
                SongEvent::SongCoverChanged(event) => self.cover = event.cover,
                SongEvent::SongRemoved(_) => self.removed = Some(recorded.envelope.time),
                SongEvent::SongRestored(_) => self.removed = None,
                SongEvent::SongAnalysed(_) => {}
            },
            Event::Music(MusicEvent::Album(event)) => match event {
                AlbumEvent::AlbumRemoved(event) => self.removed_albums.push(event.album),
                AlbumEvent::AlbumRestored(event) => {
                    self.removed_albums.retain(|album| *album != event.album);
                }
                AlbumEvent::AlbumAdded(_) | AlbumEvent::AlbumEdited(_) | AlbumEvent::AlbumCoverChanged(_) => {
                }
            },
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }

    /// The album of the song.
    fn further_subject(&self) -> Option<Subject> {
        self.published.as_ref()?.details.album.map(Subject::Album)
    }
}

/// The song, also a removed one, if the user published it or is an admin.
pub(super) fn may_change<'a>(
    state: &'a SongState,
    user: UserId,
    by: &Authority,
) -> Result<&'a Published, SongRejected> {
    let song = state.published().ok_or(SongRejected::NotFound)?;
    if song.publisher == user || by.has(Role::Admin) {
        return Ok(song);
    }
    // A song that the user cannot see is not disclosed.
    Err(if state.visible_to(user).is_some() { SongRejected::NotYours } else { SongRejected::NotFound })
}

/// The song, also a removed one, if the user published it or is an admin, or if the user sees it and manages one of its main
/// artists.
pub(crate) fn for_editor<'a>(state: &'a SongState, editor: &Editor) -> Result<&'a Published, SongRejected> {
    match state.visible_to(editor.user) {
        Some(song) if editor.manages_main_of(&song.details.artists) => Ok(song),
        Some(_) | None => may_change(state, editor.user, &editor.by),
    }
}

/// The fields to change.
#[derive(Debug, Clone, Default)]
struct SongEdit {
    title: Option<String>,
    credits: Option<Credits>,
    display_artist: Option<String>,
    album: Clearable<AlbumId>,
    disc: Clearable<u32>,
    track: Clearable<u32>,
    genres: Option<Vec<String>>,
    year: Clearable<i32>,
    explicit: Option<bool>,
    lyrics: Clearable<String>,
    musicbrainz: Clearable<Uuid>,
    visibility: Option<SongVisibility>,
}

fn edit(
    state: &SongState,
    editor: &Editor,
    song: SongId,
    change: &SongEdit,
) -> Result<Option<Event>, SongRejected> {
    let before = &for_editor(state, editor)?.details;
    let change = change.clone();
    let (artists, display) = match change.credits {
        Some(Credits { artists, .. }) if !editor.manages_main_of(&artists) => {
            return Err(SongRejected::NotManaged);
        }
        Some(Credits { artists, display }) => (artists, display),
        None => (before.artists.clone(), before.display_artist.clone()),
    };
    let details = SongDetails {
        title: change.title.unwrap_or_else(|| before.title.clone()),
        artists,
        display_artist: change.display_artist.unwrap_or(display),
        album: change.album.unwrap_or(before.album),
        disc: change.disc.unwrap_or(before.disc),
        track: change.track.unwrap_or(before.track),
        genres: change.genres.unwrap_or_else(|| before.genres.clone()),
        year: change.year.unwrap_or(before.year),
        explicit: change.explicit.unwrap_or(before.explicit),
        lyrics: change.lyrics.unwrap_or_else(|| before.lyrics.clone()),
        musicbrainz: change.musicbrainz.unwrap_or(before.musicbrainz),
        visibility: change.visibility.unwrap_or(before.visibility),
    };
    Ok((details != *before).then(|| SongEdited { song, details }.into()))
}

fn remove(
    state: &SongState,
    user: UserId,
    by: &Authority,
    song: SongId,
) -> Result<Option<Event>, SongRejected> {
    may_change(state, user, by)?;
    Ok(state.removed.is_none().then(|| SongRemoved { song }.into()))
}

fn restore(
    state: &SongState,
    user: UserId,
    by: &Authority,
    song: SongId,
    now: DateTime<Utc>,
) -> Result<Option<Event>, SongRejected> {
    may_change(state, user, by)?;
    match state.removed {
        None => Ok(None),
        Some(removed) if now - removed >= REMOVAL_REVERSIBLE => Err(SongRejected::TooLate),
        Some(_) => Ok(Some(SongRestored { song }.into())),
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// The song, and the user as its editor.
    pub(crate) async fn song_for(&self, user: UserId, song: SongId) -> Result<(SongState, Editor), LogError> {
        let state: SongState = self.read_state(Subject::Song(song)).await?;
        let artists: Vec<_> =
            state.published.iter().flat_map(|song| main_artists(&song.details.artists)).collect();
        Ok((state, self.editor(user, artists).await?))
    }

    async fn edit_song(
        &self,
        context: &Context,
        user: UserId,
        song: SongId,
        change: SongChange,
    ) -> Result<Outcome, CommandError<SongRejected>> {
        let of_fields = |problem| CommandError::Rejected(SongRejected::Fields(Box::new(problem)));
        let (state, editor) = self.song_for(user, song).await?;
        // Before the fields, so that only editors learn which of them are wrong.
        let before = &for_editor(&state, &editor).map_err(CommandError::Rejected)?.details;
        let new = change.artists.clone();
        let mut change = change.checked().map_err(of_fields)?;
        if let Some(given) = new {
            change.credits = Some(self.credits_of(&given).await.map_err(of_fields)?);
        }
        if let Some(Some(album)) = change.album.filter(|album| *album != before.album) {
            self.check_album(user, album).await?;
        }
        let new = change.credits.iter().flat_map(|credits| main_artists(&credits.artists));
        let artists: Vec<_> = main_artists(&before.artists).chain(new).collect();
        let editor = self.editor(user, artists).await?;
        let decide = |state: &SongState| edit(state, &editor, song, &change);
        self.execute(context, Subject::Song(song), &[], decide).await
    }

    /// Removes a song, which gives its bytes back to the publisher's storage. So does a repetition, after a crash between the two.
    async fn remove_song(
        &self,
        context: &Context,
        user: UserId,
        song: SongId,
    ) -> Result<Outcome, CommandError<SongRejected>> {
        let by = self.authority(user).await?;
        let decide = |state: &SongState| remove(state, user, &by, song);
        let outcome = self.execute(context, Subject::Song(song), &[], decide).await?;
        if let Some(spool) = &self.uploads {
            let counting = spool.counting().await;
            self.count_song(&counting, song).await?;
        }
        Ok(outcome)
    }

    /// Restores a song if its bytes still fit into the publisher's storage.
    async fn restore_song(
        &self,
        context: &Context,
        user: UserId,
        song: SongId,
    ) -> Result<Outcome, CommandError<SongRejected>> {
        let by = self.authority(user).await?;
        let decide = |state: &SongState| restore(state, user, &by, song, context.now);
        let Some(spool) = &self.uploads else {
            return self.execute(context, Subject::Song(song), &[], decide).await;
        };
        let counting = spool.counting().await;
        let state: SongState = self.read_state(Subject::Song(song)).await?;
        let is_restored = decide(&state).map_err(CommandError::Rejected)?.is_some();
        if let Some(published) = state.published().filter(|_| is_restored) {
            counting.check_restored(published.publisher, song, context.now).await?;
        }
        let outcome = self.execute(context, Subject::Song(song), &[], decide).await?;
        self.count_song(&counting, song).await?;
        Ok(outcome)
    }

    /// Counts a song as its newest state says, whatever other requests have done meanwhile.
    async fn count_song(
        &self,
        counting: &Counting<'_>,
        song: SongId,
    ) -> Result<(), CommandError<SongRejected>> {
        let state: SongState = self.read_state(Subject::Song(song)).await?;
        if let Some(published) = state.published() {
            counting.set_removed(published.publisher, song, state.is_removed()).await?;
        }
        Ok(())
    }

    /// Checks that a song may be put on an album.
    async fn check_album(&self, user: UserId, album: AlbumId) -> Result<(), CommandError<SongRejected>> {
        let (whole, editor) = self.album_for(user, album).await?;
        if !whole.state.is_listed() {
            let unknown = FieldProblem::new("album", FieldCode::Unknown, "must be an album's id");
            let problem = Box::new(Problem::invalid(vec![unknown]));
            return Err(CommandError::Rejected(SongRejected::Fields(problem)));
        }
        let checked = whole.for_editor(&editor).map(|_| ());
        checked.map_err(|rejected| CommandError::Rejected(SongRejected::Album(rejected)))
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(edit_song, delete_song)).routes(routes!(restore_song))
}

/// The fields of a song to change.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SongChange {
    #[schema(min_length = 1, max_length = 300, example = "Dawn")]
    title: Option<String>,
    /// All artists of the song.
    #[schema(min_items = 1, max_items = 20)]
    artists: Option<Vec<NewCredit>>,
    /// The artists as the song shows them; the names of new `artists` if left out.
    #[schema(min_length = 1, max_length = 300, example = "The Lakes feat. Ann Lee")]
    display_artist: Option<String>,
    /// Id of the album; null if the song is on none.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{32}$")]
    album: Clearable<AlbumId>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 9999)]
    disc: Clearable<u32>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 9999)]
    track: Clearable<u32>,
    #[schema(max_items = 20)]
    genres: Option<Vec<String>>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<i32>, minimum = 1000, maximum = 2999, example = 1998)]
    year: Clearable<i32>,
    explicit: Option<bool>,
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 20000)]
    lyrics: Clearable<String>,
    /// `MusicBrainz` id of the recording.
    #[serde(default, deserialize_with = "clearable")]
    #[schema(value_type = Option<Uuid>, example = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d")]
    musicbrainz: Clearable<Uuid>,
    visibility: Option<resources::SongVisibility>,
}

impl SongChange {
    /// The change without its artists, which are checked against the log.
    fn checked(self) -> Result<SongEdit, Problem> {
        let mut fields = Fields::default();
        let mut line = |field: &str, text: &str| fields.take(field, text::required_line(text, NAME_LIMIT));
        let title = self.title.map(|title| line("title", &title));
        let display_artist = self.display_artist.map(|artist| line("display_artist", &artist));
        let genres = self.genres.map(|genres| {
            genres
                .iter()
                .enumerate()
                .map(|(n, genre)| line(&format!("genres[{n}]"), genre))
                .collect::<Vec<_>>()
        });
        let edit = SongEdit {
            title,
            credits: None,
            display_artist,
            album: self.album,
            disc: self.disc.map(|disc| disc.map(|disc| fields.take("disc", number(disc)))),
            track: self.track.map(|track| track.map(|track| fields.take("track", number(track)))),
            year: self.year.map(|of| of.map(|of| fields.take("year", year(of)))),
            lyrics: self.lyrics.map(|lyrics| {
                lyrics.map(|lyrics| fields.take("lyrics", text::required(&lyrics, LYRICS_LIMIT)))
            }),
            genres,
            explicit: self.explicit,
            musicbrainz: self.musicbrainz,
            visibility: self.visibility.map(visibility),
        };
        fields.finish()?;
        if edit.genres.as_ref().is_some_and(|genres| genres.len() > VALUES_LIMIT) {
            let message = format!("must have at most {VALUES_LIMIT} genres");
            return Err(Problem::invalid(vec![FieldProblem::new("genres", FieldCode::TooMany, message)]));
        }
        Ok(edit)
    }
}

/// Edit a song
///
/// For its publisher, managers of one of its main artists, and admins. Fields that are not sent keep their values. The id stays.
#[utoipa::path(
    patch, path = "/v1/songs/{song}", tag = "songs", request_body = SongChange, security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn edit_song(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
    Json(change): Json<SongChange>,
) -> Result<Response, Problem> {
    let payload = format!("{change:?}");
    let context = context.with_actor(session.user).with_payload([payload.as_bytes()]);
    let outcome = commands.edit_song(&context, session.user, song, change).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Remove a song
///
/// For its publisher and admins. The song disappears from the catalogue, and can be restored for 30 days. Its file no longer counts
/// as storage of its publisher.
#[utoipa::path(
    delete, path = "/v1/songs/{song}", tag = "songs", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn delete_song(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let outcome = commands.remove_song(&context.with_actor(user), user, song).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Restore a removed song
///
/// For its publisher and admins, within 30 days of its removal. Its file counts as storage of its publisher again: 507
/// `quota-exceeded` if it does not fit any more.
#[utoipa::path(
    post, path = "/v1/songs/{song}/restore", tag = "songs", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn restore_song(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let outcome = commands.restore_song(&context.with_actor(user), user, song).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
pub(crate) mod testing {
    use events::{ArtistCredit, ArtistId, AudioFormat, AudioHash, CreditRole, MediaId};
    use uuid::Uuid;

    use super::*;

    pub(crate) fn details(artist: ArtistId) -> SongDetails {
        SongDetails {
            title: "Dawn".into(),
            artists: vec![ArtistCredit { artist, role: CreditRole::Main }],
            display_artist: "Ann".into(),
            album: None,
            disc: None,
            track: None,
            genres: Vec::new(),
            year: None,
            explicit: false,
            lyrics: None,
            musicbrainz: None,
            visibility: SongVisibility::Public,
        }
    }

    impl SongState {
        /// A song for tests of decisions.
        pub(crate) fn of(publisher: UserId, details: SongDetails) -> Self {
            let file = AudioFile {
                media: MediaId::new(Uuid::from_u128(7)),
                hash: AudioHash::new([1; 32]),
                format: AudioFormat::Mp3,
                duration: 200_000,
                bit_rate: 320_000,
                sample_rate: 44_100,
                channels: 2,
                size: 8_000_000,
                replay_gain: None,
            };
            Self { published: Some(Published { publisher, details, file }), ..Self::default() }
        }

        pub(crate) fn with_cover(self, cover: Option<Image>) -> Self {
            Self { cover, ..self }
        }

        /// The song after its removal.
        pub(crate) fn removed_at(self, time: DateTime<Utc>) -> Self {
            Self { removed: Some(time), ..self }
        }

        /// The song after the removal of its album.
        pub(crate) fn without_album(self) -> Self {
            let removed_albums = self.published.iter().filter_map(|song| song.details.album).collect();
            Self { removed_albums, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use events::ArtistId;
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const ARTIST: ArtistId = ArtistId::new(Uuid::from_u128(0xa1));

    fn song(visibility: SongVisibility) -> SongState {
        let album = Some(AlbumId::new(Uuid::from_u128(0xa2)));
        SongState::of(ANN, SongDetails { visibility, album, ..testing::details(ARTIST) })
    }

    #[test]
    fn private_songs_are_visible_to_their_publisher_only() {
        for (visibility, to_others) in [
            (SongVisibility::Public, true),
            (SongVisibility::Unlisted, true),
            (SongVisibility::Private, false),
        ] {
            assert!(song(visibility).visible_to(ANN).is_some());
            assert_eq!(song(visibility).visible_to(BOB).is_some(), to_others, "{visibility:?}");
        }
    }

    fn authority(user: UserId, roles: &[Role]) -> Authority {
        Authority::Person { user, roles: roles.iter().copied().collect() }
    }

    const ID: SongId = SongId::new(Uuid::from_u128(0x50));

    #[test]
    fn publisher_and_admins_remove_and_restore_a_song() {
        let song = song(SongVisibility::Public);
        let removed = song.clone().removed_at(DateTime::UNIX_EPOCH);
        for (user, roles) in [(ANN, &[][..]), (BOB, &[Role::Admin])] {
            let by = authority(user, roles);
            assert_eq!(remove(&song, user, &by, ID).unwrap(), Some(SongRemoved { song: ID }.into()));
            assert_eq!(remove(&removed, user, &by, ID).unwrap(), None);
            let restored = Some(SongRestored { song: ID }.into());
            assert_eq!(restore(&removed, user, &by, ID, DateTime::UNIX_EPOCH).unwrap(), restored);
            assert_eq!(restore(&song, user, &by, ID, DateTime::UNIX_EPOCH).unwrap(), None);
            let late = DateTime::UNIX_EPOCH + REMOVAL_REVERSIBLE;
            assert!(matches!(restore(&removed, user, &by, ID, late), Err(SongRejected::TooLate)));
        }
    }

    #[test]
    fn others_change_no_song_and_learn_nothing_of_private_ones() {
        let by = authority(BOB, &[Role::Artist]);
        for (state, is_visible) in [
            (song(SongVisibility::Public), true),
            (song(SongVisibility::Private), false),
            (song(SongVisibility::Public).removed_at(DateTime::UNIX_EPOCH), false),
            (SongState::default(), false),
        ] {
            let editor = Editor::of(BOB, &[Role::Artist], &[]);
            for refused in [
                remove(&state, BOB, &by, ID),
                restore(&state, BOB, &by, ID, DateTime::UNIX_EPOCH),
                edit(&state, &editor, ID, &SongEdit::default()),
            ] {
                match refused {
                    Err(SongRejected::NotYours) => assert!(is_visible),
                    Err(SongRejected::NotFound) => assert!(!is_visible),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn publisher_managers_of_main_artists_and_admins_edit_a_song() {
        let song = song(SongVisibility::Public);
        let before = song.published().unwrap().details.clone();
        let change = SongEdit {
            album: Some(None),
            track: Some(Some(3)),
            lyrics: Some(Some("La".into())),
            ..SongEdit::default()
        };
        let details = SongDetails { album: None, track: Some(3), lyrics: Some("La".into()), ..before };
        let edited = SongEdited { song: ID, details };
        for editor in [
            Editor::of(ANN, &[], &[]),
            Editor::of(BOB, &[Role::Artist], &[ARTIST]),
            Editor::of(BOB, &[Role::Admin], &[]),
        ] {
            assert_eq!(edit(&song, &editor, ID, &change).unwrap(), Some(edited.clone().into()));
            assert_eq!(edit(&song, &editor, ID, &SongEdit::default()).unwrap(), None);
        }
    }

    #[test]
    fn managers_do_not_learn_of_private_songs_of_others() {
        let manager = Editor::of(BOB, &[Role::Artist], &[ARTIST]);
        let refused = edit(&song(SongVisibility::Private), &manager, ID, &SongEdit::default());
        assert!(matches!(refused, Err(SongRejected::NotFound)), "{refused:?}");
    }

    #[test]
    fn song_is_credited_to_an_artist_that_its_editor_manages() {
        let other = ArtistId::new(Uuid::from_u128(0xb1));
        let artists = testing::details(other).artists;
        let credits = Some(Credits { artists, display: "Bob".into() });
        let change = SongEdit { credits, ..SongEdit::default() };
        let song = song(SongVisibility::Public);
        let refused = edit(&song, &Editor::of(ANN, &[Role::Artist], &[ARTIST]), ID, &change);
        assert!(matches!(refused, Err(SongRejected::NotManaged)), "{refused:?}");
        let managed = edit(&song, &Editor::of(ANN, &[Role::Artist], &[other]), ID, &change).unwrap();
        let Some(Event::Music(MusicEvent::Song(SongEvent::SongEdited(edited)))) = managed else {
            panic!("{managed:?}")
        };
        assert_eq!(edited.details.display_artist, "Bob");
        assert_eq!(edited.details.artists[0].artist, other);
    }

    #[test]
    fn removed_songs_and_songs_of_removed_albums_are_invisible() {
        let song = song(SongVisibility::Public);
        assert_eq!(song.clone().removed_at(DateTime::UNIX_EPOCH).visible_to(ANN), None);
        assert_eq!(song.without_album().visible_to(ANN), None);
        assert_eq!(SongState::default().visible_to(ANN), None);
    }
}
