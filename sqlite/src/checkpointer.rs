use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use crate::Error;
use crate::database::File;
use crate::writer::stand_back;

/// Rows changed until the write-ahead log is moved again: some thousand pages of 4 KiB.
const ROWS: u64 = 1000;
/// Pages in the write-ahead log from which on it is begun anew, for which the writer waits a moment: while writes never
/// pause, a log is never moved to its very end, and grows.
const PAGES: i64 = 16_000;
/// How long that may wait for readers, and with it the writer; it is tried again.
const RESTART_WAIT: Duration = Duration::from_millis(100);

/// The thread that moves what the write-ahead log holds into the file, beside the writer: whoever waits for a commit does not
/// wait for thousands of pages. The writer does it by itself only if the log has become several times as long.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// Rows changed when it was woken last.
    woken_at: u64,
    wake: SyncSender<()>,
}

impl Checkpointer {
    pub(crate) fn start(file: &Arc<File>) -> Result<Self, Error> {
        let (wake, woken) = sync_channel(1);
        let connection = file.connect().and_then(|connection| {
            connection.busy_timeout(RESTART_WAIT)?;
            Ok(connection)
        });
        let connection = connection.map_err(|e| Error::from_sqlite(&file.name(), e))?;
        let spawned = thread::Builder::new().name("sqlite-checkpointer".to_owned());
        spawned
            .spawn(move || checkpoint(&connection, &woken))
            .map_err(|e| Error::unavailable(&file.name(), e))?;
        Ok(Self { woken_at: 0, wake })
    }

    /// Tells how many rows the writer has changed so far.
    pub(crate) fn changed(&mut self, rows: u64) {
        if rows.saturating_sub(self.woken_at) >= ROWS {
            self.woken_at = rows;
            // One that is awake already will look again.
            let _ = self.wake.try_send(());
        }
    }
}

fn checkpoint(connection: &Connection, woken: &Receiver<()>) {
    stand_back();
    while woken.recv().is_ok() {
        if let Err(error) = move_log(connection) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the write-ahead log was not moved");
        }
    }
}

/// Moves what it may without waiting for anybody; then little is left to be waited for if the log is to begin anew.
fn move_log(connection: &Connection) -> rusqlite::Result<()> {
    let log: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
    if log >= PAGES {
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Database, Durability, Schema};

    const TEXTS: Schema = Schema { steps: &["CREATE TABLE texts (text TEXT) STRICT"] };
    const LIMIT: Duration = Duration::from_secs(10);
    const POLL: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn what_can_be_built_again_is_moved_into_its_file_while_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.db");
        let database = Database::open(&path, Durability::Rebuildable, TEXTS).unwrap();
        // Far fewer pages than the writer would move by itself.
        for _ in 0..500 {
            let insert = "INSERT INTO texts SELECT hex(randomblob(500)) FROM (VALUES (1), (2), (3), (4))";
            database.write(|connection| connection.execute(insert, [])).await.unwrap();
        }
        let moved = async {
            while std::fs::metadata(&path).unwrap().len() < 1024 * 1024 {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(LIMIT, moved).await.unwrap();
    }
}
