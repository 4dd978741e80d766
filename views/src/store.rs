use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;

use crate::{Document, Index, Page, PageOf, Query, StoredDocument, View, Write};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call to the store failed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store is unreachable or not ready: the same call may succeed later.
    #[error("the view store is unavailable")]
    Unavailable(#[source] Cause),
    /// An invalid document, or a write that the engine rejects: retries do not help.
    #[error("the view store holds or was given invalid data")]
    Corrupt(#[source] Cause),
}

/// No generation of a family serves, the cause of [`StoreError::Unavailable`]: it is being built.
#[derive(Debug, Error)]
#[error("`{family}` cannot be read at the moment: {why}")]
pub struct NotServing {
    pub family: &'static str,
    pub why: String,
}

impl StoreError {
    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    pub(crate) fn corrupt(cause: impl Into<Cause>) -> Self {
        Self::Corrupt(cause.into())
    }

    /// Whether the same call may succeed later.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why a batch was not committed. Nothing was written.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Another worker moved this projection's checkpoint: it is at `actual`.
    #[error("another worker is building this view; its checkpoint is at {actual}")]
    Fenced { actual: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One batch of a projection: its writes and the move of its checkpoint are one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit<'a> {
    pub projection: &'a str,
    /// Shared, so that a retry needs no copy.
    pub writes: Arc<Vec<Write>>,
    /// Unprocessable events to park for an operator.
    pub parked: Vec<Parked>,
    /// The checkpoint as this worker last read it.
    pub expected: u64,
    /// The last position that the batch covers.
    pub checkpoint: u64,
}

/// An event that a projection could not process (a dead letter).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub position: u64,
    pub event_type: String,
    /// None if a reaction parked it, or a program that did not store subjects yet.
    pub subject: Option<String>,
    pub error: String,
}

/// The query plan of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The index it uses, if any.
    pub index: Option<String>,
    /// True if it scans documents outside of the index, or sorts.
    pub scans_or_sorts: bool,
    pub explained: String,
}

/// A small document store: the operations that both engines support well. Adapters: `sqlite` and `mongo`. Both pass
/// the contract in `tests/src/contracts/views.rs`. Each can also be opened to be read only: then nothing is created or
/// dropped, and commits fail.
#[async_trait]
pub trait ViewStore: std::fmt::Debug + Send + Sync + 'static {
    /// The documents with these keys, in the requested order. Sees all commits that ended before the call.
    async fn get_many(&self, view: &View, keys: &[String])
    -> Result<Vec<Option<StoredDocument>>, StoreError>;

    async fn page(&self, query: &Query) -> Result<Page, StoreError>;

    /// The documents of a view by key, at most `limit` after a key: for comparisons of whole views.
    async fn scan(
        &self,
        view: &View,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDocument>, StoreError>;

    /// The keys that a query finds, in its order and up to its limit. Reads the index only.
    async fn keys(&self, query: &Query) -> Result<Vec<String>, StoreError>;

    /// The number of documents that a query finds, up to its limit. Reads the index only.
    async fn count(&self, query: &Query) -> Result<u64, StoreError>;

    /// How the engine would run the query.
    async fn plan(&self, query: &Query) -> Result<Plan, StoreError>;

    /// The checkpoint of a projection; 0 if it has none.
    async fn checkpoint(&self, projection: &str) -> Result<u64, StoreError>;

    /// Commits the whole batch or nothing; compares the checkpoint first.
    async fn commit(&self, commit: Commit<'_>) -> Result<(), CommitError>;

    /// The parked events of a projection, oldest first, at most `limit`.
    async fn parked(&self, projection: &str, limit: usize) -> Result<Vec<Parked>, StoreError>;

    /// The size of each view that exists: documents, and bytes on disk if the engine reports them.
    async fn sizes(&self) -> Result<BTreeMap<String, ViewSize>, StoreError>;

    /// The version of the document formats: the number of changes of views that the store has applied.
    async fn schema_version(&self) -> Result<u64, StoreError>;

    /// The checkpoints of all projections and reactions by name.
    async fn checkpoints(&self) -> Result<BTreeMap<String, u64>, StoreError>;

    /// Whether views can be read at the moment.
    async fn check(&self) -> Result<(), StoreError> {
        self.schema_version().await.map(drop)
    }

    /// Makes deleted and overwritten data unreadable in the engine's files, as far as the engine controls them:
    /// `docs/security.md` describes the rest.
    async fn purge(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Called last, at shutdown. Later calls may return [`StoreError::Unavailable`].
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The size of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewSize {
    pub documents: u64,
    /// Documents and indexes together.
    pub bytes: u64,
}

/// Typed reads for any store.
#[async_trait]
pub trait ViewStoreExt {
    async fn get<T: Document>(&self, key: &str) -> Result<Option<T>, StoreError>;

    async fn get_all<T: Document>(&self, keys: &[String]) -> Result<Vec<Option<T>>, StoreError>;

    async fn page_of<T: Document>(&self, query: Query) -> Result<PageOf<T>, StoreError>;
}

#[async_trait]
impl ViewStoreExt for dyn ViewStore {
    async fn get<T: Document>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let found = self.get_many(T::VIEW, &[key.to_owned()]).await?;
        found.into_iter().flatten().next().map(|document| document.read()).transpose()
    }

    async fn get_all<T: Document>(&self, keys: &[String]) -> Result<Vec<Option<T>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.get_many(T::VIEW, keys).await?;
        found.into_iter().map(|document| document.map(|document| document.read()).transpose()).collect()
    }

    async fn page_of<T: Document>(&self, query: Query) -> Result<PageOf<T>, StoreError> {
        let Page { documents, next } = self.page(&query).await?;
        let documents = documents.iter().map(StoredDocument::read).collect::<Result<_, _>>()?;
        Ok(PageOf { documents, next })
    }
}

impl Page {
    /// Builds a page from up to `limit + 1` documents with their order values: one more document means that there is
    /// a next page.
    pub(crate) fn of(mut found: Vec<(StoredDocument, Value)>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|(document, order)| crate::Cursor { order: order.clone(), key: document.key.clone() });
        Self { documents: found.into_iter().map(|(document, _)| document).collect(), next }
    }
}

/// The bounds of a prefix: from the first, up to and excluding the second.
pub(crate) fn prefix_bounds(prefix: &str) -> (String, String) {
    (prefix.to_owned(), format!("{prefix}{}", char::MAX))
}

/// The fields of an index in order, without the key that ends it.
pub(crate) fn sort_fields(index: &Index) -> impl Iterator<Item = &'static str> {
    index.equals.iter().copied().chain([index.order])
}
