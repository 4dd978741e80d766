//! The runner on a real log and view store: unprocessable events, and a second worker.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::cell::Cell;
use std::collections::BTreeSet;
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
use projector::{OnFailure, PARKED_LIMIT, Projection, ProjectionState, Projector, Statuses, run};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use service::shutdown::Tasks;
use tests::waiting::{self, found};
use uuid::Uuid;
use views::social::posts::Post;
use views::{Commit, Parked, SqliteViews, StoreError, View, ViewStore, ViewStoreExt, Writes};

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
        self.worker_on("views", projection).await
    }

    async fn store(&self, name: &str) -> Arc<dyn ViewStore> {
        let path = self.folder.path().join(format!("{name}.db"));
        Arc::new(SqliteViews::open(&path, views::all()).await.unwrap())
    }

    async fn worker_on(&self, views: &str, projection: impl Projection) -> Worker {
        let store = self.store(views).await;
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
        let expected = self.last(subject).await;
        let message = Message { envelope: envelope(event_type, subject), body: body.into() };
        self.log.raw().append(&message, expected).await.unwrap().0
    }

    async fn last(&self, subject: Subject) -> Position {
        let last = self.log.raw().raw_of(&subject.to_string(), Position::START, 500).await.unwrap();
        last.last().map_or(Position::START, |event| event.position)
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

    /// The message of the panic.
    async fn has_panicked(&self) -> String {
        match self.waits_for(|state| matches!(state, ProjectionState::Panicked(_))).await {
            ProjectionState::Panicked(why) => why,
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
    let [Parked { position, event_type, error, .. }] = parked.as_slice() else { panic!("{parked:?}") };
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
    let [Parked { position, event_type, subject, .. }] = parked.as_slice() else { panic!("{parked:?}") };
    assert_eq!((*position, event_type.as_str()), (before + 1, "like.liked.v1"));
    assert_eq!(subject.as_deref(), Some(Subject::Like(POST, user(2)).to_string().as_str()));
}

/// Without the first event of a subject, the later ones would make documents that no decision ever led to.
#[tokio::test]
async fn later_events_of_a_parked_subject_are_parked_behind_it() {
    let world = World::new().await;
    let broken = world.append_raw("like.liked.v1", Subject::Like(POST, user(2)), "{}").await;
    let worker = world.worker(Posts).await;
    let other = world.like(3).await;
    worker.has_passed(other).await;
    let unliked = PostUnliked { post: POST, user: user(2), post_author: AUTHOR };
    let unliked = world.append(unliked, broken).await;
    worker.has_passed(unliked).await;
    assert!(worker.tasks.stop().await);
    // Another process knows from the store what is parked.
    let again = world.worker(Posts).await;
    let liked = PostLiked { post: POST, user: user(2), post_author: AUTHOR };
    let liked = world.append(liked, unliked).await;
    let last = world.like(4).await;
    again.has_passed(last).await;
    assert_eq!(again.likes().await, 2, "those of other subjects");
    let parked = again.parked().await;
    let found: Vec<(u64, &str)> =
        parked.iter().map(|parked| (parked.position, parked.error.as_str())).collect();
    let behind = format!("behind the event at {broken}");
    assert_eq!(found[1..], [(unliked, behind.as_str()), (liked, behind.as_str())]);
    assert_eq!(found[0].0, broken);
    again.statuses.ready().unwrap();
}

#[tokio::test]
async fn projection_with_too_many_parked_events_stops() {
    let world = World::new().await;
    let last = world.like(1).await;
    let parked = |position| Parked {
        position,
        event_type: "like.liked.v1".into(),
        subject: Some(format!("like.{position}")),
        error: "broken".into(),
    };
    // More positions than the log has: only their number matters.
    let parked: Vec<Parked> = (0..PARKED_LIMIT as u64).map(parked).collect();
    let store = world.store("views").await;
    let (projection, writes) = (Posts.name(), Arc::default());
    store.commit(Commit { projection, writes, parked, expected: 0, checkpoint: last }).await.unwrap();
    let worker = world.worker(Posts).await;
    let passed = world.like(2).await;
    worker.has_passed(passed).await;
    let broken = world.append_raw("like.liked.v1", Subject::Like(POST, user(3)), "{}").await;
    world.like(4).await;
    let why = worker.has_stopped().await;
    assert!(why.contains(&format!("at position {broken}: 10000 events are parked already")), "{why}");
    assert_eq!(store.checkpoint(worker.name).await.unwrap(), passed);
}

/// The parked events are part of what a fold reproduces, in batches of any length.
#[tokio::test]
async fn same_events_are_parked_in_batches_of_any_length() {
    /// Events about a few subjects, so that many are behind others.
    const EVENTS: usize = 150;
    const USERS: u128 = 12;
    const DEFECT: UserId = user(USERS);
    for seed in 0..3 {
        let mut rng = StdRng::seed_from_u64(seed);
        let world = World::new().await;
        let defective = || Defective { at: Some(DEFECT), times: AtomicU32::new(0) };
        let one_by_one = world.worker_on("one_by_one", defective()).await;
        let by_seven = world.worker_on("by_seven", defective()).await;
        let mut likes = BTreeSet::new();
        for n in 1..=EVENTS {
            let user = user(rng.random_range(1..=USERS));
            let subject = Subject::Like(POST, user);
            let expected = world.last(subject).await.0;
            let position = match rng.random_range(0..40) {
                0 => world.append_raw("like.liked.v1", subject, "{}").await,
                1 => {
                    world.spoil("like.unliked.v1", subject);
                    world.last(subject).await.0
                }
                _ if likes.insert(user) => {
                    world.append(PostLiked { post: POST, user, post_author: AUTHOR }, expected).await
                }
                _ => {
                    likes.remove(&user);
                    world.append(PostUnliked { post: POST, user, post_author: AUTHOR }, expected).await
                }
            };
            one_by_one.has_passed(position).await;
            if n % 7 == 0 || n == EVENTS {
                by_seven.has_passed(position).await;
            }
        }
        let last = world.log.raw().head().await.unwrap().0;
        let together = world.worker_on("together", defective()).await;
        together.has_passed(last).await;
        let found = async |worker: &Worker| {
            let mut found: Vec<String> = Vec::new();
            for view in views::all().iter().filter(|view| Posts.views().contains(&view.name)) {
                let documents = worker.store.scan(view, None, 1000).await.unwrap();
                found.extend(documents.iter().map(|document| document.read::<Value>().unwrap().to_string()));
            }
            (worker.store.parked(worker.name, EVENTS).await.unwrap(), found)
        };
        let expected = found(&one_by_one).await;
        let behind = expected.0.iter().filter(|parked| parked.error.starts_with("behind ")).count();
        assert!(behind > 5 && expected.1.len() > 1, "seed {seed}: {expected:?}");
        assert_eq!(found(&by_seven).await, expected, "seed {seed}");
        assert_eq!(found(&together).await, expected, "seed {seed}");
    }
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
    let why = worker.has_panicked().await;
    assert!(why.contains("a defect outside of any event"), "{why}");
    assert!(worker.statuses.ready().unwrap_err().contains("posts panicked and will restart: "));
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
