use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{Author, Baseline, Post, Projected, Write, enqueue, notify_committed};

const LOG: &str = "
    CREATE TABLE IF NOT EXISTS events (
        position INTEGER PRIMARY KEY, subject TEXT NOT NULL, id BLOB NOT NULL, type TEXT NOT NULL,
        time INTEGER NOT NULL, actor TEXT NOT NULL, correlation BLOB NOT NULL, body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS events_by_subject ON events (subject);
";
pub(super) const VIEWS: &str = "
    CREATE TABLE IF NOT EXISTS checkpoint (position INTEGER NOT NULL) STRICT;
    INSERT INTO checkpoint SELECT 0 WHERE NOT EXISTS (SELECT * FROM checkpoint);
    CREATE TABLE IF NOT EXISTS posts (
        post TEXT PRIMARY KEY, author TEXT NOT NULL, position INTEGER NOT NULL, likes INTEGER NOT NULL,
        doc TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS posts_newest ON posts (position DESC);
    CREATE INDEX IF NOT EXISTS posts_by_author ON posts (author, position DESC);
    CREATE TABLE IF NOT EXISTS authors (
        user TEXT PRIMARY KEY, username TEXT NOT NULL, doc TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS authors_by_username ON authors (username);
    CREATE TABLE IF NOT EXISTS likes (
        post TEXT NOT NULL, user TEXT NOT NULL, liked INTEGER NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY (post, user)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS likes_by_post ON likes (post, position DESC);
    CREATE INDEX IF NOT EXISTS likes_by_user ON likes (user, position DESC);
    CREATE TABLE IF NOT EXISTS follows (
        follower TEXT NOT NULL, followee TEXT NOT NULL, accepted INTEGER NOT NULL, since INTEGER NOT NULL,
        position INTEGER NOT NULL, PRIMARY KEY (follower, followee)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS sessions (
        session TEXT PRIMARY KEY, user TEXT NOT NULL, position INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS sessions_by_user ON sessions (user, position DESC);
    CREATE INDEX IF NOT EXISTS follows_followers ON follows (followee, accepted, position DESC);
    CREATE INDEX IF NOT EXISTS follows_followings ON follows (follower, accepted, position DESC);
";
/// Maximum number of appends per group commit.
const GROUP: usize = 256;

pub(super) fn connect(file: &Path, synchronous: &str, schema: &str) -> Result<Connection> {
    let mut connection = connect_reader(file)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.execute_batch(schema)?;
    // A deferred transaction would fail at once while a reader holds the write lock, which readers take briefly to
    // recover the WAL index.
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(connection)
}

fn connect_reader(file: &Path) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

struct Append {
    subject: String,
    actor: String,
    body: String,
    expected: i64,
    reply: oneshot::Sender<rusqlite::Result<Option<i64>>>,
}

/// SQLite alone: reads on the calling thread, one writer with group commit.
pub(crate) struct Standalone {
    log_readers: Mutex<Vec<Connection>>,
    view_readers: Mutex<Vec<Connection>>,
    log: std::path::PathBuf,
    views: std::path::PathBuf,
    appends: mpsc::Sender<Append>,
    projected: mpsc::Sender<Projected>,
}

impl Standalone {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let (log, views) = (folder.join("baseline-log.db"), folder.join("baseline-views.db"));
        let mut connection = connect(&log, "FULL", LOG)?;
        let (appends, mut waiting) = mpsc::channel::<Append>(1024);
        thread::spawn(move || {
            let mut group = Vec::new();
            while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
                if let Err(error) = append_all(&mut connection, &mut group) {
                    // Dropping the appends fails their callers.
                    group.clear();
                    log_error(&error);
                }
            }
        });
        let mut connection = connect(&views, "NORMAL", VIEWS)?;
        let (projected, mut waiting) = mpsc::channel::<Projected>(1 << 20);
        thread::spawn(move || {
            let mut batch = Vec::new();
            while waiting.blocking_recv_many(&mut batch, super::BATCH) > 0 {
                let (writes, seen): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                match commit(&mut connection, &writes) {
                    Ok(()) => notify_committed(seen),
                    Err(error) => log_error(&error),
                }
            }
        });
        let readers = || Mutex::new(Vec::new());
        Ok(Self { log_readers: readers(), view_readers: readers(), log, views, appends, projected })
    }

    fn read<T>(
        readers: &Mutex<Vec<Connection>>,
        file: &Path,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect_reader(file)?,
        };
        let outcome = read(&connection);
        readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(outcome?)
    }

    pub(super) fn read_views<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        Self::read(&self.view_readers, &self.views, read)
    }

    /// Commits the writes of a catch-up in batches; returns the time it took.
    pub(crate) fn catch_up(folder: &Path, writes: &[Write]) -> Result<Duration> {
        let mut connection = connect(&folder.join("baseline-catch-up.db"), "NORMAL", VIEWS)?;
        let start = Instant::now();
        for writes in writes.chunks(super::BATCH) {
            commit(&mut connection, writes)?;
        }
        Ok(start.elapsed())
    }

    /// Times one append and one view commit per event, one after the other, synced as in Chorus.
    pub(crate) async fn one_by_one(folder: &Path, times: usize) -> Result<Vec<(Duration, Duration)>> {
        let baseline = Self::open(folder)?;
        let mut views = connect(&folder.join("baseline-commits.db"), "NORMAL", VIEWS)?;
        let mut taken = Vec::with_capacity(times);
        for n in 0..times {
            let start = Instant::now();
            baseline.like("one-by-one", &n.to_string()).await?;
            let appended = start.elapsed();
            let start = Instant::now();
            let (post, user) = ("one-by-one".to_owned(), n.to_string());
            let position = i64::try_from(n)?;
            commit(&mut views, &[Write::Like { post, user, owner: None, liked: 0, position }])?;
            taken.push((appended, start.elapsed()));
        }
        Ok(taken)
    }
}

#[expect(clippy::print_stderr, reason = "the log of the benchmark")]
fn log_error(error: &anyhow::Error) {
    eprintln!("{error:#}");
}

/// Commits view writes and the checkpoint in one transaction.
fn commit(connection: &mut Connection, writes: &[Write]) -> Result<()> {
    let transaction = connection.transaction()?;
    for write in writes {
        apply(&transaction, write)?;
    }
    transaction
        .prepare_cached("UPDATE checkpoint SET position = position + ?1")?
        .execute([i64::try_from(writes.len())?])?;
    Ok(transaction.commit()?)
}

fn apply(transaction: &Connection, write: &Write) -> Result<()> {
    match write {
        Write::Post(post) => {
            transaction.prepare_cached("INSERT INTO posts VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                post.post,
                post.author,
                post.position,
                post.likes,
                serde_json::to_string(post)?
            ])?;
        }
        Write::Like { post, user, owner: _, liked, position } => {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO likes VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![post, user, liked, position])?;
            transaction
                .prepare_cached("UPDATE posts SET likes = likes + 1 WHERE post = ?1")?
                .execute([post])?;
        }
        Write::Follow { follower, followee, since, position } => {
            transaction
                .prepare_cached("INSERT INTO follows VALUES (?1, ?2, 1, ?3, ?4)")?
                .execute(params![follower, followee, since, position])?;
        }
        Write::Session { session, user, position } => {
            transaction
                .prepare_cached("INSERT INTO sessions VALUES (?1, ?2, ?3)")?
                .execute(params![session, user, position])?;
        }
    }
    Ok(())
}

fn append_all(connection: &mut Connection, group: &mut Vec<Append>) -> Result<()> {
    let transaction = connection.transaction()?;
    let mut replies = Vec::with_capacity(group.len());
    for append in group.drain(..) {
        let outcome = append_one(&transaction, &append);
        replies.push((append.reply, outcome));
    }
    transaction.commit()?;
    for (sender, outcome) in replies {
        // The caller may have stopped waiting.
        let _ = sender.send(outcome);
    }
    Ok(())
}

fn append_one(connection: &Connection, append: &Append) -> rusqlite::Result<Option<i64>> {
    if last(connection, &append.subject)? != append.expected {
        return Ok(None);
    }
    connection
        .prepare_cached("INSERT INTO events VALUES (NULL, ?1, ?2, 'like.liked.v1', ?3, ?4, ?2, ?5)")?
        .execute(params![append.subject, rand::random::<[u8; 16]>(), 0, append.actor, append.body])?;
    Ok(Some(connection.last_insert_rowid()))
}

fn last(connection: &Connection, subject: &str) -> rusqlite::Result<i64> {
    let mut statement = connection
        .prepare_cached("SELECT position FROM events WHERE subject = ?1 ORDER BY position DESC LIMIT 1")?;
    Ok(statement.query_row([subject], |row| row.get(0)).optional()?.unwrap_or(0))
}

#[async_trait]
impl Baseline for Standalone {
    async fn like(&self, post: &str, user: &str) -> Result<u64> {
        let subject = format!("like.{post}.{user}");
        let expected = Self::read(&self.log_readers, &self.log, |connection| last(connection, &subject))?;
        let (reply, outcome) = oneshot::channel();
        let (actor, body) = (user.to_owned(), super::like_body(post, user));
        self.appends.send(Append { subject, actor, body, expected, reply }).await?;
        Ok(u64::try_from(outcome.await??.context("a concurrent append won")?)?)
    }

    async fn project(&self, write: Write, seen: bool) -> Result<()> {
        enqueue(&self.projected, write, seen).await
    }

    async fn newest(&self, limit: i64) -> Result<Vec<Post>> {
        let docs: Vec<String> = self.read_views(|connection| {
            connection
                .prepare_cached("SELECT doc FROM posts ORDER BY position DESC LIMIT ?1")?
                .query_map([limit], |row| row.get(0))?
                .collect()
        })?;
        Ok(docs.iter().map(|doc| serde_json::from_str(doc)).collect::<Result<_, _>>()?)
    }

    async fn post(&self, post: &str) -> Result<Option<Post>> {
        let doc: Option<String> = self.read_views(|connection| {
            connection
                .prepare_cached("SELECT doc FROM posts WHERE post = ?1")?
                .query_row([post], |row| row.get(0))
                .optional()
        })?;
        Ok(doc.map(|doc| serde_json::from_str(&doc)).transpose()?)
    }

    async fn authors(&self, users: Vec<String>) -> Result<Vec<Author>> {
        let docs: Vec<Option<String>> = self.read_views(|connection| {
            let mut statement = connection.prepare_cached("SELECT doc FROM authors WHERE user = ?1")?;
            users.iter().map(|user| statement.query_row([user], |row| row.get(0)).optional()).collect()
        })?;
        Ok(docs.iter().flatten().map(|doc| serde_json::from_str(doc)).collect::<Result<_, _>>()?)
    }

    async fn liked(&self, posts: &[Post], user: &str) -> Result<Vec<String>> {
        let found: Vec<Option<String>> = self.read_views(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT post FROM likes WHERE post = ?1 AND user = ?2")?;
            let found = posts
                .iter()
                .map(|post| statement.query_row([post.post.as_str(), user], |row| row.get(0)).optional());
            found.collect()
        })?;
        Ok(found.into_iter().flatten().collect())
    }
}
