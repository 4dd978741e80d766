//! What a projection is.

use std::collections::{BTreeMap, BTreeSet};

use events::{Kind, Recorded};
use serde_json::Value;
use views::{Index, Query, StoreError, View, ViewStore, Writes};

/// Documents that a projection looks for by an index, read at once.
const FOUND_AT_ONCE: usize = 1000;

/// Builds the view of its name, or several that must agree. It can always be rebuilt, so it looks at nothing but the events
/// and its own documents: no clock, no other view.
pub trait Projection: Send + Sync + 'static {
    /// The view's name, and the checkpoint's.
    fn name(&self) -> &'static str;

    /// The names of the views that it writes, and nobody else.
    fn views(&self) -> Vec<&'static str> {
        vec![self.name()]
    }

    /// The kinds of events it takes.
    fn kinds(&self) -> &'static [Kind];

    /// What to do with an event that cannot be taken in.
    fn on_failure(&self) -> OnFailure;

    /// The documents of its own views that it must see to project an event; nearly none needs any. What it finds is what
    /// its own commits have left: a worker that has been fenced off may see less, but cannot commit.
    fn looks_at(&self, _: &Recorded) -> Vec<(&'static View, String)> {
        Vec::new()
    }

    /// The documents of its own views that it must see to project an event and that only an index finds; only few events
    /// need any. Such an event is always the first of its batch, so that they are what its projection has left.
    fn looks_for(&self, _: &Recorded) -> Vec<Search> {
        Vec::new()
    }

    /// The writes that an event leads to.
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

/// How many of these events, from the first on, may be projected together.
pub fn batch_length<'a>(
    projection: &dyn Projection,
    events: impl IntoIterator<Item = Option<&'a Recorded>>,
) -> usize {
    let begins = |recorded: &Recorded| !projection.looks_for(recorded).is_empty();
    let after = |(place, recorded): &(usize, Option<&Recorded>)| *place == 0 || !recorded.is_some_and(begins);
    events.into_iter().enumerate().take_while(after).count()
}

/// Writes that have seen what a projection looks at to project these events, which may be projected together.
///
/// # Errors
/// If the store does not answer, or holds what cannot be read.
pub async fn seeing<'a>(
    projection: &dyn Projection,
    store: &dyn ViewStore,
    events: impl Iterator<Item = &'a Recorded>,
) -> Result<Writes, StoreError> {
    let mut keys: BTreeMap<&'static str, (&'static View, BTreeSet<String>)> = BTreeMap::new();
    let mut writes = Writes::default();
    for (place, recorded) in events.enumerate() {
        for (view, key) in projection.looks_at(recorded) {
            keys.entry(view.name).or_insert_with(|| (view, BTreeSet::new())).1.insert(key);
        }
        if place == 0 {
            for search in projection.looks_for(recorded) {
                find_all(store, search, &mut writes).await?;
            }
        }
    }
    for (view, keys) in keys.into_values() {
        let keys: Vec<String> = keys.into_iter().collect();
        let found = store.get_many(view, &keys).await?;
        keys.into_iter().zip(found).try_for_each(|(key, found)| writes.see(view, key, found))?;
    }
    Ok(writes)
}

async fn find_all(store: &dyn ViewStore, search: Search, writes: &mut Writes) -> Result<(), StoreError> {
    let Search { view, index, equals } = search;
    let mut after = None;
    loop {
        let query = Query::new(view, index, equals.clone(), FOUND_AT_ONCE).after(after);
        let page = store.page(&query).await?;
        writes.find(view, page.documents);
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// What becomes of a projection when an event cannot be taken in, attempt after attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The event is set aside with its error, and the view goes on without it.
    Park,
    /// The view would be wrong without it, so the projection stops and says so.
    Stop,
}
/// A position as documents hold it.
pub(crate) fn position(recorded: &Recorded) -> i64 {
    i64::try_from(recorded.position.0).unwrap_or(i64::MAX)
}

/// When it happened, as documents hold it.
pub(crate) fn time(recorded: &Recorded) -> i64 {
    recorded.envelope.time.timestamp_millis()
}
