//! The media reaction on a real log, view store and media store: which files are deleted and which are kept, despite
//! failures.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::media::{FileMedia, ImageVariant, Listing, MediaError, MediaKey, MediaObject, MediaStore, Part};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use events::{
    AlbumAdded, AlbumCoverChanged, AlbumDetails, AlbumId, AlbumKind, AlbumRemoved, ArtistId,
    ArtistImageChanged, AudioClaimed, AudioFile, AudioFormat, AudioHash, Content, ContentRemoved,
    ContentRestored, Draft, Erased, Event, EventId, Freshness, Image, MasterKeys, MediaId, Personal,
    PhotoChanged, PhotoRemoved, Position, PostDeleted, PostId, PostPublished, PostText, SealedLog,
    SongCoverChanged, SongDetails, SongId, SongPublished, SongRemoved, SongRestored, SongVisibility,
    StoryDeleted, StoryExpired, StoryId, StoryPublished, StoryText, Subject, UserId, audio_media_id,
    open_sealed,
};
use futures::TryStreamExt;
use projector::reactions::media::{self, Collected, Limit, MediaFailed, SAFE_AGE, audit, collect};
use projector::{LostEvents, ProjectionState, Statuses, refuse_lost_events};
use service::clock::{self, Clock, SystemClock};
use service::shutdown::Tasks;
use tests::fault_proxy::FaultProxy;
use tests::servers::MotoServer;
use tests::waiting::found;
use uuid::Uuid;
use views::{Commit, SqliteViews, ViewStore};

/// Timeout of waiting for a state.
const LIMIT: Duration = Duration::from_mins(1);

const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

fn now() -> DateTime<Utc> {
    SystemClock.now()
}

fn any_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

struct World {
    log: SealedLog,
    media: Arc<dyn MediaStore>,
    folder: tempfile::TempDir,
}

struct Worker {
    tasks: Tasks,
    store: Arc<dyn ViewStore>,
    statuses: Statuses,
}

impl Worker {
    async fn stop(self) {
        assert!(self.tasks.stop().await, "a task did not end");
    }

    /// Waits until the checkpoint of the reaction has passed an event.
    async fn passes(&self, position: u64) {
        found(LIMIT, "the checkpoint passes", async || {
            (self.store.checkpoint(media::NAME).await.unwrap() >= position).then_some(())
        })
        .await;
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let media = Arc::new(FileMedia::open(&folder.path().join("media")).unwrap());
        Self::with(folder, media).await
    }

    async fn with(folder: tempfile::TempDir, media: Arc<dyn MediaStore>) -> Self {
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let setting = format!("sqlite:{}", folder.path().join("events.db").display());
        Self { log: open_sealed(&setting, None, &keys).await.unwrap(), media, folder }
    }

    async fn worker(&self, views: &str) -> Worker {
        let views = self.folder.path().join(views);
        let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&views, views::all()).await.unwrap());
        let tasks = Tasks::default();
        let parts = media::Parts {
            log: Arc::clone(self.log.raw()),
            store: Arc::clone(&store),
            media: Arc::clone(&self.media),
            clock: clock::system(),
        };
        let statuses = media::run(parts, &tasks);
        Worker { tasks, store, statuses }
    }

    async fn append(&self, event: impl Into<Event>) -> u64 {
        self.append_at(event, now()).await
    }

    async fn append_at(&self, event: impl Into<Event>, time: DateTime<Utc>) -> u64 {
        let event = event.into();
        let subject = event.subject();
        let last = self.log.last(&[subject], Freshness::Latest).await.unwrap().pop().flatten();
        let draft = Draft {
            id: EventId::new(any_id()),
            time,
            actor: None,
            correlation: any_id(),
            causation: None,
            traceparent: None,
            event,
        };
        self.log.append(draft, last.map(|last| last.position).unwrap_or_default()).await.unwrap().0
    }

    /// Stores the files of a picture like an upload.
    async fn upload(&self, variants: &[ImageVariant]) -> Image {
        let media = MediaId::new(any_id());
        for variant in variants {
            self.media
                .put(&variant.key(&media.to_string()).unwrap(), Bytes::from_static(b"x"))
                .await
                .unwrap();
        }
        Image { media, width: 1, height: 1 }
    }

    async fn post(&self, author: UserId, pictures: usize) -> (PostId, Vec<Image>) {
        let mut images = Vec::new();
        for _ in 0..pictures {
            images.push(self.upload(ImageVariant::OF_POST).await);
        }
        let post = PostId::new(any_id());
        let text = Personal::Open(PostText::default());
        self.append(PostPublished { post, author, images: images.clone(), text }).await;
        (post, images)
    }

    async fn photo(&self, user: UserId) -> Image {
        let photo = self.upload(ImageVariant::OF_PHOTO).await;
        self.append(PhotoChanged { user, photo }).await;
        photo
    }

    async fn story(&self, author: UserId) -> (StoryId, Image) {
        let (story, image) = (StoryId::new(any_id()), self.upload(ImageVariant::OF_STORY).await);
        let text = Personal::Open(StoryText::default());
        self.append(StoryPublished { author, story, image, text }).await;
        (story, image)
    }

    /// The pictures with stored files.
    async fn stored(&self) -> BTreeSet<MediaId> {
        let all: Vec<::media::Listed> = self.media.list().try_collect().await.unwrap();
        all.iter().map(|one| one.name.split('/').nth(1).unwrap().parse().unwrap()).collect()
    }

    /// Checks that no file is missing or unreferenced.
    async fn is_clean(&self) {
        let audited = audit(&**self.log.raw(), &*self.media, (now(), TimeDelta::zero()), &|_, _| ()).await;
        let audited = audited.unwrap();
        assert!(audited.is_clean(), "{audited:?}");
    }
}

fn media_of(images: &[Image]) -> BTreeSet<MediaId> {
    images.iter().map(|image| image.media).collect()
}

#[tokio::test]
async fn files_of_deleted_replaced_or_expired_pictures_are_deleted() {
    let world = World::new().await;
    let worker = world.worker("views.db").await;
    let (gone, _) = world.post(ANN, 3).await;
    let (_, kept) = world.post(ANN, 2).await;
    let _old_photo = world.photo(ANN).await;
    let photo = world.photo(ANN).await;
    let _removed = world.photo(BOB).await;
    let (deleted, _) = world.story(ANN).await;
    let (expired, _) = world.story(ANN).await;
    let (_, story) = world.story(BOB).await;
    world.append(PostDeleted { post: gone, author: ANN }).await;
    world.append(PhotoRemoved { user: BOB }).await;
    world.append(StoryDeleted { author: ANN, story: deleted }).await;
    let last = world.append(StoryExpired { author: ANN, story: expired }).await;
    worker.passes(last).await;
    let left = media_of(&[&kept[..], &[photo, story]].concat());
    assert_eq!(world.stored().await, left);
    world.is_clean().await;
    worker.statuses.ready().unwrap();
    worker.stop().await;

    // With an empty view store the reaction processes the log again, and deletes no claimed picture.
    let worker = world.worker("empty.db").await;
    worker.passes(last).await;
    assert_eq!(world.stored().await, left);
    assert_eq!(worker.store.parked(media::NAME, 10).await.unwrap(), []);
    worker.stop().await;
}

#[tokio::test]
async fn erasure_deletes_all_files_of_the_user_and_no_others() {
    let world = World::new().await;
    let _hers = (world.post(ANN, 2).await, world.photo(ANN).await, world.story(ANN).await);
    let ((_, mut his), photo) = (world.post(BOB, 2).await, world.photo(BOB).await);
    his.push(photo);
    let erased = world.append(Erased { user: ANN }).await;
    let worker = world.worker("views.db").await;
    worker.passes(erased).await;
    assert_eq!(world.stored().await, media_of(&his));
    world.is_clean().await;
    worker.stop().await;
}

#[tokio::test]
async fn old_unclaimed_uploads_are_collected() {
    let world = World::new().await;
    let (_, claimed) = world.post(ANN, 2).await;
    let photo = world.photo(ANN).await;
    let (deleted, images) = world.post(BOB, 1).await;
    world.append(PostDeleted { post: deleted, author: BOB }).await;
    let unclaimed = world.upload(ImageVariant::OF_POST).await;
    // The result of a crash between the files of a picture.
    let cut_off = world.folder.path().join(format!("media/images/{}", EventId::new(any_id())));
    std::fs::create_dir_all(&cut_off).unwrap();
    std::fs::write(cut_off.join(".part-x"), "x").unwrap();

    let young = collect(&**world.log.raw(), &*world.media, now(), Limit::Share).await.unwrap();
    assert_eq!(young, Collected::default());
    let later = now() + SAFE_AGE + TimeDelta::minutes(1);
    let Collected { checked, deleted } =
        collect(&**world.log.raw(), &*world.media, later, Limit::Share).await.unwrap();
    let half: MediaId = cut_off.file_name().unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(checked, 6);
    assert_eq!(
        deleted.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([images[0].media, unclaimed.media, half])
    );
    assert_eq!(world.stored().await, media_of(&[&claimed[..], &[photo]].concat()));
    world.is_clean().await;
}

#[tokio::test]
async fn truncated_log_is_refused_unless_accepted_and_views_ahead_of_it_always() {
    let world = World::new().await;
    let store = SqliteViews::open(&world.folder.path().join("views.db"), views::all()).await.unwrap();
    let refuse = async |accepted| refuse_lost_events(&world.log, &store, &*world.media, accepted).await;
    refuse(false).await.unwrap();
    world.upload(ImageVariant::OF_POST).await;
    let refused = refuse(false).await.unwrap_err();
    assert!(matches!(refused, LostEvents::Media { .. }), "{refused}");
    assert!(refused.to_string().contains("--accept-lost-events"), "{refused}");
    refuse(true).await.unwrap();
    world.post(ANN, 1).await;
    refuse(false).await.unwrap();
    let commit = |checkpoint| Commit {
        projection: "posts",
        writes: Arc::default(),
        parked: Vec::new(),
        expected: checkpoint - 1,
        checkpoint,
    };
    store.commit(commit(1)).await.unwrap();
    refuse(false).await.unwrap();
    store.commit(commit(2)).await.unwrap();
    for accepted in [false, true] {
        let refused = refuse(accepted).await.unwrap_err();
        let expected = matches!(&refused, LostEvents::Views { head: 1, of, checkpoint: 2 } if of == "posts");
        assert!(expected && refused.to_string().contains("delete the views"), "{refused}");
    }
}

#[tokio::test]
async fn collection_above_the_limit_deletes_nothing() {
    let world = World::new().await;
    let (_, claimed) = world.post(ANN, 2).await;
    let folder = world.folder.path().join("media/images");
    for _ in 0..21 {
        let picture = folder.join(EventId::new(any_id()).to_string());
        std::fs::create_dir_all(&picture).unwrap();
        std::fs::write(picture.join("feed.jpg"), "x").unwrap();
    }
    let later = now() + SAFE_AGE + TimeDelta::minutes(1);
    let collect = async |limit| collect(&**world.log.raw(), &*world.media, later, limit).await;
    for limit in [Limit::Share, Limit::Files(20)] {
        let refused = collect(limit).await.unwrap_err();
        assert!(
            matches!(refused, MediaFailed::TooMany { unclaimed: 21, stored: 23, allowed: 20 }),
            "{refused}"
        );
        assert!(refused.to_string().contains("chorus media clean --limit 21"), "{refused}");
    }
    assert_eq!(world.stored().await.len(), 23);
    let Collected { checked, deleted } = collect(Limit::Files(21)).await.unwrap();
    assert_eq!((checked, deleted.len()), (23, 21));
    assert_eq!(world.stored().await, media_of(&claimed));
}

#[tokio::test]
async fn files_of_a_removed_post_are_kept_while_it_is_restorable() {
    let world = World::new().await;
    let worker = world.worker("views.db").await;
    let ((removed, files), (restored, kept)) = (world.post(ANN, 2).await, world.post(ANN, 1).await);
    for post in [removed, restored] {
        let reason = Personal::Open("spam".to_owned());
        world.append(ContentRemoved { content: Content::Post { post }, author: ANN, reason }).await;
    }
    let last = world.append(ContentRestored { content: Content::Post { post: restored }, author: ANN }).await;
    worker.passes(last).await;
    let all = media_of(&[&files[..], &kept].concat());
    let (log, media) = (&**world.log.raw(), &*world.media);
    let still_reversible = now() + TimeDelta::days(30);
    collect(log, media, still_reversible, Limit::Share).await.unwrap();
    assert_eq!(world.stored().await, all);
    world.is_clean().await;
    let over = now() + TimeDelta::days(31) + TimeDelta::minutes(1);
    // The audit is clean before the files are collected.
    assert!(audit(log, media, (over, TimeDelta::zero()), &|_, _| ()).await.unwrap().is_clean());
    let Collected { deleted, .. } = collect(log, media, over, Limit::Share).await.unwrap();
    assert_eq!(deleted.into_iter().collect::<BTreeSet<_>>(), media_of(&files));
    assert_eq!(world.stored().await, media_of(&kept));
    assert!(audit(log, media, (over, TimeDelta::zero()), &|_, _| ()).await.unwrap().is_clean());
    worker.stop().await;
}

/// A song with its stored audio, by Ann.
fn song(song: SongId, cover: Option<Image>) -> SongPublished {
    let hash = AudioHash::new([7; 32]);
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
        media: audio_media_id(&hash),
        hash,
        format: AudioFormat::Wav,
        duration: 31_000,
        bit_rate: 64_000,
        sample_rate: 8000,
        channels: 1,
        size: 1,
        replay_gain: None,
    };
    SongPublished { song, publisher: ANN, details, file, cover }
}

#[tokio::test]
async fn claimed_covers_are_kept_and_the_others_are_deleted() {
    let world = World::new().await;
    let worker = world.worker("views.db").await;
    let cover = async || world.upload(ImageVariant::OF_COVER).await;
    let (artist, album) = (ArtistId::new(any_id()), AlbumId::new(any_id()));
    let (kept, removed) = (SongId::new(any_id()), SongId::new(any_id()));
    let [first, portrait, of_album, own, restorable] =
        [cover().await, cover().await, cover().await, cover().await, cover().await];
    world.append(ArtistImageChanged { artist, image: Some(first) }).await;
    world.append(ArtistImageChanged { artist, image: Some(portrait) }).await;
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
    world.append(AlbumAdded { album, details, cover: Some(cover().await) }).await;
    world.append(AlbumCoverChanged { album, cover: Some(of_album) }).await;
    world.append(AlbumRemoved { album }).await;
    world.append(song(kept, Some(cover().await))).await;
    world.append(SongCoverChanged { song: kept, cover: None }).await;
    world.append(SongCoverChanged { song: kept, cover: Some(own) }).await;
    world.append(song(removed, Some(restorable))).await;
    world.append(SongRemoved { song: removed }).await;
    let audio = song(kept, None).file;
    world.media.put(&MediaKey::parse(&audio.key()).unwrap(), Bytes::from_static(b"x")).await.unwrap();
    // Covers of the catalogue outlive the account that published them.
    let last = world.append(Erased { user: ANN }).await;
    worker.passes(last).await;
    let mut left = media_of(&[portrait, of_album, own, restorable]);
    left.insert(audio.media);
    assert_eq!(world.stored().await, left);
    world.is_clean().await;

    let unclaimed = cover().await;
    let (log, media) = (&**world.log.raw(), &*world.media);
    let later = now() + SAFE_AGE + TimeDelta::minutes(1);
    let Collected { deleted, .. } = collect(log, media, later, Limit::Share).await.unwrap();
    assert_eq!(deleted, [unclaimed.media]);
    assert_eq!(world.stored().await, left);
    let over = now() + TimeDelta::days(31) + TimeDelta::minutes(1);
    assert!(audit(log, media, (over, TimeDelta::zero()), &|_, _| ()).await.unwrap().is_clean());
    let Collected { deleted, .. } = collect(log, media, over, Limit::Share).await.unwrap();
    assert_eq!(deleted, [restorable.media]);
    worker.stop().await;
}

#[tokio::test]
async fn audio_is_deleted_when_no_song_can_have_it_any_more() {
    let world = World::new().await;
    let (one, two) = (SongId::new(any_id()), SongId::new(any_id()));
    let file = song(one, None).file;
    let put = async |media: MediaId| {
        let key = MediaKey::parse(&AudioFile { media, ..file }.key()).unwrap();
        world.media.put(&key, Bytes::from_static(b"x")).await.unwrap();
    };
    let (log, media) = (&**world.log.raw(), &*world.media);
    let on = |days: i64| now() + TimeDelta::days(days) + TimeDelta::minutes(1);
    let collect_on = async |days| collect(log, media, on(days), Limit::Share).await.unwrap().deleted;
    put(file.media).await;
    for song_id in [one, two] {
        world.append(AudioClaimed { audio: file.media, song: song_id }).await;
        world.append(song(song_id, None)).await;
    }
    world.append(SongRemoved { song: one }).await;
    assert_eq!(collect_on(40).await, [], "the other song has it");
    world.append(SongRemoved { song: two }).await;
    assert_eq!(collect_on(30).await, [], "it can be restored");
    world.append_at(SongRestored { song: two }, on(29)).await;
    assert_eq!(collect_on(40).await, [], "it was restored");
    world.append_at(SongRemoved { song: two }, on(29)).await;
    // A third song is being published at this moment.
    world.append_at(AudioClaimed { audio: file.media, song: SongId::new(any_id()) }, on(60)).await;
    assert_eq!(collect_on(60).await, [], "it was claimed");
    world.is_clean().await;
    let audited = audit(log, media, (on(61), TimeDelta::zero()), &|_, _| ()).await.unwrap();
    assert!(audited.is_clean(), "the next collection deletes it: {audited:?}");
    assert_eq!(collect_on(61).await, [file.media]);
    assert_eq!(world.stored().await, BTreeSet::new());
    let events = log.read(Subject::Audio(file.media), Position::START).await.unwrap();
    assert_eq!(events.last().unwrap().message.envelope.event_type, "audio.released.v1");

    // A collection that ended before it deleted the file is continued. Orphans of publications that failed are deleted, too.
    put(file.media).await;
    let orphan = MediaId::new(any_id());
    put(orphan).await;
    let deleted: BTreeSet<MediaId> = collect_on(62).await.into_iter().collect();
    assert_eq!(deleted, BTreeSet::from([file.media, orphan]));
    let after = log.read(Subject::Audio(file.media), Position::START).await.unwrap();
    assert_eq!(after.len(), events.len(), "it is released once");
}

#[tokio::test]
async fn outage_of_the_media_store_is_retried() {
    let server = MotoServer::start().await.unwrap();
    let proxy = FaultProxy::to(server.port()).await.unwrap();
    let by_proxy =
        server.media_url("media").replace(&server.endpoint(), &format!("http://127.0.0.1:{}", proxy.port()));
    let media = ::media::open(&by_proxy).await.unwrap();
    let world = World::with(tempfile::tempdir().unwrap(), media).await;
    let (post, _) = world.post(ANN, 1).await;
    let (_, kept) = world.post(BOB, 1).await;
    let worker = world.worker("views.db").await;
    worker.passes(2).await;
    proxy.cut();
    let deleted = world.append(PostDeleted { post, author: ANN }).await;
    // An event without an effect does not pass it either.
    let last = world.append(PhotoRemoved { user: BOB }).await;
    found(LIMIT, "it waits", async || {
        let state = worker.statuses.all()[media::NAME].clone();
        (state == ProjectionState::Following(2)).then_some(())
    })
    .await;
    proxy.restore();
    worker.passes(last).await;
    assert!(last > deleted);
    assert_eq!(world.stored().await, media_of(&kept));
    assert_eq!(worker.store.parked(media::NAME, 10).await.unwrap(), []);
    worker.stop().await;
}

/// A store that refuses to delete one folder, for example because of wrong permissions.
#[derive(Debug)]
struct Stubborn {
    store: FileMedia,
    keeps: std::sync::Mutex<Option<MediaKey>>,
}

#[async_trait]
impl MediaStore for Stubborn {
    async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError> {
        self.store.put(key, content).await
    }

    async fn put_file(&self, key: &MediaKey, file: &std::path::Path) -> Result<(), MediaError> {
        self.store.put_file(key, file).await
    }

    async fn get(&self, key: &MediaKey, part: Option<Part>) -> Result<Option<MediaObject>, MediaError> {
        self.store.get(key, part).await
    }

    async fn size(&self, key: &MediaKey) -> Result<Option<u64>, MediaError> {
        self.store.size(key).await
    }

    async fn delete(&self, key: &MediaKey) -> Result<(), MediaError> {
        self.store.delete(key).await
    }

    async fn delete_below(&self, folder: &MediaKey) -> Result<(), MediaError> {
        if self.keeps.lock().unwrap().as_ref() == Some(folder) {
            return Err(MediaError::Unavailable("access denied".into()));
        }
        self.store.delete_below(folder).await
    }

    fn list(&self) -> Listing {
        self.store.list()
    }

    async fn link(&self, key: &MediaKey, valid: Duration) -> Result<Option<String>, MediaError> {
        self.store.link(key, valid).await
    }

    async fn check(&self) -> Result<(), MediaError> {
        self.store.check().await
    }
}

#[tokio::test]
async fn failed_deletion_is_parked_and_collected_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileMedia::open(&folder.path().join("media")).unwrap();
    let stubborn = Arc::new(Stubborn { store, keeps: std::sync::Mutex::default() });
    let world = World::with(folder, Arc::<Stubborn>::clone(&stubborn)).await;
    let (kept, images) = world.post(ANN, 1).await;
    let (other, _) = world.post(ANN, 1).await;
    *stubborn.keeps.lock().unwrap() = MediaKey::parse(&format!("images/{}", images[0].media));
    let position = world.append(PostDeleted { post: kept, author: ANN }).await;
    let last = world.append(PostDeleted { post: other, author: ANN }).await;
    let worker = world.worker("views.db").await;
    worker.passes(last).await;
    assert_eq!(world.stored().await, media_of(&images));
    let parked = worker.store.parked(media::NAME, 10).await.unwrap();
    let [parked] = parked.as_slice() else { panic!("{parked:?}") };
    assert_eq!((parked.position, parked.event_type.as_str()), (position, "post.deleted.v1"));
    assert!(parked.error.contains("access denied"), "{parked:?}");
    worker.statuses.ready().unwrap();
    worker.stop().await;

    *stubborn.keeps.lock().unwrap() = None;
    let later = now() + SAFE_AGE + TimeDelta::minutes(1);
    collect(&**world.log.raw(), &*world.media, later, Limit::Share).await.unwrap();
    assert_eq!(world.stored().await, BTreeSet::new());
}
