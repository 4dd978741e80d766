//! Programs with two versions of a family run side by side on one log and one store: each feeds and reads its own generation,
//! whichever starts first or ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use events::{
    Draft, Event, Kind, MasterKeys, Position, PostId, PostSaved, PostUnsaved, Recorded, SaveEvent, SealedLog,
    SocialEvent, UserId, open_sealed,
};
use projector::social::Saves;
use projector::{BuildSettings, Feeder, OnFailure, Projection, Search, feed};
use service::clock::{Clock, SystemClock};
use service::shutdown::Tasks;
use tests::waiting::until;
use uuid::Uuid;
use views::social::saves::{Save, key};
use views::{
    Family, SqliteGenerations, SqliteViews, StoreError, View, ViewStore, ViewStoreExt, Views, Writes,
};

static SAVES: LazyLock<Family> =
    LazyLock::new(|| *views::families().iter().find(|family| family.name == "saves").unwrap());
static OLD: LazyLock<[Family; 1]> = LazyLock::new(|| [Family { version: 1, ..*SAVES }]);
static NEW: LazyLock<[Family; 1]> = LazyLock::new(|| [Family { version: 2, ..*SAVES }]);

/// Makes other documents from the same events: what was saved once is saved for ever.
struct ForEver;

fn ends(event: &Event) -> bool {
    matches!(event, Event::Social(SocialEvent::Save(SaveEvent::PostUnsaved(_))))
}

impl Projection for ForEver {
    fn name(&self) -> &'static str {
        Saves.name()
    }

    fn kinds(&self) -> &'static [Kind] {
        Saves.kinds()
    }

    fn on_failure(&self) -> OnFailure {
        Saves.on_failure()
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        if ends(&recorded.event) { Vec::new() } else { Saves.reads(recorded) }
    }

    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        Saves.searches(recorded)
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        if ends(&recorded.event) { Ok(()) } else { Saves.project(recorded, writes) }
    }
}

struct World {
    folder: tempfile::TempDir,
    log: SealedLog,
}

/// A running program.
struct Program {
    views: Views,
    tasks: Tasks,
}

const USER: UserId = UserId::new(Uuid::from_u128(1));
const AUTHOR: UserId = UserId::new(Uuid::from_u128(2));

fn post(number: u128) -> PostId {
    PostId::new(Uuid::from_u128(number))
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("events.db").display());
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        Self { log: open_sealed(&url, None, &keys).await.unwrap(), folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("views.db")
    }

    async fn append(&self, event: SaveEvent) {
        let draft = Draft::without_cause(SystemClock.now(), Event::Social(SocialEvent::Save(event)));
        let last = self.log.last(&[draft.event.subject()], events::Freshness::Latest).await.unwrap();
        let expected = last[0].as_ref().map_or(Position::START, |last| last.position);
        self.log.append(draft, expected).await.unwrap();
    }

    async fn save(&self, number: u128) {
        let saved = PostSaved { user: USER, post: post(number), post_author: AUTHOR, collection: None };
        self.append(SaveEvent::PostSaved(saved)).await;
    }

    async fn start(&self, families: &'static [Family], projection: Arc<dyn Projection>) -> Program {
        let base = Arc::new(SqliteViews::open(&self.file(), views::all()).await.unwrap());
        let generations = SqliteGenerations::open(Arc::clone(&base), &self.file()).unwrap();
        let views = Views::new(base, Arc::new(generations), families).await.unwrap();
        views.register(self.log.raw().head().await.unwrap().0).await.unwrap();
        let build = BuildSettings::for_missing(self.folder.path());
        let feeder = Feeder { log: self.log.clone(), views: views.clone(), build };
        let tasks = Tasks::default();
        feed(&feeder, vec![projection], &tasks);
        Program { views, tasks }
    }
}

impl Program {
    /// Whether a post is saved. None while no generation serves.
    async fn sees(&self, number: u128) -> Option<bool> {
        let key = key(&USER.to_string(), &post(number).to_string());
        match (&self.views as &dyn ViewStore).get::<Save>(&key).await {
            Ok(found) => Some(found.is_some()),
            Err(StoreError::Unavailable(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn wait_for(&self, number: u128) {
        until("a saved post to be seen", async || self.sees(number).await == Some(true)).await;
    }

    fn serving(&self) -> Option<u64> {
        self.views.record(&self.views.families()[0]).and_then(|record| record.serving)
    }

    fn end(self) {
        self.tasks.stopping().cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_run_side_by_side_and_each_reads_its_own_generation() {
    let world = World::new().await;
    let old = world.start(&*OLD, Arc::new(Saves)).await;
    world.save(1).await;
    old.wait_for(1).await;
    assert_eq!(old.serving(), Some(0));

    // The newer program builds its own, while the older one serves.
    let new = world.start(&*NEW, Arc::new(ForEver)).await;
    new.wait_for(1).await;
    assert_eq!(new.serving(), Some(1));
    let unsaved = PostUnsaved { user: USER, post: post(1) };
    world.append(SaveEvent::PostUnsaved(unsaved)).await;
    world.save(2).await;
    old.wait_for(2).await;
    new.wait_for(2).await;
    assert_eq!((old.sees(1).await, new.sees(1).await), (Some(false), Some(true)));

    // The older one ends and starts again, as if the upgrade were taken back.
    old.end();
    world.save(3).await;
    new.wait_for(3).await;
    let old = world.start(&*OLD, Arc::new(Saves)).await;
    old.wait_for(3).await;
    assert_eq!((old.serving(), old.sees(1).await), (Some(0), Some(false)));

    // So does the newer one, which finds its generation.
    new.end();
    world.save(4).await;
    old.wait_for(4).await;
    let new = world.start(&*NEW, Arc::new(ForEver)).await;
    new.wait_for(4).await;
    assert_eq!((new.serving(), new.sees(1).await, old.sees(1).await), (Some(1), Some(true), Some(false)));
}
