//! Views in one SQLite file: one table of JSON documents per view, with indexed columns. SQL stays inside this
//! module.

mod commit;
mod read;
mod tables;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sqlite::{Database, Durability};

use crate::store::ViewSize;
use crate::{Commit, CommitError, Page, Parked, Plan, Query, StoreError, StoredDocument, View, ViewStore};

/// Maximum size in bytes of a file that is rewritten after an erasure: writes block for one to three seconds.
const REWRITE_LIMIT: u64 = 256 << 20;

/// The views in one SQLite file.
#[derive(Debug)]
pub struct SqliteViews {
    database: Arc<Database>,
    views: &'static [&'static View],
}

impl SqliteViews {
    /// Opens or creates the file, drops views with an outdated document format, and creates missing tables and
    /// indexes.
    pub async fn open(path: &Path, views: &'static [&'static View]) -> Result<Self, StoreError> {
        // A power loss may undo the last commits together with their checkpoints: the log still has the events.
        let database = Arc::new(Database::open(path, Durability::Rebuildable, tables::SCHEMA)?);
        database
            .write(|connection| views.iter().try_for_each(|view| tables::create(connection, view)))
            .await?;
        Ok(Self { database, views })
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
        Ok(self.database.read(|connection| read::page(connection, query))?)
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
        Ok(self.database.read(|connection| read::keys(connection, query))?)
    }

    async fn count(&self, query: &Query) -> Result<u64, StoreError> {
        Ok(self.database.read(|connection| read::count(connection, query))?)
    }

    async fn plan(&self, query: &Query) -> Result<Plan, StoreError> {
        Ok(self.database.read(|connection| read::plan(connection, query))?)
    }

    async fn checkpoint(&self, projection: &str) -> Result<u64, StoreError> {
        Ok(self.database.read(|connection| read::checkpoint(connection, projection))?)
    }

    async fn commit(&self, commit: Commit<'_>) -> Result<(), CommitError> {
        let batch = commit::Batch::of(commit);
        let actual =
            self.database.write(move |connection| batch.run(connection)).await.map_err(StoreError::from)?;
        actual.map_or(Ok(()), |actual| Err(CommitError::Fenced { actual }))
    }

    async fn parked(&self, projection: &str, limit: usize) -> Result<Vec<Parked>, StoreError> {
        Ok(self.database.read(|connection| read::parked(connection, projection, limit))?)
    }

    async fn sizes(&self) -> Result<BTreeMap<String, ViewSize>, StoreError> {
        let views = self.views;
        Ok(self.database.scan(move |connection| read::sizes(connection, views)).await?)
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
