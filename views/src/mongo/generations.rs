//! Generations in collections of their own: `posts.v1g1` beside `posts`, with the records in `generations`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::WriteConcern;

use super::errors::is_duplicate;
use super::{CHECKPOINTS, MongoViews, PARKED};
use crate::generations::{GenerationStore, Generations};
use crate::{Family, SqliteViews, StoreError, ViewStore};

/// Records: `{_id: <family and version>, epoch, record}`, the record as JSON text.
const GENERATIONS: &str = "generations";

/// The generations in one database.
#[derive(Debug)]
pub struct MongoGenerations {
    base: Arc<MongoViews>,
}

impl MongoGenerations {
    pub fn new(base: Arc<MongoViews>) -> Self {
        Self { base }
    }

    fn records_collection(&self) -> Collection<Document> {
        self.base.database.collection(GENERATIONS)
    }

    fn of(&self, family: &Family, number: u64) -> MongoViews {
        // Generation 0 of version 1 is the base itself.
        let suffix =
            if family.is_in_base(number) { String::new() } else { format!(".v{}g{number}", family.version) };
        self.base.generation(family.views, suffix)
    }
}

#[async_trait]
impl GenerationStore for MongoGenerations {
    async fn records(&self) -> Result<BTreeMap<String, Generations>, StoreError> {
        let found: Vec<Document> = self.records_collection().find(doc! {}).await?.try_collect().await?;
        found
            .iter()
            .map(|found| {
                let id = found.get_str("_id").map_err(StoreError::corrupt)?.to_owned();
                let record = found.get_str("record").map_err(StoreError::corrupt)?;
                Ok((id, serde_json::from_str(record).map_err(StoreError::corrupt)?))
            })
            .collect()
    }

    async fn replace(
        &self,
        id: &str,
        expected: Option<u64>,
        record: &Generations,
    ) -> Result<bool, StoreError> {
        if self.base.read_only {
            return Err(StoreError::unavailable("they were opened to be read only"));
        }
        let epoch = |epoch: u64| i64::try_from(epoch).map_err(StoreError::corrupt);
        let text = serde_json::to_string(record).map_err(StoreError::corrupt)?;
        let document = doc! { "_id": id, "epoch": epoch(record.epoch)?, "record": text };
        let records = self.records_collection();
        match expected {
            None => match records.insert_one(document).write_concern(WriteConcern::majority()).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error.into()),
            },
            Some(expected) => {
                let filter = doc! { "_id": id, "epoch": epoch(expected)? };
                let replaced =
                    records.replace_one(filter, document).write_concern(WriteConcern::majority()).await?;
                Ok(replaced.matched_count == 1)
            }
        }
    }

    async fn open(&self, family: &Family, number: u64) -> Result<Arc<dyn ViewStore>, StoreError> {
        let generation = self.of(family, number);
        let checkpoints = generation.collection::<Document>(CHECKPOINTS);
        if checkpoints.find_one(doc! { "_id": family.name }).await?.is_none() {
            let problem = format!("the database holds no {}", family.generation(number));
            return Err(StoreError::corrupt(problem));
        }
        Ok(Arc::new(generation))
    }

    fn scratch_file(&self, family: &Family, number: u64, folder: &Path) -> PathBuf {
        folder.join(format!("{}.db", family.generation(number)))
    }

    async fn publish(
        &self,
        family: &Family,
        number: u64,
        scratch: Arc<SqliteViews>,
    ) -> Result<(), StoreError> {
        let generation = self.of(family, number);
        generation.load(&*scratch, family.name, family.views, &|_| {}).await?;
        scratch.close().await
    }

    async fn delete(&self, family: &Family, number: u64) -> Result<(), StoreError> {
        let generation = self.of(family, number);
        // First, so that a worker that still commits is fenced off.
        generation.collection::<Document>(CHECKPOINTS).delete_one(doc! { "_id": family.name }).await?;
        for view in family.views {
            generation.collection::<Document>(view.name).drop().await?;
        }
        let parked = doc! { "_id.projection": family.name };
        generation.collection::<Document>(PARKED).delete_many(parked).await?;
        Ok(())
    }

    fn settles_after(&self) -> Duration {
        // Longer than any process acts on a record that it does not read again.
        Duration::from_secs(4)
    }
}
