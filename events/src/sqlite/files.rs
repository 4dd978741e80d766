use std::path::{Path, PathBuf};

use sqlite::rusqlite::{self, Connection};
use sqlite::{check_integrity, copy, open_existing};

use crate::{LogError, Position};

/// The files of a log and its vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFiles {
    pub log: PathBuf,
    pub keys: PathBuf,
}

/// The content of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// The position of the last event.
    pub position: Position,
    pub events: u64,
    /// Number of names that were ever given a key, including destroyed ones.
    pub keys: u64,
}

impl LogFiles {
    /// The vault is beside the log.
    pub fn of_log(log: impl Into<PathBuf>) -> Self {
        let log = log.into();
        let keys = log.parent().unwrap_or(Path::new("")).join("keys.db");
        Self { log, keys }
    }

    /// Copies the log up to its current end; `target` must not exist. [`complete_copy`](Self::complete_copy) adds
    /// later events and the keys. Blocks.
    pub fn begin_copy(&self, target: &Self) -> Result<(), LogError> {
        Ok(copy(&self.log, &target.log)?)
    }

    /// Copies the vault, and adds missing events to a copy of the log, so that both are consistent at one position,
    /// which is returned: every event up to it has its key, and every destroyed key has its erasure in the log. Can
    /// be repeated. Commands that need a new key wait while the vault is copied. Blocks.
    pub fn complete_copy(&self, target: &Self) -> Result<Position, LogError> {
        let keys = open_existing(&self.keys)?;
        // No key is created or destroyed from here on.
        run(&keys, &self.keys, |keys| keys.execute_batch("BEGIN IMMEDIATE"))?;
        let position = run(&open_existing(&self.log)?, &self.log, last_position)?;
        match std::fs::remove_file(&target.keys) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::unavailable(error));
            }
            _ => copy(&self.keys, &target.keys)?,
        }
        run(&keys, &self.keys, |keys| keys.execute_batch("ROLLBACK"))?;
        let log = open_existing(&target.log)?;
        let source = self.log.to_str().ok_or_else(|| LogError::unavailable("its name is not UTF-8"))?;
        run(&log, &target.log, |log| {
            log.execute("ATTACH ?1 AS source", [source])?;
            log.execute(
                "INSERT INTO main.events SELECT * FROM source.events
                 WHERE position > (SELECT coalesce(max(position), 0) FROM main.events) AND position <= ?1
                 ORDER BY position",
                [position],
            )?;
            log.execute_batch("DETACH source")
        })?;
        Ok(Position(position))
    }

    /// Checks both files. Blocks.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] if one is damaged, or the log has gaps.
    pub fn check(&self) -> Result<Contents, LogError> {
        check_integrity(&self.log)?;
        check_integrity(&self.keys)?;
        let count = |connection: &Connection, sql: &str| connection.query_row(sql, [], |row| row.get(0));
        let log = open_existing(&self.log)?;
        let position = Position(run(&log, &self.log, last_position)?);
        let events: u64 = run(&log, &self.log, |log| count(log, "SELECT count(*) FROM events"))?;
        let keys = open_existing(&self.keys)?;
        let keys = run(&keys, &self.keys, |keys| count(keys, "SELECT count(*) FROM keys"))?;
        if events != position.0 {
            return Err(LogError::corrupt(
                None,
                format!("the last event is at {position}, but there are {events} events"),
            ));
        }
        Ok(Contents { position, events, keys })
    }
}

fn last_position(log: &Connection) -> rusqlite::Result<u64> {
    log.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get(0))
}

fn run<T>(
    connection: &Connection,
    path: &Path,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, LogError> {
    work(connection).map_err(|e| sqlite::Error::from_sqlite(&path.display().to_string(), e).into())
}
