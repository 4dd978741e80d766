use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::database::File;

/// Work that may wait for the writer; a caller beyond it waits before it is queued.
const QUEUE: usize = 1024;
/// Work committed together at most: bounds how long the first of a group waits for the last.
const GROUP: usize = 512;

/// The one thread that writes. It takes all work that waits, does it in one transaction and commits once, so
/// that the price of a sync is shared by everyone who was waiting for it; it never waits to fill a group.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Arc<File>,
    queue: mpsc::Sender<Box<dyn Work>>,
}

impl Writer {
    pub(crate) fn start(file: Arc<File>, connection: Connection) -> Result<Self, Error> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let owned = Arc::clone(&file);
        std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || write_groups(&owned, &connection, waiting))
            .map_err(|e| Error::unavailable(&file.name(), e))?;
        Ok(Self { file, queue })
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let stopped = || Error::unavailable(&self.file.name(), "its writer has stopped");
        let (reply, answer) = oneshot::channel();
        let job = Job { work: Some(work), outcome: None, reply };
        self.queue.send(Box::new(job)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

trait Work: Send {
    /// Does the work inside the group's transaction; true if its changes are to be kept.
    fn run(&mut self, file: &File, connection: &Connection) -> bool;
    /// Tells the caller: its own outcome, or why the whole group failed.
    fn answer(self: Box<Self>, group: Result<(), Error>);
}

struct Job<W, T> {
    work: Option<W>,
    outcome: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<W, T> Work for Job<W, T>
where
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, file: &File, connection: &Connection) -> bool {
        let outcome =
            self.work.take().map(|work| work(connection).map_err(|e| Error::from_sqlite(&file.name(), e)));
        let keep = matches!(outcome, Some(Ok(_)));
        self.outcome = outcome;
        keep
    }

    fn answer(self: Box<Self>, group: Result<(), Error>) {
        let answer = match (group, self.outcome) {
            // Work that failed by itself keeps its own reason, whatever became of the group.
            (_, Some(Err(own))) => Err(own),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(group), _) => Err(group),
            (Ok(()), None) => return,
        };
        // The caller may have stopped waiting; the work is done all the same.
        let _ = self.reply.send(answer);
    }
}

fn write_groups(file: &File, connection: &Connection, mut waiting: mpsc::Receiver<Box<dyn Work>>) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let outcome = commit_group(file, connection, &mut group);
        if let Err(error) = &outcome {
            tracing::error!(
                error = error as &dyn std::error::Error,
                works = group.len(),
                "a group was not committed"
            );
        }
        for work in group.drain(..) {
            work.answer(match &outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(repeat(file, error)),
            });
        }
    }
}

fn commit_group(file: &File, connection: &Connection, group: &mut [Box<dyn Work>]) -> Result<(), Error> {
    let failed = |e| Error::from_sqlite(&file.name(), e);
    let run = |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    run("BEGIN IMMEDIATE").map_err(failed)?;
    let mut outcome = Ok(0);
    for work in group {
        // A savepoint each, so that work that fails half-way takes back its own changes and no one else's.
        outcome = run("SAVEPOINT work").and_then(|_| {
            if !work.run(file, connection) {
                run("ROLLBACK TO work")?;
            }
            run("RELEASE work")
        });
        if outcome.is_err() {
            break;
        }
    }
    let committed = outcome.and_then(|_| run("COMMIT")).map(drop).map_err(failed);
    if committed.is_err() && !connection.is_autocommit() {
        // A disk that is full has rolled back by itself; anything else has not.
        run("ROLLBACK").map_err(failed)?;
    }
    committed
}

fn repeat(file: &File, error: &Error) -> Error {
    match error {
        Error::Unavailable { source, .. } => Error::unavailable(&file.name(), source.to_string()),
        Error::Corrupt { source, .. } => Error::corrupt(&file.name(), source.to_string()),
    }
}
