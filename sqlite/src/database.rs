use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::Semaphore;

use crate::Error;
use crate::writer::Writer;

/// How long a statement waits for another process that holds the file's lock.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Page cache of one connection, in KiB (SQLite takes a negative number as KiB).
const CACHE_KIB: i64 = -8192;
/// That of the writer of a file that can be built again: one event changes pages all over it.
const WIDE_CACHE_KIB: i64 = -65536;
/// Bytes of the file, from its beginning, that a connection reads where the system has them in memory, without a call and a
/// copy for each page. Nothing may make the file shorter while it is open.
const MAPPED: i64 = 1 << 30;
/// Pages (of 4 KiB) in the write-ahead log before the writer moves them into the file: four times SQLite's default, since
/// a page that is written again and again then moves once.
const CHECKPOINT_PAGES: i64 = 4000;
/// Prepared statements kept by one connection: more than any adapter has.
const STATEMENTS_KEPT: usize = 256;
/// Reading connections kept open for the next reader; more are opened when needed and closed after use.
const IDLE_READERS: usize = 32;

/// Scans at the same time: each has a connection with a page cache of its own, and twenty followers that read a log from its
/// beginning would have twenty.
const SCANS: usize = 4;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After it has been synced to the disk: for what cannot be had again.
    Full,
    /// After it has reached the operating system; a power cut may take the last commits back, never a part of
    /// one: for what can be built again.
    Rebuildable,
}

/// The steps that bring a file to the present schema. A step is never changed once released; new ones are
/// added at the end, and the file remembers (`user_version`) how many it has taken.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    pub steps: &'static [&'static str],
}

/// One SQLite file: many readers, one writer.
#[derive(Debug)]
pub struct Database {
    file: Arc<File>,
    idle: Mutex<Vec<Connection>>,
    scans: Semaphore,
    /// Held by who empties the log: two at once would be in each other's way.
    emptying: tokio::sync::Mutex<()>,
    writer: Writer,
}

#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    durability: Durability,
}

impl File {
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn can_be_built_again(&self) -> bool {
        self.durability == Durability::Rebuildable
    }

    pub(crate) fn connect(&self) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(LOCK_WAIT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // Otherwise a statement with `LIMIT ?` is planned anew for each value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(
            None,
            "synchronous",
            match self.durability {
                Durability::Full => "FULL",
                Durability::Rebuildable => "NORMAL",
            },
        )?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        connection.pragma_update(None, "mmap_size", MAPPED)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(connection)
    }

    /// The file itself. Closing it ends the locks of all connections to it.
    pub(crate) fn open(&self) -> std::io::Result<std::fs::File> {
        std::fs::File::open(&self.path)
    }

    fn connect_reader(&self) -> Result<Connection, rusqlite::Error> {
        let connection = self.connect()?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }
}

impl Database {
    /// Opens or creates the file (its folder must exist) and takes the schema steps it lacks.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file is no database, or was written by a newer program than this one.
    pub fn open(path: &Path, durability: Durability, schema: Schema) -> Result<Self, Error> {
        let file = Arc::new(File { path: path.to_owned(), durability });
        let mut connection = file.connect().map_err(|e| Error::from_sqlite(&file.name(), e))?;
        migrate(&file, &mut connection, schema)?;
        if file.can_be_built_again() {
            let widened = connection.pragma_update(None, "cache_size", WIDE_CACHE_KIB);
            widened.map_err(|e| Error::from_sqlite(&file.name(), e))?;
        }
        let writer = Writer::start(Arc::clone(&file), connection)?;
        Ok(Self {
            file,
            idle: Mutex::default(),
            scans: Semaphore::new(SCANS),
            emptying: tokio::sync::Mutex::default(),
            writer,
        })
    }

    /// Reads on the calling thread: for lookups that end after microseconds, where a hop to another thread
    /// would cost more than the read.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let connection = match self.idle().pop() {
            Some(connection) => connection,
            None => self.file.connect_reader().map_err(|e| self.error(e))?,
        };
        let outcome = read(&connection).map_err(|e| self.error(e));
        let mut idle = self.idle();
        // A transaction that could not be ended would go on for whoever reads next.
        if idle.len() < IDLE_READERS && connection.is_autocommit() {
            idle.push(connection);
        }
        outcome
    }

    /// Reads on a thread that may block: for scans. Waits while there are others enough.
    pub async fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let unavailable =
            |cause: &dyn std::fmt::Display| Error::unavailable(&self.file.name(), cause.to_string());
        let _turn = self.scans.acquire().await.map_err(|closed| unavailable(&closed))?;
        let database = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || database.read(read)).await;
        done.map_err(|stopped| unavailable(&stopped))?
    }

    /// Hands work to the writer and waits until it is committed. Work that fails leaves nothing behind; a neighbour's
    /// failure may have it done again, the first time taken back. Work is done even if the caller stops waiting.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.writer.write(work).await
    }

    /// Moves everything committed from the write-ahead log into the file and empties the log, so that nothing
    /// overwritten can be found there. Waits for readers that still need the log.
    pub async fn empty_wal(&self) -> Result<(), Error> {
        let _turn = self.emptying.lock().await;
        let file = Arc::clone(&self.file);
        let emptied = tokio::task::spawn_blocking(move || {
            let connection = file.connect()?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        });
        let stopped = |e| Error::unavailable(&self.file.name(), e);
        match emptied.await.map_err(stopped)?.map_err(|e| self.error(e))? {
            false => Ok(()),
            true => Err(Error::unavailable(&self.file.name(), "a reader holds the write-ahead log")),
        }
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        Error::from_sqlite(&self.file.name(), error)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A reader that panicked left the list itself intact.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn migrate(file: &File, connection: &mut Connection, schema: Schema) -> Result<(), Error> {
    let failed = |e| Error::from_sqlite(&file.name(), e);
    // Immediate, so that two processes that start together take the steps one after the other.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let taken: usize =
        transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    if taken > schema.steps.len() {
        return Err(Error::corrupt(
            &file.name(),
            format!(
                "its schema is version {taken}, this program knows versions up to {}: use a newer program",
                schema.steps.len()
            ),
        ));
    }
    for step in &schema.steps[taken..] {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", schema.steps.len()).map_err(failed)?;
    transaction.commit().map_err(failed)
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    const NUMBERS: Schema = Schema { steps: &["CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT"] };

    fn numbers(folder: &tempfile::TempDir) -> Arc<Database> {
        Arc::new(Database::open(&folder.path().join("n.db"), Durability::Full, NUMBERS).unwrap())
    }

    fn count(database: &Database) -> i64 {
        database.read(|c| c.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0))).unwrap()
    }

    #[tokio::test]
    async fn what_was_written_is_read_by_the_next_reader_and_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let database = numbers(&folder);
        database.write(|c| c.execute("INSERT INTO numbers VALUES (1)", [])).await.unwrap();
        assert_eq!(count(&database), 1);
        drop(database);
        assert_eq!(count(&numbers(&folder)), 1);
    }

    #[tokio::test]
    async fn work_that_fails_leaves_nothing_and_harms_no_neighbour() {
        let folder = tempfile::tempdir().unwrap();
        let database = numbers(&folder);
        let good =
            (0..50).map(|n| database.write(move |c| c.execute("INSERT INTO numbers VALUES (?1)", [n])));
        let bad = (0..50).map(|n| {
            database.write(move |c| {
                c.execute("INSERT INTO numbers VALUES (?1)", [1000 + n])?;
                c.execute("INSERT INTO nowhere VALUES (1)", [])
            })
        });
        let (good, bad) = tokio::join!(join_all(good), join_all(bad));
        assert!(good.iter().all(Result::is_ok));
        assert!(bad.iter().all(|outcome| matches!(outcome, Err(Error::Corrupt { .. }))));
        assert_eq!(count(&database), 50);
    }

    #[tokio::test]
    async fn a_file_of_a_newer_program_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(numbers(&folder));
        let older = Schema { steps: &[] };
        let refused = Database::open(&folder.path().join("n.db"), Durability::Full, older);
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
        assert_eq!(count(&numbers(&folder)), 0);
    }

    #[test]
    fn a_file_that_is_no_database_is_corrupt_and_a_missing_folder_is_an_outage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n.db");
        std::fs::write(
            &path,
            "this is a text of more than a hundred bytes, so that it is read as a header".repeat(3),
        )
        .unwrap();
        assert!(matches!(Database::open(&path, Durability::Full, NUMBERS), Err(Error::Corrupt { .. })));
        let nowhere = folder.path().join("missing/n.db");
        assert!(matches!(
            Database::open(&nowhere, Durability::Full, NUMBERS),
            Err(Error::Unavailable { .. })
        ));
    }
}
