//! The contract of [`GenerationStore`] with its [`Views`].

use std::path::Path;
use std::sync::Arc;

use views::generations::{Generation, GenerationState, GenerationStore, Generations};
use views::{Family, NotServing, SqliteViews, StoreError, ViewStore, Views};

use super::views::{VIEWS, commit_many};

/// The family of the contract's views.
pub const BOOKS: Family = Family { name: "books", version: 1, views: VIEWS };
/// The same views, as another program makes them.
const NEWER: Family = Family { version: 2, ..BOOKS };
static FAMILIES: &[Family] = &[BOOKS];
static NEWER_FAMILIES: &[Family] = &[NEWER];

/// An engine with one store and its generations.
#[derive(Debug)]
pub struct Engine {
    pub base: Arc<dyn ViewStore>,
    pub generations: Arc<dyn GenerationStore>,
    /// For scratch files.
    pub folder: tempfile::TempDir,
}

/// Calls a macro with the name of each promise.
#[macro_export]
macro_rules! generation_promises {
    ($test:ident) => {
        $test! {
            record_is_replaced_only_at_its_epoch,
            only_published_generations_can_be_opened,
            published_generation_has_documents_and_checkpoint_of_its_scratch_file,
            generations_do_not_see_each_other,
            deleted_generation_is_gone,
            deleting_generation_0_empties_its_family_only,
            without_a_serving_generation_nothing_is_read,
            reads_follow_a_switch,
            empty_views_of_a_log_with_events_are_not_shown,
            programs_of_two_versions_have_their_own_generations,
        }
    };
}

impl Engine {
    async fn views(&self, families: &'static [Family]) -> Views {
        Views::new(Arc::clone(&self.base), Arc::clone(&self.generations), families).await.unwrap()
    }

    /// Builds a generation with this many documents.
    async fn publish(&self, family: &Family, number: u64, documents: usize) -> Arc<dyn ViewStore> {
        let file = self.generations.scratch_file(family, number, self.folder.path());
        let scratch = scratch(&file, documents).await;
        self.generations.publish(family, number, scratch).await.unwrap();
        self.generations.open(family, number).await.unwrap()
    }
}

async fn scratch(file: &Path, documents: usize) -> Arc<SqliteViews> {
    let scratch = SqliteViews::create_scratch(file, VIEWS.to_vec(), 1 << 20).await.unwrap();
    commit_many(&scratch, BOOKS.name, 0, documents).await.unwrap();
    Arc::new(scratch)
}

async fn documents(store: &dyn ViewStore) -> usize {
    store.scan(VIEWS[0], None, 1000).await.unwrap().len()
}

fn is_corrupt<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Corrupt(_)))
}

fn serving(number: u64, numbers: &[u64]) -> Generations {
    let generation =
        |number: &u64| Generation { number: *number, state: GenerationState::Adopted, builder: None };
    Generations {
        next: 10,
        serving: Some(number),
        generations: numbers.iter().map(generation).collect(),
        ..Generations::default()
    }
}

pub async fn record_is_replaced_only_at_its_epoch(engine: &Engine) {
    let store = &engine.generations;
    let record = |epoch| Generations { epoch, ..serving(0, &[0]) };
    assert!(store.records().await.unwrap().is_empty());
    assert!(!store.replace("books.v1", Some(1), &record(2)).await.unwrap(), "there is none");
    assert!(store.replace("books.v1", None, &record(1)).await.unwrap());
    assert!(!store.replace("books.v1", None, &record(1)).await.unwrap(), "there is one");
    assert!(store.replace("books.v1", Some(1), &record(2)).await.unwrap());
    assert!(!store.replace("books.v1", Some(1), &record(2)).await.unwrap(), "it is at 2");
    assert_eq!(store.records().await.unwrap()["books.v1"], record(2));
    // Of many at once, one wins.
    let attempts = (0..8).map(|_| {
        let (store, record) = (Arc::clone(store), record(3));
        async move { store.replace("books.v1", Some(2), &record).await.unwrap() }
    });
    let won = futures::future::join_all(attempts).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}

pub async fn only_published_generations_can_be_opened(engine: &Engine) {
    assert!(is_corrupt(engine.generations.open(&BOOKS, 1).await));
    engine.publish(&BOOKS, 1, 1).await;
    assert!(is_corrupt(engine.generations.open(&BOOKS, 2).await));
    assert!(is_corrupt(engine.generations.open(&NEWER, 1).await));
}

pub async fn published_generation_has_documents_and_checkpoint_of_its_scratch_file(engine: &Engine) {
    let file = engine.generations.scratch_file(&BOOKS, 3, engine.folder.path());
    let scratch = scratch(&file, 30).await;
    let read = async |store: &dyn ViewStore| -> Vec<serde_json::Value> {
        let documents = store.scan(VIEWS[0], None, 1000).await.unwrap();
        documents.iter().map(|document| plain(document.read().unwrap())).collect()
    };
    let expected = read(&*scratch).await;
    assert_eq!(expected.len(), 30);
    engine.generations.publish(&BOOKS, 3, scratch).await.unwrap();
    let published = engine.generations.open(&BOOKS, 3).await.unwrap();
    assert_eq!(published.checkpoint(BOOKS.name).await.unwrap(), 1);
    assert_eq!(read(&*published).await, expected);
}

/// The fields with a value; some engines store the key and null, others do not.
fn plain(document: serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    document.into_iter().filter(|(name, value)| name != "_id" && !value.is_null()).collect()
}

pub async fn generations_do_not_see_each_other(engine: &Engine) {
    let (first, second) = (engine.publish(&BOOKS, 1, 2).await, engine.publish(&BOOKS, 2, 3).await);
    commit_many(&*engine.base, BOOKS.name, 0, 1).await.unwrap();
    commit_many(&*first, BOOKS.name, 1, 10).await.unwrap();
    let found = [documents(&*engine.base).await, documents(&*first).await, documents(&*second).await];
    assert_eq!(found, [1, 12, 3]);
    let mut checkpoints = Vec::new();
    for store in [&engine.base, &first, &second] {
        checkpoints.push(store.checkpoint(BOOKS.name).await.unwrap());
    }
    assert_eq!(checkpoints, [1, 2, 1]);
}

pub async fn deleted_generation_is_gone(engine: &Engine) {
    engine.publish(&BOOKS, 1, 2).await;
    engine.generations.delete(&BOOKS, 1).await.unwrap();
    assert!(is_corrupt(engine.generations.open(&BOOKS, 1).await));
    // Also one that is not there.
    engine.generations.delete(&BOOKS, 1).await.unwrap();
}

pub async fn deleting_generation_0_empties_its_family_only(engine: &Engine) {
    commit_many(&*engine.base, BOOKS.name, 0, 5).await.unwrap();
    commit_many(&*engine.base, "a reaction", 0, 0).await.unwrap();
    engine.generations.delete(&BOOKS, 0).await.unwrap();
    assert_eq!(documents(&*engine.base).await, 0);
    assert_eq!(engine.base.checkpoint(BOOKS.name).await.unwrap(), 0);
    assert_eq!(engine.base.checkpoint("a reaction").await.unwrap(), 1);
}

pub async fn without_a_serving_generation_nothing_is_read(engine: &Engine) {
    let views = engine.views(FAMILIES).await;
    let refused = views.scan(VIEWS[0], None, 10).await.unwrap_err();
    let StoreError::Unavailable(cause) = refused else { panic!("{refused:?}") };
    assert!(cause.is::<NotServing>(), "{cause}");
    assert!(views.check().await.unwrap_err().to_string().contains("unavailable"));
    assert_eq!(views.not_serving().len(), 1);
    // Reactions have their checkpoints in the base.
    assert_eq!(views.checkpoint("a reaction").await.unwrap(), 0);
    assert!(views.checkpoint(BOOKS.name).await.is_err());
}

pub async fn reads_follow_a_switch(engine: &Engine) {
    commit_many(&*engine.base, BOOKS.name, 0, 1).await.unwrap();
    engine.publish(&BOOKS, 1, 2).await;
    let (views, other) = (engine.views(FAMILIES).await, engine.views(FAMILIES).await);
    views.change(&BOOKS, |_| Some(serving(0, &[0, 1]))).await.unwrap();
    other.refresh().await.unwrap();
    assert_eq!([documents(&views).await, documents(&other).await], [1, 1]);
    let mut changes = other.changes();
    views.change(&BOOKS, |record| Some(Generations { serving: Some(1), ..record?.clone() })).await.unwrap();
    assert_eq!(documents(&views).await, 2);
    other.refresh().await.unwrap();
    changes.changed().await.unwrap();
    assert_eq!(documents(&other).await, 2);
    assert_eq!(views.checkpoints().await.unwrap()[BOOKS.name], 1);
    // A dropped one is never read again.
    views.change(&BOOKS, |_| Some(serving(1, &[1]))).await.unwrap();
    engine.generations.delete(&BOOKS, 0).await.unwrap();
    assert_eq!([documents(&views).await, documents(&other).await], [2, 2]);
}

pub async fn empty_views_of_a_log_with_events_are_not_shown(engine: &Engine) {
    let views = engine.views(FAMILIES).await;
    views.register(0).await.unwrap();
    assert_eq!(views.record(&BOOKS).unwrap().serving, Some(0), "they begin with the log");
    assert_eq!(documents(&views).await, 0);
    // At the next start the log has events, and the views have seen none.
    views.register(7).await.unwrap();
    let record = views.record(&BOOKS).unwrap();
    assert_eq!((record.serving, record.generations.len()), (None, 0));
    assert!(views.scan(VIEWS[0], None, 10).await.is_err());
}

pub async fn programs_of_two_versions_have_their_own_generations(engine: &Engine) {
    commit_many(&*engine.base, BOOKS.name, 0, 1).await.unwrap();
    let (old, new) = (engine.views(FAMILIES).await, engine.views(NEWER_FAMILIES).await);
    old.register(1).await.unwrap();
    new.register(1).await.unwrap();
    assert_eq!(documents(&old).await, 1);
    assert!(new.scan(VIEWS[0], None, 10).await.is_err(), "its generation must be built first");
    engine.publish(&NEWER, 1, 4).await;
    new.change(&NEWER, |_| Some(serving(1, &[1]))).await.unwrap();
    old.refresh().await.unwrap();
    assert_eq!([documents(&old).await, documents(&new).await], [1, 4]);
    // The older program starts again.
    old.register(9).await.unwrap();
    assert_eq!(documents(&engine.views(FAMILIES).await).await, 1);
}
