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

/// Pages (of 4 KiB) added to the write-ahead log until it is moved into the file. The more there are, the more of them have
/// been replaced by later ones and need not be moved; and the longer whoever syncs another file waits for the disk.
const STEP: c_int = 4000;
/// Pages in the log from which on it is to begin anew.
const PAGES: c_int = 16_000;
/// So few are left to the writer, which waits while it moves them; and this part of what the log holds beyond its limit, so
/// that it does not grow where the writer adds as fast as the thread moves.
const REST: c_int = 500;
const REST_OF_EXCESS: c_int = 2;
/// How often the log is moved until no more than that has been added meanwhile.
const ROUNDS: usize = 4;

/// The thread that moves what the write-ahead log holds into the file, beside the writer: whoever waits for a commit does not
/// wait for thousands of pages. A log begins anew once all of it is moved, and while writes never pause the last of it can
/// only be moved by the writer: it does so when this thread has left little. Begun anew by anybody else, the log would
/// cost the writer its cache.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    /// Ends the thread when it is dropped.
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Pages in the log after the last commit.
    pages: AtomicI32,
    /// Those of them that have been moved.
    moved: AtomicI32,
    /// Whether the thread is at work: two cannot move one log.
    moving: AtomicBool,
}

impl Checkpointer {
    /// For the file that this connection will write.
    pub(crate) fn start(file: &Arc<File>, writer: &mut Connection) -> Result<Self, Error> {
        let failed = |e| Error::from_sqlite(&file.name(), e);
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        // Takes the place of the checkpoints that SQLite makes by itself.
        let hook = move |_: &mut Wal, pages| {
            told.pages.store(pages, Ordering::Relaxed);
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
                // In this order: with a file that is closed all locks end that this process has on it.
                drop(connection);
                drop(moved_to);
            })
            .map_err(|e| Error::unavailable(&file.name(), e))?;
        Ok(Self { shared, wake, thread })
    }

    /// Ends the thread and waits until its connection is closed.
    pub(crate) fn stop(self) {
        let Self { shared: _, wake, thread } = self;
        drop(wake);
        if thread.join().is_err() {
            tracing::error!("the thread that moves the write-ahead log has panicked");
        }
    }

    /// After each commit of the writer, on its thread.
    pub(crate) fn committed(&self, writer: &Connection) {
        let Shared { pages, moved, moving } = &*self.shared;
        let pages = pages.load(Ordering::Relaxed);
        if moving.load(Ordering::Acquire) {
            return;
        }
        if pages < moved.load(Ordering::Relaxed) {
            // It has begun anew.
            moved.store(0, Ordering::Relaxed);
        }
        let rest = pages - moved.load(Ordering::Relaxed);
        if pages >= PAGES && rest <= rest_of(pages) {
            self.shared.move_pages(writer);
        } else if rest >= STEP {
            moving.store(true, Ordering::Relaxed);
            // It waits to be woken: nobody else does, and not twice.
            let _ = self.wake.try_send(());
        }
    }
}

impl Shared {
    /// Moves what it may without waiting for anybody; answers how much the log held.
    fn move_pages(&self, connection: &Connection) -> c_int {
        match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE) {
            Ok((pages, moved)) => {
                self.moved.store(moved, Ordering::Relaxed);
                pages
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the write-ahead log was not moved");
                0
            }
        }
    }
}

/// How many pages of a log the writer moves itself.
fn rest_of(pages: c_int) -> c_int {
    REST + (pages - PAGES).max(0) / REST_OF_EXCESS
}

fn checkpoint(connection: &Connection, moved_to: &fs::File, shared: &Shared, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        for _ in 0..ROUNDS {
            let held = shared.move_pages(connection);
            // SQLite does it with the very last page, and then the writer would wait for all of them.
            if let Err(error) = moved_to.sync_data() {
                tracing::warn!(%error, "what was moved from the write-ahead log is not on the disk yet");
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
    async fn the_log_of_what_can_be_built_again_is_moved_while_the_writer_goes_on_and_then_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.db");
        let database = Database::open(&path, Durability::Rebuildable, TEXTS).unwrap();
        let size = |of: &std::path::Path| std::fs::metadata(of).unwrap().len();
        let log = path.with_extension("db-wal");
        // If nothing were moved, or the log went on where it ended, it would stay as long as the file.
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
