//! The fast fold of a real log into scratch files, and copies of these.

use std::collections::HashMap;
use std::sync::Arc;

use events::{Draft, Envelope, MasterKeys, Position, Recorded, SealedLog, Subject, UserId, open_sealed};
use projector::fold::{Family, FoldOptions, fold};
use tokio::sync::Mutex;
use views::{MongoViews, Query, SqliteViews, StoreError, View, ViewStore};

use super::{Documents, documents, projections};

/// Page cache of a scratch file: smaller than its content, so that pages are written and read again.
const CACHE: usize = 256 << 10;

/// A log with histories, and the folds of it.
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    log: SealedLog,
    /// The position of the last event of each subject.
    last: Mutex<HashMap<Subject, Position>>,
    stores: Vec<(usize, Arc<SqliteViews>)>,
}

impl Scratch {
    /// Folds in batches of these lengths.
    pub(crate) async fn new(batches: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let setting = format!("sqlite:{}", folder.path().join("events.db").display());
        let log = open_sealed(&setting, None, &keys).await.unwrap();
        let mut stores = Vec::new();
        for batch in batches {
            let path = folder.path().join(format!("scratch{batch}.db"));
            let store = SqliteViews::create_scratch(&path, views::all().to_vec(), CACHE).await.unwrap();
            stores.push((*batch, Arc::new(store)));
        }
        Self { folder, log, last: Mutex::default(), stores }
    }

    /// Appends a history, and destroys the keys of those who are erased in it.
    pub(crate) async fn append(&self, history: &[Recorded], erased: impl Iterator<Item = &UserId>) {
        let mut last = self.last.lock().await;
        for Recorded { position, envelope, event } in history {
            let Envelope { id, time, actor, correlation, causation, traceparent, subject, .. } =
                envelope.clone();
            let event = event.clone();
            let draft = Draft { id, time, actor, correlation, causation, traceparent, event };
            let expected = last.insert(subject, *position).unwrap_or(Position::START);
            assert_eq!(self.log.append(draft, expected).await.unwrap(), *position);
        }
        for user in erased {
            self.log.keys().destroy(*user).await.unwrap();
        }
    }

    /// Folds the log on from where it was; returns the documents.
    pub(crate) async fn fold(&self) -> Vec<(usize, Documents)> {
        let head = self.log.raw().head().await.unwrap();
        let mut found = Vec::new();
        for (batch, store) in &self.stores {
            let family = |projection| Family { projection, store: Arc::clone(store) as Arc<dyn ViewStore> };
            let families: Vec<Family> = projections().into_iter().map(family).collect();
            let options = FoldOptions { workers: 2, batch: *batch, ..FoldOptions::default() };
            let report = fold(&self.log, &families, head, &options, &|_| {}).await.unwrap();
            assert_eq!(report.families.len(), families.len());
            for family in &families {
                let name = family.projection.name();
                assert_eq!(store.checkpoint(name).await.unwrap(), head.0, "{name}");
                assert_eq!(report.families[name].parked, 0, "{name}");
            }
            found.push((*batch, documents(&**store).await));
        }
        found
    }

    /// The finished files, with all their indexes, and their folder.
    pub(crate) async fn finish(self) -> (tempfile::TempDir, Vec<(usize, SqliteViews)>) {
        let mut finished = Vec::new();
        for (batch, store) in self.stores {
            store.finish().await.unwrap();
            let path = self.folder.path().join(format!("scratch{batch}.db"));
            let read_only = SqliteViews::open_read_only(&path, views::all()).unwrap();
            for view in views::all() {
                for index in view.indexes {
                    let nothing = vec![serde_json::Value::Null; index.equals.len()];
                    read_only.plan(&Query::new(view, index, nothing, 1)).await.unwrap();
                }
            }
            finished.push((batch, SqliteViews::open(&path, views::all()).await.unwrap()));
        }
        (self.folder, finished)
    }

    /// Copies the first of them.
    pub(crate) async fn load_into(&self, target: &MongoViews) {
        let (_, source) = &self.stores[0];
        for projection in projections() {
            let (name, written) = (projection.name(), projection.views());
            let is_written = |view: &&'static View| written.contains(&view.name);
            let of_projection: Vec<&'static View> = views::all().iter().copied().filter(is_written).collect();
            target.load(&**source, name, &of_projection, &|_| {}).await.unwrap();
            let expected = source.checkpoint(name).await.unwrap();
            assert_eq!(target.checkpoint(name).await.unwrap(), expected);
            let again = target.load(&**source, name, &of_projection, &|_| {}).await;
            assert!(matches!(again, Err(StoreError::Corrupt(_))), "{name}: {again:?}");
        }
        for view in views::all() {
            for index in view.indexes {
                let nothing = vec![serde_json::Value::Null; index.equals.len()];
                let plan = target.plan(&Query::new(view, index, nothing, 1)).await.unwrap();
                assert_eq!(plan.index.as_deref(), Some(index.name), "{}: {plan:?}", view.name);
            }
        }
    }
}
