use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;

use crate::{Document, Index, Page, PageOf, Query, StoredDocument, View, Write};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the store did not answer.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be reached or is not ready: the same call may succeed later.
    #[error("the view store is unavailable")]
    Unavailable(#[source] Cause),
    /// A document that is not what it should be, or a write that the engine refuses: no retry helps.
    #[error("the view store holds or was given what it cannot take")]
    Corrupt(#[source] Cause),
}

impl StoreError {
    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    pub(crate) fn corrupt(cause: impl Into<Cause>) -> Self {
        Self::Corrupt(cause.into())
    }
}

/// Why a batch was not committed. Nothing of it has been written.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Another worker has moved this projection's checkpoint: it stands at `actual`.
    #[error("another worker is building this view; its checkpoint stands at {actual}")]
    Fenced { actual: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One batch of a projection: its writes and the move of its checkpoint are one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit<'a> {
    pub projection: &'a str,
    /// Shared, so that an attempt that failed can be repeated without a copy.
    pub writes: Arc<Vec<Write>>,
    /// Events that could not be taken in and are set aside for an operator.
    pub parked: Vec<Parked>,
    /// Where this worker last saw the checkpoint.
    pub expected: u64,
    /// The last position that the batch takes in.
    pub checkpoint: u64,
}

/// An event that a projection could not take in (a dead letter).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    pub position: u64,
    pub event_type: String,
    pub error: String,
}

/// How an engine would find the documents of a query, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The index that it walks, if it is one.
    pub index: Option<String>,
    /// True if it looks at documents that the index did not point to, or sorts by itself.
    pub scans_or_sorts: bool,
    pub explained: String,
}

/// A small document store that both engines can do well, and nothing more. Adapters: `sqlite` and `mongo`. Both pass
/// the contract in `tests/src/contracts/views.rs`.
#[async_trait]
pub trait ViewStore: std::fmt::Debug + Send + Sync + 'static {
    /// The documents with these keys, in the order asked for, with everything that was committed before the call.
    async fn get_many(&self, view: &View, keys: &[String])
    -> Result<Vec<Option<StoredDocument>>, StoreError>;

    async fn page(&self, query: &Query) -> Result<Page, StoreError>;

    /// All documents of a view in the order of their keys, at most `limit` of them after a key: to compare views as a whole.
    async fn scan(
        &self,
        view: &View,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDocument>, StoreError>;

    /// The keys alone of the documents that a query finds, in its order and up to its limit: the index answers, and no
    /// document is read.
    async fn keys(&self, query: &Query) -> Result<Vec<String>, StoreError>;

    /// How many documents a query would find, counted in its index up to its limit and no further.
    async fn count(&self, query: &Query) -> Result<u64, StoreError>;

    /// How the engine would run the query.
    async fn plan(&self, query: &Query) -> Result<Plan, StoreError>;

    /// The last position that a projection has taken in; 0 if it has not begun.
    async fn checkpoint(&self, projection: &str) -> Result<u64, StoreError>;

    /// All of the batch or nothing; the checkpoint is compared first.
    async fn commit(&self, commit: Commit<'_>) -> Result<(), CommitError>;

    /// The events a projection has set aside, oldest first, at most `limit`.
    async fn parked(&self, projection: &str, limit: usize) -> Result<Vec<Parked>, StoreError>;

    /// What the engine says of each view: documents, and bytes on disk where it can tell.
    async fn sizes(&self) -> Result<BTreeMap<String, ViewSize>, StoreError>;

    /// Where each projection and reaction stands that has a checkpoint, by its name.
    async fn checkpoints(&self) -> Result<BTreeMap<String, u64>, StoreError>;

    /// Makes what has been deleted or overwritten unreadable in the engine's files as well, as far as they are its own
    /// business: `docs/security.md` says what that leaves.
    async fn purge(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The last call of a process that ends. Later calls may answer [`StoreError::Unavailable`].
    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// How large a view is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewSize {
    pub documents: u64,
    /// Of documents and indexes together.
    pub bytes: u64,
}

/// Typed reading over any store.
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
    /// A page from one document more than it may hold, each with its order value: if there is one more, there is
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

/// The bounds of a text prefix: everything from it up to, and not including, the second.
pub(crate) fn prefix_bounds(prefix: &str) -> (String, String) {
    (prefix.to_owned(), format!("{prefix}{}", char::MAX))
}

/// All that an adapter needs to make of an index: its fields in order, with their directions, ending in the key.
pub(crate) fn sort_fields(index: &Index) -> impl Iterator<Item = &'static str> {
    index.equals.iter().copied().chain([index.order])
}
