//! Generations in files of their own beside the views' file: `views.db` has `views.posts.v1g1.db` and the records in
//! `views.generations.db`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlite::rusqlite::{self, OptionalExtension};
use sqlite::{Database, Durability, Schema};

use crate::generations::{GenerationId, GenerationStore, Generations};
use crate::{Family, SqliteViews, StoreError, ViewStore};

const SCHEMA: Schema = Schema {
    steps: &["
        CREATE TABLE generations (id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
        "],
};

/// The generations beside one file of views.
#[derive(Debug)]
pub struct SqliteGenerations {
    base: Arc<SqliteViews>,
    /// The file of the base.
    views: PathBuf,
    /// None in a folder that no server with generations has opened yet.
    records: Option<Database>,
    /// Whether generations are opened to be read only.
    read_only: bool,
}

impl SqliteGenerations {
    /// Opens or creates the records beside a file of views.
    ///
    /// # Errors
    /// If that fails, or a newer program wrote them.
    pub fn open(base: Arc<SqliteViews>, views: &Path) -> Result<Self, StoreError> {
        // A switch that a power loss undoes would be done again, but rather never.
        let records = Database::open(&records_file(views), Durability::Full, SCHEMA)?;
        Ok(Self { base, views: views.to_owned(), records: Some(records), read_only: false })
    }

    /// For programs that change nothing.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub fn open_read_only(base: Arc<SqliteViews>, views: &Path) -> Result<Self, StoreError> {
        let file = records_file(views);
        let records = if file.exists() { Some(Database::open_read_only(&file, SCHEMA)?) } else { None };
        Ok(Self { base, views: views.to_owned(), records, read_only: true })
    }

    fn file(&self, id: GenerationId) -> PathBuf {
        beside(&self.views, &format!(".{id}.db"))
    }
}

fn records_file(views: &Path) -> PathBuf {
    beside(views, ".generations.db")
}

/// `views.db` and `.posts.v1g1.db` make `views.posts.v1g1.db`.
fn beside(views: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(views.file_stem().unwrap_or_default());
    name.push(suffix);
    views.with_file_name(name)
}

/// The file and those that SQLite makes beside it.
fn files(file: &Path) -> impl Iterator<Item = PathBuf> + use<'_> {
    ["", "-wal", "-shm", "-journal"].into_iter().map(move |suffix| {
        let mut path = OsString::from(file);
        path.push(suffix);
        path.into()
    })
}

#[async_trait]
impl GenerationStore for SqliteGenerations {
    async fn records(&self) -> Result<BTreeMap<String, Generations>, StoreError> {
        let Some(records) = &self.records else {
            // Read before its first start with generations: each family is where it has always been.
            let first =
                |family: &Family| (family.id(), Generations { serving: Some(0), ..Generations::default() });
            let of_base = crate::families().iter().filter(|family| family.is_in_base(0));
            return Ok(of_base.map(first).collect());
        };
        let read: Vec<(String, u64, String)> = records.read(|connection| {
            connection
                .prepare_cached("SELECT id, epoch, record FROM generations")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<_>>()
        })?;
        read.into_iter()
            .map(|(id, epoch, record)| {
                let record: Generations = serde_json::from_str(&record).map_err(StoreError::corrupt)?;
                Ok((id, Generations { epoch, ..record }))
            })
            .collect()
    }

    async fn replace(
        &self,
        id: &str,
        expected: Option<u64>,
        record: &Generations,
    ) -> Result<bool, StoreError> {
        let records = self.records.as_ref().filter(|_| !self.read_only);
        let records = records.ok_or_else(|| StoreError::unavailable("they were opened to be read only"))?;
        let (id, epoch) = (id.to_owned(), record.epoch);
        let record = serde_json::to_string(record).map_err(StoreError::corrupt)?;
        let replaced = records.write(move |connection| {
            let now: Option<u64> = connection
                .prepare_cached("SELECT epoch FROM generations WHERE id = ?1")?
                .query_row([&id], |row| row.get(0))
                .optional()?;
            if now != expected {
                return Ok(false);
            }
            connection
                .prepare_cached(
                    "INSERT INTO generations (id, epoch, record) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET epoch = excluded.epoch, record = excluded.record",
                )?
                .execute((&id, epoch, &record))?;
            Ok(true)
        });
        Ok(replaced.await?)
    }

    async fn open(&self, family: &Family, number: u64) -> Result<Arc<dyn ViewStore>, StoreError> {
        let file = self.file(family.generation(number));
        match file.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::corrupt(format!("{} is missing", file.display()))),
            Err(error) => return Err(StoreError::unavailable(error)),
        }
        Ok(Arc::new(if self.read_only {
            SqliteViews::open_read_only(&file, family.views)?
        } else {
            SqliteViews::open(&file, family.views).await?
        }))
    }

    fn scratch_file(&self, family: &Family, number: u64, _: &Path) -> PathBuf {
        self.file(family.generation(number))
    }

    async fn publish(&self, _: &Family, _: u64, scratch: Arc<SqliteViews>) -> Result<(), StoreError> {
        scratch.finish().await
    }

    async fn delete(&self, family: &Family, number: u64) -> Result<(), StoreError> {
        if family.is_in_base(number) {
            return self.base.clear(family).await;
        }
        let file = self.file(family.generation(number));
        for file in files(&file) {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::unavailable(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn settles_after(&self) -> Duration {
        // One process feeds and serves these files, and it reads each change before it acts.
        Duration::ZERO
    }
}
