use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use sqlite::rusqlite::types::Type;
use sqlite::rusqlite::{self, Connection, OptionalExtension, Row};
use sqlite::{Database, Durability, Schema};
use tokio::sync::{broadcast, mpsc, watch};
use uuid::Uuid;

use super::raw;
use crate::log::{Followed, Unreadable};
use crate::tail_buffer::{self, TailBuffer};
use crate::{
    AppendError, Envelope, EventId, EventLog, Filter, Follow, Freshness, Kind, LogError, Message, Position,
    Progress, RawEvent, RawFollow, Stored, Subject, Urgency, UserId,
};

/// Positions are SQLite row ids: rows are never deleted, so there are no gaps.
const SCHEMA: Schema = Schema {
    steps: &["
        CREATE TABLE events (
            position    INTEGER PRIMARY KEY,
            subject     TEXT NOT NULL,
            id          BLOB NOT NULL,
            type        TEXT NOT NULL,
            source      TEXT NOT NULL,
            time        INTEGER NOT NULL, -- microseconds since 1970
            actor       BLOB,
            correlation BLOB NOT NULL,
            causation   BLOB,
            traceparent TEXT,
            body        TEXT NOT NULL
        ) STRICT;
        CREATE INDEX events_by_subject ON events (subject);
        CREATE TRIGGER events_never_change BEFORE UPDATE ON events
            BEGIN SELECT RAISE(ABORT, 'an event is never changed'); END;
        CREATE TRIGGER events_never_go BEFORE DELETE ON events
            BEGIN SELECT RAISE(ABORT, 'an event is never deleted'); END;
    "],
};

pub(super) const COLUMNS: &str =
    "position, subject, id, type, source, time, actor, correlation, causation, traceparent, body";

/// Maximum number of events per read of a follower.
const FOLLOW_CHUNK: usize = 1000;
/// How often a follower checks the file for events of other processes (operator commands). Events of this process are
/// delivered immediately, with those of other processes before them.
const FOREIGN_APPEND_POLL: Duration = Duration::from_millis(200);
/// Delay before a follower retries after a failed read.
const OUTAGE_PAUSE: Duration = Duration::from_millis(500);
/// Buffered progress notifications for slow receivers.
const PROGRESS_BUFFER: usize = 1024;
/// Minimum interval of disk probes, and their size: as much as a commit may need.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
const PROBE_BYTES: usize = 64 * 1024;

/// The log in one SQLite file.
#[derive(Debug)]
pub struct SqliteLog {
    database: Arc<Database>,
    tail: Arc<TailBuffer>,
    /// The newest event that this process has appended, or found when it opened the file.
    newest: Arc<AtomicU64>,
    reports: broadcast::Sender<Progress>,
    /// None if the log was opened to be read only.
    probe: Option<Arc<DiskProbe>>,
}

impl SqliteLog {
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let probe = DiskProbe { file: path.with_extension("probe"), last: Mutex::default() };
        Self::of(Database::open(path, Durability::Full, SCHEMA)?, Some(probe))
    }

    /// For programs that change nothing: creates no file, and appends fail.
    pub fn open_read_only(path: &Path) -> Result<Self, LogError> {
        Self::of(Database::open_read_only(path, SCHEMA)?, None)
    }

    fn of(database: Database, probe: Option<DiskProbe>) -> Result<Self, LogError> {
        let database = Arc::new(database);
        let head = database.read(head)?;
        Ok(Self {
            database,
            tail: Arc::new(TailBuffer::starting_at(head)),
            newest: Arc::new(AtomicU64::new(head.0)),
            reports: broadcast::channel(PROGRESS_BUFFER).0,
            probe: probe.map(Arc::new),
        })
    }
}

#[async_trait]
impl EventLog for SqliteLog {
    async fn append(&self, message: &Message, expected: Position) -> Result<Position, AppendError> {
        let (copied, newest) = (message.clone(), Arc::clone(&self.newest));
        let insert = move |connection: &Connection| {
            let inserted = insert(connection, &copied, expected)?;
            let before = newest.load(Ordering::Acquire);
            if let Inserted::Now(position) = inserted {
                newest.fetch_max(position.0, Ordering::AcqRel);
            }
            Ok((inserted, before))
        };
        let (inserted, before) = self.database.write(insert).await?;
        match inserted {
            Inserted::Now(position) => {
                self.tail.push(Stored { position, message: message.clone() });
                if position.0 > before + 1 {
                    // The file has all events before it. Followers shall not wait until they look for those of other
                    // processes.
                    self.tail.advance_to(position);
                }
                Ok(position)
            }
            // Its own append may have been cancelled between the commit and the push.
            Inserted::Before(position) => {
                self.tail.advance_to(position);
                Ok(position)
            }
            Inserted::Conflict => Err(AppendError::Conflict),
        }
    }

    async fn last(&self, subjects: &[Subject], _: Freshness) -> Result<Vec<Option<Stored>>, LogError> {
        let last = |connection: &Connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM events WHERE subject = ?1 ORDER BY position DESC LIMIT 1"
            ))?;
            subjects
                .iter()
                .map(|subject| statement.query_row([subject.to_string()], stored).optional())
                .collect()
        };
        Ok(self.database.read(last)?)
    }

    async fn read(&self, subject: Subject, after: Position) -> Result<Vec<Stored>, LogError> {
        let read = |connection: &Connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM events WHERE subject = ?1 AND position > ?2 ORDER BY position"
                ))?
                .query_map((subject.to_string(), after.0), stored)?
                .collect()
        };
        Ok(self.database.read(read)?)
    }

    fn follow(&self, filter: Filter, after: Position) -> Follow {
        let (sender, follow) = Follow::channel();
        let reader = Follower {
            database: Arc::clone(&self.database),
            tail: Arc::clone(&self.tail),
            complete: self.tail.complete(),
            filter,
        };
        #[expect(clippy::disallowed_methods, reason = "it ends with its Follow")]
        tokio::spawn(reader.deliver(after, sender));
        follow
    }

    /// Appends of this process are in the tail buffer anyway.
    fn listen(&self, filter: Filter, after: Position) -> Follow {
        self.follow(filter, after)
    }

    async fn head(&self) -> Result<Position, LogError> {
        Ok(self.database.read(head)?)
    }

    async fn raw(&self, after: Position, limit: usize) -> Result<Vec<RawEvent>, LogError> {
        raw::after(&self.database, after, limit).await
    }

    async fn raw_of(&self, subject: &str, after: Position, limit: usize) -> Result<Vec<RawEvent>, LogError> {
        raw::of(&self.database, subject, after, limit).await
    }

    fn raw_follow(&self, after: Position) -> RawFollow {
        let (sender, follow) = RawFollow::channel();
        #[expect(clippy::disallowed_methods, reason = "it ends with its RawFollow")]
        tokio::spawn(raw::follow(Arc::clone(&self.database), after, sender));
        follow
    }

    async fn check_writable(&self) -> Result<(), LogError> {
        let Some(probe) = self.probe.clone() else {
            return Err(LogError::unavailable("it was opened to be read only"));
        };
        let probed =
            tokio::task::spawn_blocking(move || probe.write()).await.map_err(LogError::unavailable)?;
        probed.map_err(LogError::unavailable)
    }

    fn publish_progress(&self, progress: Progress, _: Urgency) {
        // Not having listeners is fine.
        let _ = self.reports.send(progress);
    }

    fn progress(&self) -> broadcast::Receiver<Progress> {
        self.reports.subscribe()
    }

    async fn close(&self) -> Result<(), LogError> {
        Ok(self.database.finish().await?)
    }
}

/// Checks whether the disk is writable.
#[derive(Debug)]
struct DiskProbe {
    file: PathBuf,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl DiskProbe {
    /// Writes and removes a small file beside the log, at most once per [`PROBE_INTERVAL`]; in between, the last
    /// result is returned.
    fn write(&self) -> Result<(), String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, outcome)) = &*last
            && at.elapsed() < PROBE_INTERVAL
        {
            return outcome.clone();
        }
        let written = File::create(&self.file)
            .and_then(|mut file| file.write_all(&vec![0; PROBE_BYTES]).and_then(|()| file.sync_all()));
        // A full disk must not lose its remaining space to the probe.
        let removed = std::fs::remove_file(&self.file);
        let outcome = written.and(removed).map_err(|error| format!("the disk cannot be written: {error}"));
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

/// What became of an event that was to be inserted.
#[derive(Debug, Clone, Copy)]
enum Inserted {
    Now(Position),
    /// An event with its id was inserted before. Its content may differ: a copy of a request may have other pictures.
    Before(Position),
    Conflict,
}

/// Inserts the event if the last event of its subject is at the expected position.
fn insert(connection: &Connection, message: &Message, expected: Position) -> rusqlite::Result<Inserted> {
    let Message { envelope, body } = message;
    let subject = envelope.subject.to_string();
    let last: Option<u64> = connection
        .prepare_cached("SELECT position FROM events WHERE subject = ?1 ORDER BY position DESC LIMIT 1")?
        .query_row([&subject], |row| row.get(0))
        .optional()?;
    if last.unwrap_or(0) != expected.0 {
        let own = own(connection, &subject, envelope.id, expected)?;
        return Ok(own.map_or(Inserted::Conflict, Inserted::Before));
    }
    connection
        .prepare_cached(&format!(
            "INSERT INTO events ({COLUMNS}) VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        ))?
        .execute((
            &subject,
            envelope.id.uuid().as_bytes(),
            &envelope.event_type,
            &envelope.source,
            envelope.time.timestamp_micros(),
            envelope.actor.map(|user| user.uuid().into_bytes()),
            envelope.correlation.as_bytes(),
            envelope.causation.map(|id| id.uuid().into_bytes()),
            &envelope.traceparent,
            std::str::from_utf8(body).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?,
        ))?;
    Ok(Inserted::Now(Position(connection.last_insert_rowid().unsigned_abs())))
}

/// The position of the event that directly follows `expected` on the subject, if it has this id.
fn own(
    connection: &Connection,
    subject: &str,
    id: EventId,
    expected: Position,
) -> rusqlite::Result<Option<Position>> {
    let next: Option<(u64, [u8; 16])> = connection
        .prepare_cached(
            "SELECT position, id FROM events WHERE subject = ?1 AND position > ?2 ORDER BY position LIMIT 1",
        )?
        .query_row((subject, expected.0), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(next.and_then(|(position, found)| (found == id.uuid().into_bytes()).then_some(Position(position))))
}

fn head(connection: &Connection) -> rusqlite::Result<Position> {
    connection
        .prepare_cached("SELECT coalesce(max(position), 0) FROM events")?
        .query_row([], |row| row.get(0))
        .map(Position)
}

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let subject = row.get_ref(1)?.as_str()?;
    let subject = subject.parse().map_err(|e| unreadable(1, e))?;
    let time = DateTime::from_timestamp_micros(row.get(5)?)
        .ok_or_else(|| unreadable(5, "not a time that can be represented"))?;
    let uuid = |bytes: [u8; 16]| Uuid::from_bytes(bytes);
    Ok(Stored {
        position: Position(row.get(0)?),
        message: Message {
            envelope: Envelope {
                id: EventId::new(uuid(row.get(2)?)),
                event_type: Cow::Owned(row.get(3)?),
                source: Cow::Owned(row.get(4)?),
                time,
                subject,
                actor: row.get::<_, Option<_>>(6)?.map(|bytes| UserId::new(uuid(bytes))),
                correlation: uuid(row.get(7)?),
                causation: row.get::<_, Option<_>>(8)?.map(|bytes| EventId::new(uuid(bytes))),
                traceparent: row.get(9)?,
            },
            body: Bytes::copy_from_slice(row.get_ref(10)?.as_bytes()?),
        },
    })
}

fn unreadable(column: usize, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, cause.into())
}

/// Whether the row is invalid, not the file.
fn is_unreadable(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::Utf8Error(..)
    )
}

struct Follower {
    database: Arc<Database>,
    tail: Arc<TailBuffer>,
    complete: watch::Receiver<Position>,
    filter: Filter,
}

impl Follower {
    /// The next matching events, and the position reached.
    async fn chunk(
        &self,
        after: Position,
        in_file: bool,
    ) -> Result<(Vec<Followed>, Position), sqlite::Error> {
        if let Some((events, passed)) = self.tail.after(&self.filter, after, FOLLOW_CHUNK) {
            return Ok((events.into_iter().map(Followed::Event).collect(), passed));
        }
        if in_file && *self.complete.borrow() <= after {
            // On this thread: it takes microseconds and is usually all there is to do.
            self.tail.advance_to(self.database.read(head)?);
        }
        if *self.complete.borrow() <= after {
            return Ok((Vec::new(), after));
        }
        let filter = self.filter.clone();
        self.database.scan(move |connection| read_chunk(connection, &filter, after)).await
    }

    async fn deliver(mut self, after: Position, sender: mpsc::Sender<Result<Followed, LogError>>) {
        let mut reached = after;
        let mut in_file = true;
        loop {
            let (events, passed) = match self.chunk(reached, in_file).await.map_err(LogError::from) {
                Ok(chunk) => chunk,
                Err(error @ LogError::Corrupt { .. }) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
                Err(error @ LogError::Unavailable(_)) => {
                    tracing::warn!(
                        outage = %error,
                        error = &error as &dyn std::error::Error,
                        "the log cannot be followed; retrying"
                    );
                    tokio::time::sleep(OUTAGE_PAUSE).await;
                    continue;
                }
            };
            if passed > reached {
                if !tail_buffer::deliver(&sender, events, passed).await {
                    return;
                }
                reached = passed;
                continue;
            }
            in_file = false;
            tokio::select! {
                () = sender.closed() => return,
                changed = self.complete.wait_for(|complete| *complete > reached) => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(FOREIGN_APPEND_POLL) => in_file = true,
            }
        }
    }
}

/// The next matching events from the file.
fn read_chunk(
    connection: &Connection,
    filter: &Filter,
    after: Position,
) -> rusqlite::Result<(Vec<Followed>, Position)> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2"
    ))?;
    let mut rows = statement.query((after.0, FOLLOW_CHUNK))?;
    let mut events = Vec::new();
    let mut passed = after;
    while let Some(row) = rows.next()? {
        passed = Position(row.get(0)?);
        // The kind alone decides whether to decode the row.
        let kind = row.get_ref(1)?.as_str().ok().and_then(Kind::of);
        if kind.is_some_and(|kind| filter.takes(kind)) {
            events.push(match stored(row) {
                Err(error) if is_unreadable(&error) => {
                    let event_type = row.get_ref(3)?.as_str().ok();
                    let subject = row.get_ref(1)?.as_str().unwrap_or_default().to_owned();
                    Followed::Unreadable(Unreadable::new(
                        passed,
                        event_type,
                        subject,
                        LogError::corrupt(passed, error),
                    ))
                }
                stored => Followed::Event(stored?),
            });
        }
    }
    Ok((events, passed))
}

impl From<sqlite::Error> for LogError {
    fn from(error: sqlite::Error) -> Self {
        match error {
            sqlite::Error::Unavailable { .. } | sqlite::Error::OutcomeUnknown { .. } => {
                Self::unavailable(error)
            }
            sqlite::Error::Corrupt { .. } => Self::corrupt(None, error),
        }
    }
}

impl From<sqlite::Error> for AppendError {
    fn from(error: sqlite::Error) -> Self {
        match error {
            sqlite::Error::OutcomeUnknown { .. } => Self::OutcomeUnknown(error.into()),
            sqlite::Error::Unavailable { .. } | sqlite::Error::Corrupt { .. } => Self::Log(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PostId;

    async fn append(log: &SqliteLog, post: u128) -> Position {
        let envelope = Envelope {
            id: EventId::new(Uuid::from_u128(post)),
            event_type: Cow::Borrowed("test"),
            source: Cow::Borrowed("test"),
            time: DateTime::UNIX_EPOCH,
            subject: Subject::Post(PostId::new(Uuid::from_u128(post))),
            actor: None,
            correlation: Uuid::nil(),
            causation: None,
            traceparent: None,
        };
        log.append(&Message { envelope, body: Bytes::new() }, Position::START).await.unwrap()
    }

    #[tokio::test]
    async fn own_events_are_delivered_at_once_also_after_those_of_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || SqliteLog::open(&folder.path().join("events.db")).unwrap();
        let (log, other) = (open(), open());
        let complete = log.tail.complete();
        for own in [1, 3, 4] {
            let appended = append(&log, own).await;
            assert_eq!(*complete.borrow(), appended);
            append(&other, 100 + own).await;
            assert_eq!(*complete.borrow(), appended, "found with the next event or the next poll");
        }
    }

    #[tokio::test]
    async fn missing_event_is_shown_to_operators() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.db");
        let log = SqliteLog::open(&file).unwrap();
        for post in 1..=4 {
            append(&log, post).await;
        }
        let delete = "DROP TRIGGER events_never_go; DELETE FROM events WHERE position IN (2, 3)";
        Connection::open(&file).unwrap().execute_batch(delete).unwrap();
        let read = async |after: u64, limit: usize| {
            let events = log.raw(Position(after), limit).await.unwrap();
            events.iter().map(|event| (event.position.0, event.attributes.is_ok())).collect::<Vec<_>>()
        };
        assert_eq!(read(0, 9).await, [(1, true), (2, false), (3, false), (4, true)]);
        assert_eq!(read(0, 2).await, [(1, true), (2, false)]);
        assert_eq!(read(2, 1).await, [(3, false)]);
    }

    #[test]
    fn full_disk_is_detected_without_an_append() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.probe");
        let probe = || DiskProbe { file: file.clone(), last: Mutex::default() }.write();
        probe().unwrap();
        std::os::unix::fs::symlink("/dev/full", &file).unwrap();
        let problem = probe().unwrap_err();
        assert!(problem.contains("No space left on device"), "{problem}");
        // The probe file is removed, so that free space is detected immediately.
        assert!(!file.exists());
        probe().unwrap();
    }
}
