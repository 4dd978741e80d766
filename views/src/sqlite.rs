//! Views in one SQLite file: one table of JSON documents per view, with indexed columns. SQL stays inside this
//! module.

mod commit;
mod generations;
mod read;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use self::generations::SqliteGenerations;
use async_trait::async_trait;
use sqlite::rusqlite::{self, Connection};
use sqlite::{Database, Durability};

use crate::store::ViewSize;
use crate::{
    Commit, CommitError, Family, Page, Parked, Plan, Query, StoreError, StoredDocument, View, ViewStore,
};

/// Maximum size in bytes of a file that is rewritten after an erasure: writes block for one to three seconds.
const REWRITE_LIMIT: u64 = 256 << 20;

/// The views in one SQLite file.
#[derive(Debug)]
pub struct SqliteViews {
    database: Arc<Database>,
    views: Vec<&'static View>,
    /// Whether indexes are created when they are first used, and the rest at the end.
    is_scratch: bool,
}

impl SqliteViews {
    /// Opens or creates the file, drops views with an outdated document format, and creates missing tables and
    /// indexes.
    pub async fn open(path: &Path, views: &'static [&'static View]) -> Result<Self, StoreError> {
        // A power loss may undo the last commits together with their checkpoints: the log still has the events.
        let database = Arc::new(Database::open(path, Durability::Rebuildable, tables::SCHEMA)?);
        database
            .write(|connection| {
                tables::add_parked_subjects(connection)?;
                views.iter().try_for_each(|view| tables::create(connection, view))
            })
            .await?;
        Ok(Self { database, views: views.to_vec(), is_scratch: false })
    }

    /// Creates a file into which projections are folded as fast as possible; [`finish`](Self::finish) makes it one that
    /// [`open`](Self::open) opens. Until then no other process can use it, calls run on the calling thread one after
    /// the other, and a crash loses it. An index is created when a write or a search first looks through it.
    ///
    /// # Errors
    /// If the file exists or cannot be created.
    pub async fn create_scratch(
        path: &Path,
        views: Vec<&'static View>,
        cache_bytes: usize,
    ) -> Result<Self, StoreError> {
        let database = Arc::new(Database::create_private(path, tables::SCHEMA, cache_bytes)?);
        let tables = views.clone();
        database
            .write(move |connection| {
                tables.iter().try_for_each(|view| tables::create_table(connection, view))
            })
            .await?;
        Ok(Self { database, views, is_scratch: true })
    }

    /// Creates the missing indexes of a scratch file, then syncs and closes it.
    ///
    /// # Errors
    /// If it is not a scratch file, or any of this fails: then the file is of no use.
    pub async fn finish(&self) -> Result<(), StoreError> {
        let views = self.views.clone();
        let last =
            move |connection: &Connection| views.iter().try_for_each(|view| tables::create(connection, view));
        Ok(self.database.finish_private(last).await?)
    }

    /// Reads through an index.
    fn search<T>(
        &self,
        query: &Query,
        read: impl FnOnce(&Connection, &Query) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        Ok(self.database.read(|connection| {
            if self.is_scratch {
                tables::create_index(connection, query.view, query.index)?;
            }
            read(connection, query)
        })?)
    }

    /// For programs that change nothing: creates and drops nothing, and commits fail.
    ///
    /// # Errors
    /// Also if the file does not exist, or a program of another version wrote it.
    pub fn open_read_only(path: &Path, views: &'static [&'static View]) -> Result<Self, StoreError> {
        let database = Arc::new(Database::open_read_only(path, tables::SCHEMA)?);
        Ok(Self { database, views: views.to_vec(), is_scratch: false })
    }

    /// Deletes the documents of a family with its checkpoint and parked events.
    async fn clear(&self, family: &Family) -> Result<(), StoreError> {
        let family = *family;
        Ok(self.database.write(move |connection| tables::clear(connection, &family)).await?)
    }
}

#[async_trait]
impl ViewStore for SqliteViews {
    async fn get_many(
        &self,
        view: &View,
        keys: &[String],
    ) -> Result<Vec<Option<StoredDocument>>, StoreError> {
        Ok(self.database.read(|connection| read::get_many(connection, view, keys))?)
    }

    async fn page(&self, query: &Query) -> Result<Page, StoreError> {
        self.search(query, read::page)
    }

    async fn scan(
        &self,
        view: &View,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        Ok(self.database.read(|connection| read::scan(connection, view, after, limit))?)
    }

    async fn keys(&self, query: &Query) -> Result<Vec<String>, StoreError> {
        self.search(query, read::keys)
    }

    async fn count(&self, query: &Query) -> Result<u64, StoreError> {
        self.search(query, read::count)
    }

    async fn plan(&self, query: &Query) -> Result<Plan, StoreError> {
        self.search(query, read::plan)
    }

    async fn checkpoint(&self, projection: &str) -> Result<u64, StoreError> {
        Ok(self.database.read(|connection| read::checkpoint(connection, projection))?)
    }

    async fn commit(&self, commit: Commit<'_>) -> Result<(), CommitError> {
        let batch = commit::Batch::of(commit, self.is_scratch);
        let actual =
            self.database.write(move |connection| batch.run(connection)).await.map_err(StoreError::from)?;
        actual.map_or(Ok(()), |actual| Err(CommitError::Fenced { actual }))
    }

    async fn parked(&self, projection: &str, limit: usize) -> Result<Vec<Parked>, StoreError> {
        Ok(self.database.read(|connection| read::parked(connection, projection, limit))?)
    }

    async fn sizes(&self) -> Result<BTreeMap<String, ViewSize>, StoreError> {
        let views = self.views.clone();
        Ok(self.database.scan(move |connection| read::sizes(connection, &views)).await?)
    }

    async fn schema_version(&self) -> Result<u64, StoreError> {
        Ok(self.database.read(read::schema_version)?)
    }

    async fn checkpoints(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(self.database.read(read::checkpoints)?)
    }

    async fn purge(&self) -> Result<(), StoreError> {
        if !self.database.purge(REWRITE_LIMIT).await? {
            tracing::warn!(
                limit = REWRITE_LIMIT,
                "the view file is too large to be rewritten after an erasure: see docs/security.md"
            );
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(self.database.finish().await?)
    }
}

impl From<sqlite::Error> for StoreError {
    fn from(error: sqlite::Error) -> Self {
        match error {
            // After an unknown outcome, the worker compares the checkpoint again.
            sqlite::Error::Unavailable { .. } | sqlite::Error::OutcomeUnknown { .. } => {
                Self::unavailable(error)
            }
            sqlite::Error::Corrupt { .. } => Self::corrupt(error),
        }
    }
}
