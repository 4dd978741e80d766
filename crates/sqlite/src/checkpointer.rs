use std::ffi::c_int;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, DEFAULT_NAME};

use crate::Error;
use crate::database::File;

/// Checkpoint after this many pages (of 4 KiB) in the WAL. With more pages, more of them are superseded and need not
/// be moved; but other syncs wait longer for the disk.
const STEP: c_int = 4000;
/// WAL size in pages from which on it should restart.
const PAGES: c_int = 16_000;
/// The writer checkpoints the last pages itself, at most this many while it blocks; plus this share of the excess, so
/// that the WAL does not grow if the writer adds as fast as the thread moves.
const REST: c_int = 500;
const REST_OF_EXCESS: c_int = 2;
/// Maximum number of passes until few pages were added meanwhile.
const ROUNDS: usize = 4;

/// A thread that checkpoints the WAL beside the writer, so that commits do not wait for thousands of pages. The WAL
/// restarts once all pages are moved, which under continuous writes only the writer can complete: it does so when
/// this thread has left few pages. A restart by another connection would invalidate the writer's cache.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    /// Ends the thread when dropped.
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Pages in the WAL after the last commit.
    pages: AtomicI32,
    /// Pages of it that have been moved.
    moved: AtomicI32,
    /// Whether the thread is active: only one connection may checkpoint at a time.
    moving: AtomicBool,
}

impl Checkpointer {
    /// For the database file that this connection will write.
    pub(crate) fn start(file: &Arc<File>, writer: &mut Connection) -> Result<Self, Error> {
        let failed = |e| Error::from_sqlite(&file.name(), e);
        let shared = Arc::new(Shared::default());
        let hook_state = Arc::clone(&shared);
        // Replaces SQLite's automatic checkpoints.
        let hook = move |_: &mut Wal, pages| {
            hook_state.pages.store(pages, Ordering::Relaxed);
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(failed)?;
        let connection = file.connect().map_err(failed)?;
        let moved_to = file.open().map_err(|e| Error::unavailable(&file.name(), e))?;
        let (wake, woken) = sync_channel(1);
        let owned = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("sqlite-checkpointer".to_owned())
            .spawn(move || {
                checkpoint(&connection, &moved_to, &owned, &woken);
                // In this order: closing a file releases all locks of this process on it.
                drop(connection);
                drop(moved_to);
            })
            .map_err(|e| Error::unavailable(&file.name(), e))?;
        Ok(Self { shared, wake, thread })
    }

    /// Stops the thread and waits until its connection is closed.
    pub(crate) fn stop(self) {
        let Self { shared: _, wake, thread } = self;
        drop(wake);
        if thread.join().is_err() {
            tracing::error!("the checkpointer thread panicked");
        }
    }

    /// Called after each commit, on the writer's thread.
    pub(crate) fn committed(&self, writer: &Connection) {
        let Shared { pages, moved, moving } = &*self.shared;
        let pages = pages.load(Ordering::Relaxed);
        if moving.load(Ordering::Acquire) {
            return;
        }
        if pages < moved.load(Ordering::Relaxed) {
            // The WAL has restarted.
            moved.store(0, Ordering::Relaxed);
        }
        let rest = pages - moved.load(Ordering::Relaxed);
        if pages >= PAGES && rest <= rest_of(pages) {
            self.shared.move_pages(writer);
        } else if rest >= STEP {
            moving.store(true, Ordering::Relaxed);
            // Wakes the thread if it is idle.
            let _ = self.wake.try_send(());
        }
    }
}

impl Shared {
    /// Checkpoints without blocking (passive mode); returns the number of pages in the WAL.
    fn move_pages(&self, connection: &Connection) -> c_int {
        match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
            Ok((pages, moved)) => {
                self.moved.store(moved, Ordering::Relaxed);
                pages
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the checkpoint failed");
                0
            }
        }
    }
}

/// The number of pages that the writer moves itself.
fn rest_of(pages: c_int) -> c_int {
    REST + (pages - PAGES).max(0) / REST_OF_EXCESS
}

fn checkpoint(connection: &Connection, moved_to: &fs::File, shared: &Shared, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        for _ in 0..ROUNDS {
            let held = shared.move_pages(connection);
            // SQLite syncs with the last page, and then the writer would wait for all of them.
            if let Err(error) = moved_to.sync_data() {
                tracing::warn!(%error, "checkpointed pages are not synced yet");
            }
            let pages = shared.pages.load(Ordering::Relaxed);
            if pages < PAGES || pages - held <= rest_of(pages) {
                break;
            }
        }
        shared.moving.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Database, Durability, Schema};

    const TEXTS: Schema = Schema { steps: &["CREATE TABLE texts (text TEXT) STRICT"] };
    const LIMIT: Duration = Duration::from_mins(2);

    #[tokio::test]
    async fn wal_restarts_under_continuous_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.db");
        let database = Database::open(&path, Durability::Rebuildable, TEXTS).unwrap();
        let size = |of: &std::path::Path| std::fs::metadata(of).unwrap().len();
        let log = path.with_extension("db-wal");
        // Without checkpoints or restarts, the WAL would be as large as the file.
        let begun_anew = async {
            while size(&path) < 2 * size(&log) || size(&log) == 0 {
                let insert =
                    "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 200)
                    INSERT INTO texts SELECT hex(randomblob(2000)) FROM numbers";
                database.write(|connection| connection.execute(insert, [])).await.unwrap();
            }
        };
        tokio::time::timeout(LIMIT, begun_anew).await.unwrap();
    }
}
