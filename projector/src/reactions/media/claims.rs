//! Computes which subjects claim which pictures and audio files; shared by clean-up and audit. A picture's id is created for
//! one upload and claimed by one event, so a picture that one subject releases has no other claim. An audio file may belong to
//! several songs, and to one that is being published.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use events::{
    AccountEvent, AccountsEvent, AlbumEvent, ArtistEvent, AudioEvent, Event, EventLog, Filter, Kind,
    LogError, MailsEvent, MediaId, ModerationEvent, MusicEvent, PlaylistEvent, Position, PostEvent,
    ProfileEvent, REMOVAL_REVERSIBLE, Recorded, SocialEvent, SongEvent, StoryEvent, Subject, UserId,
};

use super::collection::SAFE_AGE;
use crate::social::pictures::KINDS;

/// Maximum number of events per batch.
const BATCH: usize = 1000;

/// The claims of all subjects. About a hundred bytes per tracked picture.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: HashMap<Subject, Claim>,
    /// Users whose subjects claim nothing, including content published concurrently with the erasure.
    erased: HashSet<UserId>,
    /// Posts and stories removed by moderators, and removed songs, with the time of the removal. Removed albums keep their
    /// covers: they can always be restored.
    removed: HashMap<Subject, DateTime<Utc>>,
    /// The audio file of each song. It outlives the publishing account.
    audio: HashMap<Subject, Audio>,
    /// The last event of each audio file.
    uses: HashMap<MediaId, AudioUse>,
    tracked: Tracked,
}

#[derive(Debug)]
struct Audio {
    file: MediaId,
    key: String,
}

/// The last event of an audio file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AudioUse {
    /// The start if there is none, as for songs of earlier versions.
    pub(super) position: Position,
    /// The time of the claim of a song that was being published; none if the file was released.
    claimed: Option<DateTime<Utc>>,
}

impl AudioUse {
    /// The file may be deleted: its id is not used again.
    pub(super) fn is_released(self) -> bool {
        self.position > Position::START && self.claimed.is_none()
    }
}

#[derive(Debug)]
struct Claim {
    /// None for the catalogue, which outlives the accounts that publish.
    author: Option<UserId>,
    pictures: Vec<MediaId>,
}

/// The claims to track; others are skipped.
#[derive(Debug, Default)]
pub(super) enum Tracked {
    #[default]
    Everything,
    Of(UserId),
    These(HashSet<MediaId>),
}

impl Claims {
    pub(super) fn of(tracked: Tracked) -> Self {
        Self { tracked, ..Self::default() }
    }

    /// Applies an event including the times of removals and of claims, and returns the released pictures.
    fn apply_at(&mut self, recorded: &Recorded) -> Vec<MediaId> {
        match &recorded.event {
            Event::Music(MusicEvent::Audio(event)) if self.tracks(event.audio()) => {
                let claimed = match event {
                    AudioEvent::AudioClaimed(_) => Some(recorded.envelope.time),
                    AudioEvent::AudioReleased(_) => None,
                };
                self.uses.insert(event.audio(), AudioUse { position: recorded.position, claimed });
            }
            Event::Social(SocialEvent::Moderation(event)) => match event {
                ModerationEvent::ContentRemoved(event) => {
                    self.removed.insert(event.content.subject(), recorded.envelope.time);
                }
                ModerationEvent::ContentRestored(event) => {
                    self.removed.remove(&event.content.subject());
                }
            },
            Event::Music(MusicEvent::Song(song @ SongEvent::SongRemoved(_))) => {
                self.removed.insert(song.subject(), recorded.envelope.time);
            }
            Event::Music(MusicEvent::Song(song @ SongEvent::SongRestored(_))) => {
                self.removed.remove(&song.subject());
            }
            Event::Social(_)
            | Event::Music(_)
            | Event::Accounts(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        self.apply(&recorded.event, recorded.envelope.actor)
    }

    /// Applies an event, and returns the released pictures.
    pub(super) fn apply(&mut self, event: &Event, actor: Option<UserId>) -> Vec<MediaId> {
        match event {
            Event::Social(SocialEvent::Post(PostEvent::PostPublished(event))) => {
                let pictures = event.images.iter().map(|image| image.media);
                self.claim(Subject::Post(event.post), Some(event.author), pictures)
            }
            Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(_))) => Vec::new(),
            Event::Social(SocialEvent::Post(PostEvent::PostDeleted(event))) => {
                self.release(Subject::Post(event.post))
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoChanged(event))) => {
                self.claim(Subject::Profile(event.user), Some(event.user), [event.photo.media])
            }
            Event::Accounts(AccountsEvent::Profile(ProfileEvent::PhotoRemoved(event))) => {
                self.release(Subject::Profile(event.user))
            }
            Event::Accounts(AccountsEvent::Profile(
                ProfileEvent::ProfileEdited(_) | ProfileEvent::PrivacyChanged(_),
            )) => Vec::new(),
            Event::Social(SocialEvent::Story(story @ StoryEvent::StoryPublished(event))) => {
                self.claim(story.subject(), Some(event.author), [event.image.media])
            }
            Event::Social(SocialEvent::Story(
                story @ (StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_)),
            )) => self.release(story.subject()),
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => self.erase(event.user),
            Event::Music(MusicEvent::Artist(artist @ ArtistEvent::ArtistImageChanged(event))) => {
                self.claim(artist.subject(), None, event.image.map(|image| image.media))
            }
            Event::Music(MusicEvent::Album(album @ AlbumEvent::AlbumAdded(event))) => {
                self.claim(album.subject(), None, event.cover.map(|cover| cover.media))
            }
            Event::Music(MusicEvent::Album(album @ AlbumEvent::AlbumCoverChanged(event))) => {
                self.claim(album.subject(), None, event.cover.map(|cover| cover.media))
            }
            Event::Music(MusicEvent::Song(song @ SongEvent::SongPublished(event))) => {
                if self.tracks(event.file.media) {
                    let audio = Audio { file: event.file.media, key: event.file.key() };
                    self.audio.insert(song.subject(), audio);
                }
                self.claim(song.subject(), None, event.cover.map(|cover| cover.media))
            }
            Event::Music(MusicEvent::Song(song @ SongEvent::SongCoverChanged(event))) => {
                self.claim(song.subject(), None, event.cover.map(|cover| cover.media))
            }
            // Nobody but the owner changes it.
            Event::Music(MusicEvent::Playlist(playlist @ PlaylistEvent::PlaylistCoverChanged(event))) => {
                self.claim(playlist.subject(), actor, event.cover.map(|cover| cover.media))
            }
            Event::Music(MusicEvent::Playlist(playlist @ PlaylistEvent::PlaylistDeleted(_))) => {
                self.release(playlist.subject())
            }
            Event::Accounts(
                AccountsEvent::Account(_)
                | AccountsEvent::Username(_)
                | AccountsEvent::Email(_)
                | AccountsEvent::Session(_),
            )
            | Event::Social(
                SocialEvent::Comment(_)
                | SocialEvent::Like(_)
                | SocialEvent::Follow(_)
                | SocialEvent::StoryView(_)
                | SocialEvent::Notifications(_)
                | SocialEvent::Save(_)
                | SocialEvent::Collection(_)
                | SocialEvent::Moderation(_),
            )
            | Event::Music(_)
            | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_))
            | Event::Operations(_) => Vec::new(),
        }
    }

    /// Whether claims of this audio file are kept.
    fn tracks(&self, audio: MediaId) -> bool {
        match &self.tracked {
            Tracked::Everything => true,
            Tracked::Of(_) => false,
            Tracked::These(these) => these.contains(&audio),
        }
    }

    /// Replaces the claim of a subject, and returns the pictures that are no longer claimed.
    fn claim(
        &mut self,
        subject: Subject,
        author: Option<UserId>,
        pictures: impl IntoIterator<Item = MediaId>,
    ) -> Vec<MediaId> {
        let pictures: Vec<MediaId> = pictures
            .into_iter()
            .filter(|picture| match &self.tracked {
                Tracked::Everything => true,
                Tracked::Of(user) => Some(*user) == author,
                Tracked::These(these) => these.contains(picture),
            })
            .collect();
        let mut before = self.release(subject);
        if author.is_some_and(|author| self.erased.contains(&author)) {
            before.extend(pictures);
            return before;
        }
        before.retain(|picture| !pictures.contains(picture));
        if !pictures.is_empty() {
            self.held.insert(subject, Claim { author, pictures });
        }
        before
    }

    fn release(&mut self, subject: Subject) -> Vec<MediaId> {
        self.held.remove(&subject).map(|claim| claim.pictures).unwrap_or_default()
    }

    fn erase(&mut self, user: UserId) -> Vec<MediaId> {
        self.erased.insert(user);
        self.held
            .extract_if(|_, claim| claim.author == Some(user))
            .flat_map(|(_, claim)| claim.pictures)
            .collect()
    }

    /// Releases the files of removed content that can no longer be restored, with a tolerance of a day for wrong clocks.
    pub(super) fn release_removed(&mut self, now: DateTime<Utc>) -> HashSet<MediaId> {
        let kept = REMOVAL_REVERSIBLE + SAFE_AGE;
        let over: Vec<Subject> =
            self.removed.iter().filter(|(_, at)| now - **at >= kept).map(|(subject, _)| *subject).collect();
        let mut released = HashSet::new();
        for subject in over {
            released.extend(self.release(subject));
            released.extend(self.audio.remove(&subject).map(|audio| audio.file));
        }
        let used = self.audio_in_use(now);
        released.retain(|file| !used.contains(file));
        released
    }

    /// The audio files of all songs, and those of songs that are being published.
    pub(super) fn audio_in_use(&self, now: DateTime<Utc>) -> HashSet<MediaId> {
        self.audio.values().map(|audio| audio.file).chain(self.being_published(now)).collect()
    }

    /// The audio files that songs may get which are being published.
    pub(super) fn being_published(&self, now: DateTime<Utc>) -> impl Iterator<Item = MediaId> {
        let is_recent = move |used: &AudioUse| used.claimed.is_some_and(|claimed| now - claimed < SAFE_AGE);
        self.uses.iter().filter(move |(_, used)| is_recent(used)).map(|(file, _)| *file)
    }

    pub(super) fn last_use(&self, audio: MediaId) -> AudioUse {
        self.uses.get(&audio).copied().unwrap_or_default()
    }

    /// The keys of the audio files of all songs, each with one of the songs.
    pub(super) fn audio(&self) -> HashMap<&str, Subject> {
        self.audio.iter().map(|(song, audio)| (audio.key.as_str(), *song)).collect()
    }

    /// All claimed pictures with their subjects.
    pub(super) fn pictures(&self) -> impl Iterator<Item = (MediaId, Subject)> {
        self.held
            .iter()
            .flat_map(|(subject, claim)| claim.pictures.iter().map(|picture| (*picture, *subject)))
    }
}

/// Folds the whole log up to a position. None if the process shuts down meanwhile.
pub(super) async fn of_log(
    log: &dyn EventLog,
    up_to: Position,
    tracked: Tracked,
    on_progress: &(dyn Fn(Position) + Sync),
) -> Result<Option<Claims>, LogError> {
    let mut claims = Claims::of(tracked);
    let mut passed = Position::START;
    let kinds = [KINDS, &[Kind::Audio]].concat();
    let mut follow = log.follow(Filter::kinds(&kinds), passed);
    while passed < up_to {
        let Some(batch) = follow.next_batch(BATCH).await else { return Ok(None) };
        let events::Batch { events, unreadable, passed: until } = batch?;
        // Skipping a claim would delete its picture.
        if let Some(unreadable) = unreadable.into_iter().find(|event| event.position <= up_to) {
            return Err(unreadable.error);
        }
        for stored in events.into_iter().filter(|stored| stored.position <= up_to) {
            claims.apply_at(&Recorded::sealed(stored)?);
        }
        passed = until;
        on_progress(passed.min(up_to));
    }
    Ok(Some(claims))
}

/// The pictures that an event releases and that no later event claims.
pub(super) async fn released_by(
    log: &dyn EventLog,
    position: Position,
    event: &Event,
) -> Result<Vec<MediaId>, LogError> {
    let history = match event {
        // Only these events release pictures.
        Event::Social(
            SocialEvent::Post(PostEvent::PostDeleted(_))
            | SocialEvent::Story(StoryEvent::StoryDeleted(_) | StoryEvent::StoryExpired(_)),
        )
        | Event::Accounts(AccountsEvent::Profile(
            ProfileEvent::PhotoChanged(_) | ProfileEvent::PhotoRemoved(_),
        ))
        | Event::Music(
            MusicEvent::Artist(ArtistEvent::ArtistImageChanged(_))
            | MusicEvent::Album(AlbumEvent::AlbumCoverChanged(_))
            | MusicEvent::Song(SongEvent::SongCoverChanged(_))
            // The history of a playlist may be long, and its cover changes rarely.
            | MusicEvent::Playlist(PlaylistEvent::PlaylistCoverChanged(_) | PlaylistEvent::PlaylistDeleted(_)),
        ) => log.read(event.subject(), Position::START).await?,
        Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(erased))) => {
            // No index lists all pictures of a user, and an erasure happens once per user.
            let before = Position(position.0.saturating_sub(1));
            let claims = of_log(log, before, Tracked::Of(erased.user), &|_| ()).await?;
            return Ok(claims
                .map(|claims| claims.pictures().map(|(picture, _)| picture).collect())
                .unwrap_or_default());
        }
        Event::Social(
            SocialEvent::Post(PostEvent::PostPublished(_) | PostEvent::CaptionEdited(_))
            | SocialEvent::Story(StoryEvent::StoryPublished(_))
            | SocialEvent::Comment(_)
            | SocialEvent::Like(_)
            | SocialEvent::Follow(_)
            | SocialEvent::StoryView(_)
            | SocialEvent::Notifications(_)
            | SocialEvent::Save(_)
            | SocialEvent::Collection(_)
            | SocialEvent::Moderation(_),
        )
        | Event::Accounts(
            AccountsEvent::Profile(ProfileEvent::ProfileEdited(_) | ProfileEvent::PrivacyChanged(_))
            | AccountsEvent::Account(_)
            | AccountsEvent::Username(_)
            | AccountsEvent::Email(_)
            | AccountsEvent::Session(_),
        )
        | Event::Music(_)
        | Event::Mail(MailsEvent::Mail(_) | MailsEvent::Mailbox(_))
        | Event::Operations(_) => return Ok(Vec::new()),
    };
    let mut claims = Claims::default();
    let mut gone = Vec::new();
    for stored in history {
        let recorded = Recorded::sealed(stored)?;
        let released = claims.apply(&recorded.event, recorded.envelope.actor);
        if recorded.position == position {
            gone = released;
        }
    }
    let held: HashSet<MediaId> = claims.pictures().map(|(picture, _)| picture).collect();
    gone.retain(|picture| !held.contains(picture));
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use events::{
        AlbumAdded, AlbumCoverChanged, AlbumDetails, AlbumId, AlbumKind, ArtistId, ArtistImageChanged,
        AudioClaimed, AudioFile, AudioFormat, AudioHash, AudioReleased, Envelope, Erased, EventId, Image,
        Personal, PhotoChanged, PhotoRemoved, PlaylistCoverChanged, PlaylistDeleted, PlaylistId, PostDeleted,
        PostId, PostPublished, SongCoverChanged, SongDetails, SongId, SongPublished, SongRemoved,
        SongRestored, SongVisibility, StoryDeleted, StoryExpired, StoryId, StoryPublished,
    };
    use uuid::Uuid;

    use super::*;
    use crate::testing::{ANN, BOB, POST};

    const STORY: StoryId = StoryId::new(Uuid::from_u128(0x5));
    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));

    fn media(n: u128) -> MediaId {
        MediaId::new(Uuid::from_u128(n))
    }

    fn image(n: u128) -> Image {
        Image { media: media(n), width: 1, height: 1 }
    }

    fn post(post: PostId, author: UserId, pictures: &[u128]) -> Event {
        let images = pictures.iter().copied().map(image).collect();
        PostPublished { post, author, images, text: Personal::Erased }.into()
    }

    fn photo(user: UserId, n: u128) -> Event {
        PhotoChanged { user, photo: image(n) }.into()
    }

    fn story(author: UserId, n: u128) -> Event {
        StoryPublished { author, story: STORY, image: image(n), text: Personal::Erased }.into()
    }

    const AUDIO: MediaId = MediaId::new(Uuid::from_u128(99));

    fn song_with_cover(publisher: UserId, n: u128) -> Event {
        song(SONG, publisher, Some(image(n)))
    }

    fn song(song: SongId, publisher: UserId, cover: Option<Image>) -> Event {
        let details = SongDetails {
            title: "Dawn".into(),
            artists: Vec::new(),
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
        };
        let file = AudioFile {
            media: AUDIO,
            hash: AudioHash::new([1; 32]),
            format: AudioFormat::Mp3,
            duration: 1000,
            bit_rate: 320_000,
            sample_rate: 44_100,
            channels: 2,
            size: 40_000,
            replay_gain: None,
        };
        SongPublished { song, publisher, details, file, cover }.into()
    }

    /// The pictures that each event releases, and the claims at the end.
    fn folded(tracked: Tracked, history: &[Event]) -> (Vec<Vec<MediaId>>, Vec<MediaId>) {
        let mut claims = Claims::of(tracked);
        let apply = |event| claims.apply(event, Some(ANN));
        let mut released: Vec<Vec<MediaId>> = history.iter().map(apply).collect();
        for pictures in &mut released {
            pictures.sort();
        }
        let mut held: Vec<MediaId> = claims.pictures().map(|(picture, _)| picture).collect();
        held.sort();
        (released, held)
    }

    #[test]
    fn deleted_expired_removed_and_replaced_pictures_are_released() {
        let history = [
            post(POST, ANN, &[1, 2]),
            photo(ANN, 3),
            story(BOB, 4),
            photo(ANN, 5),
            PostDeleted { post: POST, author: ANN }.into(),
            StoryExpired { author: BOB, story: STORY }.into(),
            StoryDeleted { author: BOB, story: STORY }.into(),
            PhotoRemoved { user: ANN }.into(),
        ];
        let (released, held) = folded(Tracked::Everything, &history);
        let gone: Vec<MediaId> = [3, 1, 2, 4, 5].map(media).to_vec();
        assert_eq!(released.concat(), gone);
        assert_eq!(released.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 0, 1, 2, 1, 0, 1]);
        assert_eq!(held, []);
    }

    #[test]
    fn erased_user_claims_nothing_even_concurrently() {
        let late = PostId::new(Uuid::from_u128(0x91));
        let history = [
            post(POST, ANN, &[1, 2]),
            photo(ANN, 3),
            story(BOB, 4),
            Erased { user: ANN }.into(),
            post(late, ANN, &[6]),
        ];
        let (released, held) = folded(Tracked::Everything, &history);
        assert_eq!(released[3], [1, 2, 3].map(media));
        assert_eq!(released[4], [media(6)]);
        assert_eq!(held, [media(4)]);
    }

    #[test]
    fn covers_are_released_when_they_are_replaced_or_removed_and_outlive_accounts() {
        let artist = ArtistId::new(Uuid::from_u128(0xa7));
        let album = AlbumId::new(Uuid::from_u128(0xa1));
        let details = AlbumDetails {
            title: "Still Water".into(),
            artists: Vec::new(),
            display_artist: "Ann".into(),
            kind: AlbumKind::Album,
            year: None,
            version: None,
            disc_titles: Vec::new(),
            musicbrainz: None,
        };
        let song = |n| song_with_cover(ANN, n);
        let history = [
            ArtistImageChanged { artist, image: Some(image(1)) }.into(),
            AlbumAdded { album, details, cover: Some(image(2)) }.into(),
            song(3),
            Erased { user: ANN }.into(),
            AlbumCoverChanged { album, cover: Some(image(4)) }.into(),
            SongCoverChanged { song: SONG, cover: Some(image(5)) }.into(),
            ArtistImageChanged { artist, image: None }.into(),
        ];
        let (released, held) = folded(Tracked::Everything, &history);
        assert_eq!(
            released,
            [vec![], vec![], vec![], vec![], vec![media(2)], vec![media(3)], vec![media(1)]]
        );
        assert_eq!(held, [4, 5].map(media));
        assert_eq!(folded(Tracked::Of(ANN), &history).1, []);
        assert_eq!(folded(Tracked::These([media(5)].into()), &history).1, [media(5)]);
    }

    #[test]
    fn covers_of_playlists_are_released_with_their_owner() {
        let of = |n| PlaylistId::new(Uuid::from_u128(n));
        let set =
            |n, cover: Option<Image>| -> Event { PlaylistCoverChanged { playlist: of(n), cover }.into() };
        let history = [
            set(1, Some(image(1))),
            set(1, Some(image(2))),
            set(2, Some(image(3))),
            set(3, Some(image(4))),
            set(2, None),
            PlaylistDeleted { playlist: of(3), owner: ANN }.into(),
            Erased { user: ANN }.into(),
        ];
        let (released, held) = folded(Tracked::Everything, &history);
        assert_eq!(released.concat(), [1, 3, 4, 2].map(media));
        assert_eq!(held, []);
        assert_eq!(folded(Tracked::Of(ANN), &history[..3]).1, [2, 3].map(media));
        assert_eq!(folded(Tracked::Of(BOB), &history[..3]).1, []);
    }

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(day)
    }

    fn at(event: Event, on: i64) -> Recorded {
        Recorded {
            position: Position(7),
            envelope: Envelope {
                id: EventId::new(Uuid::nil()),
                event_type: event.wire_name().into(),
                source: "test".into(),
                time: day(on),
                subject: event.subject(),
                actor: None,
                correlation: Uuid::nil(),
                causation: None,
                traceparent: None,
            },
            event,
        }
    }

    #[test]
    fn audio_is_in_use_while_a_song_has_it_or_may_get_it() {
        let other = SongId::new(Uuid::from_u128(0x51));
        let mut claims = Claims::default();
        claims.apply_at(&at(AudioClaimed { audio: AUDIO, song: SONG }.into(), 0));
        assert_eq!(claims.audio_in_use(day(0)), HashSet::from([AUDIO]));
        assert_eq!(claims.audio_in_use(day(1)), HashSet::new(), "its song was never published");
        claims.apply_at(&at(song(SONG, ANN, None), 0));
        claims.apply_at(&at(song(other, ANN, None), 0));
        claims.apply_at(&at(SongRemoved { song: SONG }.into(), 1));
        assert_eq!(claims.release_removed(day(99)), HashSet::new(), "the other song has it");
        claims.apply_at(&at(SongRemoved { song: other }.into(), 100));
        assert_eq!(claims.release_removed(day(130)), HashSet::new());
        claims.apply_at(&at(AudioClaimed { audio: AUDIO, song: SONG }.into(), 131));
        assert_eq!(claims.release_removed(day(131)), HashSet::new(), "it is being published again");
        assert_eq!(claims.audio_in_use(day(131)), HashSet::from([AUDIO]));
        assert_eq!((claims.audio_in_use(day(132)), claims.audio().len()), (HashSet::new(), 0));
        assert!(!claims.last_use(AUDIO).is_released());
        claims.apply_at(&at(AudioReleased { audio: AUDIO }.into(), 132));
        assert!(claims.last_use(AUDIO).is_released());
        assert!(!claims.last_use(media(1)).is_released());
    }

    #[test]
    fn cover_of_a_removed_song_is_kept_until_it_cannot_be_restored() {
        let mut claims = Claims::default();
        claims.apply_at(&at(song_with_cover(ANN, 3), 0));
        claims.apply_at(&at(SongRemoved { song: SONG }.into(), 1));
        claims.apply_at(&at(SongRestored { song: SONG }.into(), 2));
        assert_eq!(claims.release_removed(day(99)), HashSet::new());
        claims.apply_at(&at(SongRemoved { song: SONG }.into(), 100));
        assert_eq!(claims.release_removed(day(130)), HashSet::new());
        assert_eq!(claims.release_removed(day(131)), HashSet::from([media(3), AUDIO]));
    }

    #[test]
    fn only_tracked_claims_are_kept() {
        let history = [post(POST, ANN, &[1, 2]), photo(BOB, 3)];
        let these = HashSet::from([media(2), media(9)]);
        assert_eq!(folded(Tracked::These(these), &history).1, [media(2)]);
        assert_eq!(folded(Tracked::Of(BOB), &history).1, [media(3)]);
    }
}
