use std::path::Path;

use async_trait::async_trait;
use sqlite::rusqlite::{self, Connection, OptionalExtension};
use sqlite::{Database, Durability, Schema};

use crate::{KeyName, KeyState, KeyVault, VaultError};

/// `wrapped` is null for a destroyed key.
const SCHEMA: Schema =
    Schema { steps: &["CREATE TABLE keys (name TEXT PRIMARY KEY, wrapped BLOB) STRICT, WITHOUT ROWID"] };

/// A key vault in one SQLite file.
#[derive(Debug)]
pub struct SqliteVault {
    database: Database,
}

impl SqliteVault {
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        Ok(Self { database: Database::open(path, Durability::Full, SCHEMA)? })
    }

    /// For programs that change nothing: creates no file, and every change fails.
    pub fn open_read_only(path: &Path) -> Result<Self, VaultError> {
        Ok(Self { database: Database::open_read_only(path, SCHEMA)? })
    }
}

#[async_trait]
impl KeyVault for SqliteVault {
    async fn get(&self, names: &[KeyName]) -> Result<Vec<KeyState>, VaultError> {
        Ok(self.database.read(|connection| names.iter().map(|&name| state(connection, name)).collect())?)
    }

    async fn create(&self, name: KeyName, wrapped: Vec<u8>) -> Result<KeyState, VaultError> {
        let create = move |connection: &Connection| {
            connection
                .prepare_cached("INSERT INTO keys (name, wrapped) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute((name.to_string(), &wrapped))?;
            state(connection, name)
        };
        Ok(self.database.write(create).await?)
    }

    async fn destroy(&self, name: KeyName) -> Result<(), VaultError> {
        let destroy = move |connection: &Connection| {
            connection
                .prepare_cached(
                    "INSERT INTO keys (name, wrapped) VALUES (?1, NULL) ON CONFLICT DO UPDATE SET wrapped = NULL",
                )?
                .execute([name.to_string()])
        };
        self.database.write(destroy).await?;
        // The database page is overwritten; the WAL may still contain the old page.
        Ok(self.database.empty_wal().await?)
    }

    async fn count(&self) -> Result<u64, VaultError> {
        let count =
            |connection: &Connection| connection.query_row("SELECT count(*) FROM keys", [], |row| row.get(0));
        Ok(self.database.read(count)?)
    }

    async fn close(&self) -> Result<(), VaultError> {
        Ok(self.database.finish().await?)
    }
}

fn state(connection: &Connection, name: KeyName) -> rusqlite::Result<KeyState> {
    let wrapped: Option<Option<Vec<u8>>> = connection
        .prepare_cached("SELECT wrapped FROM keys WHERE name = ?1")?
        .query_row([name.to_string()], |row| row.get(0))
        .optional()?;
    Ok(match wrapped {
        None => KeyState::Absent,
        Some(None) => KeyState::Destroyed,
        Some(Some(wrapped)) => KeyState::Present(wrapped),
    })
}

impl From<sqlite::Error> for VaultError {
    fn from(error: sqlite::Error) -> Self {
        match error {
            sqlite::Error::Unavailable { .. } | sqlite::Error::OutcomeUnknown { .. } => {
                Self::Unavailable(error.into())
            }
            sqlite::Error::Corrupt { .. } => Self::Corrupt(error.into()),
        }
    }
}
