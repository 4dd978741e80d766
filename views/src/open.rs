use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

#[cfg(feature = "mongodb")]
use crate::MongoViews;
use crate::{SqliteViews, StoreError, ViewStore};

#[derive(Debug, Error)]
pub enum OpenError {
    /// The setting cannot be understood.
    #[error("{0}")]
    Setting(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// True where another attempt may succeed.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)))
    }
}

/// Opens what a `CHORUS_VIEWS` setting names and makes the views and indexes it lacks; the scheme picks the adapter.
///
/// - `sqlite:<file>`
/// - `mongodb://…/[<database>]?replicaSet=…` (or `mongodb+srv://`): a replica set or sharded cluster; the database is
///   `chorus` if none is named.
pub async fn open(setting: &str) -> Result<Arc<dyn ViewStore>, OpenError> {
    match setting.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() => {
            Ok(Arc::new(SqliteViews::open(Path::new(file), crate::all()).await?))
        }
        #[cfg(not(feature = "mongodb"))]
        Some(("mongodb" | "mongodb+srv", _)) => Err(OpenError::Setting(
            "this program was built without MongoDB: build it with the feature `distributed`, or use sqlite:<file>"
                .to_owned(),
        )),
        #[cfg(feature = "mongodb")]
        Some(("mongodb" | "mongodb+srv", _)) => Ok(Arc::new(MongoViews::open(setting, crate::all()).await?)),
        // The setting itself is not told: it may hold a password.
        _ => Err(OpenError::Setting(
            "the setting names no view store: expected sqlite:<file> or mongodb://<host>".to_owned(),
        )),
    }
}
