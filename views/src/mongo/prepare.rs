use futures::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::IndexOptions;

use super::{CHECKPOINTS, MongoViews, PARKED, SCHEMA};
use crate::store::sort_fields;
use crate::{Direction, Index, StoreError};

/// The migrations: views whose document format changed. The projections of these names are reset; the SQLite adapter has the same
/// steps.
const RESHAPED: &[&[&str]] = &[
    // Likes are notifications themselves; the view of notifications no longer contains them.
    &["posts", "likes", "notifications"],
    // Deactivated, suspended and erased users are not counted.
    &["posts", "likes", "comments", "stories", "story_views", "saves", "notifications"],
    // An index for comments that are not replies.
    &["comments"],
];

impl MongoViews {
    /// A standalone server has no transactions, and without them checkpoint and view could diverge.
    pub(super) async fn require_transactions(&self) -> Result<(), StoreError> {
        let hello = self.database.run_command(doc! { "hello": 1 }).await?;
        if hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
            return Ok(());
        }
        Err(StoreError::corrupt(
            "this MongoDB server is not part of a replica set, so it has no transactions: \
             start it with --replSet and run rs.initiate(), and name the set in the setting (?replicaSet=rs0)",
        ))
    }

    /// Drops views with an outdated document format; they are rebuilt from the log. If two processes do so
    /// concurrently, the second may drop a view that is being rebuilt, but also drops its checkpoint, which fences
    /// off its worker. Processes of the older program must be stopped: their projectors would keep writing the old
    /// format.
    pub(super) async fn drop_outdated(&self) -> Result<(), StoreError> {
        let schema = self.database.collection::<Document>(SCHEMA);
        let taken = self.taken_steps().await?.unwrap_or(0);
        refuse_newer(taken)?;
        for &views in &RESHAPED[taken..] {
            for view in views {
                self.collection::<RawDocumentBuf>(view).drop().await?;
            }
            self.collection::<RawDocumentBuf>(CHECKPOINTS)
                .delete_many(doc! { "_id": { "$in": views } })
                .await?;
            self.collection::<RawDocumentBuf>(PARKED)
                .delete_many(doc! { "_id.projection": { "$in": views } })
                .await?;
        }
        let steps = i64::try_from(RESHAPED.len()).map_err(StoreError::corrupt)?;
        let now = doc! { "_id": "views", "steps": steps };
        schema.replace_one(doc! { "_id": "views" }, now).upsert(true).await?;
        Ok(())
    }

    /// The number of applied migrations; none if there are no views.
    pub(super) async fn taken_steps(&self) -> Result<Option<usize>, StoreError> {
        let schema = self.database.collection::<Document>(SCHEMA);
        let Some(known) = schema.find_one(doc! { "_id": "views" }).await? else { return Ok(None) };
        let taken = known.get_i64("steps").map_err(StoreError::corrupt)?;
        usize::try_from(taken).map(Some).map_err(StoreError::corrupt)
    }

    /// # Errors
    /// If there are no views, or a program of another version wrote them.
    pub(super) async fn require_current(&self) -> Result<(), StoreError> {
        let Some(taken) = self.taken_steps().await? else {
            return Err(StoreError::corrupt(format!(
                "the database `{}` holds no views of Chorus",
                self.database.name()
            )));
        };
        refuse_newer(taken)?;
        if taken < RESHAPED.len() {
            return Err(StoreError::corrupt(format!(
                "its schema is version {taken}, this program has version {}: an older program wrote it; a projector of \
                 this version brings it up to date when it starts",
                RESHAPED.len()
            )));
        }
        Ok(())
    }

    /// Collections and indexes cannot be created inside a transaction, so all are created in advance.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        self.create_collections().await?;
        self.create_indexes().await
    }

    pub(super) async fn create_collections(&self) -> Result<(), StoreError> {
        let there: Vec<String> = self.database.list_collection_names().await?;
        let wanted = self.views.iter().map(|view| view.name).chain([CHECKPOINTS, PARKED]);
        for name in wanted.map(|name| self.name(name)).filter(|name| !there.contains(name)) {
            let made = self.database.create_collection(&name).await;
            // Two processes may start concurrently; the second one finds the collection.
            let now: Vec<String> = self.database.list_collection_names().await?;
            if !now.contains(&name) {
                made?;
            }
        }
        Ok(())
    }

    pub(super) async fn create_indexes(&self) -> Result<(), StoreError> {
        for view in self.views {
            let collection = self.collection::<RawDocumentBuf>(view.name);
            let found: Vec<IndexModel> = collection.list_indexes().await?.try_collect().await?;
            for index in view.indexes {
                let keys = keys(index);
                if found.iter().any(|model| model.keys == keys) {
                    continue;
                }
                let mut options = IndexOptions::default();
                options.name = Some(index.name.to_owned());
                options.partial_filter_expression = all_there(index);
                tracing::info!(view = self.name(view.name), index = index.name, "creating an index");
                collection.create_index(IndexModel::builder().keys(keys).options(options).build()).await?;
            }
        }
        Ok(())
    }
}

fn refuse_newer(taken: usize) -> Result<(), StoreError> {
    if taken <= RESHAPED.len() {
        return Ok(());
    }
    Err(StoreError::corrupt(format!(
        "its schema is version {taken}, this program knows versions up to {}: use a newer program",
        RESHAPED.len()
    )))
}

/// The condition that a document has all equal fields of an index: other documents need no index entry.
fn all_there(index: &Index) -> Option<Document> {
    let conditions: Document =
        index.equals.iter().map(|field| ((*field).to_owned(), doc! { "$exists": true }.into())).collect();
    (!conditions.is_empty()).then_some(conditions)
}

/// The fields of an index in order, ending in the key, each with its direction.
pub(super) fn keys(index: &Index) -> Document {
    let mut keys: Document = sort_fields(index).map(|field| (field.to_owned(), 1.into())).collect();
    keys.insert(index.order, direction(index));
    keys.insert("_id", direction(index));
    keys
}

pub(super) const fn direction(index: &Index) -> i32 {
    match index.direction {
        Direction::Ascending => 1,
        Direction::Descending => -1,
    }
}
