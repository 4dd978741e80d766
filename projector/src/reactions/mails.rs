//! Mail, as a reaction to events: sent once, whatever fails in between. What has become of each mail stands in the log
//! (`mails/ledger.rs`), so that neither a crash, nor a second worker, nor an empty view store sends it again; how far the
//! log has been followed is a checkpoint in the view store, which never passes a mail that is not settled.

mod devices;
mod due;
mod gate;
mod ledger;
mod letters;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use events::{Filter, Kind, LogError, Position, ProgressBoard, Recorded, SealedLog};
use futures::future::{BoxFuture, Fuse, FusedFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use service::clock::Clock;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use views::{Parked, ViewStore};

pub use letters::AppUrls;

use self::due::{Wish, wishes};
use self::gate::Gate;
use self::ledger::Settled;
use crate::engine::checkpoint::{Checkpoint, NotMoved};
use crate::mail::Mailer;
use crate::{ProjectionState, Statuses};

/// The name of its checkpoint; no view has it.
pub const NAME: &str = "mails-reaction";
/// The kinds of events that lead to mails.
const KINDS: &[Kind] = &[Kind::Account, Kind::Session];
/// Events taken from the log at once.
const BATCH: usize = 100;
/// Mails that are not settled at most: beyond, reading waits. Each is a few hundred bytes.
const UNSETTLED: usize = 1000;
/// Mails handed over at once at most: what SES allows a young account in a second.
const HANDED_OVER_AT_ONCE: usize = 14;
/// How often the checkpoint is moved: what is lost of it in a crash is looked up in the ledger again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// What the reaction is built from.
#[derive(Debug)]
pub struct Parts {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
    pub board: ProgressBoard,
    pub mailer: Arc<dyn Mailer>,
    pub clock: Arc<dyn Clock>,
    pub urls: AppUrls,
}

/// How the reaction is doing.
#[derive(Debug, Clone)]
pub struct MailStatus {
    statuses: Statuses,
    gate: Arc<Gate>,
}

impl MailStatus {
    /// For `/readyz`: an outage of the mail service passes, and mails wait for its end, so it leaves the process ready.
    ///
    /// # Errors
    /// If mails are no longer sent.
    pub fn ready(&self) -> Result<(), String> {
        self.statuses.ready()
    }

    /// Both, for `/readyz`.
    pub fn report(&self) -> (Result<(), String>, Value) {
        (self.ready(), self.details())
    }

    /// For `/readyz`: while the mail service takes no mail, why, and how often in a row it has not; else null.
    pub fn details(&self) -> Value {
        self.gate.details()
    }
}

struct Mails {
    parts: Parts,
    gate: Arc<Gate>,
    handing_over: Semaphore,
    statuses: Statuses,
}

/// Why following came to its end.
enum End {
    Fenced,
    /// The process shuts down.
    Closed,
    Stopped(String),
}

/// Starts the reaction. A mail that is being handed over when the process is asked to end is finished first.
pub fn run(parts: Parts, tasks: &Tasks) -> MailStatus {
    let statuses = Statuses::default();
    statuses.set(NAME, ProjectionState::Starting);
    let handing_over = Semaphore::new(HANDED_OVER_AT_ONCE);
    let gate = Arc::<Gate>::default();
    let mails = Mails { parts, gate: Arc::clone(&gate), handing_over, statuses: statuses.clone() };
    let stopping = tasks.stopping();
    tasks.spawn(NAME, async move { mails.run_and_tell(&stopping).await });
    MailStatus { statuses, gate }
}

impl Mails {
    async fn run_and_tell(self, stopping: &CancellationToken) {
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
                    tracing::info!("another worker sends the mails: standing by");
                    let seen = |checkpoint| self.statuses.set(NAME, ProjectionState::StandingBy(checkpoint));
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

    /// Follows from a checkpoint until something ends it, then until no mail is half-way.
    async fn follow(&self, checkpoint: u64, halt: CancellationToken) -> End {
        let mut follow = self.parts.log.raw().follow(Filter::kinds(KINDS), Position(checkpoint));
        let mut under_way = UnderWay::new(checkpoint);
        let mut settling: FuturesUnordered<BoxFuture<'_, (Wish, Settled)>> = FuturesUnordered::new();
        let mut moving = pin!(Fuse::terminated());
        let mut moment = tokio::time::interval(CHECKPOINT_INTERVAL);
        moment.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut checkpoint = checkpoint;
        let end = loop {
            self.tell(&under_way);
            tokio::select! {
                () = halt.cancelled() => break End::Closed,
                read = follow.next_batch(BATCH), if under_way.unsettled < UNSETTLED => match read {
                    None => break End::Closed,
                    Some(Err(error)) => break End::Stopped(with_causes(&error)),
                    Some(Ok(batch)) => match under_way.take_in(batch) {
                        Ok(wishes) => settling.extend(wishes.into_iter().map(|wish| {
                            let halt = halt.clone();
                            async move { let settled = self.settle(&wish, &halt).await; (wish, settled) }.boxed()
                        })),
                        Err(error) => break End::Stopped(with_causes(&error)),
                    },
                },
                Some((wish, settled)) = settling.next() => under_way.settled(&wish, settled),
                _ = moment.tick(), if under_way.is_beyond(checkpoint) && moving.is_terminated() => {
                    let (to, parked) = (under_way.settled_up_to(), std::mem::take(&mut under_way.parked));
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
        while let Some((wish, settled)) = settling.next().await {
            under_way.settled(&wish, settled);
        }
        end
    }

    fn tell(&self, under_way: &UnderWay) {
        let passed = under_way.settled_up_to();
        self.statuses.set(NAME, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "numbers for a chart")]
        {
            metrics::gauge!("chorus_reaction_passed", "reaction" => NAME).set(passed as f64);
            metrics::gauge!("chorus_mails_waiting").set(under_way.unsettled as f64);
        }
    }
}

/// What has been read, and what of it is not settled.
struct UnderWay {
    passed: u64,
    /// How many mails of the event at a position are not settled.
    at: BTreeMap<u64, usize>,
    unsettled: usize,
    /// What cannot be read or settled, and is set aside with its reason.
    parked: Vec<Parked>,
}

impl UnderWay {
    fn new(checkpoint: u64) -> Self {
        Self { passed: checkpoint, at: BTreeMap::new(), unsettled: 0, parked: Vec::new() }
    }

    /// The mails that a batch of events leads to.
    ///
    /// # Errors
    /// For an event of a newer program: to pass over it would lose its mails.
    fn take_in(&mut self, batch: events::Batch) -> Result<Vec<Wish>, LogError> {
        let mut all = Vec::new();
        for events::Unreadable { position, event_type, error } in batch.unreadable {
            if error.is_of_newer_program() {
                return Err(error);
            }
            self.park(position, event_type, with_causes(&error));
        }
        for stored in batch.events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => all.extend(wishes(&recorded)),
                Err(error) if error.is_of_newer_program() => return Err(error),
                Err(error) => self.park(position, event_type, with_causes(&error)),
            }
        }
        self.passed = self.passed.max(batch.passed.0);
        self.unsettled += all.len();
        for wish in &all {
            *self.at.entry(wish.position.0).or_default() += 1;
        }
        Ok(all)
    }

    fn settled(&mut self, wish: &Wish, settled: Settled) {
        match settled {
            // It stays where it is, for the next worker.
            Settled::Halted => return,
            Settled::Done => {}
            Settled::Parked(error) => self.park(wish.position, wish.subject().to_string(), error),
        }
        self.unsettled -= 1;
        if let Some(count) = self.at.get_mut(&wish.position.0) {
            *count -= 1;
            if *count == 0 {
                self.at.remove(&wish.position.0);
            }
        }
    }

    fn park(&mut self, position: Position, event_type: String, error: String) {
        tracing::error!(%position, event_type, error, "a mail is set aside");
        metrics::counter!("chorus_reaction_parked_total", "reaction" => NAME).increment(1);
        self.parked.push(Parked { position: position.0, event_type, error });
    }

    /// Every mail of an event up to here is settled.
    fn settled_up_to(&self) -> u64 {
        self.at.first_key_value().map_or(self.passed, |(position, _)| position - 1)
    }

    fn is_beyond(&self, checkpoint: u64) -> bool {
        !self.parked.is_empty() || self.settled_up_to() > checkpoint
    }
}
