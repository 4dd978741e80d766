use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

#[cfg(feature = "mongodb")]
use crate::MongoViews;
use crate::{SqliteViews, StoreError, ViewStore};

#[derive(Debug, Error)]
pub enum OpenError {
    /// The setting is invalid.
    #[error("{0}")]
    Setting(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    /// True if another attempt may succeed.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unavailable(_)))
    }
}

/// Opens the view store of a `CHORUS_VIEWS` setting, whose scheme selects the adapter, and creates missing views and
/// indexes.
///
/// - `sqlite:<file>`
/// - `mongodb://…/[<database>]?replicaSet=…` (or `mongodb+srv://`): a replica set or sharded cluster; the default
///   database is `chorus`.
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
        // The error does not quote the setting: it may contain a password.
        _ => Err(OpenError::Setting(
            "the setting names no view store: expected sqlite:<file> or mongodb://<host>".to_owned(),
        )),
    }
}
