//! Copies finished views of one family into new collections: much faster than committing the same documents.

use std::pin::pin;

use futures::StreamExt;
use futures::stream;
use mongodb::Collection;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::WriteConcern;
use serde_json::{Map, Value};

use super::MongoViews;
use super::statements::replacement;
use crate::{Commit, CommitError, StoreError, StoredDocument, View, ViewStore};

/// Documents per insert: several megabytes at most, as documents of views are small.
const DOCUMENTS: usize = 5000;
/// Inserts at the same time.
const INSERTS: usize = 2;
/// Parked events of one family at most.
const PARKED: usize = 1_000_000;

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// The view in work.
    pub view: &'static str,
    /// Documents of all views so far.
    pub documents: u64,
}

impl MongoViews {
    /// Copies the views of a projection, its parked events, and last its checkpoint, so that an interrupted load looks
    /// as if it had not started. Its collections must be empty, and nothing else may use them; after a failure they must
    /// be dropped.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a collection is not empty, or holds fewer documents at the end than the source.
    pub async fn load(
        &self,
        source: &dyn ViewStore,
        projection: &str,
        views: &[&'static View],
        on_progress: &(dyn Fn(LoadProgress) + Send + Sync),
    ) -> Result<(), StoreError> {
        let checkpoint = source.checkpoint(projection).await?;
        self.create_collections().await?;
        let mut documents = 0;
        for view in views {
            let collection: Collection<RawDocumentBuf> = self.collection(view.name);
            if collection.find_one(doc! {}).await?.is_some() {
                return Err(StoreError::corrupt(format!("the collection of {} is not empty", view.name)));
            }
            // Made again once at the end, from sorted keys.
            collection.drop_indexes().await?;
            let before = documents;
            {
                let inserts = pages(source, view).map(|page| insert(&collection, page));
                let mut inserts = pin!(inserts.buffer_unordered(INSERTS));
                while let Some(inserted) = inserts.next().await {
                    documents += inserted?;
                    on_progress(LoadProgress { view: view.name, documents });
                }
            }
            let found = collection.count_documents(doc! {}).await?;
            if found != documents - before {
                return Err(StoreError::corrupt(format!(
                    "{} holds {found} documents after {} were inserted",
                    view.name,
                    documents - before
                )));
            }
        }
        self.create_indexes().await?;
        let parked = source.parked(projection, PARKED).await?;
        let commit =
            Commit { projection, writes: std::sync::Arc::default(), parked, expected: 0, checkpoint };
        match self.commit(commit).await {
            Ok(()) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
            Err(CommitError::Fenced { actual }) => Err(StoreError::corrupt(format!(
                "{projection} has a checkpoint at {actual} already: something else feeds the views"
            ))),
        }
    }
}

/// The documents of a view in the order of keys. The next page is read while others are inserted.
fn pages<'a>(
    source: &'a dyn ViewStore,
    view: &'static View,
) -> impl stream::Stream<Item = Result<Vec<StoredDocument>, StoreError>> + 'a {
    stream::unfold(Some(None::<String>), move |after| async move {
        let after = after?;
        match source.scan(view, after.as_deref(), DOCUMENTS).await {
            Err(error) => Some((Err(error), None)),
            Ok(page) => {
                let last = page.last().map(|document| document.key.clone())?;
                Some((Ok(page), Some(Some(last))))
            }
        }
    })
}

/// Inserts in any order and without a transaction; the driver repeats an insert whose answer was lost.
async fn insert(
    collection: &Collection<RawDocumentBuf>,
    page: Result<Vec<StoredDocument>, StoreError>,
) -> Result<u64, StoreError> {
    let documents = page?
        .into_iter()
        .map(|document| {
            let fields: Map<String, Value> = document.read()?;
            replacement(&document.key, &fields)
        })
        .collect::<Result<Vec<_>, _>>()?;
    // The checkpoint, which comes later, waits for a majority of the members, and so for everything before it.
    let concern = WriteConcern::nodes(1);
    let inserted = collection.insert_many(&documents).ordered(false).write_concern(concern).await?;
    Ok(inserted.inserted_ids.len() as u64)
}
