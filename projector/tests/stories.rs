//! The expiry of stories on a real log and view store, with a manual clock: each story ends once and on time,
//! whichever processes run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    Draft, Event, EventId, Image, MasterKeys, MediaId, Personal, Position, SealedLog, StoryDeleted, StoryId,
    StoryPublished, StoryText, Subject, UserId, open_sealed,
};
use projector::reactions::stories;
use projector::social::{Stories, StoryViews};
use projector::{ProjectionState, Projector, Statuses};
use service::clock::{Clock, SystemClock};
use service::shutdown::Tasks;
use tests::waiting::found;
use uuid::Uuid;
use views::{SqliteViews, ViewStore, ViewStoreExt};

/// Timeout of waiting for a state: many times the polling interval of the reaction.
const LIMIT: Duration = Duration::from_mins(1);

const ANN: UserId = UserId::new(Uuid::from_u128(0xa));

fn any_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

/// A manual clock.
#[derive(Debug)]
struct MovedClock(Mutex<DateTime<Utc>>);

impl MovedClock {
    fn by(&self, time: TimeDelta) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for MovedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

struct World {
    log: SealedLog,
    clock: Arc<MovedClock>,
    folder: tempfile::TempDir,
}

/// A process that expires stories.
struct Worker {
    tasks: Tasks,
    store: Arc<dyn ViewStore>,
    statuses: Statuses,
}

impl Worker {
    async fn stop(self) {
        assert!(self.tasks.stop().await, "a task did not end");
    }

    /// Waits until the reaction has passed the head and expired all due stories.
    async fn settled(&self, world: &World) {
        let head = world.log.raw().head().await.unwrap().0;
        found(LIMIT, "the reaction has passed the head", async || match self.statuses.all()[stories::NAME] {
            ProjectionState::Following(passed) => (passed >= head).then_some(()),
            ProjectionState::Starting => None,
            ref other => panic!("{other:?}"),
        })
        .await;
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let setting = format!("sqlite:{}", folder.path().join("events.db").display());
        let clock = Arc::new(MovedClock(Mutex::new(SystemClock.now())));
        Self { log: open_sealed(&setting, None, &keys).await.unwrap(), clock, folder }
    }

    /// A worker with a view store of this name.
    async fn worker(&self, views: &str) -> Worker {
        let path = self.folder.path().join(views);
        let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&path, views::all()).await.unwrap());
        let tasks = Tasks::default();
        let projector = Projector { log: self.log.clone(), store: Arc::clone(&store) };
        projector::run(&projector, vec![Arc::new(Stories), Arc::new(StoryViews)], &tasks);
        let clock: Arc<dyn Clock> = Arc::<MovedClock>::clone(&self.clock);
        let parts = stories::Parts { log: self.log.clone(), store: Arc::clone(&store), clock };
        let statuses = stories::run(parts, &tasks);
        Worker { tasks, store, statuses }
    }

    async fn append(&self, event: impl Into<Event>, expected: Position) -> Position {
        let draft = Draft {
            id: EventId::new(any_id()),
            time: self.clock.now(),
            actor: None,
            correlation: any_id(),
            causation: None,
            traceparent: None,
            event: event.into(),
        };
        self.log.append(draft, expected).await.unwrap()
    }

    async fn publish(&self) -> (StoryId, Position) {
        let story = StoryId::new(any_id());
        let image = Image { media: MediaId::new(any_id()), width: 1, height: 1 };
        let text = Personal::Open(StoryText::default());
        (story, self.append(StoryPublished { author: ANN, story, image, text }, Position::START).await)
    }

    /// The wire names of a story's events.
    async fn history(&self, story: StoryId) -> Vec<&'static str> {
        let events = self.log.read(Subject::Story(ANN, story), Position::START).await.unwrap();
        events.iter().map(|recorded| recorded.event.wire_name()).collect()
    }

    async fn ended(&self, story: StoryId) {
        found(LIMIT, "the story ends", async || (self.history(story).await.len() > 1).then_some(())).await;
        assert_eq!(self.history(story).await, EXPIRED);
    }
}

const PUBLISHED: [&str; 1] = ["story.published.v1"];
const EXPIRED: [&str; 2] = ["story.published.v1", "story.expired.v1"];
const DELETED: [&str; 2] = ["story.published.v1", "story.deleted.v1"];

#[tokio::test]
async fn story_ends_after_a_day_and_not_earlier() {
    let world = World::new().await;
    let worker = world.worker("views.db").await;
    let (early, _) = world.publish().await;
    world.clock.by(TimeDelta::hours(1));
    let (late, _) = world.publish().await;
    world.clock.by(TimeDelta::hours(23) - TimeDelta::seconds(1));
    worker.settled(&world).await;
    assert_eq!(world.history(early).await, PUBLISHED);

    world.clock.by(TimeDelta::seconds(1));
    world.ended(early).await;
    assert_eq!(world.history(late).await, PUBLISHED);
    world.clock.by(TimeDelta::hours(1));
    world.ended(late).await;
    let events = world.log.read(Subject::Story(ANN, late), Position::START).await.unwrap();
    assert_eq!(events[1].envelope.causation, Some(events[0].envelope.id));
    found(LIMIT, "the views are empty", async || {
        (worker.store.sizes().await.unwrap()["stories"].documents == 0).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn overdue_stories_end_at_the_next_start() {
    let world = World::new().await;
    let worker = world.worker("views.db").await;
    let (seen, _) = world.publish().await;
    worker.settled(&world).await;
    worker.stop().await;
    let (unseen, _) = world.publish().await;
    world.clock.by(TimeDelta::days(3));
    let (new, _) = world.publish().await;

    let worker = world.worker("views.db").await;
    worker.settled(&world).await;
    for (story, history) in [(seen, &EXPIRED[..]), (unseen, &EXPIRED), (new, &PUBLISHED)] {
        assert_eq!(world.history(story).await, history);
    }
    worker.stop().await;
}

#[tokio::test]
async fn deleted_story_does_not_expire() {
    let world = World::new().await;
    let worker = world.worker("views.db").await;
    let (deleted, published) = world.publish().await;
    let (stays, _) = world.publish().await;
    world.append(StoryDeleted { author: ANN, story: deleted }, published).await;
    world.clock.by(TimeDelta::days(1));
    world.ended(stays).await;
    worker.settled(&world).await;
    assert_eq!(world.history(deleted).await, DELETED);
    worker.stop().await;
}

#[tokio::test]
async fn several_workers_and_an_empty_view_store_end_each_story_once() {
    let world = World::new().await;
    let workers = [world.worker("views.db").await, world.worker("views.db").await];
    let mut stories = Vec::new();
    for _ in 0..40 {
        stories.push(world.publish().await.0);
    }
    world.clock.by(TimeDelta::days(1));
    for worker in workers {
        worker.settled(&world).await;
        worker.stop().await;
    }
    let (alive, _) = world.publish().await;
    let forgetful = world.worker("other.db").await;
    forgetful.settled(&world).await;
    for story in &stories {
        assert_eq!(world.history(*story).await, EXPIRED);
    }
    assert_eq!(world.history(alive).await, PUBLISHED);

    // A rebuilt view has the same content.
    let head = world.log.raw().head().await.unwrap();
    found(LIMIT, "the view is rebuilt", async || {
        (forgetful.store.checkpoint("stories").await.unwrap() >= head.0).then_some(())
    })
    .await;
    let there: Vec<Option<views::social::stories::Story>> = forgetful
        .store
        .get_all(&stories.iter().chain([&alive]).map(ToString::to_string).collect::<Vec<_>>())
        .await
        .unwrap();
    let there: Vec<String> = there.into_iter().flatten().map(|story| story.story).collect();
    assert_eq!(there, [alive.to_string()]);
    forgetful.stop().await;
}

#[tokio::test]
async fn checkpoint_waits_for_the_oldest_active_story() {
    let world = World::new().await;
    let worker = world.worker("views.db").await;
    let (first, _) = world.publish().await;
    world.clock.by(TimeDelta::hours(12));
    let (_, second) = world.publish().await;
    world.clock.by(TimeDelta::hours(12));
    world.ended(first).await;
    let moved = found(LIMIT, "the checkpoint moves", async || {
        let checkpoint = worker.store.checkpoint(stories::NAME).await.unwrap();
        (checkpoint > 0).then_some(checkpoint)
    })
    .await;
    assert_eq!(moved, second.0 - 1);
    worker.stop().await;
}
