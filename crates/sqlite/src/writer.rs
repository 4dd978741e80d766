use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::checkpointer::Checkpointer;
use crate::database::File;

/// Queue length of the writer; further callers wait before they queue.
const QUEUE: usize = 1024;
/// Maximum group size: bounds how long the first of a group waits for the last.
const GROUP: usize = 512;

/// The writer thread. It takes all queued work, runs it in one transaction and commits once (group commit), so that
/// callers share the cost of a sync; it never waits to fill a group.
#[derive(Debug)]
pub(crate) struct Writer {
    file: Arc<File>,
    queue: mpsc::Sender<Box<dyn Work>>,
    /// Set when no more work is accepted.
    closing: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(file: Arc<File>, mut connection: Connection) -> Result<Self, Error> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let checkpointer =
            file.is_rebuildable().then(|| Checkpointer::start(&file, &mut connection)).transpose()?;
        let owned = Arc::clone(&file);
        let closing = Arc::new(AtomicBool::new(false));
        let thread_closing = Arc::clone(&closing);
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                write_groups(&owned, &connection, waiting, checkpointer.as_ref(), &thread_closing);
                // Before the checkpointer, whose closing releases all locks on the file.
                drop(connection);
                if let Some(checkpointer) = checkpointer {
                    checkpointer.stop();
                }
            })
            .map_err(|e| Error::unavailable(&file.name(), e))?;
        Ok(Self { file, queue, closing, thread: Mutex::new(Some(thread)) })
    }

    /// Commits queued work, then closes the connections and waits for that. Later work is rejected. Further calls
    /// have no effect.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        // Wakes an idle thread. If the queue is full, the thread is awake.
        let _ = self.queue.try_send(Box::new(Nothing));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(file = self.file.name(), "the writer panicked");
        }
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let stopped = || Error::unavailable(&self.file.name(), "its writer has stopped");
        let (reply, answer) = oneshot::channel();
        let job = Job { work, outcome: None, reply };
        self.queue.send(Box::new(job)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| {
            // Work left after closing has not started.
            let closed = self.closing.load(Ordering::Acquire);
            if closed { stopped() } else { Error::outcome_unknown(&self.file.name(), "its writer panicked") }
        })?
    }
}

trait Work: Send {
    /// Runs the work inside a transaction; true if its changes are to be kept. Replaces an earlier result.
    fn run(&mut self, file: &File, connection: &Connection) -> bool;
    /// Reports to the caller: its own result, or why the whole group failed.
    fn answer(self: Box<Self>, group: Result<(), Error>);
}

struct Job<W, T> {
    work: W,
    outcome: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<W, T> Work for Job<W, T>
where
    W: Fn(&Connection) -> rusqlite::Result<T> + Send,
    T: Send,
{
    fn run(&mut self, file: &File, connection: &Connection) -> bool {
        let outcome = (self.work)(connection).map_err(|e| Error::from_sqlite(&file.name(), e));
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn answer(self: Box<Self>, group: Result<(), Error>) {
        let answer = match (group, self.outcome) {
            // Failed work keeps its own error, whatever the result of the group.
            (_, Some(Err(own))) => Err(own),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Err(group), _) => Err(group),
            (Ok(()), None) => return,
        };
        // The caller may have stopped waiting; the work is complete anyway.
        let _ = self.reply.send(answer);
    }
}

/// Wakes the writer.
struct Nothing;

impl Work for Nothing {
    fn run(&mut self, _: &File, _: &Connection) -> bool {
        true
    }

    fn answer(self: Box<Self>, _: Result<(), Error>) {}
}

fn write_groups(
    file: &File,
    connection: &Connection,
    mut waiting: mpsc::Receiver<Box<dyn Work>>,
    checkpointer: Option<&Checkpointer>,
    closing: &AtomicBool,
) {
    let mut group = Vec::with_capacity(GROUP);
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        match commit(file, connection, &mut group) {
            // A single failure cannot be rolled back alone, so each work gets its own transaction.
            Ok(Kept::Nothing) if group.len() > 1 => {
                for work in group.drain(..) {
                    let mut alone = [work];
                    let outcome = commit(file, connection, &mut alone);
                    let [work] = alone;
                    answer(file, [work], outcome);
                }
            }
            outcome => answer(file, group.drain(..), outcome),
        }
        if let Some(checkpointer) = checkpointer {
            checkpointer.committed(connection);
        }
        if closing.load(Ordering::Acquire) {
            // Queued work is still completed.
            waiting.close();
        }
    }
}

fn answer(file: &File, works: impl IntoIterator<Item = Box<dyn Work>>, outcome: Result<Kept, Error>) {
    match &outcome {
        Ok(_) => {}
        Err(error @ Error::Unavailable { .. }) => tracing::error!(
            outage = %error,
            error = error as &dyn std::error::Error,
            "a group was not committed"
        ),
        Err(error) => tracing::error!(error = error as &dyn std::error::Error, "a group was not committed"),
    }
    for work in works {
        work.answer(match &outcome {
            Ok(_) => Ok(()),
            Err(error) => Err(repeat(file, error)),
        });
    }
}

/// The result of a group.
enum Kept {
    All,
    /// One of them failed, and everything was rolled back.
    Nothing,
}

/// Runs a group in one transaction without savepoints: these would copy each changed page for work that hardly ever
/// fails.
fn commit(file: &File, connection: &Connection, group: &mut [Box<dyn Work>]) -> Result<Kept, Error> {
    let failed = |e| Error::from_sqlite(&file.name(), e);
    let run =
        |sql: &str| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([])).map(drop);
    run("BEGIN IMMEDIATE").map_err(failed)?;
    let kept = group.iter_mut().all(|work| work.run(file, connection));
    let committed = if kept { run("COMMIT").map_err(|e| Error::of_commit(&file.name(), e)) } else { Ok(()) };
    // A full disk may have caused an automatic rollback; other errors do not.
    if !connection.is_autocommit() {
        run("ROLLBACK").map_err(failed)?;
    }
    committed.map(|()| if kept { Kept::All } else { Kept::Nothing })
}

fn repeat(file: &File, error: &Error) -> Error {
    match error {
        Error::Unavailable { source, .. } => Error::unavailable(&file.name(), source.to_string()),
        Error::OutcomeUnknown { source, .. } => Error::outcome_unknown(&file.name(), source.to_string()),
        Error::Corrupt { source, .. } => Error::corrupt(&file.name(), source.to_string()),
    }
}
