//! Runs reactions with idempotent effects: at-least-once, with a periodic checkpoint. After a crash, the events since
//! the last checkpoint are processed again. One worker is active; the others are on standby.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{EventLog, Filter, Kind, LogError, Position, Recorded, Stored, Unreadable};
use futures::StreamExt;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use views::{Parked, ViewStore};

use super::ticks;
use crate::engine::checkpoint::{Checkpoint, NotMoved};
use crate::{ProjectionState, Statuses};

/// Maximum number of events per batch.
const BATCH: usize = 100;
/// Maximum number of concurrent effects.
const AT_ONCE: usize = 8;
/// How often the checkpoint is moved.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// A reaction whose effects can be repeated without harm.
#[async_trait]
pub(super) trait IdempotentReaction: Send + Sync + 'static {
    /// The name of its checkpoint, which no view has.
    fn name(&self) -> &'static str;

    /// The kinds of events that it follows.
    fn kinds(&self) -> &'static [Kind];

    /// Performs the effects of an event and retries during outages. Personal data of the event stay sealed.
    ///
    /// # Errors
    /// Why the effect is impossible; the event is parked.
    async fn effect(&self, recorded: &Recorded) -> Result<(), String>;
}

struct Follower<R> {
    reaction: R,
    log: Arc<dyn EventLog>,
    store: Arc<dyn ViewStore>,
    statuses: Statuses,
}

/// Why a run of `follow` ended.
enum End {
    Fenced,
    /// The process is shutting down.
    Closed,
    Stopped(String),
}

/// Starts the reaction, and returns its status.
pub(super) fn run<R: IdempotentReaction>(
    reaction: R,
    log: Arc<dyn EventLog>,
    store: Arc<dyn ViewStore>,
    tasks: &Tasks,
) -> Statuses {
    let (name, statuses) = (reaction.name(), Statuses::default());
    statuses.set(name, ProjectionState::Starting);
    let follower = Follower { reaction, log, store, statuses: statuses.clone() };
    tasks.spawn_until_stopping(name, async move { follower.run().await });
    statuses
}

impl<R: IdempotentReaction> Follower<R> {
    async fn run(self) {
        let name = self.reaction.name();
        loop {
            let end = match self.checkpoint().read().await {
                Ok(checkpoint) => self.follow(checkpoint).await,
                Err(error) => End::Stopped(with_causes(&error)),
            };
            match end {
                End::Fenced => {
                    tracing::info!(reaction = name, "another worker runs this reaction: on standby");
                    let seen = |checkpoint| self.statuses.set(name, ProjectionState::Standby(checkpoint));
                    self.checkpoint().stand_by(seen).await;
                }
                End::Closed => return,
                End::Stopped(why) => {
                    tracing::error!(reaction = name, why, "the reaction has stopped");
                    self.statuses.set(name, ProjectionState::Stopped(why));
                    return;
                }
            }
        }
    }

    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.store, of: self.reaction.name() }
    }

    /// Follows the log from a checkpoint until an [`End`].
    async fn follow(&self, mut checkpoint: u64) -> End {
        let mut follow = self.log.follow(Filter::kinds(self.reaction.kinds()), Position(checkpoint));
        let mut timer = ticks(CHECKPOINT_INTERVAL);
        let mut passed = checkpoint;
        loop {
            self.report(passed);
            let parked = tokio::select! {
                read = follow.next_batch(BATCH) => {
                    let applied = match read {
                        None => return End::Closed,
                        Some(Err(error)) => Err(error),
                        Some(Ok(batch)) => {
                            let up_to = passed.max(batch.passed.0);
                            self.apply_batch(batch.events, batch.unreadable).await.inspect(|_| passed = up_to)
                        }
                    };
                    match applied {
                        Ok(parked) if parked.is_empty() => continue,
                        Ok(parked) => parked,
                        Err(error) => return End::Stopped(with_causes(&error)),
                    }
                }
                _ = timer.tick(), if passed > checkpoint => Vec::new(),
            };
            match self.checkpoint().commit(&Arc::default(), &parked, checkpoint, passed).await {
                Ok(()) => checkpoint = passed,
                Err(NotMoved::Fenced) => return End::Fenced,
                Err(NotMoved::Corrupt(error)) => return End::Stopped(with_causes(&error)),
            }
        }
    }

    /// Performs the effects of a batch and returns the parked events.
    ///
    /// # Errors
    /// For an event of a newer version of the program: its effects are unknown here.
    async fn apply_batch(
        &self,
        events: Vec<Stored>,
        unreadable: Vec<Unreadable>,
    ) -> Result<Vec<Parked>, LogError> {
        let mut parked = Vec::new();
        for Unreadable { position, event_type, error, .. } in unreadable {
            if error.is_from_newer_version() {
                return Err(error);
            }
            parked.push(self.park(position, event_type, with_causes(&error)));
        }
        let mut read = Vec::with_capacity(events.len());
        for stored in events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => read.push(recorded),
                Err(error) if error.is_from_newer_version() => return Err(error),
                Err(error) => parked.push(self.park(position, event_type, with_causes(&error))),
            }
        }
        let effects = futures::stream::iter(read).map(async |recorded| {
            let failed = self.reaction.effect(&recorded).await.err()?;
            Some(self.park(recorded.position, recorded.envelope.event_type.to_string(), failed))
        });
        let failed: Vec<Option<Parked>> = effects.buffered(AT_ONCE).collect().await;
        parked.extend(failed.into_iter().flatten());
        Ok(parked)
    }

    fn park(&self, position: Position, event_type: String, error: String) -> Parked {
        let name = self.reaction.name();
        tracing::error!(reaction = name, %position, event_type, error, "an event is parked");
        metrics::counter!("chorus_reaction_parked_total", "reaction" => name).increment(1);
        Parked { position: position.0, event_type, subject: None, error }
    }

    fn report(&self, passed: u64) {
        let name = self.reaction.name();
        self.statuses.set(name, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "a position for a chart")]
        metrics::gauge!("chorus_reaction_passed", "reaction" => name).set(passed as f64);
    }
}
