//! Songs of the catalogue.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{
    AlbumEvent, AlbumId, AudioFile, Event, MusicEvent, REMOVAL_REVERSIBLE, Recorded, Role, SongDetails,
    SongEvent, SongId, SongRemoved, SongRestored, SongVisibility, Subject, UserId,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::roles::Authority;
use crate::pipeline::context::Context;
use crate::pipeline::errors::log_problem;
use crate::pipeline::execute::Fold;
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SongRejected {
    NotFound,
    NotYours,
    /// It was removed so long ago that its file may be deleted.
    TooLate,
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
        }
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
                }
                SongEvent::SongEdited(event) => {
                    if let Some(published) = &mut self.published {
                        published.details = event.details.clone();
                    }
                }
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
            Event::Music(_) | Event::Accounts(_) | Event::Social(_) | Event::Mail(_) => {}
        }
    }

    /// The album of the song.
    fn further_subject(&self) -> Option<Subject> {
        self.published.as_ref()?.details.album.map(Subject::Album)
    }
}

/// The song, also a removed one, if the user published it or is an admin.
fn may_change<'a>(state: &'a SongState, user: UserId, by: &Authority) -> Result<&'a Published, SongRejected> {
    let song = state.published().ok_or(SongRejected::NotFound)?;
    if song.publisher == user || by.has(Role::Admin) {
        return Ok(song);
    }
    // A song that the user cannot see is not disclosed.
    Err(if state.visible_to(user).is_some() { SongRejected::NotYours } else { SongRejected::NotFound })
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

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(remove_song)).routes(routes!(restore_song))
}

/// Remove a song
///
/// For its publisher and admins. The song disappears from the catalogue, and can be restored for 30 days.
#[utoipa::path(
    delete, path = "/v1/songs/{song}", tag = "songs", security(("token" = [])),
    params(("song" = String, Path, pattern = "^[0-9a-f]{32}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn remove_song(
    State(commands): State<Commands>,
    session: Session,
    Path(song): Path<SongId>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let user = session.user;
    let by = commands.authority(user).await.map_err(log_problem)?;
    let decide = |state: &SongState| remove(state, user, &by, song);
    let outcome = commands.execute(&context.with_actor(user), Subject::Song(song), &[], decide).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Restore a removed song
///
/// For its publisher and admins, within 30 days of its removal.
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
    let by = commands.authority(user).await.map_err(log_problem)?;
    let context = context.with_actor(user);
    let decide = |state: &SongState| restore(state, user, &by, song, context.now);
    let outcome = commands.execute(&context, Subject::Song(song), &[], decide).await?;
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
            assert_eq!(remove(&song, user, &by, ID), Ok(Some(SongRemoved { song: ID }.into())));
            assert_eq!(remove(&removed, user, &by, ID), Ok(None));
            let restored = Ok(Some(SongRestored { song: ID }.into()));
            assert_eq!(restore(&removed, user, &by, ID, DateTime::UNIX_EPOCH), restored);
            assert_eq!(restore(&song, user, &by, ID, DateTime::UNIX_EPOCH), Ok(None));
            let late = DateTime::UNIX_EPOCH + REMOVAL_REVERSIBLE;
            assert_eq!(restore(&removed, user, &by, ID, late), Err(SongRejected::TooLate));
        }
    }

    #[test]
    fn others_change_no_song_and_learn_nothing_of_private_ones() {
        let by = authority(BOB, &[Role::Artist]);
        for (state, rejected) in [
            (song(SongVisibility::Public), SongRejected::NotYours),
            (song(SongVisibility::Private), SongRejected::NotFound),
            (song(SongVisibility::Public).removed_at(DateTime::UNIX_EPOCH), SongRejected::NotFound),
            (SongState::default(), SongRejected::NotFound),
        ] {
            assert_eq!(remove(&state, BOB, &by, ID), Err(rejected));
            assert_eq!(restore(&state, BOB, &by, ID, DateTime::UNIX_EPOCH), Err(rejected));
        }
    }

    #[test]
    fn removed_songs_and_songs_of_removed_albums_are_invisible() {
        let song = song(SongVisibility::Public);
        assert_eq!(song.clone().removed_at(DateTime::UNIX_EPOCH).visible_to(ANN), None);
        assert_eq!(song.without_album().visible_to(ANN), None);
        assert_eq!(SongState::default().visible_to(ANN), None);
    }
}
