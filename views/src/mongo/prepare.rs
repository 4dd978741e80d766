use futures::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;

use super::{CHECKPOINTS, MongoViews, PARKED, SCHEMA};
use crate::store::sort_fields;
use crate::{Direction, Index, StoreError};

/// Step by step, the views whose documents have another shape since then. Each is also the name of a projection, which
/// begins anew; SQLite has the same.
const RESHAPED: &[&[&str]] = &[
    // Likes tell their post's author, and notifications do without them.
    &["posts", "likes", "notifications"],
    // Who is deactivated, suspended or erased is counted nowhere.
    &["posts", "likes", "comments", "stories", "story_views", "saves", "notifications"],
    // Comments that answer no other one are found by themselves.
    &["comments"],
];

impl MongoViews {
    /// A lone server has no transactions, and without them a checkpoint could part from its view.
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

    /// Drops what older programs have left in a shape that this one does not read: it is built again from the log. Of two
    /// that do so at once the second may drop what has just been begun, but also its checkpoint, which fences its worker off.
    /// Processes of the older program must have ended: a projector of theirs would go on writing its own shape.
    pub(super) async fn drop_outdated(&self) -> Result<(), StoreError> {
        let schema = self.database.collection::<Document>(SCHEMA);
        let known = schema.find_one(doc! { "_id": "views" }).await?;
        let taken = known.map_or(Ok(0), |known| known.get_i64("steps")).map_err(StoreError::corrupt)?;
        let taken = usize::try_from(taken).map_err(StoreError::corrupt)?;
        if taken > RESHAPED.len() {
            return Err(StoreError::corrupt(format!(
                "its schema is version {taken}, this program knows versions up to {}: use a newer program",
                RESHAPED.len()
            )));
        }
        for &views in &RESHAPED[taken..] {
            for view in views {
                self.collection(view).drop().await?;
            }
            self.collection(CHECKPOINTS).delete_many(doc! { "_id": { "$in": views } }).await?;
            self.collection(PARKED).delete_many(doc! { "_id.projection": { "$in": views } }).await?;
        }
        let steps = i64::try_from(RESHAPED.len()).map_err(StoreError::corrupt)?;
        let now = doc! { "_id": "views", "steps": steps };
        schema.replace_one(doc! { "_id": "views" }, now).upsert(true).await?;
        Ok(())
    }

    /// Collections and indexes cannot be made inside a transaction, so all are made before the first.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        let there: Vec<String> = self.database.list_collection_names().await?;
        let wanted = self.views.iter().map(|view| view.name).chain([CHECKPOINTS, PARKED]);
        for name in wanted.filter(|name| !there.iter().any(|found| found == name)) {
            let made = self.database.create_collection(name).await;
            // Two processes may start at once; who comes second finds it made.
            let now: Vec<String> = self.database.list_collection_names().await?;
            if !now.iter().any(|found| found == name) {
                made?;
            }
        }
        for view in self.views {
            let collection = self.collection(view.name);
            let found: Vec<IndexModel> = collection.list_indexes().await?.try_collect().await?;
            for index in view.indexes {
                let keys = keys(index);
                if found.iter().any(|model| model.keys == keys) {
                    continue;
                }
                let mut options = IndexOptions::default();
                options.name = Some(index.name.to_owned());
                options.partial_filter_expression = all_there(index);
                tracing::info!(view = view.name, index = index.name, "making an index");
                collection.create_index(IndexModel::builder().keys(keys).options(options).build()).await?;
            }
        }
        Ok(())
    }
}

/// The condition that a document has all the fields that a search of an index names: one without is not to cost anything.
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
