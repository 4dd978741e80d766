use std::collections::{BTreeMap, HashMap};

use futures::TryStreamExt;
use mongodb::action::Action;
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::Hint;
use serde_json::Value;

use super::prepare::{direction, keys};
use super::{Body, CHECKPOINTS, MongoViews, PARKED, READ_LIMIT, to_bson};
use crate::store::prefix_bounds;
use crate::{Direction, Page, Parked, Plan, Query, StoreError, StoredDocument, View, document};

impl MongoViews {
    pub(super) async fn find_many(
        &self,
        view: &View,
        keys: &[String],
    ) -> Result<Vec<Option<StoredDocument>>, StoreError> {
        let collection = self.collection::<RawDocumentBuf>(view.name);
        if let [key] = keys {
            let found = collection.find_one(doc! { "_id": key }).max_time(READ_LIMIT).await?;
            return Ok(vec![found.map(stored).transpose()?]);
        }
        let limit = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let found: Vec<RawDocumentBuf> = collection
            .find(doc! { "_id": { "$in": keys } })
            .limit(limit)
            // Request everything in the first batch: an open cursor would cost another round trip.
            .batch_size(u32::try_from(keys.len()).unwrap_or(u32::MAX).saturating_add(1))
            .max_time(READ_LIMIT)
            .await?
            .try_collect()
            .await?;
        let mut by_key: HashMap<String, StoredDocument> = HashMap::with_capacity(found.len());
        for document in found {
            let document = stored(document)?;
            by_key.insert(document.key.clone(), document);
        }
        Ok(keys.iter().map(|key| by_key.get(key).cloned()).collect())
    }

    pub(super) async fn find_page(&self, query: &Query) -> Result<Page, StoreError> {
        let found = self
            .found(query.view, find(query)?, None)
            .await?
            .into_iter()
            .map(|document| {
                let order = order_value(&document, query.index.order)?;
                Ok((stored(document)?, order))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Page::of(found, query.limit))
    }

    pub(super) async fn find_all(
        &self,
        view: &View,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        if limit == 0 {
            // MongoDB treats 0 as no limit.
            return Ok(Vec::new());
        }
        let by_key = doc! { "_id": 1 };
        let find = Find {
            filter: doc! { "_id": { "$gt": after.unwrap_or_default() } },
            sort: by_key.clone(),
            hint: by_key,
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        };
        self.found(view, find, None).await?.into_iter().map(stored).collect()
    }

    pub(super) async fn find_keys(&self, query: &Query) -> Result<Vec<String>, StoreError> {
        if query.limit == 0 {
            // MongoDB treats 0 as no limit.
            return Ok(Vec::new());
        }
        let find = Find { limit: i64::try_from(query.limit).unwrap_or(i64::MAX), ..find(query)? };
        let found = self.found(query.view, find, Some(doc! { "_id": 1 })).await?;
        let key = |document: &RawDocumentBuf| document.get_str("_id").map(str::to_owned);
        found.iter().map(key).collect::<Result<_, _>>().map_err(StoreError::corrupt)
    }

    /// The documents found, with some or all fields, in one batch.
    async fn found(
        &self,
        view: &View,
        Find { filter, sort, hint, limit }: Find,
        fields: Option<Document>,
    ) -> Result<Vec<RawDocumentBuf>, StoreError> {
        let found = self
            .collection::<RawDocumentBuf>(view.name)
            .find(filter)
            .sort(sort)
            .hint(Hint::Keys(hint))
            .optional(fields, mongodb::action::Find::projection)
            .limit(limit)
            .batch_size(u32::try_from(limit).unwrap_or(u32::MAX).saturating_add(1))
            .max_time(READ_LIMIT)
            .await?;
        Ok(found.try_collect().await?)
    }

    /// Uses an aggregation, since the `count` command may count documents twice on a sharded cluster.
    pub(super) async fn count_found(&self, query: &Query) -> Result<u64, StoreError> {
        let Find { filter, hint, .. } = find(query)?;
        let counted = self
            .collection::<RawDocumentBuf>(query.view.name)
            .count_documents(filter)
            .hint(Hint::Keys(hint))
            .limit(u64::try_from(query.limit).unwrap_or(u64::MAX))
            .max_time(READ_LIMIT)
            .await?;
        Ok(counted)
    }

    pub(super) async fn explain(&self, query: &Query) -> Result<Plan, StoreError> {
        let Find { filter, sort, hint, limit } = find(query)?;
        let find = doc! { "find": self.name(query.view.name), "filter": filter, "sort": sort, "hint": hint, "limit": limit };
        let command = doc! { "explain": find, "verbosity": "executionStats" };
        let response = self.database.run_command(command).await?;
        let plan = response.get_document("queryPlanner").and_then(|p| p.get_document("winningPlan"));
        let plan = plan.map_err(StoreError::corrupt)?;
        let mut stages = Vec::new();
        walk_stages(plan, &mut stages);
        let examined = response
            .get_document("executionStats")
            .ok()
            .and_then(|stats| stats.get("totalDocsExamined"))
            .and_then(Bson::as_i32)
            .map_or(i64::MAX, i64::from);
        let stage =
            |name: &str| stages.iter().any(|stage| stage.get_str("stage").is_ok_and(|found| found == name));
        let index = stages.iter().find_map(|stage| stage.get_str("indexName").ok()).map(str::to_owned);
        Ok(Plan {
            index,
            scans_or_sorts: stage("COLLSCAN") || stage("SORT") || examined > limit,
            explained: format!("{plan}, {examined} documents examined"),
        })
    }

    pub(super) async fn find_checkpoint(&self, projection: &str) -> Result<u64, StoreError> {
        let found = self
            .collection::<RawDocumentBuf>(CHECKPOINTS)
            .find_one(doc! { "_id": projection })
            .max_time(READ_LIMIT)
            .await?;
        found.map_or(Ok(0), |found| integer(&found, "position"))
    }

    pub(super) async fn find_checkpoints(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let found: Vec<RawDocumentBuf> = self
            .collection::<RawDocumentBuf>(CHECKPOINTS)
            .find(doc! {})
            .max_time(READ_LIMIT)
            .await?
            .try_collect()
            .await?;
        let read = |document: &RawDocumentBuf| {
            let name = document.get_str("_id").map_err(StoreError::corrupt)?.to_owned();
            Ok((name, integer(document, "position")?))
        };
        found.iter().map(read).collect()
    }

    pub(super) async fn find_parked(
        &self,
        projection: &str,
        limit: usize,
    ) -> Result<Vec<Parked>, StoreError> {
        let collection = self.collection::<Document>(PARKED);
        let range = doc! { "_id": {
            "$gte": { "projection": projection, "position": 0_i64 },
            "$lte": { "projection": projection, "position": i64::MAX },
        } };
        let found: Vec<Document> = collection
            .find(range)
            .sort(doc! { "_id": 1 })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .max_time(READ_LIMIT)
            .await?
            .try_collect()
            .await?;
        found
            .iter()
            .map(|parked| {
                let position = parked.get_document("_id").and_then(|id| id.get_i64("position"));
                Ok(Parked {
                    position: position.map_err(StoreError::corrupt)?.unsigned_abs(),
                    // Older programs did not store it.
                    subject: parked.get_str("subject").ok().map(str::to_owned),
                    event_type: parked.get_str("event_type").map_err(StoreError::corrupt)?.to_owned(),
                    error: parked.get_str("error").map_err(StoreError::corrupt)?.to_owned(),
                })
            })
            .collect()
    }
}

struct Find {
    filter: Document,
    sort: Document,
    hint: Document,
    limit: i64,
}

/// Requests one more document than the page size, to detect a next page.
fn find(query: &Query) -> Result<Find, StoreError> {
    let Query { index, equals, prefix, above, after, limit, .. } = query;
    let mut filter = equal(index.equals, equals)?;
    let mut range = Document::new();
    if index.equals.is_empty() {
        // With equal fields the index has only documents that have them.
        range.insert("$ne", Bson::Null);
    }
    if let Some(prefix) = prefix {
        let (from, to) = prefix_bounds(prefix);
        range.extend(doc! { "$gte": from, "$lt": to });
    }
    if let Some(above) = above {
        range.insert("$gt", *above);
    }
    if !range.is_empty() {
        filter.insert(index.order, range);
    }
    if let Some(after) = after {
        let beyond = match index.direction {
            Direction::Ascending => "$gt",
            Direction::Descending => "$lt",
        };
        let place = to_bson(&after.order)?;
        let here = doc! { index.order: { "$eq": place.clone() }, "_id": { beyond: after.key.clone() } };
        let further = doc! { index.order: { beyond: place } };
        // Two index ranges, merged in order by the server. As the whole filter they rule out the plan that reads all
        // documents at the cursor's place again.
        filter = doc! { "$or": [{ "$and": [filter.clone(), here] }, { "$and": [filter, further] }] };
    }
    let sort = doc! { index.order: direction(index), "_id": direction(index) };
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX).saturating_add(1);
    Ok(Find { filter, sort, hint: keys(index), limit })
}

/// The condition that the equal fields of an index have these values. `$eq` prevents values from being interpreted as
/// operators.
pub(super) fn equal(fields: &[&str], values: &[Value]) -> Result<Document, StoreError> {
    fields
        .iter()
        .zip(values)
        .map(|(field, value)| Ok(((*field).to_owned(), doc! { "$eq": to_bson(value)? }.into())))
        .collect()
}

pub(super) fn stored(body: RawDocumentBuf) -> Result<StoredDocument, StoreError> {
    let key = body.get_str("_id").map_err(StoreError::corrupt)?.to_owned();
    Ok(StoredDocument { key, body: document::Body::Bson(Body(body)) })
}

fn order_value(document: &RawDocumentBuf, field: &str) -> Result<Value, StoreError> {
    match document.get(field).map_err(StoreError::corrupt)? {
        Some(RawBsonRef::String(text)) => Ok(text.into()),
        Some(RawBsonRef::Int32(number)) => Ok(number.into()),
        Some(RawBsonRef::Int64(number)) => Ok(number.into()),
        _ => Err(StoreError::corrupt(format!("a document without `{field}` in its order"))),
    }
}

pub(super) fn integer(document: &RawDocumentBuf, field: &str) -> Result<u64, StoreError> {
    let number = match document.get(field).map_err(StoreError::corrupt)? {
        Some(RawBsonRef::Int32(number)) => i64::from(number),
        Some(RawBsonRef::Int64(number)) => number,
        _ => return Err(StoreError::corrupt(format!("`{field}` is not a number"))),
    };
    Ok(number.unsigned_abs())
}

fn walk_stages<'a>(plan: &'a Document, stages: &mut Vec<&'a Document>) {
    if plan.contains_key("stage") {
        stages.push(plan);
    }
    for value in plan.values() {
        match value {
            Bson::Document(inner) => walk_stages(inner, stages),
            Bson::Array(list) => {
                for inner in list.iter().filter_map(Bson::as_document) {
                    walk_stages(inner, stages);
                }
            }
            _ => {}
        }
    }
}
