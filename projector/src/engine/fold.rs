//! The fast fold: builds views from a part of the log at once, for everything that is not live: rebuilds, comparisons
//! and explanations. It follows the rules of the runner, so that documents, checkpoints and parked events are the same,
//! but reads and opens each event once for all projections, and commits large batches. It appends nothing, and runs no
//! reaction.

mod family;
mod replay;
mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use events::{LogError, Position, SealedLog};
use futures::future::try_join_all;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use views::{StoreError, ViewStore};

pub use self::family::Folded;
use self::family::Folder;
pub use self::replay::{Opened, Replay};
use self::window::{Reader, Window};
use super::checkpoint::Checkpoint;
use super::log::head;
use crate::{COMMIT_WEIGHT, Projection};

/// Events per batch of a scratch store: many share documents and pages, and three batches are held in memory.
const BATCH: usize = 20_000;
/// Documents written by fan-outs per batch of a scratch store.
const WEIGHT: usize = 10 * COMMIT_WEIGHT;
/// Batches that wait for each projection beside the one in work.
const READ_AHEAD: usize = 1;

/// A projection, and the store that it is folded into.
#[derive(Clone)]
pub struct Family {
    pub projection: Arc<dyn Projection>,
    pub store: Arc<dyn ViewStore>,
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Family({})", self.projection.name())
    }
}

/// How much of the machine a fold takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldOptions {
    /// Projections that work at the same time, each on a thread; another one reads the log.
    pub workers: usize,
    /// Events that are read together.
    pub batch: usize,
    /// A commit ends early once fan-outs write this many documents.
    pub weight: usize,
}

impl Default for FoldOptions {
    /// For scratch stores, on half of the cores.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { workers: (cores / 2).max(1), batch: BATCH, weight: WEIGHT }
    }
}

/// How far a fold is: the projection that is furthest behind counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoldProgress {
    pub position: Position,
    pub target: Position,
    pub events_per_second: f64,
    /// None before anything is known about the rate.
    pub left: Option<Duration>,
}

/// What a fold did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldReport {
    /// Events that were read.
    pub events: u64,
    pub families: BTreeMap<&'static str, Folded>,
    pub taken: Duration,
}

/// An event that the view of a projection must not miss cannot be processed.
#[derive(Debug, Error)]
#[error("{projection} stops at position {position} (`{event_type}`): {error}")]
pub struct Stop {
    pub projection: &'static str,
    pub position: Position,
    pub event_type: String,
    pub error: String,
}

/// Why a fold ended before its target. Each store has a checkpoint, from which another fold continues.
#[derive(Debug, Error)]
pub enum FoldError {
    #[error("the log ends at position {head}, before position {to}")]
    BeyondEnd { head: Position, to: Position },
    /// Projections that stopped, at least one.
    #[error("{}", .0.iter().map(Stop::to_string).collect::<Vec<_>>().join("; "))]
    Stopped(Vec<Stop>),
    #[error("{0}: another worker moves its checkpoint")]
    Fenced(&'static str),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bug of this program.
    #[error("a thread of the fold ended unexpectedly: {0}")]
    Panicked(String),
}

/// Folds projections from the checkpoints of their stores up to and including a position. A projection that is there
/// already has nothing to do. Dropping the future ends it after the commits in progress.
///
/// # Errors
/// If the log is shorter, an event stops a projection, or another worker builds the same view, or a store fails. Outages
/// of the log are waited out.
pub async fn fold(
    log: &SealedLog,
    families: &[Family],
    to: Position,
    options: &FoldOptions,
    on_progress: &(dyn Fn(FoldProgress) + Send + Sync),
) -> Result<FoldReport, FoldError> {
    let started = Instant::now();
    let head = head(&**log.raw()).await?;
    if head < to {
        return Err(FoldError::BeyondEnd { head, to });
    }
    let mut folders = Vec::new();
    for Family { projection, store } in families {
        let stored = Checkpoint { store: &**store, of: projection.name() };
        let checkpoint = stored.read().await?;
        let parking = stored.parking().await?.map_err(|full| {
            let (projection, position) = (projection.name(), Position(checkpoint));
            let (event_type, error) = (String::new(), full.to_string());
            FoldError::Stopped(vec![Stop { projection, position, event_type, error }])
        })?;
        let (projection, store) = (Arc::clone(projection), Arc::clone(store));
        folders.push(Folder { projection, store, checkpoint, parking, weight: options.weight });
    }
    let from = folders.iter().map(|folder| folder.checkpoint).min().unwrap_or(to.0).min(to.0);
    let crew = Crew::start(folders, options.workers);
    let mut pace = Pace { started, from: Position(from), to, on_progress };
    let mut reader = Reader::new(log, crew.kinds.clone(), Position(from), to, options.batch.max(1));
    let mut events = 0;
    while let Some(window) = reader.next().await? {
        events += window.events.len() as u64;
        if !crew.give(&Arc::new(window)).await {
            // One of them has failed.
            break;
        }
        pace.report(crew.reached());
    }
    let families = crew.finish().await?;
    pace.report(to.0);
    Ok(FoldReport { events, families, taken: started.elapsed() })
}

struct Pace<'a> {
    started: Instant,
    from: Position,
    to: Position,
    on_progress: &'a (dyn Fn(FoldProgress) + Send + Sync),
}

impl Pace<'_> {
    fn report(&mut self, reached: u64) {
        let position = Position(reached.clamp(self.from.0, self.to.0));
        let (done, left) = (position.0 - self.from.0, self.to.0 - position.0);
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let events_per_second = done as f64 / self.started.elapsed().as_secs_f64().max(f64::EPSILON);
        #[expect(clippy::cast_precision_loss, reason = "a duration")]
        let left = (done > 0).then(|| Duration::try_from_secs_f64(left as f64 / events_per_second).ok());
        let left = left.flatten();
        (self.on_progress)(FoldProgress { position, target: self.to, events_per_second, left });
    }
}

type Job = tokio::task::JoinHandle<Option<Result<Folded, FoldError>>>;

/// The threads of the projections.
struct Crew {
    kinds: Vec<events::Kind>,
    windows: Vec<mpsc::Sender<Arc<Window>>>,
    reached: Vec<Arc<AtomicU64>>,
    jobs: Vec<(&'static str, Job)>,
    cancelled: CancellationToken,
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.cancelled.cancel();
    }
}

impl Crew {
    /// Each projection has a thread of its own, as its work would hold up other tasks of this process, but only
    /// `workers` of them work at a time.
    fn start(folders: Vec<Folder>, workers: usize) -> Self {
        let turns = Arc::new(Semaphore::new(workers.max(1)));
        let mut kinds: Vec<_> =
            folders.iter().flat_map(|folder| folder.projection.kinds()).copied().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let (windows, reached, jobs) = (Vec::new(), Vec::new(), Vec::new());
        let mut crew = Self { kinds, windows, reached, jobs, cancelled: CancellationToken::new() };
        for folder in folders {
            let (sender, receiver) = mpsc::channel(READ_AHEAD);
            let reached = Arc::new(AtomicU64::new(folder.checkpoint));
            crew.windows.push(sender);
            crew.reached.push(Arc::clone(&reached));
            let (turns, cancelled, runtime) = (Arc::clone(&turns), crew.cancelled.clone(), Handle::current());
            let name = folder.projection.name();
            let job = tokio::task::spawn_blocking(move || {
                runtime.block_on(cancelled.run_until_cancelled(folder.run(receiver, &turns, &reached)))
            });
            crew.jobs.push((name, job));
        }
        crew
    }

    /// Hands a window to all projections, when they have room for it. False if one of them has ended.
    async fn give(&self, window: &Arc<Window>) -> bool {
        let sent = self.windows.iter().map(|sender| sender.send(Arc::clone(window)));
        try_join_all(sent).await.is_ok()
    }

    fn reached(&self) -> u64 {
        self.reached.iter().map(|reached| reached.load(Ordering::Relaxed)).min().unwrap_or(u64::MAX)
    }

    /// Waits until all threads have ended, so that a later fold of these families is the only writer. Returns the first error; if
    /// projections only stopped, all of these.
    async fn finish(mut self) -> Result<BTreeMap<&'static str, Folded>, FoldError> {
        self.windows.clear();
        let (mut folded, mut stops, mut failed) = (BTreeMap::new(), Vec::new(), None);
        for (name, job) in std::mem::take(&mut self.jobs) {
            match job.await {
                Ok(Some(Ok(done))) => drop(folded.insert(name, done)),
                Ok(Some(Err(FoldError::Stopped(stop)))) => stops.extend(stop),
                Ok(Some(Err(error))) => drop(failed.get_or_insert(error)),
                // Only of a fold that was dropped.
                Ok(None) => {}
                Err(error) => drop(failed.get_or_insert(FoldError::Panicked(error.to_string()))),
            }
        }
        match failed {
            Some(error) => Err(error),
            None if !stops.is_empty() => Err(FoldError::Stopped(stops)),
            None => Ok(folded),
        }
    }
}
