//! Generations are switched there and back again and again, while events come: what is announced is in every generation that
//! may be read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]
#![allow(clippy::disallowed_methods, reason = "the test waits for its tasks")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use events::{
    Draft, Event, Freshness, Kind, MasterKeys, Position, PostId, PostSaved, Progress, Recorded, SaveEvent,
    SealedLog, SocialEvent, UserId, open_sealed,
};
use projector::social::Saves;
use projector::{
    BuildSettings, Feeder, OnFailure, Projection, ProjectionState, Search, Statuses, build, claim, feed,
};
use rand::RngExt;
use service::clock::{Clock, SystemClock};
use service::shutdown::Tasks;
use tempfile::TempDir;
use tests::waiting::until;
use uuid::Uuid;
use views::generations::Generations;
use views::{Family, SqliteGenerations, SqliteViews, StoreError, View, Views, Writes};

const SWITCHES: u64 = 12;
const READERS: u64 = 3;
/// The longest time that an event takes: two generations take the same one at different times.
const LONGEST_EVENT: Duration = Duration::from_millis(4);
const LIMIT: Duration = Duration::from_secs(30);
/// For ten seconds after a switch, the generation before announces what both have.
const SHORTER_THAN_THE_GRACE: Duration = Duration::from_secs(5);
/// Between two appends.
const PAUSE: Duration = Duration::from_millis(2);
const POST: PostId = PostId::new(Uuid::from_u128(1));
const AUTHOR: UserId = UserId::new(Uuid::from_u128(2));

/// Saved posts, each event taking another time.
#[derive(Default)]
struct Uneven {
    /// The projection stops at the next event.
    has_bug: AtomicBool,
}

impl Projection for Uneven {
    fn name(&self) -> &'static str {
        Saves.name()
    }

    fn kinds(&self) -> &'static [Kind] {
        Saves.kinds()
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Stop
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        Saves.reads(recorded)
    }

    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        Saves.searches(recorded)
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        if self.has_bug.load(Ordering::Acquire) {
            return Err(StoreError::Corrupt("a bug".into()));
        }
        std::thread::sleep(rand::rng().random_range(Duration::ZERO..LONGEST_EVENT));
        Saves.project(recorded, writes)
    }
}

fn family() -> &'static Family {
    views::families().iter().find(|family| family.name == Saves.name()).unwrap()
}

/// The generations, as another process opens them.
async fn open(file: &Path) -> Views {
    let base = Arc::new(SqliteViews::open(file, views::all()).await.unwrap());
    let generations = SqliteGenerations::open(Arc::clone(&base), file).unwrap();
    Views::new(base, Arc::new(generations), views::families()).await.unwrap()
}

async fn save(log: &SealedLog, user: UserId) -> Position {
    let event = SaveEvent::PostSaved(PostSaved { user, post: POST, post_author: AUTHOR, collection: None });
    let draft = Draft::without_cause(SystemClock.now(), Event::Social(SocialEvent::Save(event)));
    assert!(log.last(&[draft.event.subject()], Freshness::Latest).await.unwrap()[0].is_none());
    log.append(draft, Position::START).await.unwrap()
}

/// Reads in long requests: each finds out once which generation serves. Returns the number of announcements that it checked.
async fn read_slowly(
    views: Views,
    knows_every_switch: bool,
    log: SealedLog,
    request: Duration,
    stop: Arc<AtomicBool>,
) -> u64 {
    let mut announcements = log.raw().progress();
    let (mut checked, mut seen) = (0, 0);
    while !stop.load(Ordering::Acquire) {
        let (number, store) = views.of_family(family()).await.unwrap();
        let reading = async {
            loop {
                // A reader that is too slow misses some.
                let Ok(Progress { position: Position(announced), .. }) = announcements.recv().await else {
                    continue;
                };
                let contained = store.checkpoint(Saves.name()).await.unwrap();
                assert!(
                    contained >= announced,
                    "{announced} is announced, generation {number} is at {contained}"
                );
                let is_backwards = knows_every_switch && contained < seen;
                assert!(!is_backwards, "{seen} was seen before, generation {number} is at {contained}");
                seen = contained;
                checked += 1;
            }
        };
        // A timeout ends the request.
        let _: Result<(), _> = tokio::time::timeout(request, reading).await;
    }
    checked
}

/// A log, and a process that feeds the generations of a projection.
struct World {
    folder: TempDir,
    file: PathBuf,
    log: SealedLog,
    views: Views,
    projection: Arc<Uneven>,
    statuses: Statuses,
    tasks: Tasks,
}

impl World {
    async fn start(projection: Uneven) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let url = format!("sqlite:{}", folder.path().join("events.db").display());
        let log = open_sealed(&url, None, &keys).await.unwrap();
        let file = folder.path().join("views.db");
        let views = open(&file).await;
        views.register(0).await.unwrap();
        let (projection, tasks) = (Arc::new(projection), Tasks::default());
        let build = BuildSettings::for_missing(folder.path());
        let feeder = Feeder { log: log.clone(), views: views.clone(), build };
        let statuses = feed(&feeder, vec![projection.clone()], &tasks);
        Self { folder, file, log, views, projection, statuses, tasks }
    }

    /// Builds another generation.
    async fn build(&self, switch: bool) {
        let projections: [Arc<dyn Projection>; 1] = [self.projection.clone()];
        let settings = BuildSettings { switch, ..BuildSettings::for_missing(self.folder.path()) };
        let built = claim(&self.views, &projections).await.unwrap();
        build(&self.log, &self.views, &projections, &built, &settings, &|_| {}).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_in_every_generation_that_may_be_read() {
    let world = World::start(Uneven::default()).await;
    world.build(false).await;
    let World { folder: _folder, file, log, views, tasks, .. } = world;

    let (stop, appended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn({
        let (log, stop, appended) = (log.clone(), Arc::clone(&stop), Arc::clone(&appended));
        async move {
            let mut user = 100;
            while !stop.load(Ordering::Acquire) {
                user += 1;
                let position = save(&log, UserId::new(Uuid::from_u128(user))).await;
                appended.store(position.0, Ordering::Release);
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
    let mut readers = Vec::new();
    for reader in 0..READERS {
        let request = Duration::from_millis(1 + 300 * reader);
        // One in the process that makes the switches, the others in processes that learn of them later.
        let is_same = reader == 0;
        let views = if is_same { views.clone() } else { open(&file).await };
        readers.push(tokio::spawn(read_slowly(views, is_same, log.clone(), request, Arc::clone(&stop))));
    }
    for _ in 0..SWITCHES {
        let record = views.record(family()).unwrap();
        let serving = record.serving.unwrap();
        let other = record.generations.iter().map(|generation| generation.number);
        let wanted = other.into_iter().find(|number| *number != serving);
        let ask = |record: Option<&Generations>| Some(Generations { wanted, ..record?.clone() });
        assert!(views.change(family(), ask).await.unwrap().1);
        until("the other generation to serve", async || {
            let record = views.record(family()).unwrap();
            record.serving == wanted && record.wanted.is_none()
        })
        .await;
        // Whatever was appended is announced, also right after a switch.
        let mut announcements = log.raw().progress();
        let last = appended.load(Ordering::Acquire);
        let announced = async {
            // One that this test is too slow for is followed by another one.
            while announcements.recv().await.map_or(0, |announced| announced.position.0) < last {}
        };
        tokio::time::timeout(LIMIT, announced).await.expect("what was appended is announced");
    }
    stop.store(true, Ordering::Release);
    writer.await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > SWITCHES, "a reader saw no announcements");
    }
    tasks.stopping().cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_replaces_a_stopped_generation_is_announced_at_once() {
    let world = World::start(Uneven { has_bug: true.into() }).await;
    save(&world.log, AUTHOR).await;
    until("the projection to stop", async || {
        matches!(world.statuses.all().get(Saves.name()), Some(ProjectionState::Stopped(_)))
    })
    .await;
    world.projection.has_bug.store(false, Ordering::Release);
    world.build(true).await;
    until("the new generation to serve", async || world.views.record(family()).unwrap().previous.is_some())
        .await;
    let mut announcements = world.log.raw().progress();
    let position = save(&world.log, UserId::new(Uuid::from_u128(100))).await;
    let announced = async { while announcements.recv().await.unwrap().position < position {} };
    tokio::time::timeout(SHORTER_THAN_THE_GRACE, announced).await.expect("it is announced");
    world.tasks.stopping().cancel();
}
