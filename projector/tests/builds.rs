//! Generations are built: what a failure leaves behind, and what goes on.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{
    Draft, Event, FollowEvent, Followed, Kind, MasterKeys, Recorded, SealedLog, SocialEvent, UserId,
    open_sealed,
};
use projector::social::{Follows, Saves};
use projector::{BuildSettings, Feeder, OnFailure, Projection, build, claim};
use service::clock::{Clock, SystemClock};
use service::shutdown::Tasks;
use tests::waiting::until;
use uuid::Uuid;
use views::generations::{GenerationState, GenerationStore, Generations};
use views::{Family, SqliteGenerations, SqliteViews, StoreError, ViewStore, Views, Writes};

/// Generations of which those of one family cannot be published.
#[derive(Debug)]
struct Full {
    generations: SqliteGenerations,
    family: &'static str,
}

#[async_trait]
impl GenerationStore for Full {
    async fn records(&self) -> Result<BTreeMap<String, Generations>, StoreError> {
        self.generations.records().await
    }

    async fn replace(
        &self,
        id: &str,
        expected: Option<u64>,
        record: &Generations,
    ) -> Result<bool, StoreError> {
        self.generations.replace(id, expected, record).await
    }

    async fn open(&self, family: &Family, number: u64) -> Result<Arc<dyn ViewStore>, StoreError> {
        self.generations.open(family, number).await
    }

    fn scratch_file(&self, family: &Family, number: u64, folder: &Path) -> PathBuf {
        self.generations.scratch_file(family, number, folder)
    }

    async fn publish(
        &self,
        family: &Family,
        number: u64,
        scratch: Arc<SqliteViews>,
    ) -> Result<(), StoreError> {
        if family.name == self.family {
            return Err(StoreError::Unavailable("the disk is full".into()));
        }
        self.generations.publish(family, number, scratch).await
    }

    async fn delete(&self, family: &Family, number: u64) -> Result<(), StoreError> {
        self.generations.delete(family, number).await
    }

    fn settles_after(&self) -> Duration {
        self.generations.settles_after()
    }
}

async fn log_with_an_event(folder: &tempfile::TempDir) -> SealedLog {
    let log = format!("sqlite:{}", folder.path().join("events.db").display());
    let log = open_sealed(&log, None, &MasterKeys::parse(&MasterKeys::generate()).unwrap()).await.unwrap();
    let (follower, followee) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
    let event = Event::Social(SocialEvent::Follow(FollowEvent::Followed(Followed { follower, followee })));
    let draft = Draft::without_cause(SystemClock.now(), event);
    log.append(draft, events::Position::START).await.unwrap();
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_build_deletes_what_is_not_complete_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_with_an_event(&folder).await;
    let path = folder.path().join("views.db");
    let base = Arc::new(SqliteViews::open(&path, views::all()).await.unwrap());
    let generations = SqliteGenerations::open(Arc::clone(&base), &path).unwrap();
    let full = Arc::new(Full { generations, family: "saves" });
    let views = Views::new(base, full, views::families()).await.unwrap();

    let projections: Vec<Arc<dyn Projection>> = vec![Arc::new(Follows), Arc::new(Saves)];
    let claimed = claim(&views, &projections).await.unwrap();
    let settings = BuildSettings::for_missing(folder.path());
    let failed = build(&log, &views, &projections, &claimed, &settings, &|_| {}).await.unwrap_err();
    assert!(std::error::Error::source(&failed).is_some(), "{failed}");

    let [follows, saves] = ["follows", "saves"].map(|name| views.family(name).unwrap());
    let record = views.record(follows).unwrap();
    assert_eq!(record.get(1).unwrap().state, GenerationState::Ready);
    let complete = views.open(follows, 1).await.unwrap();
    assert_eq!(complete.checkpoint("follows").await.unwrap(), 1);
    assert_eq!(views.record(saves).unwrap().generations, []);
    let files: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("v1g1") && name.ends_with("db"))
        .collect();
    assert_eq!(files, ["views.follows.v1g1.db"]);
}

/// The projection of saves, which must not go on without an event that it cannot take in.
#[derive(Debug)]
struct Stopping;

impl Projection for Stopping {
    fn name(&self) -> &'static str {
        "saves"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Follow]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Stop
    }

    fn project(&self, _: &Recorded, _: &mut Writes) -> Result<(), StoreError> {
        Err(StoreError::Corrupt("it cannot be taken in".into()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projection_that_an_event_stops_does_not_keep_others_from_being_built() {
    let folder = tempfile::tempdir().unwrap();
    let log = log_with_an_event(&folder).await;
    let setting = format!("sqlite:{}", folder.path().join("views.db").display());
    let views = views::open(&setting).await.unwrap();
    views.register(1).await.unwrap();
    let tasks = Tasks::default();
    let build = BuildSettings::for_missing(folder.path());
    let feeder = Feeder { log, views: views.clone(), build };
    projector::feed(&feeder, vec![Arc::new(Stopping), Arc::new(Follows)], &tasks);
    let serving = |name| views.record(views.family(name).unwrap()).unwrap().serving;
    until("follows to serve", async || serving("follows").is_some()).await;
    assert_eq!(serving("saves"), None);
}
