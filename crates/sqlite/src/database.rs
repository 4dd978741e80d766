use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::Semaphore;

use crate::Error;
use crate::writer::Writer;

/// How long a statement waits for another process that holds the file's lock.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Page cache of one connection, in KiB (SQLite takes a negative number as KiB).
const CACHE_KIB: i64 = -8192;
/// That of the writer of a file that can be built again: one event changes pages all over it.
const WIDE_CACHE_KIB: i64 = -65536;
/// Pages (of 4 KiB) in the write-ahead log before the writer moves them into the file: four times SQLite's default, since
/// a page that is written again and again then moves once.
const CHECKPOINT_PAGES: i64 = 4000;
/// Prepared statements kept by one connection: more than any adapter has.
const STATEMENTS_KEPT: usize = 256;
/// Reading connections kept open for the next reader; more are opened when needed and closed after use.
const IDLE_READERS: usize = 32;

/// Permissions of the files: their owner reads and writes them, nobody else.
pub(crate) const OWNER_ONLY: u32 = 0o600;
const MODE_BITS: u32 = 0o7777;
/// How long closing a file waits for reads that have begun.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
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
    readers: Mutex<Readers>,
    /// Notified when the last reader in use is done.
    unused: Condvar,
    scans: Semaphore,
    /// Held by who empties the log: two at once would be in each other's way.
    emptying: tokio::sync::Mutex<()>,
    writer: Writer,
}

#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    in_use: usize,
    /// No reader is given out any more.
    closed: bool,
}

/// A reading connection in use. Dropping it gives it back.
struct Reader<'a> {
    database: &'a Database,
    connection: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = self.database.readers();
        readers.in_use -= 1;
        // A transaction that could not be ended would go on for whoever reads next.
        let usable = |connection: &Connection| connection.is_autocommit() && !std::thread::panicking();
        if !readers.closed && readers.idle.len() < IDLE_READERS {
            readers.idle.extend(self.connection.take().filter(usable));
        }
        // Closed before anybody is notified.
        drop(self.connection.take());
        if readers.in_use == 0 {
            self.database.unused.notify_all();
        }
    }
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
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // What is deleted is overwritten, not only forgotten.
        connection.pragma_update(None, "secure_delete", true)?;
        Ok(connection)
    }

    /// Makes the file if it is not there, and lets nobody but its owner read it or what lies beside it; SQLite gives
    /// the write-ahead log the permissions of the file.
    fn make_private(&self) -> std::io::Result<()> {
        // It is only opened if it is new: closing it would end the locks of other connections.
        match OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&self.path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            let path = PathBuf::from(path);
            let info = match std::fs::metadata(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                info => info?,
            };
            let mut permissions = info.permissions();
            if permissions.mode() & !OWNER_ONLY & MODE_BITS == 0 {
                continue;
            }
            permissions.set_mode(OWNER_ONLY);
            if let Err(error) = std::fs::set_permissions(&path, permissions) {
                // Somebody else's file, who let this process use it.
                tracing::warn!(file = %path.display(), %error, "others than the owner may be able to read this file");
            }
        }
        Ok(())
    }

    /// The file itself. Closing it ends the locks of all connections to it.
    pub(crate) fn open(&self) -> std::io::Result<std::fs::File> {
        std::fs::File::open(&self.path)
    }

    /// Runs maintenance on a thread that may block. It runs to its end even if the caller stops waiting.
    async fn maintain<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|e| Error::unavailable(&self.name(), e))?;
        done.map_err(|e| Error::from_sqlite(&self.name(), e))
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
        file.make_private().map_err(|e| Error::unavailable(&file.name(), e))?;
        let mut connection = file.connect().map_err(|e| Error::from_sqlite(&file.name(), e))?;
        migrate(&file, &mut connection, schema)?;
        if file.can_be_built_again() {
            let widened = connection.pragma_update(None, "cache_size", WIDE_CACHE_KIB);
            widened.map_err(|e| Error::from_sqlite(&file.name(), e))?;
        }
        let writer = Writer::start(Arc::clone(&file), connection)?;
        Ok(Self {
            file,
            readers: Mutex::default(),
            unused: Condvar::new(),
            scans: Semaphore::new(SCANS),
            emptying: tokio::sync::Mutex::default(),
            writer,
        })
    }

    /// Reads on the calling thread: for lookups that end after microseconds, where a hop to another thread
    /// would cost more than the read.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let reader = self.reader()?;
        let connection = reader.connection.as_ref().ok_or_else(|| self.closed())?;
        read(connection).map_err(|e| self.error(e))
    }

    fn reader(&self) -> Result<Reader<'_>, Error> {
        let mut readers = self.readers();
        if readers.closed {
            return Err(self.closed());
        }
        readers.in_use += 1;
        let mut reader = Reader { database: self, connection: readers.idle.pop() };
        drop(readers);
        if reader.connection.is_none() {
            reader.connection = Some(self.file.connect_reader().map_err(|e| self.error(e))?);
        }
        Ok(reader)
    }

    fn closed(&self) -> Error {
        Error::unavailable(&self.file.name(), "it has been closed")
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
        let busy = self.file.maintain(move || {
            let connection = file.connect()?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0))
        });
        match busy.await? {
            false => Ok(()),
            true => Err(Error::unavailable(&self.file.name(), "a reader holds the write-ahead log")),
        }
    }

    /// Rewrites the whole file and empties the write-ahead log, so that nothing deleted or overwritten can be found in
    /// either. Deletion alone is not enough: when SQLite splits a page, it leaves copies of the moved rows in its unused
    /// part. A file of more than `limit` bytes is not rewritten, since writers wait meanwhile; its log is emptied. Answers
    /// whether the file was rewritten.
    pub async fn purge(&self, limit: u64) -> Result<bool, Error> {
        let size =
            std::fs::metadata(&self.file.path).map_err(|e| Error::unavailable(&self.file.name(), e))?;
        let rewrite = size.len() <= limit;
        if rewrite {
            let _turn = self.emptying.lock().await;
            let file = Arc::clone(&self.file);
            let rewritten = self.file.maintain(move || {
                let connection = file.connect()?;
                // The copy that is made meanwhile is about as large as the file: too much for memory.
                connection.pragma_update(None, "temp_store", "FILE")?;
                connection.execute_batch("VACUUM")
            });
            rewritten.await?;
        }
        self.empty_wal().await?;
        Ok(rewrite)
    }

    /// Moves what the write-ahead log holds into the file, then closes it: see [`close`](Self::close).
    ///
    /// # Errors
    /// If the log could not be emptied, because another process reads it; the database is closed all the same.
    pub async fn finish(&self) -> Result<(), Error> {
        let emptied = if self.readers().closed { Ok(()) } else { self.empty_wal().await };
        self.close();
        emptied
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        Error::from_sqlite(&self.file.name(), error)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        // A reader that panicked left the list itself intact.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits what is waiting and closes every connection. If no other process has the file open, everything
    /// committed is then in the file itself: SQLite removes the write-ahead log with the last connection. Whoever reads
    /// or writes later gets [`Error::Unavailable`]. Blocks; a second call has no effect.
    pub fn close(&self) {
        let mut readers = self.readers();
        readers.closed = true;
        readers.idle.clear();
        let waited = self.unused.wait_timeout_while(readers, CLOSE_WAIT, |readers| readers.in_use > 0);
        let (readers, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if readers.in_use > 0 {
            tracing::warn!(file = self.file.name(), in_use = readers.in_use, "closed while it is being read");
        }
        drop(readers);
        self.writer.close();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
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
    async fn files_are_for_their_owner_only_also_those_of_older_versions() {
        let folder = tempfile::tempdir().unwrap();
        let modes = || -> Vec<u32> {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & MODE_BITS).collect()
        };
        let database = numbers(&folder);
        database.write(|c| c.execute("INSERT INTO numbers VALUES (1)", [])).await.unwrap();
        assert_eq!(modes(), [OWNER_ONLY; 3], "the file, its log and its index");
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let open = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(entry.unwrap().path(), open).unwrap();
        }
        // A second process beside the first.
        assert_eq!(count(&numbers(&folder)), 1);
        assert_eq!(modes(), [OWNER_ONLY; 3]);
    }

    #[tokio::test]
    async fn closed_database_leaves_everything_in_the_file_and_refuses_readers_and_writers() {
        for durability in [Durability::Full, Durability::Rebuildable] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("n.db");
            let database = Arc::new(Database::open(&path, durability, NUMBERS).unwrap());
            database.write(|c| c.execute("INSERT INTO numbers VALUES (1)", [])).await.unwrap();
            assert_eq!(count(&database), 1);
            assert!(path.with_extension("db-wal").metadata().unwrap().len() > 0);
            database.close();
            let names = std::fs::read_dir(folder.path()).unwrap();
            let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["n.db"], "{durability:?}");
            let refused = database.write(|c| c.execute("INSERT INTO numbers VALUES (2)", [])).await;
            assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
            let refused = database.read(|c| c.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)));
            assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
            let copy = folder.path().join("copy.db");
            std::fs::copy(&path, &copy).unwrap();
            assert_eq!(count(&Database::open(&copy, durability, NUMBERS).unwrap()), 1);
        }
    }

    fn holds(folder: &tempfile::TempDir, text: &[u8]) -> bool {
        std::fs::read_dir(folder.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(text.len()).any(|window| window == text)
        })
    }

    #[tokio::test]
    async fn deleted_text_is_in_no_file_after_a_purge_whatever_pages_were_split() {
        const TEXTS: Schema =
            Schema { steps: &["CREATE TABLE texts (key TEXT PRIMARY KEY, text TEXT) STRICT, WITHOUT ROWID"] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.db");
        let database = Arc::new(Database::open(&path, Durability::Rebuildable, TEXTS).unwrap());
        for n in 0..2000_u64 {
            // In no order, so that pages in the middle are split.
            let key = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let text = if n % 50 == 0 { "a readable marker" } else { "some other texts!" }.repeat(30);
            let insert = move |c: &Connection| {
                c.execute("INSERT INTO texts VALUES (?1, ?2)", (format!("{key:016x}"), &text))
            };
            database.write(insert).await.unwrap();
        }
        database.write(|c| c.execute("DELETE FROM texts WHERE text LIKE '%marker%'", [])).await.unwrap();
        assert!(holds(&folder, b"a readable marker"));
        assert!(!database.purge(0).await.unwrap(), "too large to be rewritten");
        assert_eq!(path.with_extension("db-wal").metadata().unwrap().len(), 0);
        assert!(database.purge(1 << 30).await.unwrap());
        assert!(!holds(&folder, b"a readable marker"));
        let others: i64 =
            database.read(|c| c.query_row("SELECT count(*) FROM texts", [], |row| row.get(0))).unwrap();
        assert_eq!(others, 1960);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_is_waiting_when_the_database_closes_is_committed_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let database = numbers(&folder);
        let writes = (0..200).map(|n| {
            let database = Arc::clone(&database);
            tokio::task::spawn_blocking(move || {
                let write = database.write(move |c| c.execute("INSERT INTO numbers VALUES (?1)", [n]));
                tokio::runtime::Handle::current().block_on(write).is_ok()
            })
        });
        let writes: Vec<_> = writes.collect();
        tokio::task::block_in_place(|| database.close());
        let committed = join_all(writes).await.into_iter().filter(|done| *done.as_ref().unwrap()).count();
        drop(database);
        assert_eq!(usize::try_from(count(&numbers(&folder))).unwrap(), committed);
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
