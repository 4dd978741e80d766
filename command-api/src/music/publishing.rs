//! Songs that artists publish from finished uploads. Artists and albums are found by their names, or added.

use std::path::Path;

use audio::{Probed, Tags};
use axum::extract::State;
use axum::response::Response;
use events::{
    AccountsEvent, AlbumAdded, AlbumDetails, AlbumId, AlbumKind, ArtistAdded, ArtistCredit, AudioFile,
    CreditRole, Event, LogError, Recorded, Role, SongDetails, SongId, SongPublished, SongVisibility, Subject,
    UploadId, UserId, album_id, audio_media_id, song_id,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use web::extract::Json;
use web::problem::{FieldCode, FieldProblem, Problem, Problems, Refused};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{Account, AccountStatus};
use crate::music::albums::AlbumRejected;
use crate::music::artists::ArtistRejected;
use crate::music::editing::{LYRICS_LIMIT, NAME_LIMIT, VALUES_LIMIT, main_artists, number};
use crate::music::importing::{AlbumChoice, CoverFiles, Sampler};
use crate::music::songs::SongState;
use crate::music::spool::UploadRejected;
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::{Fold, Outcome};
use crate::pipeline::receipt::{CommandHeaders, Prefer, Receipt};
use crate::pipeline::text::{self, Fields};

// ---------------------------------------------------------------- decisions

#[derive(Debug)]
pub enum PublishSongRejected {
    NotAllowed,
    /// The first artist of the song.
    Artist(ArtistRejected),
    /// The album that the song is to be on.
    Album(AlbumRejected),
    /// The publisher has removed this song.
    Removed,
    /// Another account has the same audio, and not everybody may know.
    OfAnother,
    Upload(Box<Problem>),
}

impl From<PublishSongRejected> for Problem {
    fn from(rejected: PublishSongRejected) -> Self {
        match rejected {
            PublishSongRejected::NotAllowed => Self::forbidden("Only artists and admins publish songs"),
            PublishSongRejected::Artist(rejected) => rejected.into(),
            PublishSongRejected::Album(rejected) => rejected.into(),
            PublishSongRejected::Removed => {
                Self::conflict("song-removed", "You have removed this song: restore it instead")
            }
            PublishSongRejected::OfAnother => {
                Self::internal("a song under an id of one account is another's")
            }
            PublishSongRejected::Upload(problem) => *problem,
        }
    }
}

impl From<UploadRejected> for CommandError<PublishSongRejected> {
    fn from(rejected: UploadRejected) -> Self {
        Self::Rejected(PublishSongRejected::Upload(Box::new(rejected.into())))
    }
}

/// The song under an id, and the account that publishes.
#[derive(Debug, Default)]
struct Publication {
    account: Account,
    song: SongState,
}

impl Fold for Publication {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Accounts(AccountsEvent::Account(_)) => self.account.apply(recorded),
            Event::Music(_) => self.song.apply(recorded),
            Event::Accounts(_) | Event::Social(_) | Event::Mail(_) | Event::Operations(_) => {}
        }
    }
}

/// The same audio in the same album is one song, except that nobody learns of a song that another account does not show to
/// everybody.
fn publish(state: &Publication, event: &SongPublished) -> Result<Option<Event>, PublishSongRejected> {
    may_publish(&state.account)?;
    let Some(song) = state.song.published() else { return Ok(Some(event.clone().into())) };
    let removed = state.song.is_removed();
    if song.publisher == event.publisher {
        return if removed { Err(PublishSongRejected::Removed) } else { Ok(None) };
    }
    let is_shown = song.details.visibility == SongVisibility::Public && !removed;
    if is_shown { Ok(None) } else { Err(PublishSongRejected::OfAnother) }
}

/// Also checked before an upload begins.
pub(crate) fn may_publish(account: &Account) -> Result<(), PublishSongRejected> {
    if is_publisher(account) { Ok(()) } else { Err(PublishSongRejected::NotAllowed) }
}

/// Whether an account adds to the catalogue.
pub(crate) fn is_publisher(account: &Account) -> bool {
    account.status == AccountStatus::Active
        && (account.roles.contains(&Role::Artist) || account.roles.contains(&Role::Admin))
}

// ----------------------------------------------------------------- commands

/// The details of a song with its artists and album by name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Named {
    title: String,
    artists: Vec<String>,
    display_artist: String,
    album: Option<NamedAlbum>,
    track: Option<u32>,
    disc: Option<u32>,
    year: Option<i32>,
    genres: Vec<String>,
    explicit: bool,
    lyrics: Option<String>,
    musicbrainz: Option<Uuid>,
    pub(super) visibility: SongVisibility,
}

#[derive(Debug, Clone, PartialEq)]
struct NamedAlbum {
    title: String,
    artists: Vec<String>,
    compilation: bool,
    year: Option<i32>,
    musicbrainz: Option<Uuid>,
}

/// Where a song belongs in the catalogue.
#[derive(Debug)]
pub(super) struct Placement {
    pub(super) details: SongDetails,
    /// Artists of the song and its album that the catalogue lacks.
    new_artists: Vec<ArtistAdded>,
    /// The album, as it is added if the catalogue lacks it.
    pub(super) album: Option<AlbumAdded>,
}

impl Named {
    /// The details that the tags of a file name, on the album that was chosen for it.
    pub(super) fn of_tags(
        tags: Tags,
        visibility: SongVisibility,
        choice: AlbumChoice,
    ) -> Result<Self, Problem> {
        let nothing_given = NewSong {
            upload: UploadId::new(Uuid::nil()),
            title: None,
            artists: None,
            album: None,
            track: None,
            disc: None,
            year: None,
            genres: None,
            explicit: None,
            lyrics: None,
            visibility: resources::SongVisibility::default(),
        };
        let mut named = Self { visibility, ..Self::new(nothing_given, tags)? };
        if let Some(album) = &mut named.album {
            match choice {
                AlbumChoice::Tagged => {}
                AlbumChoice::OfYear(year) => album.year = year,
                AlbumChoice::Sampler(Sampler { year }) => (album.compilation, album.year) = (true, year),
            }
        }
        Ok(named)
    }

    /// The fields of the request; what it leaves out comes from the tags.
    fn new(song: NewSong, tags: Tags) -> Result<Self, Problem> {
        let mut fields = Fields::default();
        let mut line = |field: &str, text: &str| fields.take(field, text::required_line(text, NAME_LIMIT));
        let title = song.title.or(tags.title).map(|title| line("title", &title)).unwrap_or_default();
        let given =
            song.artists.map(|artists| artists.into_iter().map(|artist| artist.name).collect::<Vec<_>>());
        let of_tags = given.is_none();
        let display_artist = tags.display_artist.filter(|_| of_tags);
        let artists: Vec<String> = given
            .unwrap_or(tags.artists)
            .iter()
            .enumerate()
            .map(|(n, name)| line(&format!("artists[{n}].name"), name))
            .collect();
        let album = match song.album {
            Some(album) => {
                let own = album.artists.into_iter().flatten().enumerate();
                let own =
                    own.map(|(n, artist)| line(&format!("album.artists[{n}].name"), &artist.name)).collect();
                let title = line("album.title", &album.title);
                Some(NamedAlbum {
                    title,
                    artists: own,
                    compilation: false,
                    year: album.year,
                    musicbrainz: None,
                })
            }
            None => tags.album.map(|title| NamedAlbum {
                title: line("album.title", &title),
                // Other artists than those of the tags are not on an album of theirs.
                artists: if of_tags { tags.album_artists } else { Vec::new() },
                compilation: of_tags && tags.compilation,
                year: tags.year,
                musicbrainz: tags.musicbrainz_album,
            }),
        };
        let genres: Vec<String> =
            song.genres.unwrap_or(tags.genres).iter().map(|genre| line("genres", genre)).collect();
        let lyrics = song.lyrics.or(tags.lyrics);
        let lyrics = lyrics.map(|lyrics| fields.take("lyrics", text::required(&lyrics, LYRICS_LIMIT)));
        fields.finish()?;
        let required = |field: &str| {
            FieldProblem::new(field, FieldCode::Required, "is required: the file's tags have none")
        };
        let counts = [artists.len(), genres.len(), album.as_ref().map_or(0, |album| album.artists.len())];
        if title.is_empty() {
            return Err(Problem::invalid(vec![required("title")]));
        }
        if artists.is_empty() {
            return Err(Problem::invalid(vec![required("artists")]));
        }
        if counts.into_iter().any(|count| count > VALUES_LIMIT) {
            let message = format!("a song has at most {VALUES_LIMIT} artists, album artists and genres each");
            return Err(Problem::invalid(vec![FieldProblem::new("artists", FieldCode::TooMany, message)]));
        }
        for (field, given) in [("track", song.track), ("disc", song.disc)] {
            if let Some(Err(Refused { code, message })) = given.map(number) {
                return Err(Problem::invalid(vec![FieldProblem::new(field, code, message)]));
            }
        }
        Ok(Self {
            display_artist: display_artist.unwrap_or_else(|| artists.join(", ")),
            title,
            artists,
            album,
            track: song.track.or(tags.track),
            disc: song.disc.or(tags.disc),
            year: song.year.or(tags.year),
            genres,
            explicit: song.explicit.unwrap_or(tags.explicit),
            lyrics,
            musicbrainz: tags.musicbrainz_recording,
            visibility: visibility(song.visibility),
        })
    }
}

pub(super) fn of_problem(problem: Problem) -> PublishSongRejected {
    PublishSongRejected::Upload(Box::new(problem))
}

pub(super) fn of_request(problem: Problem) -> CommandError<PublishSongRejected> {
    CommandError::Rejected(of_problem(problem))
}

impl Commands {
    /// Publishes a finished upload. Its bytes are stored before the event, so that a song that is visible can be played. The second
    /// outcome is that of the cover, if the album gets one.
    async fn publish_song(
        &self,
        context: &Context,
        publisher: UserId,
        song: NewSong,
    ) -> Result<(SongId, Outcome, Option<Outcome>), CommandError<PublishSongRejected>> {
        let account = self.account(publisher).await?;
        may_publish(&account).map_err(CommandError::Rejected)?;
        let spool = self.spool().map_err(of_request)?;
        let upload = song.upload;
        let (probed, path, _working) = spool.finished(upload, publisher).await?;
        let named = Named::new(song, probed.tags.clone()).map_err(of_request)?;
        let placement = self.place_song(context, publisher, &account, named, None).await?;
        let beside = CoverFiles::default();
        let (song, outcome, cover) =
            self.publish_file(context, publisher, probed, placement, &path, &beside).await?;
        spool.published(upload, publisher, outcome.changed.then_some(song)).await?;
        Ok((song, outcome, cover))
    }

    /// Finds the place of a song by its names. Accounts other than admins publish for artists and on albums that they manage. They
    /// become the managers of new artists. `present` is the album that a song is on.
    pub(super) async fn place_song(
        &self,
        context: &Context,
        publisher: UserId,
        account: &Account,
        named: Named,
        present: Option<AlbumId>,
    ) -> Result<Placement, CommandError<PublishSongRejected>> {
        if !account.roles.contains(&Role::Admin)
            && let Some(name) = named.artists.first()
        {
            let managed = self.manage_artist(context, publisher, name).await;
            managed.map_err(|error| error.map_rejection(PublishSongRejected::Artist))?;
        }
        let placement = self.find_place(named).await?;
        if let Some(album) = &placement.album
            && present != Some(album.album)
        {
            self.check_album_of_song(publisher, album).await?;
        }
        Ok(placement)
    }

    /// The rule for songs that are put on an album, and for albums that are added. Read without a condition: an account that loses
    /// its rights at the same moment had them when the request came.
    async fn check_album_of_song(
        &self,
        publisher: UserId,
        album: &AlbumAdded,
    ) -> Result<(), CommandError<PublishSongRejected>> {
        let (known, editor) = self.album_for(publisher, album.album).await?;
        let checked = if known.state.removed {
            Err(AlbumRejected::Removed)
        } else if known.state.exists {
            known.for_editor(&editor).map(drop)
        } else {
            let artists = &album.details.artists;
            let editor = self.editor(publisher, main_artists(artists)).await?;
            if editor.manages_main_of(artists) { Ok(()) } else { Err(AlbumRejected::NotManaged) }
        };
        checked.map_err(|rejected| CommandError::Rejected(PublishSongRejected::Album(rejected)))
    }

    /// Stores a file that was probed, and publishes it. A cover comes from its tags, or else from `beside`. The
    /// second outcome is that of the cover, if the album gets one.
    pub(super) async fn publish_file(
        &self,
        context: &Context,
        publisher: UserId,
        probed: Probed,
        placement: Placement,
        path: &Path,
        beside: &CoverFiles,
    ) -> Result<(SongId, Outcome, Option<Outcome>), CommandError<PublishSongRejected>> {
        let Probed { hash, format, duration, bit_rate, sample_rate, channels, tags, .. } = probed;
        let replay_gain = tags.replay_gain;
        let media = audio_media_id(&hash);
        let file = AudioFile {
            media,
            hash,
            format,
            duration,
            bit_rate,
            sample_rate,
            channels,
            size: 0,
            replay_gain,
        };
        let details = placement.details.clone();
        let album = details.album;
        let event = SongPublished { song: song_id(&hash, album), publisher, details, file, cover: None };
        let mut event = self.with_stored_file(context, event, path).await?;
        self.add_place(context, &placement).await?;
        let covers = self.covers_of_file(context, &event, path, beside).await?;
        event.cover = covers.song;
        let published = match self.append_song(context, &event).await {
            Err(CommandError::Rejected(PublishSongRejected::OfAnother)) => {
                event.song = own_song_id(event.song, publisher);
                event = self.with_stored_file(context, event, path).await?;
                self.append_song(context, &event).await
            }
            published => published,
        };
        let outcome = published?;
        let cover = match album.zip(covers.album) {
            Some((album, cover)) => {
                Some(self.give_album_cover::<PublishSongRejected>(context, album, cover).await?)
            }
            None => None,
        };
        Ok((event.song, outcome, cover))
    }

    /// The event with the file that is stored for it. If the song exists, nothing is published and no file is needed.
    async fn with_stored_file(
        &self,
        context: &Context,
        event: SongPublished,
        path: &Path,
    ) -> Result<SongPublished, CommandError<PublishSongRejected>> {
        let known: SongState = self.read_state(Subject::Song(event.song)).await?;
        if known.published().is_some() {
            return Ok(event);
        }
        let file = self.store_audio(context, event.song, event.file, path).await?;
        Ok(SongPublished { file, ..event })
    }

    async fn append_song(
        &self,
        context: &Context,
        event: &SongPublished,
    ) -> Result<Outcome, CommandError<PublishSongRejected>> {
        let decide = |state: &Publication| publish(state, event);
        self.execute(context, Subject::Song(event.song), &[Subject::Account(event.publisher)], decide).await
    }

    /// Finds the place of a song by its names.
    pub(super) async fn find_place(&self, named: Named) -> Result<Placement, LogError> {
        let mut new_artists = Vec::new();
        let artists = self.credits(&named.artists, &named.display_artist, &mut new_artists).await?;
        let album = match &named.album {
            Some(album) => Some(self.album(album, &named, &artists, &mut new_artists).await?),
            None => None,
        };
        let details = SongDetails {
            title: named.title,
            artists,
            display_artist: named.display_artist,
            album: album.as_ref().map(|album| album.album),
            disc: named.disc,
            track: named.track,
            genres: named.genres,
            year: named.year,
            explicit: named.explicit,
            lyrics: named.lyrics,
            musicbrainz: named.musicbrainz,
            visibility: named.visibility,
        };
        Ok(Placement { details, new_artists, album })
    }

    /// Adds what the catalogue lacks.
    pub(super) async fn add_place(
        &self,
        context: &Context,
        placement: &Placement,
    ) -> Result<(), CommandError<PublishSongRejected>> {
        for artist in &placement.new_artists {
            self.add_artist_of_song::<PublishSongRejected>(context, artist).await?;
        }
        if let Some(album) = &placement.album {
            self.add_album::<PublishSongRejected>(context, album).await?;
        }
        Ok(())
    }

    /// The artists of these names. All are main artists, unless the display text says that the others are guests.
    async fn credits(
        &self,
        names: &[String],
        display: &str,
        new: &mut Vec<ArtistAdded>,
    ) -> Result<Vec<ArtistCredit>, LogError> {
        let display = display.to_lowercase();
        let has_guests = [" feat. ", " ft. "].iter().any(|mark| display.contains(mark));
        let mut credits: Vec<ArtistCredit> = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let (artist, added) = self.artist_of_name(name).await?;
            new.extend(added);
            let role = if n > 0 && has_guests { CreditRole::Featured } else { CreditRole::Main };
            if credits.iter().all(|credit| credit.artist != artist) {
                credits.push(ArtistCredit { artist, role });
            }
        }
        Ok(credits)
    }

    async fn album(
        &self,
        album: &NamedAlbum,
        song: &Named,
        song_artists: &[ArtistCredit],
        new: &mut Vec<ArtistAdded>,
    ) -> Result<AlbumAdded, LogError> {
        let various = [VARIOUS_ARTISTS.to_owned()];
        let names = match &album.artists[..] {
            [] if album.compilation => &various[..],
            names => names,
        };
        let (artists, display_artist) = if names.is_empty() {
            let main = song_artists.iter().filter(|credit| credit.role == CreditRole::Main);
            let display = song.artists.iter().take(main.clone().count()).cloned().collect::<Vec<_>>();
            (main.copied().collect(), display.join(", "))
        } else {
            let display = names.join(", ");
            (self.credits(names, &display, new).await?, display)
        };
        let details = AlbumDetails {
            title: album.title.clone(),
            artists,
            display_artist,
            kind: if album.compilation { AlbumKind::Compilation } else { AlbumKind::Album },
            year: album.year,
            version: None,
            disc_titles: Vec::new(),
            musicbrainz: album.musicbrainz,
        };
        Ok(AlbumAdded { album: album_id(&details), details, cover: None })
    }
}

/// The artist of samplers without album artists.
const VARIOUS_ARTISTS: &str = "Various Artists";

/// The id of a song whose audio another account has without showing it to everybody.
fn own_song_id(song: SongId, publisher: UserId) -> SongId {
    let mut bytes = *song.uuid().as_bytes();
    bytes.iter_mut().zip(publisher.uuid().as_bytes()).for_each(|(byte, own)| *byte ^= own);
    SongId::new(Uuid::new_v8(bytes))
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(create_song))
}

/// A song to publish from a finished upload. Details that are left out come from the tags of the file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSong {
    /// Id of the finished upload.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    upload: UploadId,
    #[schema(min_length = 1, max_length = 300)]
    title: Option<String>,
    /// If given, an album from the tags is by the main artists of the song.
    #[schema(max_items = 20)]
    artists: Option<Vec<NewArtist>>,
    album: Option<NewAlbum>,
    #[schema(minimum = 1, maximum = 9999)]
    track: Option<u32>,
    #[schema(minimum = 1, maximum = 9999)]
    disc: Option<u32>,
    year: Option<i32>,
    #[schema(max_items = 20)]
    genres: Option<Vec<String>>,
    explicit: Option<bool>,
    #[schema(max_length = 20000)]
    lyrics: Option<String>,
    #[serde(default)]
    visibility: resources::SongVisibility,
}

/// An artist by name: the one of the catalogue, or a new one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewArtist {
    #[schema(min_length = 1, max_length = 300)]
    name: String,
}

/// An album by title and artists: the one of the catalogue, or a new one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAlbum {
    #[schema(min_length = 1, max_length = 300)]
    title: String,
    /// The main artists of the song if left out.
    #[schema(max_items = 20)]
    artists: Option<Vec<NewArtist>>,
    /// Year of the original release.
    year: Option<i32>,
}

pub(crate) const fn visibility(given: resources::SongVisibility) -> SongVisibility {
    match given {
        resources::SongVisibility::Public => SongVisibility::Public,
        resources::SongVisibility::Unlisted => SongVisibility::Unlisted,
        resources::SongVisibility::Private => SongVisibility::Private,
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct CreatedSong {
    #[serde(flatten)]
    receipt: Receipt,
    /// Id of the song. `changed` is false if the catalogue had it already: the same audio in the same album is one song.
    id: String,
}

/// Publish a song
///
/// From a finished upload; for artists and admins. Artists and albums are found by their names, or added. Accounts other than
/// admins must manage the first artist of the song, which they do if it is new, and a main artist of the album. The cover in the
/// file's tags becomes that of the album, unless it has one, or that of a song without an album; a cover that cannot be read is
/// left out.
#[utoipa::path(
    post, path = "/v1/songs", tag = "songs", request_body = NewSong, security(("token" = [])),
    params(CommandHeaders),
    responses((status = 201, body = CreatedSong), (status = 202, body = CreatedSong), Problems)
)]
async fn create_song(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(song): Json<NewSong>,
) -> Result<Response, Problem> {
    let payload = format!("{song:?}");
    let context = context.with_actor(session.user).with_payload([payload.as_bytes()]);
    let (id, outcome, cover) = commands.publish_song(&context, session.user, song).await?;
    if let Some(cover) = cover {
        commands.settle(prefer, &[cover]).await;
    }
    let location = format!("/v1/songs/{id}");
    let body = |receipt| CreatedSong { receipt, id: id.to_string() };
    Ok(commands.created(prefer, outcome, &location, body).await)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use events::ArtistId;

    use super::*;
    use crate::music::songs::Published;
    use crate::music::songs::testing::details;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

    fn event() -> SongPublished {
        let song = SongState::of(ANN, details(ArtistId::new(Uuid::from_u128(0xa1))));
        let Published { publisher, details, file } = song.published().unwrap().clone();
        SongPublished { song: song_id(&file.hash, None), publisher, details, file, cover: None }
    }

    fn state(roles: &[Role], song: SongState) -> Publication {
        let roles = roles.iter().copied().collect();
        Publication { account: Account { status: AccountStatus::Active, roles, ..Account::default() }, song }
    }

    fn known(publisher: UserId, visibility: SongVisibility, removed: bool) -> SongState {
        let song = SongState::of(publisher, SongDetails { visibility, ..event().details });
        if removed { song.removed_at(DateTime::UNIX_EPOCH) } else { song }
    }

    #[test]
    fn only_artists_and_admins_publish() {
        for role in [Role::Artist, Role::Admin] {
            assert_eq!(
                publish(&state(&[role], SongState::default()), &event()).unwrap(),
                Some(event().into())
            );
        }
        for roles in [&[][..], &[Role::Moderator]] {
            let rejected = publish(&state(roles, SongState::default()), &event());
            assert!(matches!(rejected, Err(PublishSongRejected::NotAllowed)), "{rejected:?}");
        }
    }

    #[test]
    fn same_audio_is_one_song_unless_that_would_disclose_another_account() {
        let publish = |song| publish(&state(&[Role::Artist], song), &event());
        assert_eq!(publish(known(ANN, SongVisibility::Private, false)).unwrap(), None);
        assert_eq!(publish(known(BOB, SongVisibility::Public, false)).unwrap(), None);
        assert!(matches!(
            publish(known(ANN, SongVisibility::Public, true)),
            Err(PublishSongRejected::Removed)
        ));
        for (visibility, removed) in [
            (SongVisibility::Private, false),
            (SongVisibility::Unlisted, false),
            (SongVisibility::Public, true),
        ] {
            let rejected = publish(known(BOB, visibility, removed));
            assert!(matches!(rejected, Err(PublishSongRejected::OfAnother)), "{rejected:?}");
        }
        assert_ne!(own_song_id(event().song, ANN), own_song_id(event().song, BOB));
    }

    #[test]
    fn details_come_from_the_request_and_else_from_the_tags() {
        let tags = Tags {
            title: Some("Tagged".into()),
            artists: vec!["Ann".into(), "Bob".into()],
            display_artist: Some("Ann feat. Bob".into()),
            album: Some("Hits".into()),
            album_artists: vec!["Various".into()],
            ..Tags::default()
        };
        let album_artists = |named: &Named| named.album.as_ref().unwrap().artists.clone();
        let new = |json: serde_json::Value| serde_json::from_value::<NewSong>(json).unwrap();
        let upload = "00000000000000000000000000000001";
        let named = Named::new(new(serde_json::json!({ "upload": upload })), tags.clone()).unwrap();
        assert_eq!((named.title.as_str(), named.display_artist.as_str()), ("Tagged", "Ann feat. Bob"));
        assert_eq!(album_artists(&named), ["Various"]);
        let given = serde_json::json!({ "upload": upload, "title": "Own", "artists": [{ "name": "Cy" }] });
        let named = Named::new(new(given), tags).unwrap();
        assert_eq!((named.title.as_str(), named.display_artist.as_str()), ("Own", "Cy"));
        assert_eq!(album_artists(&named), Vec::<String>::new());
        let problem = Named::new(new(serde_json::json!({ "upload": upload })), Tags::default()).unwrap_err();
        assert_eq!(problem.fields[0].field, "title");
    }

    #[test]
    fn chosen_year_is_that_of_the_album_alone() {
        let tags = Tags {
            title: Some("Dawn".into()),
            artists: vec!["Ann".into()],
            album: Some("Hits".into()),
            year: Some(1991),
            ..Tags::default()
        };
        let years = |choice| {
            let named = Named::of_tags(tags.clone(), SongVisibility::Public, choice).unwrap();
            let album = named.album.unwrap();
            (named.year, album.year, album.compilation)
        };
        assert_eq!(years(AlbumChoice::Tagged), (Some(1991), Some(1991), false));
        assert_eq!(years(AlbumChoice::OfYear(Some(1990))), (Some(1991), Some(1990), false));
        let sampler = AlbumChoice::Sampler(Sampler { year: None });
        assert_eq!(years(sampler), (Some(1991), None, true));
    }
}
