//! Views in MongoDB: one collection per view, with the document's key as `_id`. BSON and driver types stay inside
//! this module.

mod commit;
mod errors;
mod generations;
mod load;
mod prepare;
mod read;
mod statements;
mod worker;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{self, Bson, RawDocumentBuf, doc};
use mongodb::options::{ClientOptions, ReadPreference};
use mongodb::{Client, Collection, Database};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::generations::MongoGenerations;
pub use self::load::LoadProgress;
use self::worker::Workers;
use crate::store::ViewSize;
use crate::{Commit, CommitError, Page, Parked, Plan, Query, StoreError, StoredDocument, View, ViewStore};

/// Server selection timeout: how long a call looks for a suitable server before it fails.
const SERVER_SELECTION: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of the driver's heartbeats. A member that does not answer within this interval plus the connect timeout
/// counts as lost, and calls waiting for it fail. The driver's default of 10 s exceeds the time of an election.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// Server-side time limit of a read.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// The default database.
const DATABASE: &str = "chorus";
/// Checkpoints: `{_id: <projection>, position, sessions}`, with the ids of the sessions whose transactions may hold
/// its lock.
const CHECKPOINTS: &str = "checkpoints";
/// Parked events: `{_id: {projection, position}, event_type, subject, error}`.
const PARKED: &str = "parked";
/// Applied migrations: `{_id: "views", steps}`.
const SCHEMA: &str = "schema";

/// The views in one MongoDB database.
#[derive(Debug)]
pub struct MongoViews {
    client: Client,
    database: Database,
    views: &'static [&'static View],
    /// Ends the names of all collections of a generation; empty for the store itself.
    suffix: String,
    workers: Workers,
    read_only: bool,
}

impl MongoViews {
    /// Connects, drops views with an outdated document format, and creates missing collections and indexes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for an invalid setting, or a server without transactions.
    pub async fn open(setting: &str, views: &'static [&'static View]) -> Result<Self, StoreError> {
        let store = Self::connect(setting, views).await?;
        store.drop_outdated().await?;
        store.prepare().await?;
        Ok(store)
    }

    /// For programs that change nothing: creates and drops nothing, and commits fail.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if there are no views, or a program of another version wrote them.
    pub async fn open_read_only(setting: &str, views: &'static [&'static View]) -> Result<Self, StoreError> {
        Ok(Self { read_only: true, ..Self::open_existing(setting, views).await? })
    }

    /// Connects to existing views: creates and drops none of them.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if there are no views, or a program of another version wrote them.
    pub async fn open_existing(setting: &str, views: &'static [&'static View]) -> Result<Self, StoreError> {
        let store = Self::connect(setting, views).await?;
        store.require_current().await?;
        Ok(store)
    }

    async fn connect(setting: &str, views: &'static [&'static View]) -> Result<Self, StoreError> {
        let options = options(setting).await?;
        let name = options.default_database.clone().unwrap_or_else(|| DATABASE.to_owned());
        let client = Client::with_options(options).map_err(StoreError::corrupt)?;
        let database = client.database(&name);
        let suffix = String::new();
        let store = Self { client, database, views, suffix, workers: Workers::default(), read_only: false };
        store.require_transactions().await?;
        Ok(store)
    }

    /// A generation in the same database.
    fn generation(&self, views: &'static [&'static View], suffix: String) -> Self {
        let (client, database) = (self.client.clone(), self.database.clone());
        Self { client, database, views, suffix, workers: Workers::default(), read_only: self.read_only }
    }

    /// The name of a view's collection.
    fn name(&self, collection: &str) -> String {
        format!("{collection}{}", self.suffix)
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(&self.name(name))
    }
}

#[async_trait]
impl ViewStore for MongoViews {
    async fn get_many(
        &self,
        view: &View,
        keys: &[String],
    ) -> Result<Vec<Option<StoredDocument>>, StoreError> {
        Ok(self.find_many(view, keys).await?)
    }

    async fn page(&self, query: &Query) -> Result<Page, StoreError> {
        self.find_page(query).await
    }

    async fn scan(
        &self,
        view: &View,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        self.find_all(view, after, limit).await
    }

    async fn keys(&self, query: &Query) -> Result<Vec<String>, StoreError> {
        self.find_keys(query).await
    }

    async fn count(&self, query: &Query) -> Result<u64, StoreError> {
        self.count_found(query).await
    }

    async fn plan(&self, query: &Query) -> Result<Plan, StoreError> {
        self.explain(query).await
    }

    async fn checkpoint(&self, projection: &str) -> Result<u64, StoreError> {
        self.find_checkpoint(projection).await
    }

    async fn schema_version(&self) -> Result<u64, StoreError> {
        Ok(self.taken_steps().await?.unwrap_or(0) as u64)
    }

    async fn checkpoints(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.find_checkpoints().await
    }

    async fn commit(&self, commit: Commit<'_>) -> Result<(), CommitError> {
        if self.read_only {
            return Err(StoreError::unavailable("it was opened to be read only").into());
        }
        self.commit_batch(commit).await
    }

    async fn parked(&self, projection: &str, limit: usize) -> Result<Vec<Parked>, StoreError> {
        self.find_parked(projection, limit).await
    }

    async fn sizes(&self) -> Result<BTreeMap<String, ViewSize>, StoreError> {
        let mut sizes = BTreeMap::new();
        for view in self.views {
            let response = self.database.run_command(doc! { "collStats": self.name(view.name) }).await?;
            let number = |name| match response.get(name) {
                Some(Bson::Int32(n)) => u64::try_from(*n).unwrap_or(0),
                Some(Bson::Int64(n)) => u64::try_from(*n).unwrap_or(0),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a size in bytes"
                )]
                Some(Bson::Double(n)) => *n as u64,
                _ => 0,
            };
            let size = ViewSize { documents: number("count"), bytes: number("totalSize") };
            sizes.insert(view.name.to_owned(), size);
        }
        Ok(sizes)
    }
}

/// Driver options. Defaults are set so that the loss of the primary is detected in time.
async fn options(setting: &str) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(setting).await.map_err(StoreError::corrupt)?;
    options.app_name.get_or_insert_with(|| "chorus".to_owned());
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT_INTERVAL);
    // Reads from secondaries could miss committed writes, and projections depend on them.
    options.selection_criteria = Some(ReadPreference::Primary.into());
    Ok(options)
}

/// A document in the wire format.
#[derive(Debug, Clone)]
pub(crate) struct Body(RawDocumentBuf);

impl Body {
    pub(crate) fn read<T: DeserializeOwned>(&self) -> bson::error::Result<T> {
        bson::deserialize_from_slice(self.0.as_bytes())
    }
}

fn to_bson(value: &Value) -> Result<Bson, StoreError> {
    bson::serialize_to_bson(value).map_err(StoreError::corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn timeouts_in_the_setting_override_the_defaults() {
        let limits = async |setting| {
            let options = options(setting).await.unwrap();
            [options.heartbeat_freq, options.connect_timeout, options.server_selection_timeout]
        };
        let own = [HEARTBEAT_INTERVAL, CONNECT_TIMEOUT, SERVER_SELECTION].map(Some);
        assert_eq!(limits("mongodb://localhost/chorus").await, own);
        let set = "mongodb://localhost/?heartbeatFrequencyMS=7000&connectTimeoutMS=8000&serverSelectionTimeoutMS=9000";
        assert_eq!(limits(set).await, [7, 8, 9].map(|seconds| Some(Duration::from_secs(seconds))));
    }
}
