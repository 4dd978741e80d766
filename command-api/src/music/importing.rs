//! Songs that the operator imports from files of this machine. They are published by the same code as uploads.

use std::path::{Path, PathBuf};
use std::time::Duration;

use audio::{ProbeError, Probed, Prober};
use backon::{ExponentialBuilder, Retryable};
use events::{
    AlbumDetails, AlbumEvent, AlbumId, AudioHash, Event, LogError, MusicEvent, Recorded, SongDetails,
    SongEdited, SongId, SongVisibility, Subject, UserId, album_id, song_id,
};
use serde::{Deserialize, Serialize};
use web::problem::Problem;

use crate::Commands;
use crate::accounts::roles::Authority;
use crate::music::publishing::{Named, PublishSongRejected, may_publish};
use crate::music::songs::{SongRejected, SongState, may_change};
use crate::music::spool::UPLOAD_LIMIT;
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::Fold;

/// Attempts to publish a song while the server's parts are busy or unavailable, for about half a minute.
const OVERLOAD: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(5))
    .with_max_times(12)
    .with_jitter();

// ---------------------------------------------------------------- decisions

/// Gives a song the details of its file, whose tags were edited. Its visibility stays.
fn retag(
    state: &SongState,
    user: UserId,
    by: &Authority,
    song: SongId,
    details: &SongDetails,
) -> Result<Option<Event>, SongRejected> {
    let present = &may_change(state, user, by)?.details;
    let details = SongDetails { visibility: present.visibility, ..details.clone() };
    Ok((details != *present).then(|| SongEdited { song, details }.into()))
}

// ----------------------------------------------------------------- commands

/// Why a file was not imported.
#[derive(Debug)]
pub enum ImportError {
    /// The file is at fault, or its song: the reason, for people.
    Refused(String),
    /// No file can be imported now.
    Failed(Problem),
}

impl ImportError {
    /// What is wrong with the file itself, with each field.
    fn refused(problem: &Problem) -> Self {
        let fields = problem.fields.iter().map(|field| format!("{} {}", field.field, field.message));
        let fields = fields.collect::<Vec<_>>().join("; ");
        Self::Refused(if fields.is_empty() { problem.detail.clone() } else { fields })
    }

    fn ends_by_itself(&self) -> bool {
        matches!(self, Self::Failed(problem) if problem.retry_after.is_some())
    }
}

impl From<LogError> for ImportError {
    fn from(error: LogError) -> Self {
        Self::Failed(log_problem(error))
    }
}

impl From<CommandError<PublishSongRejected>> for ImportError {
    fn from(error: CommandError<PublishSongRejected>) -> Self {
        let is_of_file = matches!(
            error,
            CommandError::Rejected(
                PublishSongRejected::Artist(_)
                    | PublishSongRejected::Album(_)
                    | PublishSongRejected::Removed
                    | PublishSongRejected::Upload(_)
            )
        );
        let problem: Problem = error.into();
        // A refusal that ends by itself is not about the file: covers wait for their turn, as those of requests.
        let is_final = problem.retry_after.is_none();
        if is_of_file && is_final { Self::refused(&problem) } else { Self::Failed(problem) }
    }
}

impl From<CommandError<SongRejected>> for ImportError {
    fn from(error: CommandError<SongRejected>) -> Self {
        let is_rejected = matches!(error, CommandError::Rejected(_));
        let problem = error.into();
        if is_rejected { Self::refused(&problem) } else { Self::Failed(problem) }
    }
}

/// A song that was imported before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownSong {
    Present,
    Removed,
    /// Not in this log.
    Absent,
}

/// An album of various artists, for files whose tags do not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampler {
    /// The year of the album.
    pub year: Option<i32>,
}

/// What the files of a folder say together about the album of one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AlbumChoice {
    /// It is the one that the tags of the file name.
    #[default]
    Tagged,
    /// It is of this year, and else the one that the tags name.
    OfYear(Option<i32>),
    Sampler(Sampler),
}

impl AlbumChoice {
    pub const fn sampler(self) -> Option<Sampler> {
        match self {
            Self::Sampler(sampler) => Some(sampler),
            Self::Tagged | Self::OfYear(_) => None,
        }
    }
}

/// Pictures beside a file, the best first. If it has none in its tags, one of them becomes its cover.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoverFiles {
    /// In the folder of the album.
    pub of_album: Vec<PathBuf>,
    /// In the folder of one disc: they are covers of its songs, and not of the album.
    pub of_disc: Vec<PathBuf>,
}

/// An album whose id depends on its year: one without the `MusicBrainz` id of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatedAlbum(AlbumDetails);

impl DatedAlbum {
    fn of(details: AlbumDetails) -> Option<Self> {
        details.musicbrainz.is_none().then_some(Self(details))
    }

    pub const fn year(&self) -> Option<i32> {
        self.0.year
    }

    /// The id of this album if it is of that year.
    pub fn id_in(&self, year: Option<i32>) -> AlbumId {
        album_id(&AlbumDetails { year, ..self.0.clone() })
    }
}

/// An album as it was added. Its id was derived from these details, whatever was edited since.
#[derive(Debug, Default)]
struct AddedAlbum(Option<AlbumDetails>);

impl Fold for AddedAlbum {
    fn apply(&mut self, recorded: &Recorded) {
        if let Event::Music(MusicEvent::Album(AlbumEvent::AlbumAdded(event))) = &recorded.event {
            self.0 = Some(event.details.clone());
        }
    }
}

/// Imports files in the name of an account.
#[derive(Debug)]
pub struct Importer {
    commands: Commands,
    publisher: UserId,
    visibility: SongVisibility,
    prober: Prober,
}

impl Importer {
    /// For the account of a username or address. None if there is no such account.
    ///
    /// # Errors
    /// If the account may not publish, or the log cannot be read.
    pub async fn new(
        commands: Commands,
        login: &str,
        visibility: SongVisibility,
    ) -> Result<Option<Self>, Problem> {
        let found = commands.find_login(login).await.map_err(log_problem)?;
        let Some((publisher, account)) = commands.owner(found).await.map_err(log_problem)? else {
            return Ok(None);
        };
        may_publish(&account)?;
        Ok(Some(Self { commands, publisher, visibility, prober: Prober::of_batches() }))
    }

    /// Reads a file and checks it, with its tags.
    ///
    /// # Errors
    /// If the file cannot be a song.
    pub async fn probe(&self, file: &Path) -> Result<Probed, ImportError> {
        let unreadable = |error: std::io::Error| ImportError::Refused(format!("cannot be read: {error}"));
        if tokio::fs::metadata(file).await.map_err(unreadable)?.len() > UPLOAD_LIMIT {
            return Err(ImportError::Refused(format!("the file has more than {UPLOAD_LIMIT} bytes")));
        }
        let probed = self.prober.probe(file).await.map_err(|error| match error {
            ProbeError::Refused(refusal) => ImportError::Refused(refusal.to_string()),
            ProbeError::Failed(error) => unreadable(error),
        })?;
        self.named(&probed, AlbumChoice::Tagged)?;
        Ok(probed)
    }

    /// The album that the tags of a file name, if its id depends on its year.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn album_of_tags(&self, probed: &Probed) -> Result<Option<DatedAlbum>, ImportError> {
        let named = self.named(probed, AlbumChoice::Tagged)?;
        let album = self.commands.find_place(named).await?.album;
        Ok(album.and_then(|album| DatedAlbum::of(album.details)))
    }

    /// A song that was imported before with its album, if the id of that depends on its year.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn album_of_song(
        &self,
        song: SongId,
    ) -> Result<Option<(SongDetails, DatedAlbum)>, ImportError> {
        let state: SongState = self.commands.read_cached_state(Subject::Song(song)).await?;
        let Some(details) = state.published().map(|song| song.details.clone()) else { return Ok(None) };
        let Some(album) = details.album else { return Ok(None) };
        let AddedAlbum(added) = self.commands.read_cached_state(Subject::Album(album)).await?;
        Ok(added.and_then(DatedAlbum::of).map(|album| (details, album)))
    }

    /// Whether this audio was published on an album.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn is_on_album(&self, audio: &AudioHash, album: AlbumId) -> Result<bool, ImportError> {
        Ok(self.known(song_id(audio, Some(album))).await? != KnownSong::Absent)
    }

    /// What became of a song that was imported before.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn known(&self, song: SongId) -> Result<KnownSong, ImportError> {
        let state: SongState = self.commands.read_cached_state(Subject::Song(song)).await?;
        Ok(match state.published() {
            None => KnownSong::Absent,
            Some(_) if state.is_removed() => KnownSong::Removed,
            Some(_) => KnownSong::Present,
        })
    }

    /// Publishes a file. The second value is false if the catalogue has the song already.
    ///
    /// # Errors
    /// If the song is refused, or log or media store are unavailable.
    pub async fn publish(
        &self,
        file: &Path,
        probed: &Probed,
        album: AlbumChoice,
        beside: &CoverFiles,
    ) -> Result<(SongId, bool), ImportError> {
        let publish = || self.try_publish(file, probed, album, beside);
        publish.retry(OVERLOAD).when(ImportError::ends_by_itself).await
    }

    async fn try_publish(
        &self,
        file: &Path,
        probed: &Probed,
        album: AlbumChoice,
        beside: &CoverFiles,
    ) -> Result<(SongId, bool), ImportError> {
        let (commands, context) = (&self.commands, self.context());
        let named = self.named(probed, album)?;
        let account = commands.account(self.publisher).await?;
        let placement = commands.place_song(&context, self.publisher, &account, named, None).await?;
        let (song, outcome, _cover) =
            commands.publish_file(&context, self.publisher, probed.clone(), placement, file, beside).await?;
        Ok((song, outcome.changed))
    }

    /// Gives a song the details of its file, whose tags were edited: it keeps its id.
    ///
    /// # Errors
    /// If the change is refused, or the log is unavailable.
    pub async fn retag(&self, song: SongId, probed: &Probed, album: AlbumChoice) -> Result<(), ImportError> {
        let (commands, context, user) = (&self.commands, self.context(), self.publisher);
        let named = self.named(probed, album)?;
        let account = commands.account(user).await?;
        let state: SongState = commands.read_state(Subject::Song(song)).await?;
        let present = state.published().and_then(|song| song.details.album);
        let placement = commands.place_song(&context, user, &account, named, present).await?;
        commands.add_place(&context, &placement).await?;
        let details = placement.details;
        let by = Authority::Person { user, roles: account.roles };
        let decide = |state: &SongState| retag(state, user, &by, song, &details);
        commands.execute(&context, Subject::Song(song), &[], decide).await?;
        Ok(())
    }

    fn named(&self, probed: &Probed, album: AlbumChoice) -> Result<Named, ImportError> {
        let named = Named::of_tags(probed.tags.clone(), self.visibility, album);
        named.map_err(|problem| ImportError::refused(&problem))
    }

    fn context(&self) -> Context {
        Context::system(self.commands.clock.now()).with_actor(self.publisher)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use events::{AlbumKind, ArtistId, Role};
    use uuid::Uuid;

    use super::*;
    use crate::music::songs::testing::details;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));

    fn authority(user: UserId, roles: &[Role]) -> Authority {
        Authority::Person { user, roles: roles.iter().copied().collect::<HashSet<_>>() }
    }

    #[test]
    fn year_tells_albums_apart_unless_a_release_id_does() {
        let of = |year, musicbrainz| {
            DatedAlbum::of(AlbumDetails {
                title: "Still Water".into(),
                artists: Vec::new(),
                display_artist: "The Lakes".into(),
                kind: AlbumKind::Album,
                year,
                version: None,
                disc_titles: Vec::new(),
                musicbrainz,
            })
        };
        let (one, other) = (of(Some(1990), None).unwrap(), of(Some(1991), None).unwrap());
        assert_eq!((one.year(), one.id_in(None)), (Some(1990), other.id_in(None)));
        assert_eq!(one.id_in(Some(1991)), album_id(&other.0));
        assert_ne!(one.id_in(Some(1990)), one.id_in(Some(1991)));
        assert_eq!(of(Some(1990), Some(Uuid::from_u128(1))), None);
    }

    #[test]
    fn edited_tags_change_a_song_that_keeps_its_id_and_visibility() {
        let old = SongDetails {
            visibility: SongVisibility::Unlisted,
            ..details(ArtistId::new(Uuid::from_u128(0xa1)))
        };
        let state = SongState::of(ANN, old.clone());
        let tagged = SongDetails { title: "Dusk".into(), visibility: SongVisibility::Public, ..old.clone() };
        let edited = SongDetails { title: "Dusk".into(), ..old.clone() };
        let ann = authority(ANN, &[Role::Artist]);
        let event = SongEdited { song: SONG, details: edited }.into();
        assert_eq!(retag(&state, ANN, &ann, SONG, &tagged).unwrap(), Some(event));
        assert_eq!(retag(&state, ANN, &ann, SONG, &old).unwrap(), None);
        let other = authority(BOB, &[Role::Artist]);
        let refused = retag(&state, BOB, &other, SONG, &tagged);
        assert!(matches!(refused, Err(SongRejected::NotYours)), "{refused:?}");
    }
}
