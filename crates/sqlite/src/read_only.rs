//! Files that are read and never changed, beside a process that uses them or without one.

use std::ffi::OsString;
use std::fmt::Write;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::Error;
use crate::database::{LOCK_WAIT, STATEMENTS_KEPT};

/// A file that is only read. Each read has its own connection: one that stays open would keep a server that stops
/// from removing its WAL.
#[derive(Debug)]
pub(crate) struct ReadOnlyFile {
    path: PathBuf,
}

/// Whether another process has the file open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The last changes are in a WAL: a process uses the file, or has crashed.
    Wal,
    /// No process uses it, and the file is complete. It is opened as immutable, since SQLite would create a WAL otherwise, and is
    /// so while its time and length are the same and there is no WAL.
    AtRest { modified: SystemTime, length: u64 },
}

impl ReadOnlyFile {
    /// # Errors
    /// [`Error::Unavailable`] if the file does not exist.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        let file = Self { path: path.to_owned() };
        file.state()?;
        Ok(file)
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let failed = |e| Error::from_sqlite(&self.name(), e);
        let before = self.state()?;
        let connection = self.connect(before).map_err(failed)?;
        let found = read(&connection);
        // Also after an error: a file that changed during the read looks corrupt.
        if before != Use::Wal && self.state()? != before {
            return Err(Error::unavailable(
                &self.name(),
                "another process has changed it during the read: try again",
            ));
        }
        found.map_err(failed)
    }

    fn connect(&self, state: Use) -> rusqlite::Result<Connection> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let mut uri = String::from("file:");
        // Writing to a string does not fail.
        let _ = write!(uri, "{}", percent_encode(self.path.as_os_str().as_bytes(), NON_ALPHANUMERIC));
        if state != Use::Wal {
            uri.push_str("?immutable=1");
        }
        let connection = Connection::open_with_flags(uri, flags)?;
        connection.busy_timeout(LOCK_WAIT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    }

    fn state(&self) -> Result<Use, Error> {
        let unavailable = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => Error::unavailable(&self.name(), "there is no such file"),
            _ => Error::unavailable(&self.name(), error),
        };
        let info = std::fs::metadata(&self.path).map_err(unavailable)?;
        let wal = match std::fs::metadata(self.beside("-wal")) {
            Ok(wal) => wal.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Use::AtRest {
                    modified: info.modified().map_err(unavailable)?,
                    length: info.len(),
                });
            }
            Err(error) => return Err(unavailable(error)),
        };
        // A server that has not written yet has an empty WAL with an index.
        if wal > 0 || self.beside("-shm").exists() {
            return Ok(Use::Wal);
        }
        Ok(Use::AtRest { modified: info.modified().map_err(unavailable)?, length: info.len() })
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(suffix);
        path.into()
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Database, Durability, Schema};

    const NUMBERS: Schema = Schema { steps: &["CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT"] };

    const OLDER: Schema = Schema { steps: &[] };
    const NEWER: Schema =
        Schema { steps: &["CREATE TABLE numbers (n INTEGER)", "CREATE TABLE more (n INTEGER)"] };

    /// A name that a URI must encode.
    const NAME: &str = "n?a=1#ü%.db";

    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let read = |entry: std::fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        };
        entries.map(read).filter(|(name, _)| !name.ends_with("-shm")).collect()
    }

    fn count(database: &Database) -> Result<u64, Error> {
        database.read(|c| c.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)))
    }

    async fn add(database: &Database, n: u64) {
        database.write(move |c| c.execute("INSERT INTO numbers VALUES (?1)", [n])).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn file_is_read_in_use_and_at_rest_and_never_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let database = Database::open(&path, Durability::Full, NUMBERS).unwrap();
        add(&database, 1).await;
        let before = files(folder.path());
        let read_only = Database::open_read_only(&path, NUMBERS).unwrap();
        assert_eq!(count(&read_only).unwrap(), 1);
        assert_eq!(files(folder.path()), before);
        // What the server writes is seen immediately.
        add(&database, 2).await;
        assert_eq!(count(&read_only).unwrap(), 2);
        tokio::task::block_in_place(|| database.close());
        drop(database);

        let before = files(folder.path());
        assert_eq!(before.keys().collect::<Vec<_>>(), [NAME], "the reader did not keep the WAL");
        assert_eq!(count(&read_only).unwrap(), 2);
        assert_eq!(count(&Database::open_read_only(&path, NUMBERS).unwrap()).unwrap(), 2);
        assert_eq!(files(folder.path()), before);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "not even an index");
        // A server that starts again is noticed.
        let database = Database::open(&path, Durability::Full, NUMBERS).unwrap();
        add(&database, 3).await;
        assert_eq!(count(&read_only).unwrap(), 3);
    }

    #[tokio::test]
    async fn wal_of_a_crashed_process_is_read() {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let database = Database::open(&folder.path().join("n.db"), Durability::Full, NUMBERS).unwrap();
        add(&database, 1).await;
        for name in ["n.db", "n.db-wal"] {
            std::fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        let before = files(copy.path());
        let read_only = Database::open_read_only(&copy.path().join("n.db"), NUMBERS).unwrap();
        assert_eq!(count(&read_only).unwrap(), 1);
        drop(read_only);
        assert_eq!(files(copy.path()), before);
    }

    #[tokio::test]
    async fn writes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n.db");
        drop(Database::open(&path, Durability::Full, NUMBERS).unwrap());
        let read_only = Database::open_read_only(&path, NUMBERS).unwrap();
        let write = read_only.write(|c| c.execute("INSERT INTO numbers VALUES (1)", [])).await;
        assert!(matches!(write, Err(Error::Unavailable { .. })), "{write:?}");
        assert!(read_only.purge(u64::MAX).await.is_err() && read_only.empty_wal().await.is_err());
        let direct = read_only.read(|c| c.execute("INSERT INTO numbers VALUES (1)", []));
        assert!(direct.is_err(), "{direct:?}");
        read_only.finish().await.unwrap();
    }

    #[test]
    fn missing_file_and_other_versions_are_refused_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n.db");
        let missing = Database::open_read_only(&path, NUMBERS);
        assert!(matches!(missing, Err(Error::Unavailable { .. })), "{missing:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        drop(Database::open(&path, Durability::Full, NUMBERS).unwrap());
        let before = files(folder.path());
        for schema in [OLDER, NEWER] {
            let refused = Database::open_read_only(&path, schema);
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
        }
        assert_eq!(files(folder.path()), before);
    }
}
