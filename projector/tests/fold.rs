//! The fast fold beside the runner: unprocessable events, a log that is only read, progress and interruption.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use events::{
    Draft, Envelope, Event, EventId, KeyRing, Kind, LikeEvent, MasterKeys, Message, Opened, Position, PostId,
    PostLiked, Recorded, SealedLog, SessionId, SocialEvent, Subject, UserId, open_read_only, open_sealed,
};
use projector::accounts::Sessions;
use projector::fold::{Family, FoldError, FoldOptions, FoldReport, Stop, fold};
use projector::social::Posts;
use projector::{OnFailure, Projection, ProjectionState, Projector, run};
use service::shutdown::Tasks;
use tests::waiting;
use uuid::Uuid;
use views::{SqliteViews, StoreError, View, ViewStore, Writes};

const LIMIT: Duration = Duration::from_secs(30);
const CACHE: usize = 1 << 20;
const POST: PostId = PostId::new(Uuid::from_u128(0x90));

const fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(n))
}

struct World {
    log: SealedLog,
    keys: MasterKeys,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let log = open_sealed(&setting(&folder), None, &keys).await.unwrap();
        Self { log, keys, folder }
    }

    async fn like(&self, n: u128) -> u64 {
        let event = Event::from(PostLiked { post: POST, user: user(n), post_author: user(0) });
        let Envelope { id, time, actor, correlation, causation, traceparent, .. } =
            envelope(event.wire_name(), event.subject());
        let draft = Draft { id, time, actor, correlation, causation, traceparent, event };
        self.log.append(draft, Position::START).await.unwrap().0
    }

    async fn append_raw(&self, event_type: &'static str, subject: Subject) -> u64 {
        let message = Message { envelope: envelope(event_type, subject), body: "{}".into() };
        self.log.raw().append(&message, Position::START).await.unwrap().0
    }

    fn spoil(&self, event_type: &str, subject: Subject) {
        tests::contracts::log::spoil_on_sqlite(&self.folder.path().join("events.db"), event_type, subject);
    }

    async fn scratch(&self, name: &str) -> Arc<SqliteViews> {
        let path = self.folder.path().join(name);
        Arc::new(SqliteViews::create_scratch(&path, views::all().to_vec(), CACHE).await.unwrap())
    }

    async fn fold(
        &self,
        projection: Arc<dyn Projection>,
        store: &Arc<SqliteViews>,
        to: u64,
    ) -> Result<FoldReport, FoldError> {
        let family = Family { projection, store: Arc::clone(store) as Arc<dyn ViewStore> };
        fold(&self.log, &[family], Position(to), &FoldOptions::default(), &|_| {}).await
    }
}

fn setting(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("events.db").display())
}

fn envelope(event_type: &'static str, subject: Subject) -> Envelope {
    Envelope {
        id: EventId::new(Uuid::from_u128(rand::random())),
        event_type: event_type.into(),
        source: "test".into(),
        time: DateTime::UNIX_EPOCH,
        subject,
        actor: None,
        correlation: Uuid::from_u128(rand::random()),
        causation: None,
        traceparent: None,
    }
}

/// The posts projection, which panics at the event of one user, and may be slow.
#[derive(Default)]
struct Defective {
    pause: Duration,
}

impl Projection for Defective {
    fn name(&self) -> &'static str {
        Posts.name()
    }

    fn kinds(&self) -> &'static [Kind] {
        Posts.kinds()
    }

    fn on_failure(&self) -> OnFailure {
        Posts.on_failure()
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        Posts.reads(recorded)
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        if let Event::Social(SocialEvent::Like(LikeEvent::PostLiked(liked))) = &recorded.event {
            assert_ne!(liked.user, user(5), "a defect at one event");
        }
        std::thread::sleep(self.pause);
        Posts.project(recorded, writes)
    }
}

async fn likes(store: &dyn ViewStore) -> Vec<String> {
    let found = store.scan(&views::social::likes::VIEW, None, 100).await.unwrap();
    found.iter().map(|document| document.read::<serde_json::Value>().unwrap().to_string()).collect()
}

#[tokio::test]
async fn fold_parks_the_events_that_the_runner_parks() {
    let world = World::new().await;
    for n in 1..=3 {
        world.like(n).await;
    }
    world.append_raw("like.liked.v1", Subject::Like(POST, user(4))).await;
    for n in 5..=7 {
        world.like(n).await;
    }
    world.spoil("like.liked.v1", Subject::Like(POST, user(8)));
    world
        .append_raw("story.deleted.v1", Subject::Story(user(0), events::StoryId::new(Uuid::from_u128(1))))
        .await;
    let head = world.log.raw().head().await.unwrap().0;

    let live: Arc<dyn ViewStore> =
        Arc::new(SqliteViews::open(&world.folder.path().join("views.db"), views::all()).await.unwrap());
    let (tasks, name) = (Tasks::default(), Posts.name());
    let projector = Projector { log: world.log.clone(), store: Arc::clone(&live) };
    let statuses = run(&projector, vec![Arc::new(Defective::default())], &tasks);
    waiting::found(LIMIT, "the runner has passed everything", async || {
        let passed = matches!(statuses.all()[name], ProjectionState::Following(at) if at >= head);
        passed.then_some(())
    })
    .await;
    tasks.stop().await;

    let scratch = world.scratch("scratch.db").await;
    let report = world.fold(Arc::new(Defective::default()), &scratch, head).await.unwrap();
    assert_eq!((report.events, report.families[name].parked), (8, 3));
    assert_eq!(likes(&*scratch).await, likes(&*live).await);
    assert_eq!(scratch.checkpoint(name).await.unwrap(), head);
    let (ours, theirs) = (scratch.parked(name, 10).await.unwrap(), live.parked(name, 10).await.unwrap());
    assert_eq!(ours[..2], theirs[..2]);
    assert_eq!(
        (ours[2].position, &ours[2].event_type, ours.len()),
        (theirs[2].position, &theirs[2].event_type, theirs.len())
    );
}

#[tokio::test]
async fn fold_stops_where_a_view_must_not_miss_an_event_and_names_the_position() {
    let world = World::new().await;
    let before = world.like(1).await;
    let newer = world.append_raw("like.adored.v1", Subject::Like(POST, user(2))).await;
    let session = Subject::Session(user(3), SessionId::new(Uuid::from_u128(0x5e)));
    let broken = world.append_raw("session.started.v1", session).await;
    let scratch = world.scratch("scratch.db").await;
    let stopped = world.fold(Arc::new(Posts), &scratch, broken).await;
    let Err(FoldError::Stopped(stops)) = stopped else { panic!("{stopped:?}") };
    let [Stop { projection, position, event_type, .. }] = stops.as_slice() else { panic!("{stops:?}") };
    assert_eq!((*projection, position.0, event_type.as_str()), ("posts", newer, "like.adored.v1"));
    assert_eq!(scratch.checkpoint("posts").await.unwrap(), before);
    let stopped = world.fold(Arc::new(Sessions), &scratch, broken).await.unwrap_err().to_string();
    assert!(stopped.starts_with(&format!("sessions stops at position {broken}")), "{stopped}");

    let beyond = world.fold(Arc::new(Posts), &scratch, broken + 1).await;
    assert!(matches!(beyond, Err(FoldError::BeyondEnd { .. })), "{beyond:?}");
}

#[tokio::test]
async fn fold_that_fails_has_ended_for_all_families() {
    let world = World::new().await;
    let session = Subject::Session(user(3), SessionId::new(Uuid::from_u128(0x5e)));
    world.append_raw("session.started.v1", session).await;
    for n in 10..20 {
        world.like(n).await;
    }
    let head = world.append_raw("like.adored.v1", Subject::Like(POST, user(20))).await;
    let (sessions, posts) = (world.scratch("sessions.db").await, world.scratch("posts.db").await);
    let slow = Defective { pause: Duration::from_millis(10) };
    let families = [
        Family { projection: Arc::new(Sessions), store: sessions },
        Family { projection: Arc::new(slow), store: posts.clone() as Arc<dyn ViewStore> },
    ];
    let options = FoldOptions { workers: 2, ..FoldOptions::default() };
    let failed = fold(&world.log, &families, Position(head), &options, &|_| {}).await;
    let Err(FoldError::Stopped(stops)) = failed else { panic!("{failed:?}") };
    let stopped: Vec<&str> = stops.iter().map(|stop| stop.projection).collect();
    // Both: a build of the others need not find out one by one.
    assert_eq!(stopped, ["sessions", "posts"]);
    // Of this test and of its family: no thread has it any more.
    assert_eq!(Arc::strong_count(&posts), 2);
}

#[tokio::test]
async fn fold_reads_a_log_that_is_opened_to_be_read_only_and_reports_progress() {
    let world = World::new().await;
    for n in 1..=20 {
        world.like(n).await;
    }
    let Opened { log, vault } = open_read_only(&setting(&world.folder), None).await.unwrap();
    let keys = KeyRing::open_existing(vault, world.keys.clone()).await.unwrap();
    let log = SealedLog::new(log, Arc::new(keys));
    let scratch = world.scratch("scratch.db").await;
    let family = Family { projection: Arc::new(Posts), store: scratch.clone() as Arc<dyn ViewStore> };
    let options = FoldOptions { batch: 3, ..FoldOptions::default() };
    let seen = Mutex::new(Vec::new());
    let watch = |progress: projector::fold::FoldProgress| seen.lock().unwrap().push(progress);
    fold(&log, std::slice::from_ref(&family), Position(10), &options, &watch).await.unwrap();
    assert_eq!((likes(&*scratch).await.len(), scratch.checkpoint("posts").await.unwrap()), (10, 10));
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.position), "{seen:?}");
    let last = seen.last().unwrap();
    assert_eq!((last.position, last.target, last.left), (Position(10), Position(10), Some(Duration::ZERO)));
    // It goes on from there, and has nothing to do at an earlier position.
    for (to, events) in [(20, 10), (15, 0)] {
        let report =
            fold(&log, std::slice::from_ref(&family), Position(to), &options, &|_| {}).await.unwrap();
        assert_eq!((report.events, scratch.checkpoint("posts").await.unwrap()), (events, 20));
    }
}

#[tokio::test]
async fn fold_that_is_dropped_leaves_a_checkpoint_to_go_on_from() {
    let world = World::new().await;
    for n in 1..=50 {
        world.like(n).await;
    }
    let scratch = world.scratch("scratch.db").await;
    let family = Family { projection: Arc::new(Posts), store: scratch.clone() as Arc<dyn ViewStore> };
    let options = FoldOptions { batch: 1, ..FoldOptions::default() };
    let (reached, progress) = tokio::sync::watch::channel(Position::START);
    {
        let watch = |seen: projector::fold::FoldProgress| {
            reached.send_replace(seen.position);
        };
        let folding = fold(&world.log, std::slice::from_ref(&family), Position(50), &options, &watch);
        let mut progress = progress.clone();
        tokio::select! {
            done = folding => panic!("it was not interrupted: {done:?}"),
            seen = progress.wait_for(|position| position.0 >= 5) => drop(seen.unwrap()),
        }
    }
    let stopped = waiting::found(LIMIT, "its thread has ended", async || {
        (Arc::strong_count(&scratch) == 2).then_some(())
    });
    stopped.await;
    let checkpoint = scratch.checkpoint("posts").await.unwrap();
    assert!((5..50).contains(&checkpoint), "{checkpoint}");
    let report = world.fold(Arc::new(Posts), &scratch, 50).await.unwrap();
    assert_eq!((report.events, likes(&*scratch).await.len()), (50 - checkpoint, 50));
}
