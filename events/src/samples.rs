//! One sample of each event, for tests of general properties; a test checks that none is missing.

use chrono::{DateTime, TimeDelta};
use uuid::Uuid;

#[allow(
    clippy::wildcard_imports,
    reason = "there is one of nearly everything; not so much as a warning in tests"
)]
use crate::*;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn user(n: u128) -> UserId {
    UserId::new(id(n))
}

/// One sample of each event, with all fields set.
#[expect(clippy::too_many_lines, reason = "a list")]
pub fn samples() -> Vec<Event> {
    let (ann, bob) = (user(0xa), user(0xb));
    let (name, address) = (ClaimHash::new([0x11; 16]), ClaimHash::new([0x22; 16]));
    let (session, post, comment) =
        (SessionId::new(id(0x5e)), PostId::new(id(0x90)), CommentId::new(id(0xc0)));
    let (story, collection) = (StoryId::new(id(0x57)), CollectionId::new(id(0xc7)));
    let request = MailedRequestId::new(id(0x3a));
    let event = EventId::new(id(0xe0));
    let image = Image { media: MediaId::new(id(0x1a)), width: 1080, height: 1350 };
    let text = |text: &str| Personal::Open(text.to_owned());
    vec![
        SignedUp {
            user: ann,
            username: name,
            email: address,
            app: App::Instamern,
            person: Personal::Open(NewPerson {
                username: "ann".into(),
                email: "ann@example.org".into(),
                password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
                firstname: "Ann".into(),
                lastname: "Lee".into(),
            }),
        }
        .into(),
        UsernameChanged { user: ann, username: name, spelling: text("Annie") }.into(),
        EmailVerificationRequested { user: ann, request, app: App::Chorus }.into(),
        EmailVerified { user: ann, email: address }.into(),
        PasswordChanged {
            user: ann,
            password_hash: text("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"),
            reason: PasswordChangeReason::Chosen,
            kept: Some(session),
        }
        .into(),
        PasswordResetRequested { user: ann, request, app: App::Spotifymern }.into(),
        EmailChangeRequested {
            user: ann,
            request,
            email: address,
            address: text("lee@example.org"),
            session: Some(session),
            app: App::Chorus,
        }
        .into(),
        EmailChanged {
            user: ann,
            email: address,
            address: text("lee@example.org"),
            verified: true,
            kept: Some(session),
            app: App::Chorus,
        }
        .into(),
        SessionsEnded { user: ann, kept: Some(session) }.into(),
        RoleGranted { user: ann, role: Role::Moderator }.into(),
        RoleRevoked { user: ann, role: Role::Artist }.into(),
        Deactivated { user: ann }.into(),
        Reactivated { user: ann }.into(),
        Suspended { user: ann, reason: text("spam") }.into(),
        Reinstated { user: ann }.into(),
        ClaimAbandoned { user: ann, claim: name }.into(),
        Erased { user: ann }.into(),
        UsernameClaimed { username: name, user: ann }.into(),
        UsernameReleased { username: name, user: ann }.into(),
        EmailClaimed { email: address, user: ann }.into(),
        EmailReleased { email: address, user: ann }.into(),
        SessionStarted {
            user: ann,
            session,
            expires: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_800_000_000_123),
            client: Personal::Open(Client { device: "Firefox".into(), address: "192.0.2.7".into() }),
        }
        .into(),
        SessionSeen { user: ann, session, since: Position(7) }.into(),
        SessionEnded { user: ann, session, reason: SessionEndReason::LoggedOut }.into(),
        ProfileEdited {
            user: ann,
            details: Personal::Open(ProfileDetails {
                firstname: "Ann".into(),
                lastname: "Lee".into(),
                bio: "Light and water".into(),
            }),
        }
        .into(),
        PhotoChanged { user: ann, photo: image }.into(),
        PhotoRemoved { user: ann }.into(),
        PrivacyChanged { user: ann, private: true }.into(),
        PostPublished {
            post,
            author: ann,
            images: vec![image],
            text: Personal::Open(PostText {
                caption: Some("Dawn".into()),
                alt: vec!["A lake at dawn".into()],
                placeholders: vec!["LEHV6nWB2yk8pyo0adR*.7kCMdnj".into()],
            }),
        }
        .into(),
        CaptionEdited { post, author: ann, caption: text("Dusk") }.into(),
        PostDeleted { post, author: ann }.into(),
        Commented {
            post,
            comment,
            author: bob,
            post_author: ann,
            reply_to: Some(CommentId::new(id(0xc1))),
            reply_to_author: Some(ann),
            text: text("Lovely"),
        }
        .into(),
        CommentDeleted { post, comment, author: bob, post_author: ann, reply_to_author: Some(ann) }.into(),
        PostLiked { post, user: bob, post_author: ann }.into(),
        PostUnliked { post, user: bob, post_author: ann }.into(),
        Followed { follower: bob, followee: ann }.into(),
        FollowRequested { follower: bob, followee: ann }.into(),
        FollowAccepted { follower: bob, followee: ann }.into(),
        Unfollowed { follower: bob, followee: ann, only_requested: true }.into(),
        StoryPublished {
            author: ann,
            story,
            image,
            text: Personal::Open(StoryText {
                alt: "A lake at dawn".into(),
                placeholder: "LEHV6nWB2yk8pyo0adR*.7kCMdnj".into(),
            }),
        }
        .into(),
        StoryDeleted { author: ann, story }.into(),
        StoryExpired { author: ann, story }.into(),
        StoryViewed { story, viewer: bob, author: ann }.into(),
        NotificationsRead { user: ann, up_to: Position(7) }.into(),
        PostSaved { user: bob, post, post_author: ann, collection: Some(collection) }.into(),
        PostUnsaved { user: bob, post }.into(),
        CollectionCreated { user: bob, collection, name: text("Lakes") }.into(),
        CollectionRenamed { user: bob, collection, name: text("Mountains") }.into(),
        CollectionDeleted { user: bob, collection }.into(),
        MailReserved { event, template: MailTemplate::Welcome, user: ann, recipient: address, attempt: 1 }
            .into(),
        MailSent { event, template: MailTemplate::PasswordReset, user: ann, message_id: "0100-a1".into() }
            .into(),
        MailFailed {
            event,
            template: MailTemplate::NewDevice,
            user: ann,
            attempt: 2,
            error: text("slow down"),
        }
        .into(),
        MailGivenUp {
            event,
            template: MailTemplate::EmailVerification,
            user: ann,
            reason: MailGivenUpReason::Refused,
            attempts: 2,
            error: text("ann@example.org is not taken"),
        }
        .into(),
        MailBounced { email: address, permanent: true, message_id: "0100-a1".into() }.into(),
        MailComplained { email: address, message_id: "0100-a1".into() }.into(),
        ContentRemoved { content: Content::Comment { post, comment }, author: bob, reason: text("abuse") }
            .into(),
        ContentRestored { content: Content::Story { author: ann, story }, author: ann }.into(),
    ]
    .into_iter()
    .chain(catalogue())
    .chain(playlists())
    .chain(listening())
    .chain(operations())
    .collect()
}

const ARTIST: ArtistId = ArtistId::new(Uuid::from_u128(0xa7));
const ALBUM: AlbumId = AlbumId::new(Uuid::from_u128(0xa1));
const SONG: SongId = SongId::new(Uuid::from_u128(0x50));
const PICTURE: Image = Image { media: MediaId::new(Uuid::from_u128(0x1a)), width: 1000, height: 1000 };

fn catalogue() -> Vec<Event> {
    let (artist, album, song, ann) = (ARTIST, ALBUM, SONG, user(0xa));
    let artist_details = ArtistDetails {
        name: "The Lakes".into(),
        sort_name: Some("Lakes, The".into()),
        musicbrainz: Some(id(0x3b1)),
    };
    let credits = vec![
        ArtistCredit { artist, role: CreditRole::Main },
        ArtistCredit { artist: ArtistId::new(id(0xa8)), role: CreditRole::Featured },
    ];
    let album_details = AlbumDetails {
        title: "Dawn".into(),
        artists: credits.clone(),
        display_artist: "The Lakes feat. Hills".into(),
        kind: AlbumKind::Album,
        year: Some(1999),
        version: Some("Deluxe Edition".into()),
        disc_titles: vec!["Studio".into(), "Live".into()],
        musicbrainz: Some(id(0x3b2)),
    };
    let song_details = SongDetails {
        title: "First Light".into(),
        artists: credits,
        display_artist: "The Lakes feat. Hills".into(),
        album: Some(album),
        disc: Some(1),
        track: Some(2),
        genres: vec!["ambient".into(), "R&B/Soul".into()],
        year: Some(1999),
        explicit: false,
        lyrics: Some("Light on the lake".into()),
        musicbrainz: Some(id(0x3b3)),
        visibility: SongVisibility::Unlisted,
    };
    let file = AudioFile {
        media: MediaId::new(id(0x1b)),
        hash: AudioHash::new([0xab; 32]),
        format: AudioFormat::Flac,
        duration: 215_480,
        bit_rate: 912_345,
        sample_rate: 44_100,
        channels: 2,
        size: 24_573_312,
        replay_gain: Some(ReplayGain {
            track_gain: Some(-6.54),
            track_peak: Some(0.988),
            album_gain: Some(-7.1),
            album_peak: Some(1.0),
        }),
    };
    let measured = AudioAnalysis::Measured { loudness: -11.4, peak: -0.3, waveform: vec![0, 128, 255] };
    vec![
        ArtistAdded { artist, details: artist_details.clone() }.into(),
        ArtistEdited { artist, details: ArtistDetails { sort_name: None, ..artist_details } }.into(),
        ArtistImageChanged { artist, image: Some(PICTURE) }.into(),
        ArtistMerged { artist, into: ArtistId::new(id(0xa8)) }.into(),
        ArtistLinked { artist, user: ann }.into(),
        ArtistUnlinked { artist, user: ann }.into(),
        AlbumAdded { album, details: album_details.clone(), cover: Some(PICTURE) }.into(),
        AlbumEdited { album, details: AlbumDetails { kind: AlbumKind::Compilation, ..album_details } }.into(),
        AlbumCoverChanged { album, cover: Some(PICTURE) }.into(),
        AlbumRemoved { album }.into(),
        AlbumRestored { album }.into(),
        SongPublished { song, publisher: ann, details: song_details.clone(), file, cover: Some(PICTURE) }
            .into(),
        SongEdited { song, details: SongDetails { visibility: SongVisibility::Public, ..song_details } }
            .into(),
        SongCoverChanged { song, cover: Some(PICTURE) }.into(),
        SongRemoved { song }.into(),
        SongRestored { song }.into(),
        SongAnalysed { song, analysis: measured }.into(),
        AudioClaimed { audio: file.media, song }.into(),
        AudioReleased { audio: file.media }.into(),
    ]
}

fn playlists() -> Vec<Event> {
    let (ann, bob, song) = (user(0xa), user(0xb), SONG);
    let playlist = PlaylistId::new(id(0x91));
    let [first, second] = [0xe1, 0xe2].map(|entry| EntryId::new(id(entry)));
    let between = Neighbours { after: Some(first), before: Some(second) };
    let details = |name: &str| {
        Personal::Open(PlaylistDetails { name: name.into(), description: "For long drives".into() })
    };
    vec![
        PlaylistCreated { playlist, owner: ann, public: true, details: details("Road") }.into(),
        PlaylistDetailsChanged { playlist, owner: ann, details: details("Roads") }.into(),
        PlaylistVisibilityChanged { playlist, public: false }.into(),
        PlaylistCoverChanged { playlist, cover: Some(PICTURE) }.into(),
        CollaboratorAdded { playlist, user: bob }.into(),
        CollaboratorRemoved { playlist, user: bob }.into(),
        EntriesAdded { playlist, songs: vec![song, song], between }.into(),
        EntriesMoved { playlist, entries: vec![first], between: Neighbours::default() }.into(),
        EntriesRemoved { playlist, entries: vec![first] }.into(),
        EntriesReplaced { playlist, entries: vec![ReplacedEntry::Kept(first), ReplacedEntry::New(song)] }
            .into(),
        PlaylistRestored {
            playlist,
            version: Position(7),
            entries: [first, second].map(|entry| SnapshotEntry { entry, song }).into(),
        }
        .into(),
        PlaylistDeleted { playlist, owner: ann }.into(),
        PlaylistSnapshot {
            playlist,
            position: Position(9),
            version: Position(7),
            owner: ann,
            public: true,
            details: details("Roads"),
            cover: Some(PICTURE),
            collaborators: vec![bob],
            entries: vec![SnapshotEntry { entry: first, song }],
        }
        .into(),
    ]
}

fn listening() -> Vec<Event> {
    let (user, song, artist, album) = (user(0xb), SONG, ARTIST, ALBUM);
    let time = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_770_076_800_000);
    let day = Day::of(time);
    let play = PlayId::new(id(0x91a));
    let other = SongId::new(id(0x51));
    vec![
        SongLiked { song, user }.into(),
        SongUnliked { song, user }.into(),
        AlbumLiked { album, user }.into(),
        AlbumUnliked { album, user }.into(),
        ArtistFollowed { artist, user }.into(),
        ArtistUnfollowed { artist, user }.into(),
        Rated { item: RatedItem::Song { song }, user, stars: 4 }.into(),
        RatingCleared { item: RatedItem::Album { album }, user }.into(),
        BookmarkSet { user, song, place: 61_000, comment: Personal::Open("The solo".into()) }.into(),
        BookmarkDeleted { user, song }.into(),
        SongPlayed {
            user,
            day,
            play,
            played: Personal::Open(Played { song, started: 1_770_076_800_000, listened: 180_000 }),
        }
        .into(),
        PlayDeleted { user, day, play }.into(),
        PrivateSessionStarted { user, until: time }.into(),
        PrivateSessionEnded { user }.into(),
        PlaysDeleted { user, from: DateTime::UNIX_EPOCH, until: time }.into(),
        ChartDayClosed {
            day,
            part: 0,
            parts: 1,
            songs: vec![SongCount { song, plays: 7, listeners: 5 }],
            pairs: vec![PairCount { first: song, second: other, listeners: 3 }],
        }
        .into(),
        QueueSaved {
            user,
            queue: Personal::Open(PlayQueue {
                songs: vec![song, other],
                current: Some(1),
                place: 12_000,
                device: "Phone".into(),
            }),
        }
        .into(),
    ]
}

fn operations() -> Vec<Event> {
    let operation = OperationId::new(id(0x09));
    vec![
        ContentRevealed {
            operation,
            scope: RevealedScope::Event { position: Position(7) },
            note: sealed_note(),
        }
        .into(),
        RebuildStarted { operation, family: "posts".into(), version: 2, generation: 3, note: sealed_note() }
            .into(),
        GenerationSwitched {
            operation,
            family: "posts".into(),
            version: 2,
            from: Some(1),
            to: 3,
            position: Position(7),
            note: sealed_note(),
        }
        .into(),
        GenerationRolledBack {
            operation,
            family: "posts".into(),
            version: 2,
            from: 3,
            to: 1,
            position: Position(7),
            note: sealed_note(),
        }
        .into(),
        GenerationDropped {
            operation,
            family: "posts".into(),
            version: 2,
            generation: 3,
            note: sealed_note(),
        }
        .into(),
        ParkedEventDiscarded {
            operation,
            family: "posts".into(),
            position: Position(7),
            note: sealed_note(),
        }
        .into(),
    ]
}

/// Sealed already, since no person's key seals it.
fn sealed_note() -> Personal<OperatorNote> {
    Personal::Sealed(Ciphertext::from_bytes(vec![7; 40]))
}

/// The samples with personal data, with a marker in all personal texts.
///
/// # Errors
/// If a value does not accept the marker.
pub fn marked_samples(marker: &str) -> Result<Vec<Event>, Box<dyn std::error::Error + Send + Sync>> {
    let mut marked = Vec::new();
    for mut event in samples() {
        if let Some((_, personal)) = event.personal() {
            personal.mark(marker)?;
            marked.push(event);
        }
    }
    Ok(marked)
}
