//! Generations are built: what a failure leaves behind.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{Draft, Event, FollowEvent, Followed, MasterKeys, SocialEvent, UserId, open_sealed};
use projector::social::{Follows, Saves};
use projector::{BuildSettings, Projection, build, claim};
use service::clock::{Clock, SystemClock};
use uuid::Uuid;
use views::generations::{GenerationState, GenerationStore, Generations};
use views::{Family, SqliteGenerations, SqliteViews, StoreError, ViewStore, Views};

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

#[tokio::test(flavor = "multi_thread")]
async fn failed_build_deletes_what_is_not_complete_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = format!("sqlite:{}", folder.path().join("events.db").display());
    let log = open_sealed(&log, None, &MasterKeys::parse(&MasterKeys::generate()).unwrap()).await.unwrap();
    let (follower, followee) = (UserId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
    let event = Event::Social(SocialEvent::Follow(FollowEvent::Followed(Followed { follower, followee })));
    let draft = Draft::without_cause(SystemClock.now(), event);
    log.append(draft, events::Position::START).await.unwrap();
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
