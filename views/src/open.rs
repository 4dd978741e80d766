use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

#[cfg(feature = "mongodb")]
use crate::{MongoGenerations, MongoViews};
use crate::{SqliteGenerations, SqliteViews, StoreError, Views, families};

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

/// Like [`open`], for programs that change nothing: nothing is created or dropped, and commits fail.
///
/// # Errors
/// Also if the store does not exist, or a program of another version wrote it.
pub async fn open_read_only(setting: &str) -> Result<Views, OpenError> {
    Ok(match setting.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() => {
            let file = Path::new(file);
            let base = Arc::new(SqliteViews::open_read_only(file, crate::all())?);
            let generations = SqliteGenerations::open_read_only(Arc::clone(&base), file)?;
            Views::new(base, Arc::new(generations), families()).await?
        }
        #[cfg(feature = "mongodb")]
        Some(("mongodb" | "mongodb+srv", _)) => {
            in_mongodb(MongoViews::open_read_only(setting, crate::all()).await?).await?
        }
        _ => return Err(not_a_store(setting)),
    })
}

/// Like [`open_read_only`], but generations can be built, switched and dropped, beside servers that use them.
///
/// # Errors
/// Also if the store does not exist, or a program of another version wrote it.
pub async fn open_generations(setting: &str) -> Result<Views, OpenError> {
    Ok(match setting.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() => {
            let file = Path::new(file);
            let base = Arc::new(SqliteViews::open_read_only(file, crate::all())?);
            let generations = SqliteGenerations::open(Arc::clone(&base), file)?;
            Views::new(base, Arc::new(generations), families()).await?
        }
        #[cfg(feature = "mongodb")]
        Some(("mongodb" | "mongodb+srv", _)) => {
            in_mongodb(MongoViews::open_existing(setting, crate::all()).await?).await?
        }
        _ => return Err(not_a_store(setting)),
    })
}

#[cfg(feature = "mongodb")]
async fn in_mongodb(base: MongoViews) -> Result<Views, StoreError> {
    let base = Arc::new(base);
    let generations = Arc::new(MongoGenerations::new(Arc::clone(&base)));
    Views::new(base, generations, families()).await
}

/// The error does not quote the setting: it may contain a password.
fn not_a_store(setting: &str) -> OpenError {
    let problem = if setting.starts_with("mongodb") && !cfg!(feature = "mongodb") {
        "this program was built without MongoDB: build it with the feature `distributed`, or use sqlite:<file>"
    } else {
        "the setting names no view store: expected sqlite:<file> or mongodb://<host>"
    };
    OpenError::Setting(problem.to_owned())
}

/// Opens the view store of a `CHORUS_VIEWS` setting, whose scheme selects the adapter, and creates missing views and
/// indexes.
///
/// - `sqlite:<file>`
/// - `mongodb://…/[<database>]?replicaSet=…` (or `mongodb+srv://`): a replica set or sharded cluster; the default
///   database is `chorus`.
pub async fn open(setting: &str) -> Result<Views, OpenError> {
    Ok(match setting.split_once(':') {
        Some(("sqlite", file)) if !file.is_empty() => {
            let file = Path::new(file);
            let base = Arc::new(SqliteViews::open(file, crate::all()).await?);
            let generations = SqliteGenerations::open(Arc::clone(&base), file)?;
            Views::new(base, Arc::new(generations), families()).await?
        }
        #[cfg(feature = "mongodb")]
        Some(("mongodb" | "mongodb+srv", _)) => {
            in_mongodb(MongoViews::open(setting, crate::all()).await?).await?
        }
        _ => return Err(not_a_store(setting)),
    })
}
