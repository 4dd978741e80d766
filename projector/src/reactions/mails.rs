//! The reaction that sends mail, once per request despite failures. The log records the state of each mail (the send
//! ledger, `mails/ledger.rs`), so a crash, a second worker or an empty view store does not send it again. The
//! checkpoint in the view store never passes an unsettled mail.

mod circuit_breaker;
mod devices;
mod ledger;
mod requests;
mod templates;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::{Filter, Kind, LogError, Position, ProgressTracker, Recorded, SealedLog};
use futures::future::{BoxFuture, Fuse, FusedFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use service::clock::Clock;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use views::{Parked, ViewStore};

pub use templates::AppUrls;

use self::circuit_breaker::CircuitBreaker;
use self::ledger::Settled;
use self::requests::{MailRequest, mails_for_event};
use super::ticks;
use crate::engine::checkpoint::{Checkpoint, NotMoved};
use crate::mail::Mailer;
use crate::{ProjectionState, Statuses};

/// The name of its checkpoint; no view has this name.
pub const NAME: &str = "mails-reaction";
/// The kinds of events that cause mails.
const KINDS: &[Kind] = &[Kind::Account, Kind::Session];
/// Maximum number of events per batch.
const BATCH: usize = 100;
/// Maximum number of unsettled mails; reading pauses at the limit. Each takes a few hundred bytes.
const UNSETTLED: usize = 1000;
/// Maximum number of concurrent sends: the rate per second that SES allows new accounts.
const CONCURRENT_SENDS: usize = 14;
/// How often the checkpoint is moved. After a crash, later mails are looked up in the ledger again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// The dependencies of the reaction.
#[derive(Debug)]
pub struct Parts {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
    pub tracker: ProgressTracker,
    pub mailer: Arc<dyn Mailer>,
    pub clock: Arc<dyn Clock>,
    pub urls: AppUrls,
}

/// The status of the reaction.
#[derive(Debug, Clone)]
pub struct MailStatus {
    statuses: Statuses,
    breaker: Arc<CircuitBreaker>,
}

impl MailStatus {
    /// For `/readyz`: an outage of the mail service is temporary and mails wait for its end, so the process stays
    /// ready.
    ///
    /// # Errors
    /// If mails are no longer sent.
    pub fn ready(&self) -> Result<(), String> {
        self.statuses.ready()
    }

    /// Readiness and details, for `/readyz`.
    pub fn report(&self) -> (Result<(), String>, Value) {
        (self.ready(), self.details())
    }

    /// For `/readyz`: the problem and the number of consecutive failures during an outage of the mail service;
    /// otherwise null.
    pub fn details(&self) -> Value {
        self.breaker.details()
    }
}

struct Mails {
    parts: Parts,
    breaker: Arc<CircuitBreaker>,
    send_slots: Semaphore,
    statuses: Statuses,
}

/// Why a run of `follow` ended.
enum End {
    Fenced,
    /// The process is shutting down.
    Closed,
    Stopped(String),
}

/// Starts the reaction. On shutdown, mails that are being sent are completed first.
pub fn run(parts: Parts, tasks: &Tasks) -> MailStatus {
    let statuses = Statuses::default();
    statuses.set(NAME, ProjectionState::Starting);
    let send_slots = Semaphore::new(CONCURRENT_SENDS);
    let breaker = Arc::<CircuitBreaker>::default();
    let mails = Mails { parts, breaker: Arc::clone(&breaker), send_slots, statuses: statuses.clone() };
    let stopping = tasks.stopping();
    tasks.spawn(NAME, async move { mails.run(&stopping).await });
    MailStatus { statuses, breaker }
}

impl Mails {
    async fn run(self, stopping: &CancellationToken) {
        loop {
            let followed = async {
                let halt = stopping.child_token();
                match self.checkpoint().read().await {
                    Ok(checkpoint) => self.follow(checkpoint, halt).await,
                    Err(error) => End::Stopped(with_causes(&error)),
                }
            };
            match followed.await {
                End::Fenced => {
                    tracing::info!("another worker sends mails: on standby");
                    let seen = |checkpoint| self.statuses.set(NAME, ProjectionState::Standby(checkpoint));
                    if stopping.run_until_cancelled(self.checkpoint().stand_by(seen)).await.is_none() {
                        return;
                    }
                }
                End::Closed => return,
                End::Stopped(why) => {
                    tracing::error!(why, "mails are no longer sent");
                    self.statuses.set(NAME, ProjectionState::Stopped(why));
                    return;
                }
            }
        }
    }

    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.parts.store, of: NAME }
    }

    /// Follows the log from a checkpoint until an [`End`], then waits for the mails that are being sent.
    async fn follow(&self, checkpoint: u64, halt: CancellationToken) -> End {
        let mut follow = self.parts.log.raw().follow(Filter::kinds(KINDS), Position(checkpoint));
        let mut pending = Pending::new(checkpoint);
        let mut settling: FuturesUnordered<BoxFuture<'_, (MailRequest, Settled)>> = FuturesUnordered::new();
        let mut moving = pin!(Fuse::terminated());
        let mut timer = ticks(CHECKPOINT_INTERVAL);
        let mut checkpoint = checkpoint;
        let end = loop {
            self.report_progress(&pending);
            tokio::select! {
                () = halt.cancelled() => break End::Closed,
                read = follow.next_batch(BATCH), if pending.unsettled < UNSETTLED => match read {
                    None => break End::Closed,
                    Some(Err(error)) => break End::Stopped(with_causes(&error)),
                    Some(Ok(batch)) => match pending.add_batch(batch) {
                        Ok(requests) => settling.extend(requests.into_iter().map(|request| {
                            let halt = halt.clone();
                            async move { (request, self.settle(&request, &halt).await) }.boxed()
                        })),
                        Err(error) => break End::Stopped(with_causes(&error)),
                    },
                },
                Some((request, settled)) = settling.next() => pending.settled(&request, settled),
                _ = timer.tick(), if pending.is_beyond(checkpoint) && moving.is_terminated() => {
                    let (to, parked) = (pending.settled_up_to(), std::mem::take(&mut pending.parked));
                    moving.set(async move {
                        let moved = self.checkpoint().commit(&Arc::default(), &parked, checkpoint, to).await;
                        (to, moved)
                    }.fuse());
                }
                (to, moved) = &mut moving => match moved {
                    Ok(()) => checkpoint = to,
                    Err(NotMoved::Fenced) => break End::Fenced,
                    Err(NotMoved::Corrupt(error)) => break End::Stopped(with_causes(&error)),
                },
            }
        };
        halt.cancel();
        while let Some((request, settled)) = settling.next().await {
            pending.settled(&request, settled);
        }
        end
    }

    fn report_progress(&self, pending: &Pending) {
        let passed = pending.settled_up_to();
        self.statuses.set(NAME, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "numbers for a chart")]
        {
            metrics::gauge!("chorus_reaction_passed", "reaction" => NAME).set(passed as f64);
            metrics::gauge!("chorus_mails_waiting").set(pending.unsettled as f64);
        }
    }
}

/// What has been read, and the unsettled part of it.
struct Pending {
    passed: u64,
    /// The number of unsettled mails by the position of their event.
    at: BTreeMap<u64, usize>,
    unsettled: usize,
    /// Events and mails to park with their errors.
    parked: Vec<Parked>,
}

impl Pending {
    fn new(checkpoint: u64) -> Self {
        Self { passed: checkpoint, at: BTreeMap::new(), unsettled: 0, parked: Vec::new() }
    }

    /// Adds a batch of events and returns their mails.
    ///
    /// # Errors
    /// For an event of a newer version of the program: skipping it would lose its mails.
    fn add_batch(&mut self, batch: events::Batch) -> Result<Vec<MailRequest>, LogError> {
        let mut all = Vec::new();
        for events::Unreadable { position, event_type, error, .. } in batch.unreadable {
            if error.is_from_newer_version() {
                return Err(error);
            }
            self.park(position, event_type, with_causes(&error));
        }
        for stored in batch.events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => all.extend(mails_for_event(&recorded)),
                Err(error) if error.is_from_newer_version() => return Err(error),
                Err(error) => self.park(position, event_type, with_causes(&error)),
            }
        }
        self.passed = self.passed.max(batch.passed.0);
        self.unsettled += all.len();
        for request in &all {
            *self.at.entry(request.position.0).or_default() += 1;
        }
        Ok(all)
    }

    fn settled(&mut self, request: &MailRequest, settled: Settled) {
        match settled {
            // Unsettled: the next worker settles it.
            Settled::Halted => return,
            Settled::Done => {}
            Settled::Parked(error) => self.park(request.position, request.subject().to_string(), error),
        }
        self.unsettled -= 1;
        if let Some(count) = self.at.get_mut(&request.position.0) {
            *count -= 1;
            if *count == 0 {
                self.at.remove(&request.position.0);
            }
        }
    }

    fn park(&mut self, position: Position, event_type: String, error: String) {
        tracing::error!(%position, event_type, error, "a mail is parked");
        metrics::counter!("chorus_reaction_parked_total", "reaction" => NAME).increment(1);
        self.parked.push(Parked { position: position.0, event_type, subject: None, error });
    }

    /// The mails of all events up to this position are settled.
    fn settled_up_to(&self) -> u64 {
        self.at.first_key_value().map_or(self.passed, |(position, _)| position - 1)
    }

    fn is_beyond(&self, checkpoint: u64) -> bool {
        !self.parked.is_empty() || self.settled_up_to() > checkpoint
    }
}
