//! Random valid histories. The events of one subject are consistent, as its decisions ensure. Other subjects that a
//! decision only reads may change concurrently, so any event may follow the deletion or erasure of its target.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta};
use events::*;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

const PEOPLE: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Account {
    Active,
    Deactivated,
    Suspended,
    Erased,
}

struct Post {
    id: PostId,
    author: UserId,
    deleted: bool,
}

struct Said {
    comment: CommentId,
    post: PostId,
    post_author: UserId,
    author: UserId,
    is_reply: bool,
    reply_to_author: Option<UserId>,
    deleted: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Step {
    #[default]
    None,
    Requested,
    Follows,
}

struct Story {
    id: StoryId,
    author: UserId,
    over: bool,
}

struct List {
    id: PlaylistId,
    owner: UserId,
    public: bool,
    deleted: bool,
    collaborators: BTreeSet<UserId>,
    entries: Vec<SnapshotEntry>,
    /// The entries of earlier versions.
    past: Vec<(Position, Vec<SnapshotEntry>)>,
}

pub(crate) struct Histories {
    rng: StdRng,
    position: u64,
    /// The position of the next event.
    next: u64,
    lists: Vec<List>,
    /// Catalogue subjects that have an event.
    catalogue: BTreeSet<Subject>,
    users: Vec<UserId>,
    accounts: BTreeMap<UserId, Account>,
    posts: Vec<Post>,
    said: Vec<Said>,
    likes: BTreeSet<(PostId, UserId)>,
    follows: BTreeMap<(UserId, UserId), Step>,
    stories: Vec<Story>,
    viewed: BTreeSet<(StoryId, UserId)>,
    saves: BTreeMap<(UserId, PostId), Option<CollectionId>>,
    collections: Vec<(UserId, CollectionId)>,
    sessions: Vec<(UserId, SessionId)>,
    library: BTreeSet<(RatedItem, UserId)>,
    plays: Vec<(UserId, Day, PlayId)>,
    /// The next day to close, and its next part.
    open: (Day, u32),
}

impl Histories {
    /// Positions start after this one.
    pub(crate) fn new(seed: u64, after: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let users: Vec<UserId> = (0..PEOPLE).map(|_| UserId::new(Uuid::from_u128(rng.random()))).collect();
        Self {
            accounts: users.iter().map(|&user| (user, Account::Active)).collect(),
            users,
            rng,
            position: after,
            next: after,
            lists: Vec::new(),
            catalogue: BTreeSet::new(),
            posts: Vec::new(),
            said: Vec::new(),
            likes: BTreeSet::new(),
            follows: BTreeMap::new(),
            stories: Vec::new(),
            viewed: BTreeSet::new(),
            saves: BTreeMap::new(),
            collections: Vec::new(),
            sessions: Vec::new(),
            library: BTreeSet::new(),
            plays: Vec::new(),
            open: (Day::of(DateTime::from_timestamp_secs(1_798_000_000).unwrap()), 0),
        }
    }

    pub(crate) fn history(mut self, length: usize) -> Vec<Recorded> {
        let mut events: Vec<Event> = self.users.iter().map(|&user| signed_up(user)).collect();
        while events.len() < length {
            self.next = self.position + events.len() as u64 + 1;
            events.extend(self.event());
        }
        events.into_iter().map(|event| self.recorded(event)).collect()
    }

    fn recorded(&mut self, event: Event) -> Recorded {
        self.position += 1;
        // Only the owner changes the cover of a playlist.
        let actor = match &event {
            Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistCoverChanged(event))) => {
                self.lists.iter().find(|list| list.id == event.playlist).map(|list| list.owner)
            }
            _ => None,
        };
        let envelope = Envelope {
            id: event_id(self.position),
            event_type: event.wire_name().into(),
            source: "test".into(),
            time: DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(self.position).unwrap()),
            subject: event.subject(),
            actor,
            correlation: Uuid::nil(),
            causation: None,
            traceparent: None,
        };
        Recorded { position: Position(self.position), envelope, event }
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.random())
    }

    fn any(&mut self) -> UserId {
        *self.users.choose(&mut self.rng).unwrap()
    }

    /// A user who may act: nearly always an active one, otherwise one who became inactive concurrently.
    fn actor(&mut self) -> UserId {
        for _ in 0..3 {
            let user = self.any();
            if self.accounts[&user] == Account::Active {
                return user;
            }
        }
        self.any()
    }

    /// A post, nearly always a visible one.
    fn post(&mut self) -> Option<(PostId, UserId)> {
        let mut found = None;
        for _ in 0..3 {
            let post = self.posts.choose(&mut self.rng)?;
            found = Some((post.id, post.author));
            if !post.deleted && self.accounts[&post.author] == Account::Active {
                break;
            }
        }
        found
    }

    fn event(&mut self) -> Option<Event> {
        match self.rng.random_range(0..180) {
            0..14 => self.account(),
            14..17 => Some(self.about_account()),
            17..22 => Some(self.profile()),
            22..31 => Some(self.publish()),
            31..35 => self.change_post(),
            35..53 => self.like(),
            53..65 => self.comment(),
            65..69 => self.delete_comment(),
            69..77 => self.follow(),
            77..80 => Some(self.publish_story()),
            80..82 => self.end_story(),
            82..86 => self.view_story(),
            86..92 => self.save(),
            92..95 => Some(self.collect()),
            95..98 => Some(self.session()),
            98 => Some(NotificationsRead { user: self.actor(), up_to: Position(self.position) }.into()),
            99 => Some(self.mail()),
            100..125 => self.playlist(),
            125..150 => Some(self.catalogue()),
            150..162 => Some(self.library()),
            162..178 => self.listen(),
            _ => Some(self.close_day()),
        }
    }

    fn account(&mut self) -> Option<Event> {
        let user = self.any();
        let account = self.accounts.get_mut(&user).unwrap();
        let (next, event): (Account, Event) = match (self.rng.random_range(0..12), *account) {
            (_, Account::Erased) => return None,
            (0, _) => (Account::Erased, Erased { user }.into()),
            (1..5, Account::Active) => (Account::Deactivated, Deactivated { user }.into()),
            (5..8, Account::Active | Account::Deactivated) => {
                (Account::Suspended, Suspended { user, reason: secret(user) }.into())
            }
            (_, Account::Deactivated) => (Account::Active, Reactivated { user }.into()),
            (_, Account::Suspended) => (Account::Active, Reinstated { user }.into()),
            (_, Account::Active) => return None,
        };
        *account = next;
        Some(event)
    }

    /// An event of an existing account; the decisions of one account are sequential.
    fn about_account(&mut self) -> Event {
        let there: Vec<UserId> =
            self.users.iter().copied().filter(|user| self.accounts[user] != Account::Erased).collect();
        let Some(&user) = there.choose(&mut self.rng) else { return self.publish() };
        let email = claim();
        match self.rng.random_range(0..6) {
            0 => UsernameChanged { user, username: email, spelling: secret(user) }.into(),
            1 => EmailVerified { user, email }.into(),
            2 => EmailChanged {
                user,
                email,
                address: secret(user),
                verified: true,
                kept: None,
                app: App::Chorus,
            }
            .into(),
            3 => RoleGranted { user, role: Role::Moderator }.into(),
            4 => RoleRevoked { user, role: Role::Moderator }.into(),
            _ => SessionsEnded { user, kept: self.sessions.last().map(|(_, session)| *session) }.into(),
        }
    }

    fn profile(&mut self) -> Event {
        let user = self.actor();
        match self.rng.random_range(0..4) {
            0 => {
                let (text, number) = (text(user), self.rng.random_range(0..9));
                let details = ProfileDetails {
                    firstname: format!("{text} {number}"),
                    lastname: text.clone(),
                    bio: text.clone(),
                };
                ProfileEdited { user, details: Personal::Open(details) }.into()
            }
            1 => PhotoChanged { user, photo: self.image() }.into(),
            2 => PhotoRemoved { user }.into(),
            _ => PrivacyChanged { user, private: self.rng.random() }.into(),
        }
    }

    fn image(&mut self) -> Image {
        Image { media: MediaId::new(self.id()), width: 10, height: 20 }
    }

    fn publish(&mut self) -> Event {
        let (id, author) = (PostId::new(self.id()), self.actor());
        self.posts.push(Post { id, author, deleted: false });
        let written = text(author);
        let text = PostText {
            caption: self.rng.random::<bool>().then(|| written.clone()),
            alt: vec![written.clone()],
            placeholders: vec![written],
        };
        PostPublished { post: id, author, images: vec![self.image()], text: Personal::Open(text) }.into()
    }

    fn change_post(&mut self) -> Option<Event> {
        let Self { posts, rng, .. } = self;
        let mut there: Vec<&mut Post> = posts.iter_mut().filter(|post| !post.deleted).collect();
        if there.is_empty() {
            return None;
        }
        let place = rng.random_range(0..there.len());
        let changed = &mut *there[place];
        let (post, author) = (changed.id, changed.author);
        if rng.random() {
            changed.deleted = true;
            Some(PostDeleted { post, author }.into())
        } else {
            Some(CaptionEdited { post, author, caption: secret(author) }.into())
        }
    }

    fn like(&mut self) -> Option<Event> {
        let user = self.actor();
        let liked: Vec<PostId> =
            self.likes.iter().filter(|(_, of)| *of == user).map(|(post, _)| *post).collect();
        // An unlike is possible in any state of the post.
        let post = match liked.choose(&mut self.rng) {
            Some(&post) if self.rng.random_ratio(1, 3) => post,
            _ => self.post()?.0,
        };
        let post_author = self.posts.iter().find(|known| known.id == post)?.author;
        if self.likes.remove(&(post, user)) {
            return Some(PostUnliked { post, user, post_author }.into());
        }
        self.likes.insert((post, user));
        Some(PostLiked { post, user, post_author }.into())
    }

    fn comment(&mut self) -> Option<Event> {
        let ((mut post, mut post_author), author) = (self.post()?, self.actor());
        let comment = CommentId::new(self.id());
        let (mut reply_to, mut reply_to_author) = (None, None);
        let parents: Vec<&Said> = self.said.iter().filter(|said| !said.is_reply).collect();
        if self.rng.random_ratio(1, 2)
            && let Some(parent) = parents.choose(&mut self.rng)
        {
            (post, post_author) = (parent.post, parent.post_author);
            (reply_to, reply_to_author) = (Some(parent.comment), Some(parent.author));
        }
        let is_reply = reply_to.is_some();
        self.said.push(Said {
            comment,
            post,
            post_author,
            author,
            is_reply,
            reply_to_author,
            deleted: false,
        });
        let text = secret(author);
        Some(Commented { post, comment, author, post_author, reply_to, reply_to_author, text }.into())
    }

    fn delete_comment(&mut self) -> Option<Event> {
        let Self { said, rng, .. } = self;
        let mut there: Vec<&mut Said> = said.iter_mut().filter(|said| !said.deleted).collect();
        if there.is_empty() {
            return None;
        }
        let place = rng.random_range(0..there.len());
        let said = &mut *there[place];
        said.deleted = true;
        let Said { comment, post, post_author, author, reply_to_author, .. } = *said;
        Some(CommentDeleted { post, comment, author, post_author, reply_to_author }.into())
    }

    fn follow(&mut self) -> Option<Event> {
        let (follower, followee) = (self.actor(), self.any());
        if follower == followee {
            return None;
        }
        let [asks, takes_back]: [bool; 2] = self.rng.random();
        let step = self.follows.entry((follower, followee)).or_default();
        let (next, event) = match *step {
            Step::None if asks => (Step::Requested, FollowRequested { follower, followee }.into()),
            Step::None => (Step::Follows, Followed { follower, followee }.into()),
            Step::Requested if takes_back => {
                (Step::None, Unfollowed { follower, followee, only_requested: true }.into())
            }
            Step::Requested => (Step::Follows, FollowAccepted { follower, followee }.into()),
            Step::Follows => (Step::None, Unfollowed { follower, followee, only_requested: false }.into()),
        };
        *step = next;
        Some(event)
    }

    fn publish_story(&mut self) -> Event {
        let (story, author) = (StoryId::new(self.id()), self.actor());
        self.stories.push(Story { id: story, author, over: false });
        let text = StoryText { alt: text(author), placeholder: text(author) };
        StoryPublished { author, story, image: self.image(), text: Personal::Open(text) }.into()
    }

    fn end_story(&mut self) -> Option<Event> {
        let by_itself = self.rng.random();
        let over = self.stories.iter_mut().find(|story| !story.over)?;
        over.over = true;
        let (author, story) = (over.author, over.id);
        Some(if by_itself {
            StoryExpired { author, story }.into()
        } else {
            StoryDeleted { author, story }.into()
        })
    }

    fn view_story(&mut self) -> Option<Event> {
        let viewer = self.actor();
        let story = self.stories.choose(&mut self.rng)?;
        let (story, author) = (story.id, story.author);
        (viewer != author && self.viewed.insert((story, viewer)))
            .then(|| StoryViewed { story, viewer, author }.into())
    }

    fn save(&mut self) -> Option<Event> {
        let ((post, post_author), user) = (self.post()?, self.actor());
        let mut own: Vec<Option<CollectionId>> =
            self.collections.iter().filter(|(owner, _)| *owner == user).map(|(_, id)| Some(*id)).collect();
        own.push(None);
        let collection = *own.choose(&mut self.rng)?;
        match self.saves.get(&(user, post)) {
            Some(_) if self.rng.random_ratio(1, 2) => {
                self.saves.remove(&(user, post));
                Some(PostUnsaved { user, post }.into())
            }
            Some(before) if *before == collection => None,
            _ => {
                self.saves.insert((user, post), collection);
                Some(PostSaved { user, post, post_author, collection }.into())
            }
        }
    }

    fn collect(&mut self) -> Event {
        if !self.collections.is_empty() && self.rng.random() {
            let place = self.rng.random_range(0..self.collections.len());
            let (user, collection) = self.collections[place];
            if self.rng.random() {
                return CollectionRenamed { user, collection, name: secret(user) }.into();
            }
            self.collections.remove(place);
            return CollectionDeleted { user, collection }.into();
        }
        let (user, collection) = (self.actor(), CollectionId::new(self.id()));
        self.collections.push((user, collection));
        CollectionCreated { user, collection, name: secret(user) }.into()
    }

    fn session(&mut self) -> Event {
        if !self.sessions.is_empty() && self.rng.random() {
            let place = self.rng.random_range(0..self.sessions.len());
            let (user, session) = self.sessions[place];
            if self.rng.random() {
                return SessionSeen { user, session, since: Position(1) }.into();
            }
            self.sessions.remove(place);
            return SessionEnded { user, session, reason: SessionEndReason::Revoked }.into();
        }
        let (user, session) = (self.actor(), SessionId::new(self.id()));
        self.sessions.push((user, session));
        let client = Client { device: text(user), address: text(user) };
        let expires = DateTime::UNIX_EPOCH + TimeDelta::days(1);
        SessionStarted { user, session, expires, client: Personal::Open(client) }.into()
    }

    /// One of a few songs, so that users have some in common.
    fn song(&mut self) -> SongId {
        SongId::new(Uuid::from_u128(self.rng.random_range(1..6)))
    }

    fn library(&mut self) -> Event {
        let (user, song) = (self.actor(), self.song());
        let item = match self.rng.random_range(0..3) {
            0 => RatedItem::Album { album: AlbumId::new(Uuid::from_u128(0xa1)) },
            1 => RatedItem::Artist { artist: ArtistId::new(Uuid::from_u128(0xa7)) },
            _ => RatedItem::Song { song },
        };
        match self.rng.random_range(0..10) {
            0 => Rated { item, user, stars: self.rng.random_range(1..=5) }.into(),
            1 => RatingCleared { item, user }.into(),
            2 => BookmarkSet { user, song, place: self.rng.random_range(0..9), comment: secret(user) }.into(),
            3 => BookmarkDeleted { user, song }.into(),
            4 => {
                let place = self.rng.random_range(0..9);
                let queue = PlayQueue { songs: vec![song], current: None, place, device: text(user) };
                QueueSaved { user, queue: Personal::Open(queue) }.into()
            }
            _ => {
                let is_added = self.library.insert((item, user));
                if !is_added {
                    self.library.remove(&(item, user));
                }
                match (item, is_added) {
                    (RatedItem::Song { song }, true) => SongLiked { song, user }.into(),
                    (RatedItem::Song { song }, false) => SongUnliked { song, user }.into(),
                    (RatedItem::Album { album }, true) => AlbumLiked { album, user }.into(),
                    (RatedItem::Album { album }, false) => AlbumUnliked { album, user }.into(),
                    (RatedItem::Artist { artist }, true) => ArtistFollowed { artist, user }.into(),
                    (RatedItem::Artist { artist }, false) => ArtistUnfollowed { artist, user }.into(),
                }
            }
        }
    }

    fn listen(&mut self) -> Option<Event> {
        // Over two years.
        let at = |hours: i64| DateTime::from_timestamp_secs(1_798_000_000).unwrap() + TimeDelta::hours(hours);
        let user = self.actor();
        Some(match self.rng.random_range(0..12) {
            0 => PrivateSessionStarted { user, until: at(self.rng.random_range(0..9)) }.into(),
            1 => PrivateSessionEnded { user }.into(),
            2 if self.rng.random_bool(0.3) => {
                PlaysDeleted { user, from: DateTime::UNIX_EPOCH, until: at(10_000) }.into()
            }
            2 => {
                let from = self.rng.random_range(0..600);
                PlaysDeleted { user, from: at(from), until: at(from + self.rng.random_range(1..200)) }.into()
            }
            3 | 4 => {
                let &(user, day, play) = self.plays.choose(&mut self.rng)?;
                PlayDeleted { user, day, play }.into()
            }
            _ => {
                let (song, started, play) =
                    (self.song(), at(self.rng.random_range(0..600)), PlayId::new(self.id()));
                let day = Day::of(started);
                let played = Played {
                    song,
                    started: started.timestamp_millis(),
                    listened: self.rng.random_range(30_000..300_000),
                };
                self.plays.push((user, day, play));
                SongPlayed { user, day, play, played: Personal::Open(played) }.into()
            }
        })
    }

    /// The next part of a day. Each day has two.
    fn close_day(&mut self) -> Event {
        let ((day, part), mut songs, mut pairs) = (self.open, Vec::new(), Vec::new());
        self.open = if part == 0 { (day, 1) } else { (Day::new(day.date().succ_opt().unwrap()), 0) };
        for n in 1..self.rng.random_range(2..6) {
            let [first, second] = [n, n + 1].map(|n| SongId::new(Uuid::from_u128(n)));
            let listeners = self.rng.random_range(1..9);
            songs.push(SongCount { song: first, plays: listeners * 2, listeners });
            pairs.push(PairCount { first, second, listeners });
        }
        ChartDayClosed { day, part, parts: 2, songs, pairs }.into()
    }

    /// Few subjects, so that their events meet. Songs may name artists and albums that do not exist.
    fn catalogue(&mut self) -> Event {
        let publisher = self.any();
        // A picture belongs to one upload.
        let picture = Image { media: MediaId::new(self.id()), width: 1000, height: 1000 };
        // No song is published twice, also not in a later history.
        let songs = u128::from(self.position) << 8;
        let rng = &mut self.rng;
        let picture = rng.random_bool(0.5).then_some(picture);
        let artist = ArtistId::new(Uuid::from_u128(rng.random_range(1..5)));
        let album = AlbumId::new(Uuid::from_u128(rng.random_range(1..4)));
        let song = SongId::new(Uuid::from_u128(songs + rng.random_range(1..7)));
        let credits = vec![
            ArtistCredit { artist, role: CreditRole::Main },
            ArtistCredit { artist: ArtistId::new(Uuid::from_u128(9)), role: CreditRole::Featured },
        ];
        match rng.random_range(0..3) {
            0 => {
                let details = ArtistDetails {
                    name: format!("The Lakes {}", rng.random_range(0..3)),
                    sort_name: rng.random_bool(0.5).then(|| "Lakes".to_owned()),
                    musicbrainz: None,
                };
                if self.catalogue.insert(Subject::Artist(artist)) {
                    return ArtistAdded { artist, details }.into();
                }
                match rng.random_range(0..4) {
                    0 => ArtistMerged { artist, into: ArtistId::new(Uuid::from_u128(1)) }.into(),
                    1 => ArtistImageChanged { artist, image: picture }.into(),
                    _ => ArtistEdited { artist, details }.into(),
                }
            }
            1 => {
                let details = AlbumDetails {
                    title: format!("Dawn {}", rng.random_range(0..3)),
                    artists: credits,
                    display_artist: "The Lakes".into(),
                    kind: AlbumKind::Album,
                    year: Some(1999),
                    version: None,
                    disc_titles: Vec::new(),
                    musicbrainz: None,
                };
                if self.catalogue.insert(Subject::Album(album)) {
                    return AlbumAdded { album, details, cover: picture }.into();
                }
                match rng.random_range(0..4) {
                    0 => AlbumRemoved { album }.into(),
                    1 => AlbumRestored { album }.into(),
                    2 => AlbumCoverChanged { album, cover: picture }.into(),
                    _ => AlbumEdited { album, details }.into(),
                }
            }
            _ => {
                let visibility = [SongVisibility::Public, SongVisibility::Unlisted, SongVisibility::Private];
                let genres = ["folk", "Folk", "jazz"];
                let details = SongDetails {
                    title: format!("First Light {}", rng.random_range(0..3)),
                    artists: credits,
                    display_artist: "The Lakes feat. Hills".into(),
                    album: rng.random_bool(0.7).then_some(album),
                    disc: None,
                    track: Some(rng.random_range(1..9)),
                    genres: vec![genres[rng.random_range(0..3)].to_owned()],
                    year: None,
                    explicit: false,
                    lyrics: None,
                    musicbrainz: None,
                    visibility: visibility[rng.random_range(0..3)],
                };
                if self.catalogue.insert(Subject::Song(song)) {
                    let file = AudioFile {
                        media: MediaId::new(song.uuid()),
                        hash: AudioHash::new([7; 32]),
                        format: AudioFormat::Wav,
                        duration: 31_000,
                        bit_rate: 64_000,
                        sample_rate: 8000,
                        channels: 1,
                        size: 248_044,
                        replay_gain: None,
                    };
                    return SongPublished { song, publisher, details, file, cover: picture }.into();
                }
                match rng.random_range(0..6) {
                    0 => SongRemoved { song }.into(),
                    1 => SongRestored { song }.into(),
                    2 => SongAnalysed { song, analysis: AudioAnalysis::Unsupported }.into(),
                    3 => SongCoverChanged { song, cover: picture }.into(),
                    _ => SongEdited { song, details }.into(),
                }
            }
        }
    }

    fn playlist(&mut self) -> Option<Event> {
        if self.lists.is_empty() || self.rng.random_ratio(1, 10) {
            return Some(self.create_playlist());
        }
        let user = self.any();
        let Self { lists, rng, next, .. } = self;
        let place = rng.random_range(0..lists.len());
        let list = Some(&mut lists[place]).filter(|list| !list.deleted)?;
        let (playlist, owner, id) = (list.id, list.owner, event_id(*next));
        let before = list.entries.clone();
        let at = rng.random_range(0..=before.len());
        let song = |rng: &mut StdRng| SongId::new(Uuid::from_u128(rng.random_range(1..5)));
        let event: Event = match rng.random_range(0..17) {
            0 => PlaylistDetailsChanged { playlist, owner, details: playlist_details(owner) }.into(),
            1 => {
                list.public = !list.public;
                PlaylistVisibilityChanged { playlist, public: list.public }.into()
            }
            2 if list.collaborators.remove(&user) => CollaboratorRemoved { playlist, user }.into(),
            2 => {
                list.collaborators.insert(user);
                CollaboratorAdded { playlist, user }.into()
            }
            3..8 => {
                let songs: Vec<SongId> = (0..rng.random_range(1..4)).map(|_| song(rng)).collect();
                let new = songs.iter().zip(0..);
                let new = new.map(|(song, n)| SnapshotEntry { entry: EntryId::of_event(id, n), song: *song });
                list.entries.splice(at..at, new);
                EntriesAdded { playlist, songs, between: around(&before, at) }.into()
            }
            8..10 => {
                let moved = *before.choose(rng)?;
                list.entries.retain(|entry| *entry != moved);
                let at = at.min(list.entries.len());
                let between = around(&list.entries, at);
                list.entries.insert(at, moved);
                EntriesMoved { playlist, entries: vec![moved.entry], between }.into()
            }
            10 => {
                let removed = *before.choose(rng)?;
                list.entries.retain(|entry| *entry != removed);
                EntriesRemoved { playlist, entries: vec![removed.entry] }.into()
            }
            11 => {
                let new = song(rng);
                list.entries.truncate(at);
                let kept = list.entries.iter().map(|entry| ReplacedEntry::Kept(entry.entry));
                let entries = [ReplacedEntry::New(new)].into_iter().chain(kept).collect();
                list.entries.insert(0, SnapshotEntry { entry: EntryId::of_event(id, 0), song: new });
                EntriesReplaced { playlist, entries }.into()
            }
            12 => {
                let (version, entries) = list.past.choose(rng)?.clone();
                list.entries.clone_from(&entries);
                PlaylistRestored { playlist, version, entries }.into()
            }
            13 => PlaylistSnapshot {
                playlist,
                position: Position(*next - 1),
                version: Position(*next - 1),
                owner,
                public: list.public,
                details: playlist_details(owner),
                cover: None,
                collaborators: list.collaborators.iter().copied().collect(),
                entries: before.clone(),
            }
            .into(),
            14..16 => {
                let image = Image { media: MediaId::new(Uuid::from_u128(rng.random())), width: 9, height: 9 };
                PlaylistCoverChanged { playlist, cover: rng.random_bool(0.7).then_some(image) }.into()
            }
            _ => {
                list.deleted = true;
                PlaylistDeleted { playlist, owner }.into()
            }
        };
        if list.entries != before {
            list.past.push((Position(*next), list.entries.clone()));
        }
        Some(event)
    }

    fn create_playlist(&mut self) -> Event {
        let (id, owner, public) = (PlaylistId::new(self.id()), self.actor(), self.rng.random());
        self.lists.push(List {
            id,
            owner,
            public,
            deleted: false,
            collaborators: BTreeSet::new(),
            entries: Vec::new(),
            past: Vec::new(),
        });
        PlaylistCreated { playlist: id, owner, public, details: playlist_details(owner) }.into()
    }

    fn mail(&mut self) -> Event {
        let (event, user) = (EventId::new(Uuid::from_u128(self.rng.random_range(0..3))), self.any());
        let template = MailTemplate::Welcome;
        match self.rng.random_range(0..3) {
            0 => MailReserved { event, template, user, recipient: claim(), attempt: 1 }.into(),
            1 => MailFailed { event, template, user, attempt: 1, error: secret(user) }.into(),
            _ => MailSent { event, template, user, message_id: "m".into() }.into(),
        }
    }
}

/// Entry ids differ from it in the last digits.
fn event_id(position: u64) -> EventId {
    EventId::new(Uuid::from_u128(u128::from(position) << 32))
}

/// The entries around a place.
fn around(entries: &[SnapshotEntry], at: usize) -> Neighbours {
    let entry = |place: Option<usize>| place.and_then(|place| entries.get(place)).map(|entry| entry.entry);
    Neighbours { after: entry(at.checked_sub(1)), before: entry(Some(at)) }
}

fn playlist_details(owner: UserId) -> Personal<PlaylistDetails> {
    Personal::Open(PlaylistDetails { name: text(owner), description: text(owner) })
}

/// The prefix of all texts of a user; short enough for a username.
pub(crate) fn text(user: UserId) -> String {
    format!("secret{}", &user.to_string()[..12])
}

fn secret(user: UserId) -> Personal<String> {
    Personal::Open(text(user))
}

fn signed_up(user: UserId) -> Event {
    let text = text(user);
    let person = NewPerson {
        username: text.clone(),
        email: text.clone(),
        password_hash: text.clone(),
        firstname: text.clone(),
        lastname: text,
    };
    let claim = claim();
    SignedUp { user, username: claim, email: claim, app: App::Chorus, person: Personal::Open(person) }.into()
}

/// A random claim that no view resolves.
fn claim() -> ClaimHash {
    "00000000000000000000000000000001".parse().unwrap()
}
