use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::Semaphore;

use crate::Error;
use crate::read_only::ReadOnlyFile;
use crate::writer::Writer;

/// How long a statement waits for another process's lock on the file.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(5);
/// How often a checkpoint is tried while another one runs.
const CHECKPOINT_POLL: Duration = Duration::from_millis(10);
/// Page cache per connection, in KiB (SQLite takes a negative number as KiB).
const CACHE_KIB: i64 = -8192;
/// Page cache of the writer of a rebuildable file: each event changes pages all over the file.
const WIDE_CACHE_KIB: i64 = -65536;
/// WAL size in pages (of 4 KiB) at which the writer checkpoints: four times SQLite's default, so that pages written
/// repeatedly are moved once.
const CHECKPOINT_PAGES: i64 = 4000;
/// Cached prepared statements per connection: more than any adapter has.
pub(crate) const STATEMENTS_KEPT: usize = 256;
/// Idle read connections; more are opened on demand and closed after use.
const IDLE_READERS: usize = 32;

/// File permissions: read and write for the owner only.
pub(crate) const OWNER_ONLY: u32 = 0o600;
const MODE_BITS: u32 = 0o7777;
/// How long closing waits for reads in progress.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of concurrent scans: each has a connection with its own page cache, and twenty followers that read
/// a log from the start would have twenty.
const SCANS: usize = 4;

/// When a commit is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After a sync to the disk: for irreplaceable data.
    Full,
    /// After it has reached the operating system; a power loss may undo the last commits, but never part of one: for
    /// data that can be rebuilt.
    Rebuildable,
}

/// The schema migrations. A released step never changes; new steps are appended, and the file stores the number of
/// applied steps (`user_version`).
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    pub steps: &'static [&'static str],
}

/// One SQLite file: many readers, one writer (group commit).
#[derive(Debug)]
pub struct Database {
    file: Arc<File>,
    readers: Mutex<Readers>,
    /// Notified when the last active reader is done.
    unused: Condvar,
    scans: Semaphore,
    /// Held while the WAL is emptied: two concurrent attempts would block each other.
    emptying: tokio::sync::Mutex<()>,
    access: Access,
}

#[derive(Debug)]
enum Access {
    ReadWrite(Writer),
    ReadOnly(ReadOnlyFile),
    /// One connection for everything; none once it is closed.
    Private(Mutex<Option<Connection>>),
}

#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Connection>,
    in_use: usize,
    /// No readers are available any more.
    closed: bool,
}

/// A read connection in use. Dropping it returns it.
struct Reader<'a> {
    database: &'a Database,
    connection: Option<Connection>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = self.database.readers();
        readers.in_use -= 1;
        // A transaction that cannot be ended would affect the next reader.
        let usable = |connection: &Connection| connection.is_autocommit() && !std::thread::panicking();
        if !readers.closed && readers.idle.len() < IDLE_READERS {
            readers.idle.extend(self.connection.take().filter(usable));
        }
        // Closed before the notification.
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

    pub(crate) fn is_rebuildable(&self) -> bool {
        self.durability == Durability::Rebuildable
    }

    pub(crate) fn connect(&self) -> Result<Connection, rusqlite::Error> {
        // The file is there: a deleted one must not come back.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(LOCK_WAIT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        // Otherwise a statement with `LIMIT ?` is planned again for each value.
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
        // Deleted data is overwritten with zeros.
        connection.pragma_update(None, "secure_delete", true)?;
        Ok(connection)
    }

    /// Creates the file if it is missing, and restricts it and the files beside it to their owner; SQLite gives the
    /// WAL the same permissions.
    fn make_private(&self) -> std::io::Result<()> {
        // Only new files are opened here: closing the file would release the locks of other connections.
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
                // The file belongs to another user, who allows access by this process.
                tracing::warn!(file = %path.display(), %error, "other users may be able to read this file");
            }
        }
        Ok(())
    }

    /// For a file of this process alone, whose content a crash may lose.
    fn connect_private(&self, cache_bytes: usize) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        // A failed transaction can still be rolled back.
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        let cache_kib = i64::try_from(cache_bytes / 1024).unwrap_or(i64::MAX);
        connection.pragma_update(None, "cache_size", -cache_kib.max(1))?;
        // New indexes are sorted in files: they may be larger than memory.
        connection.pragma_update(None, "temp_store", "FILE")?;
        connection.pragma_update(None, "secure_delete", true)?;
        Ok(connection)
    }

    /// Syncs the file, and the folder that names it.
    fn sync(&self) -> std::io::Result<()> {
        std::fs::File::open(&self.path)?.sync_all()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// The file itself. Closing it releases the locks of all connections.
    pub(crate) fn open(&self) -> std::io::Result<std::fs::File> {
        std::fs::File::open(&self.path)
    }

    /// Runs maintenance on a blocking thread. It completes even if the caller stops waiting.
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

/// Limits the memory of all connections of this process together: beyond it, a connection reuses pages of its own cache
/// rather than take more.
///
/// # Errors
/// If SQLite has no memory left.
pub fn limit_memory(bytes: u64) -> Result<(), Error> {
    let failed = |e| Error::from_sqlite(":memory:", e);
    let connection = Connection::open_in_memory().map_err(failed)?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    connection.pragma_update(None, "soft_heap_limit", bytes).map_err(failed)
}

impl Database {
    /// Opens or creates the file (its folder must exist) and applies missing migrations.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file is not a database, or a newer program wrote it.
    pub fn open(path: &Path, durability: Durability, schema: Schema) -> Result<Self, Error> {
        let file = Arc::new(File { path: path.to_owned(), durability });
        file.make_private().map_err(|e| Error::unavailable(&file.name(), e))?;
        let mut connection = file.connect().map_err(|e| Error::from_sqlite(&file.name(), e))?;
        migrate(&file, &mut connection, schema)?;
        if file.is_rebuildable() {
            let widened = connection.pragma_update(None, "cache_size", WIDE_CACHE_KIB);
            widened.map_err(|e| Error::from_sqlite(&file.name(), e))?;
        }
        let writer = Writer::start(Arc::clone(&file), connection)?;
        Ok(Self::with(file, Access::ReadWrite(writer)))
    }

    /// Opens an existing file to read it, beside a process that uses it or without one. Changes no byte and creates
    /// no file, except the index of a WAL (`-shm`) that a crash has left behind. Writes return
    /// [`Error::Unavailable`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the file does not exist; [`Error::Corrupt`] if it is not a database, or a program of
    /// another version wrote it.
    pub fn open_read_only(path: &Path, schema: Schema) -> Result<Self, Error> {
        let file = Arc::new(File { path: path.to_owned(), durability: Durability::Full });
        let reads = ReadOnlyFile::new(path)?;
        let taken = reads.read(version)?;
        refuse_newer(&file, taken, schema)?;
        if taken < schema.steps.len() {
            return Err(Error::corrupt(
                &file.name(),
                format!(
                    "its schema is version {taken}, this program has version {}: an older program wrote it, or it is \
                     another file; a server of this version brings it up to date when it starts",
                    schema.steps.len()
                ),
            ));
        }
        Ok(Self::with(file, Access::ReadOnly(reads)))
    }

    /// Creates a file for this process alone, with one connection: reads and writes run one after the other on the
    /// calling thread. There is no write-ahead log and no sync, so a crash loses the file, until
    /// [`finish_private`](Self::finish_private) has made it an ordinary one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the file exists.
    pub fn create_private(path: &Path, schema: Schema, cache_bytes: usize) -> Result<Self, Error> {
        let file = Arc::new(File { path: path.to_owned(), durability: Durability::Rebuildable });
        match OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::corrupt(&file.name(), "there is already a file of this name"));
            }
            Err(error) => return Err(Error::unavailable(&file.name(), error)),
        }
        let connection = file.connect_private(cache_bytes);
        let mut connection = connection.map_err(|e| Error::from_sqlite(&file.name(), e))?;
        migrate(&file, &mut connection, schema)?;
        Ok(Self::with(file, Access::Private(Mutex::new(Some(connection)))))
    }

    /// Does the last work on a private file, closes it, and syncs it. Afterwards it is an ordinary file, and this
    /// database is closed.
    ///
    /// # Errors
    /// If the file is not private, or any of this fails: then the file is of no use.
    pub async fn finish_private(
        &self,
        last: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), Error> {
        let Access::Private(connection) = &self.access else {
            return Err(Error::corrupt(&self.file.name(), "it is not private"));
        };
        let connection = lock(connection).take().ok_or_else(|| self.closed())?;
        self.file
            .maintain(move || {
                last(&connection)?;
                connection.close().map_err(|(_, error)| error)
            })
            .await?;
        let file = Arc::clone(&self.file);
        let synced = tokio::task::spawn_blocking(move || file.sync()).await;
        let unavailable =
            |e: Box<dyn std::error::Error + Send + Sync>| Error::unavailable(&self.file.name(), e);
        synced.map_err(|e| unavailable(e.into()))?.map_err(|e| unavailable(e.into()))
    }

    fn with(file: Arc<File>, access: Access) -> Self {
        Self {
            file,
            readers: Mutex::default(),
            unused: Condvar::new(),
            scans: Semaphore::new(SCANS),
            emptying: tokio::sync::Mutex::default(),
            access,
        }
    }

    /// Reads on the calling thread: for lookups of a few microseconds, where switching threads would cost more.
    pub fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        match &self.access {
            Access::ReadOnly(file) => return file.read(read),
            Access::Private(connection) => {
                let connection = lock(connection);
                let connection = connection.as_ref().ok_or_else(|| self.closed())?;
                return read(connection).map_err(|e| self.error(e));
            }
            Access::ReadWrite(_) => {}
        }
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

    /// Reads on a blocking thread: for scans. Waits while too many scans run.
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

    /// Queues work for the writer and waits for its commit. Failed work is rolled back; if other work of its group
    /// fails, it may run again after a rollback. Work completes even if the caller stops waiting.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        if let Access::Private(connection) = &self.access {
            return self.write_alone(&mut lock(connection), work);
        }
        self.writer()?.write(work).await
    }

    fn write_alone<T>(
        &self,
        connection: &mut Option<Connection>,
        work: impl Fn(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let connection = connection.as_mut().ok_or_else(|| self.closed())?;
        // Rolled back if it is dropped.
        let transaction = connection.transaction().map_err(|e| self.error(e))?;
        let value = work(&transaction).map_err(|e| self.error(e))?;
        transaction.commit().map_err(|e| self.error(e))?;
        Ok(value)
    }

    fn writer(&self) -> Result<&Writer, Error> {
        match &self.access {
            Access::ReadWrite(writer) => Ok(writer),
            Access::Private(_) => {
                Err(Error::unavailable(&self.file.name(), "it is private until it is finished"))
            }
            Access::ReadOnly(_) => {
                Err(Error::unavailable(&self.file.name(), "it was opened to be read only"))
            }
        }
    }

    /// Checkpoints everything and truncates the WAL, so that it contains no overwritten data. Waits for readers that
    /// still need the WAL.
    pub async fn empty_wal(&self) -> Result<(), Error> {
        self.writer()?;
        let _turn = self.emptying.lock().await;
        let file = Arc::clone(&self.file);
        let busy = self.file.maintain(move || {
            let connection = file.connect()?;
            let since = Instant::now();
            loop {
                let is_busy: bool =
                    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
                // SQLite waits for readers and the writer, but not for another checkpoint, such as that of the writer.
                if !is_busy || since.elapsed() > LOCK_WAIT {
                    return Ok(is_busy);
                }
                std::thread::sleep(CHECKPOINT_POLL);
            }
        });
        match busy.await? {
            false => Ok(()),
            true => Err(Error::unavailable(&self.file.name(), "a reader holds the write-ahead log")),
        }
    }

    /// Rewrites the whole file (VACUUM) and truncates the WAL, so that neither contains deleted or overwritten data.
    /// Deletion alone is not sufficient: page splits leave copies of rows in unused parts of pages. Files larger than
    /// `limit` bytes are not rewritten, since writers wait meanwhile; only their WAL is truncated. Returns whether
    /// the file was rewritten.
    pub async fn purge(&self, limit: u64) -> Result<bool, Error> {
        self.writer()?;
        let size =
            std::fs::metadata(&self.file.path).map_err(|e| Error::unavailable(&self.file.name(), e))?;
        let rewrite = size.len() <= limit;
        if rewrite {
            let _turn = self.emptying.lock().await;
            let file = Arc::clone(&self.file);
            let rewritten = self.file.maintain(move || {
                let connection = file.connect()?;
                // The temporary copy is about as large as the file: too much for memory.
                connection.pragma_update(None, "temp_store", "FILE")?;
                connection.execute_batch("VACUUM")
            });
            rewritten.await?;
        }
        self.empty_wal().await?;
        Ok(rewrite)
    }

    /// Checkpoints the WAL into the file, then closes it: see [`close`](Self::close).
    ///
    /// # Errors
    /// If the WAL could not be truncated because another process reads it; the database is closed anyway.
    pub async fn finish(&self) -> Result<(), Error> {
        let is_done = self.readers().closed || self.writer().is_err();
        let emptied = if is_done { Ok(()) } else { self.empty_wal().await };
        self.close();
        emptied
    }

    fn error(&self, error: rusqlite::Error) -> Error {
        Error::from_sqlite(&self.file.name(), error)
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        // A panic of a reader leaves the list intact.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits queued work and closes all connections. If no other process has the file open, it then contains all
    /// committed data: SQLite removes the WAL with the last connection. Later reads and writes return
    /// [`Error::Unavailable`]. Blocks; further calls have no effect.
    pub fn close(&self) {
        let writer = match &self.access {
            Access::ReadWrite(writer) => writer,
            Access::ReadOnly(_) => return,
            Access::Private(connection) => {
                drop(lock(connection).take());
                return;
            }
        };
        let mut readers = self.readers();
        readers.closed = true;
        readers.idle.clear();
        let waited = self.unused.wait_timeout_while(readers, CLOSE_WAIT, |readers| readers.in_use > 0);
        let (readers, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if readers.in_use > 0 {
            tracing::warn!(file = self.file.name(), in_use = readers.in_use, "closed during reads");
        }
        drop(readers);
        writer.close();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock(connection: &Mutex<Option<Connection>>) -> MutexGuard<'_, Option<Connection>> {
    // A panic drops, and so rolls back, the transaction.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn migrate(file: &File, connection: &mut Connection, schema: Schema) -> Result<(), Error> {
    let failed = |e| Error::from_sqlite(&file.name(), e);
    // Immediate, so that two starting processes apply the migrations one after the other.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let taken = version(&transaction).map_err(failed)?;
    refuse_newer(file, taken, schema)?;
    for step in &schema.steps[taken..] {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", schema.steps.len()).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// The number of applied migrations.
fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn refuse_newer(file: &File, taken: usize, schema: Schema) -> Result<(), Error> {
    if taken <= schema.steps.len() {
        return Ok(());
    }
    Err(Error::corrupt(
        &file.name(),
        format!(
            "its schema is version {taken}, this program knows versions up to {}: use a newer program",
            schema.steps.len()
        ),
    ))
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
    async fn writes_are_visible_to_the_next_reader_and_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let database = numbers(&folder);
        database.write(|c| c.execute("INSERT INTO numbers VALUES (1)", [])).await.unwrap();
        assert_eq!(count(&database), 1);
        drop(database);
        assert_eq!(count(&numbers(&folder)), 1);
    }

    #[tokio::test]
    async fn private_file_is_an_ordinary_one_once_it_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n.db");
        let database = Database::create_private(&path, NUMBERS, 1 << 20).unwrap();
        let again = Database::create_private(&path, NUMBERS, 1 << 20);
        assert!(matches!(again, Err(Error::Corrupt { .. })), "{again:?}");
        database.write(|c| c.execute("INSERT INTO numbers VALUES (1)", [])).await.unwrap();
        let twice = "INSERT INTO numbers VALUES (2); INSERT INTO numbers VALUES (1)";
        assert!(database.write(move |c| c.execute_batch(twice)).await.is_err());
        assert_eq!(count(&database), 1, "the failed transaction was rolled back");
        let last = |c: &Connection| c.execute_batch("INSERT INTO numbers VALUES (3)");
        database.finish_private(last).await.unwrap();
        let write = database.write(|c| c.execute("INSERT INTO numbers VALUES (4)", [])).await;
        assert!(matches!(write, Err(Error::Unavailable { .. })), "{write:?}");
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let modes = entries.map(|e| e.unwrap().metadata().unwrap().permissions().mode() & MODE_BITS);
        assert_eq!(modes.collect::<Vec<_>>(), [OWNER_ONLY], "nothing is beside it");
        assert_eq!(count(&numbers(&folder)), 2);
    }

    #[tokio::test]
    async fn files_are_private_also_those_of_older_versions() {
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
        // Like a second process.
        assert_eq!(count(&numbers(&folder)), 1);
        assert_eq!(modes(), [OWNER_ONLY; 3]);
    }

    #[tokio::test]
    async fn closed_database_has_everything_in_the_file_and_rejects_access() {
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
    async fn purge_removes_deleted_text_from_all_files() {
        const TEXTS: Schema =
            Schema { steps: &["CREATE TABLE texts (key TEXT PRIMARY KEY, text TEXT) STRICT, WITHOUT ROWID"] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.db");
        let database = Arc::new(Database::open(&path, Durability::Rebuildable, TEXTS).unwrap());
        for n in 0..2000_u64 {
            // In random order, so that pages in the middle are split.
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
    async fn queued_work_is_committed_or_rejected_on_close() {
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
    async fn failed_work_is_rolled_back_without_affecting_its_group() {
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
    async fn file_of_a_newer_version_is_rejected_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        drop(numbers(&folder));
        let older = Schema { steps: &[] };
        let refused = Database::open(&folder.path().join("n.db"), Durability::Full, older);
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
        assert_eq!(count(&numbers(&folder)), 0);
    }

    #[test]
    fn invalid_file_is_corrupt_and_missing_folder_is_an_outage() {
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
