//! The analysis of songs on a real log, view store and media store, with a program that behaves like a decoder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audio::Analyser;
use bytes::Bytes;
use events::{
    ArtistCredit, ArtistId, AudioAnalysis, AudioFile, AudioFormat, AudioHash, CreditRole, Draft, Event,
    EventId, MasterKeys, MediaId, MusicEvent, Position, SealedLog, SongDetails, SongEvent, SongId,
    SongPublished, SongVisibility, Subject, UserId, open_sealed,
};
use media::{FileMedia, MediaKey, MediaStore};
use projector::reactions::analyses;
use projector::{ProjectionState, Statuses};
use service::clock;
use service::shutdown::Tasks;
use tests::waiting::found;
use uuid::Uuid;
use views::{SqliteViews, ViewStore};

const LIMIT: Duration = Duration::from_mins(1);
/// Crashes on a file with this text, and measures others. It counts its runs.
const CRASHING: &str = "crash";
const DECODER: &str = r#"#!/bin/sh
echo run >>"$(dirname "$0")/runs"
grep -q crash "$3" && kill -SEGV $$
echo '{"found":{"loudness":-14.5,"peak":-1.0,"waveform":[1,2]}}'
"#;

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

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let setting = format!("sqlite:{}", folder.path().join("events.db").display());
        let log = open_sealed(&setting, None, &keys).await.unwrap();
        std::fs::write(folder.path().join("decoder"), DECODER).unwrap();
        let rights = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder.path().join("decoder"), rights).unwrap();
        let media = Arc::new(FileMedia::open(&folder.path().join("media")).unwrap());
        Self { log, media, folder }
    }

    /// Publishes a song, with this content of its file if it has one.
    async fn publish(&self, content: Option<&str>) -> SongId {
        let song = SongId::new(any_id());
        let file = AudioFile {
            media: MediaId::new(any_id()),
            hash: AudioHash::new([1; 32]),
            format: AudioFormat::Flac,
            duration: 200_000,
            bit_rate: 800_000,
            sample_rate: 44_100,
            channels: 2,
            size: 20_000_000,
            replay_gain: None,
        };
        if let Some(content) = content {
            let key = MediaKey::parse(&file.key()).unwrap();
            self.media.put(&key, Bytes::from(content.to_owned())).await.unwrap();
        }
        let details = SongDetails {
            title: "Dawn".into(),
            artists: vec![ArtistCredit { artist: ArtistId::new(any_id()), role: CreditRole::Main }],
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
        let publisher = UserId::new(any_id());
        let draft = Draft {
            id: EventId::new(any_id()),
            time: clock::system().now(),
            actor: None,
            correlation: any_id(),
            causation: None,
            traceparent: None,
            event: SongPublished { song, publisher, details, file, cover: None }.into(),
        };
        self.log.append(draft, Position::START).await.unwrap();
        song
    }

    /// A worker with a view store of this name.
    async fn worker(&self, views: &str) -> Worker {
        let path = self.folder.path().join(views);
        let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&path, views::all()).await.unwrap());
        let tasks = Tasks::default();
        let parts = analyses::Parts {
            log: self.log.clone(),
            store: Arc::clone(&store),
            media: Arc::clone(&self.media),
            clock: clock::system(),
            folder: self.folder.path().to_owned(),
            analyser: Analyser::of(self.folder.path().join("decoder"), LIMIT),
        };
        let statuses = analyses::run(parts, &tasks);
        Worker { tasks, store, statuses }
    }

    /// The outcomes of a song's analyses.
    async fn analyses(&self, song: SongId) -> Vec<AudioAnalysis> {
        let events = self.log.read(Subject::Song(song), Position::START).await.unwrap();
        let outcomes = events.into_iter().filter_map(|recorded| match recorded.event {
            Event::Music(MusicEvent::Song(SongEvent::SongAnalysed(event))) => Some(event.analysis),
            _ => None,
        });
        outcomes.collect()
    }

    fn runs(&self) -> usize {
        let runs: PathBuf = self.folder.path().join("runs");
        std::fs::read_to_string(runs).unwrap_or_default().lines().count()
    }
}

impl Worker {
    /// Waits until the reaction has passed the head, and stops it.
    async fn finish(self, world: &World) -> Arc<dyn ViewStore> {
        let head = world.log.raw().head().await.unwrap().0;
        found(LIMIT, "the reaction has passed the head", async || {
            match self.statuses.all()[analyses::NAME] {
                ProjectionState::Following(passed) => (passed >= head).then_some(()),
                ProjectionState::Starting => None,
                ref other => panic!("{other:?}"),
            }
        })
        .await;
        assert!(self.tasks.stop().await, "a task did not end");
        self.store
    }
}

fn measured() -> AudioAnalysis {
    AudioAnalysis::Measured { loudness: -14.5, peak: -1.0, waveform: vec![1, 2] }
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_crashes_the_decoder_is_given_up_and_blocks_no_other() {
    let world = World::new().await;
    let first = world.publish(Some("music")).await;
    let crashing = world.publish(Some(CRASHING)).await;
    let last = world.publish(Some("more music")).await;
    world.worker("views.db").await.finish(&world).await;
    assert_eq!(world.analyses(first).await, [measured()]);
    assert_eq!(world.analyses(crashing).await, [AudioAnalysis::Unsupported]);
    assert_eq!(world.analyses(last).await, [measured()]);
    // The crashing one three times.
    assert_eq!(world.runs(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_view_store_repeats_no_analysis() {
    let world = World::new().await;
    let song = world.publish(Some("music")).await;
    world.worker("views.db").await.finish(&world).await;
    world.worker("other.db").await.finish(&world).await;
    assert_eq!((world.analyses(song).await, world.runs()), (vec![measured()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn song_without_a_file_is_parked() {
    let world = World::new().await;
    let missing = world.publish(None).await;
    let song = world.publish(Some("music")).await;
    let store = world.worker("views.db").await.finish(&world).await;
    assert_eq!((world.analyses(missing).await, world.analyses(song).await), (Vec::new(), vec![measured()]));
    let parked = store.parked(analyses::NAME, 10).await.unwrap();
    assert_eq!(parked.len(), 1);
    assert!(parked[0].error.contains("has no file songs/"), "{}", parked[0].error);
}
