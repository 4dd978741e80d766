//! The runner on a real log and view store: unprocessable events, and a second worker.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::DateTime;
use events::{
    Draft, Envelope, Event, EventId, Kind, LikeEvent, MasterKeys, Message, Personal, Position, PostId,
    PostLiked, PostPublished, PostText, PostUnliked, Recorded, SealedLog, SessionId, SocialEvent, Subject,
    UserId, open_sealed,
};
use projector::accounts::Sessions;
use projector::social::Posts;
use projector::{OnFailure, Projection, ProjectionState, Projector, Statuses, run};
use service::shutdown::Tasks;
use tests::waiting::{self, found};
use uuid::Uuid;
use views::social::posts::Post;
use views::{Parked, SqliteViews, StoreError, View, ViewStore, ViewStoreExt, Writes};

/// Timeout of waiting for a state.
const LIMIT: Duration = Duration::from_secs(30);

const POST: PostId = PostId::new(Uuid::from_u128(0x90));
const AUTHOR: UserId = user(0);

const fn user(n: u128) -> UserId {
    UserId::new(Uuid::from_u128(n))
}

struct World {
    log: SealedLog,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let setting = format!("sqlite:{}", folder.path().join("events.db").display());
        Self { log: open_sealed(&setting, None, &keys).await.unwrap(), folder }
    }

    /// With its own store, like another process.
    async fn worker(&self, projection: impl Projection) -> Worker {
        let store: Arc<dyn ViewStore> =
            Arc::new(SqliteViews::open(&self.folder.path().join("views.db"), views::all()).await.unwrap());
        let (name, tasks) = (projection.name(), Tasks::default());
        let projector = Projector { log: self.log.clone(), store: store.clone() };
        let statuses = run(&projector, vec![Arc::new(projection)], &tasks);
        Worker { name, store, tasks, statuses }
    }

    async fn append(&self, event: impl Into<Event>, expected: u64) -> u64 {
        let event = event.into();
        let Envelope { id, time, actor, correlation, causation, traceparent, .. } =
            envelope(event.wire_name(), event.subject());
        let draft = Draft { id, time, actor, correlation, causation, traceparent, event };
        self.log.append(draft, Position(expected)).await.unwrap().0
    }

    async fn like(&self, n: u128) -> u64 {
        self.append(PostLiked { post: POST, user: user(n), post_author: AUTHOR }, 0).await
    }

    fn spoil(&self, event_type: &str, subject: Subject) {
        tests::contracts::log::spoil_on_sqlite(&self.folder.path().join("events.db"), event_type, subject);
    }

    /// Appends an event that this version of the program does not write.
    async fn append_raw(&self, event_type: &'static str, subject: Subject, body: &'static str) -> u64 {
        let message = Message { envelope: envelope(event_type, subject), body: body.into() };
        self.log.raw().append(&message, Position::START).await.unwrap().0
    }
}

fn any_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

fn envelope(event_type: &'static str, subject: Subject) -> Envelope {
    Envelope {
        id: EventId::new(any_id()),
        event_type: event_type.into(),
        source: "test".into(),
        time: DateTime::UNIX_EPOCH,
        subject,
        actor: None,
        correlation: any_id(),
        causation: None,
        traceparent: None,
    }
}

struct Worker {
    name: &'static str,
    store: Arc<dyn ViewStore>,
    tasks: Tasks,
    statuses: Statuses,
}

impl Worker {
    fn state(&self) -> ProjectionState {
        self.statuses.all()[self.name].clone()
    }

    async fn waits_for(&self, what: impl Fn(&ProjectionState) -> bool) -> ProjectionState {
        let asked = || {
            let state = self.state();
            std::future::ready(Ok::<_, Infallible>(what(&state).then_some(state)))
        };
        let Ok(reached) = waiting::answer(LIMIT, asked).await;
        reached.unwrap_or_else(|| panic!("it is {:?}", self.state()))
    }

    async fn has_passed(&self, position: u64) {
        self.waits_for(|state| matches!(state, ProjectionState::Following(passed) if *passed >= position))
            .await;
    }

    /// The reason why it stopped.
    async fn has_stopped(&self) -> String {
        match self.waits_for(|state| matches!(state, ProjectionState::Stopped(_))).await {
            ProjectionState::Stopped(why) => why,
            state => panic!("{state:?}"),
        }
    }

    fn stands_by(&self) -> bool {
        matches!(self.state(), ProjectionState::Standby(_))
    }

    async fn likes(&self) -> u64 {
        self.store.sizes().await.unwrap()["likes"].documents
    }

    async fn parked(&self) -> Vec<Parked> {
        self.store.parked(self.name, 10).await.unwrap()
    }
}

#[tokio::test]
async fn unreadable_event_is_parked_with_its_error() {
    let world = World::new().await;
    world.like(1).await;
    let broken = world.append_raw("like.liked.v1", Subject::Like(POST, user(2)), r#"{"post":7}"#).await;
    let last = world.like(3).await;
    let worker = world.worker(Posts).await;
    worker.has_passed(last).await;
    assert_eq!(worker.likes().await, 2);
    let parked = worker.parked().await;
    let [Parked { position, event_type, error }] = parked.as_slice() else { panic!("{parked:?}") };
    assert_eq!((*position, event_type.as_str()), (broken, "like.liked.v1"));
    assert!(error.contains("expected an id"), "{error}");
    worker.statuses.ready().unwrap();
}

#[tokio::test]
async fn event_with_an_unreadable_envelope_is_parked() {
    let world = World::new().await;
    let before = world.like(1).await;
    world.spoil("like.liked.v1", Subject::Like(POST, user(2)));
    let last = world.like(3).await;
    let worker = world.worker(Posts).await;
    worker.has_passed(last).await;
    assert_eq!(worker.likes().await, 2);
    let parked = worker.parked().await;
    let [Parked { position, event_type, .. }] = parked.as_slice() else { panic!("{parked:?}") };
    assert_eq!((*position, event_type.as_str()), (before + 1, "like.liked.v1"));
}

#[tokio::test]
async fn strict_projection_stops_at_an_unreadable_envelope() {
    let world = World::new().await;
    let session = Subject::Session(AUTHOR, SessionId::new(Uuid::from_u128(0x5e)));
    world.spoil("session.started.v1", session);
    let worker = world.worker(Sessions).await;
    let why = worker.has_stopped().await;
    assert!(why.contains("session.started.v1"), "{why}");
    assert_eq!(worker.store.checkpoint(worker.name).await.unwrap(), 0);
}

/// The posts projection with injected defects.
struct Defective {
    /// Panics at the event of this user, in every attempt.
    at: Option<UserId>,
    /// Number of panics outside of any event.
    times: AtomicU32,
}

impl Projection for Defective {
    fn name(&self) -> &'static str {
        Posts.name()
    }

    fn views(&self) -> Vec<&'static str> {
        Posts.views()
    }

    fn kinds(&self) -> &'static [Kind] {
        Posts.kinds()
    }

    fn on_failure(&self) -> OnFailure {
        Posts.on_failure()
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let left = self.times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "a defect outside of any event");
        Posts.reads(recorded)
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        if let Event::Social(SocialEvent::Like(LikeEvent::PostLiked(liked))) = &recorded.event {
            assert_ne!(Some(liked.user), self.at, "a defect at one event");
        }
        Posts.project(recorded, writes)
    }
}

#[tokio::test]
async fn event_that_panics_a_projection_is_parked() {
    let world = World::new().await;
    world.like(1).await;
    let defect = world.like(2).await;
    let last = world.like(3).await;
    let worker = world.worker(Defective { at: Some(user(2)), times: AtomicU32::new(0) }).await;
    worker.has_passed(last).await;
    assert_eq!(worker.likes().await, 2);
    let parked = worker.parked().await;
    let [Parked { position, error, .. }] = parked.as_slice() else { panic!("{parked:?}") };
    assert_eq!(*position, defect);
    assert!(error.contains("it panicked") && error.contains("a defect at one event"), "{error}");
}

#[tokio::test]
async fn panicked_projection_is_not_ready_and_restarts() {
    let world = World::new().await;
    let last = world.like(1).await;
    let worker = world.worker(Defective { at: None, times: AtomicU32::new(1) }).await;
    let why = worker.has_stopped().await;
    assert!(why.contains("it panicked") && why.contains("a defect outside of any event"), "{why}");
    assert!(worker.statuses.ready().unwrap_err().contains("posts has stopped: it panicked"));
    worker.has_passed(last).await;
    worker.statuses.ready().unwrap();
    assert_eq!(worker.likes().await, 1);
}

#[tokio::test]
async fn strict_projection_stops_at_an_unprocessable_event() {
    let world = World::new().await;
    let session = Subject::Session(AUTHOR, SessionId::new(Uuid::from_u128(0x5e)));
    let broken = world.append_raw("session.started.v1", session, "{}").await;
    let worker = world.worker(Sessions).await;
    let why = worker.has_stopped().await;
    assert!(why.contains("session.started.v1") && why.contains(&broken.to_string()), "{why}");
    assert_eq!(worker.store.checkpoint(worker.name).await.unwrap(), 0);
    assert_eq!(worker.parked().await, []);
    assert!(worker.statuses.ready().unwrap_err().contains("sessions"));
}

/// After a rollback of a deployment, the older program reads events of the newer one. Skipping them would lose them
/// for good.
#[tokio::test]
async fn event_of_a_newer_version_stops_every_projection() {
    let world = World::new().await;
    let before = world.like(1).await;
    let newer = world.append_raw("like.adored.v1", Subject::Like(POST, user(2)), "{}").await;
    world.like(3).await;
    let worker = world.worker(Posts).await;
    let why = worker.has_stopped().await;
    assert!(why.contains("like.adored.v1") && why.contains(&newer.to_string()), "{why}");
    assert_eq!(worker.store.checkpoint(worker.name).await.unwrap(), before);
    assert_eq!((worker.likes().await, worker.parked().await), (1, vec![]));
}

#[tokio::test]
async fn standby_worker_takes_over_when_the_first_stops() {
    let world = World::new().await;
    let (first, second) = (world.worker(Posts).await, world.worker(Posts).await);
    let text = Personal::Open(PostText::default());
    let published = world.append(PostPublished { post: POST, author: AUTHOR, images: vec![], text }, 0).await;
    let (position, likes) = (Cell::new(published), Cell::new(0));
    // Both workers start; an event that both project fences one of them off.
    found(LIMIT, "one of them is fenced off", async || {
        if first.stands_by() || second.stands_by() {
            return Some(());
        }
        likes.set(likes.get() + 1);
        position.set(world.like(likes.get()).await);
        None
    })
    .await;
    let (mut position, likes) = (position.get(), likes.get());
    let (active, standby) = if first.stands_by() { (second, first) } else { (first, second) };
    active.has_passed(position).await;

    assert!(active.tasks.stop().await);
    let liked = world.like(likes + 1).await;
    let unliked = PostUnliked { post: POST, user: user(likes + 1), post_author: AUTHOR };
    position = world.append(unliked, liked).await;
    standby.has_passed(position).await;
    // Each event was committed by exactly one worker.
    let found: Option<Post> = standby.store.get(&POST.to_string()).await.unwrap();
    assert_eq!(found.unwrap().likes, i64::try_from(likes).unwrap());
    assert_eq!(standby.store.checkpoint(standby.name).await.unwrap(), position);
}
