//! The `Projection` trait and the preloading of documents.

use std::collections::{BTreeMap, BTreeSet};

use events::{Kind, Recorded};
use serde_json::Value;
use views::{Index, Query, StoreError, View, ViewStore, Writes};

/// Page size of a [`Search`].
const FOUND_AT_ONCE: usize = 1000;

/// Builds one view, or several views that must be consistent. A projection can always be rebuilt, so it depends only
/// on events and its own documents: no clock, no other views.
pub trait Projection: Send + Sync + 'static {
    /// The name of the view and of its checkpoint.
    fn name(&self) -> &'static str;

    /// The names of the views that only this projection writes.
    fn views(&self) -> Vec<&'static str> {
        vec![self.name()]
    }

    /// The kinds of events to project.
    fn kinds(&self) -> &'static [Kind];

    /// What to do with an event that cannot be projected.
    fn on_failure(&self) -> OnFailure;

    /// Keys of the projection's own documents that must be preloaded for an event; rarely any. A fenced worker may
    /// read stale documents, but it cannot commit.
    fn reads(&self, _: &Recorded) -> Vec<(&'static View, String)> {
        Vec::new()
    }

    /// Index queries for the projection's own documents that must be preloaded for an event; rarely any. Such an
    /// event starts a new batch, so that all earlier writes are committed before the query runs.
    fn searches(&self, _: &Recorded) -> Vec<Search> {
        Vec::new()
    }

    /// Adds the writes for an event.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a document that cannot be written.
    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError>;
}

/// All documents that an index finds by its equal fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    pub view: &'static View,
    pub index: &'static Index,
    pub equals: Vec<Value>,
}

/// The length of the longest prefix of these events that can be projected in one batch.
pub fn batch_length<'a>(
    projection: &dyn Projection,
    events: impl IntoIterator<Item = Option<&'a Recorded>>,
) -> usize {
    let begins = |recorded: &Recorded| !projection.searches(recorded).is_empty();
    let after = |(place, recorded): &(usize, Option<&Recorded>)| *place == 0 || !recorded.is_some_and(begins);
    events.into_iter().enumerate().take_while(after).count()
}

/// Preloads the documents that a projection reads for a batch of events.
///
/// # Errors
/// If the store is unavailable or a document is corrupt.
pub async fn preload<'a>(
    projection: &dyn Projection,
    store: &dyn ViewStore,
    events: impl Iterator<Item = &'a Recorded>,
) -> Result<Writes, StoreError> {
    let mut keys: BTreeMap<&'static str, (&'static View, BTreeSet<String>)> = BTreeMap::new();
    let mut writes = Writes::default();
    for (place, recorded) in events.enumerate() {
        for (view, key) in projection.reads(recorded) {
            keys.entry(view.name).or_insert_with(|| (view, BTreeSet::new())).1.insert(key);
        }
        if place == 0 {
            for search in projection.searches(recorded) {
                find_all(store, search, &mut writes).await?;
            }
        }
    }
    for (view, keys) in keys.into_values() {
        let keys: Vec<String> = keys.into_iter().collect();
        let found = store.get_many(view, &keys).await?;
        keys.into_iter().zip(found).try_for_each(|(key, found)| writes.preload(view, key, found))?;
    }
    Ok(writes)
}

async fn find_all(store: &dyn ViewStore, search: Search, writes: &mut Writes) -> Result<(), StoreError> {
    let Search { view, index, equals } = search;
    let mut after = None;
    loop {
        let query = Query::new(view, index, equals.clone(), FOUND_AT_ONCE).after(after);
        let page = store.page(&query).await?;
        writes.preload_found(view, page.documents);
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// What happens when an event cannot be projected after all attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The event is parked with its error, and the projection continues.
    Park,
    /// The projection stops, since the view would be wrong without the event.
    Stop,
}
/// The position as documents store it.
pub(crate) fn position(recorded: &Recorded) -> i64 {
    i64::try_from(recorded.position.0).unwrap_or(i64::MAX)
}

/// The time of the event as documents store it.
pub(crate) fn time(recorded: &Recorded) -> i64 {
    recorded.envelope.time.timestamp_millis()
}
