//! The way of reactions whose effects do no harm a second time: each event in its turn, a checkpoint now and then. A
//! crash repeats what followed the last checkpoint. Of several workers one is at it; the others stand by.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{EventLog, Filter, Kind, LogError, Position, Recorded, Stored, Unreadable};
use futures::StreamExt;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::time::MissedTickBehavior;
use views::{Parked, ViewStore};

use crate::engine::checkpoint::{Checkpoint, NotMoved};
use crate::{ProjectionState, Statuses};

/// Events taken from the log at once.
const BATCH: usize = 100;
/// Events whose effects are brought about at the same time.
const AT_ONCE: usize = 8;
/// How often the checkpoint is moved past events that were without effect or had theirs.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// What follows from events, and may follow from them again.
#[async_trait]
pub(super) trait Repeatable: Send + Sync + 'static {
    /// Of the reaction: the name of its checkpoint, which no view has.
    fn name(&self) -> &'static str;

    /// The kinds of events that it follows.
    fn kinds(&self) -> &'static [Kind];

    /// Brings about what an event calls for, waiting out outages. The event's personal data stay sealed.
    ///
    /// # Errors
    /// Why that cannot be done; the event is set aside.
    async fn effect(&self, recorded: &Recorded) -> Result<(), String>;
}

struct Follower<R> {
    reaction: R,
    log: Arc<dyn EventLog>,
    store: Arc<dyn ViewStore>,
    statuses: Statuses,
}

/// Why following came to its end.
enum End {
    Fenced,
    /// The process shuts down.
    Closed,
    Stopped(String),
}

/// Starts it, and tells how it is doing.
pub(super) fn run<R: Repeatable>(
    reaction: R,
    log: Arc<dyn EventLog>,
    store: Arc<dyn ViewStore>,
    tasks: &Tasks,
) -> Statuses {
    let (name, statuses) = (reaction.name(), Statuses::default());
    statuses.set(name, ProjectionState::Starting);
    let follower = Follower { reaction, log, store, statuses: statuses.clone() };
    tasks.spawn_until_stopping(name, async move { follower.run_and_tell().await });
    statuses
}

impl<R: Repeatable> Follower<R> {
    async fn run_and_tell(self) {
        let name = self.reaction.name();
        loop {
            let end = match self.checkpoint().read().await {
                Ok(checkpoint) => self.follow(checkpoint).await,
                Err(error) => End::Stopped(with_causes(&error)),
            };
            match end {
                End::Fenced => {
                    tracing::info!(reaction = name, "another worker is at it: standing by");
                    let seen = |checkpoint| self.statuses.set(name, ProjectionState::StandingBy(checkpoint));
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

    /// Follows from a checkpoint until something ends it.
    async fn follow(&self, mut checkpoint: u64) -> End {
        let mut follow = self.log.follow(Filter::kinds(self.reaction.kinds()), Position(checkpoint));
        let mut moment = tokio::time::interval(CHECKPOINT_INTERVAL);
        moment.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut passed = checkpoint;
        loop {
            self.tell(passed);
            let parked = tokio::select! {
                read = follow.next_batch(BATCH) => {
                    let taken_in = match read {
                        None => return End::Closed,
                        Some(Err(error)) => Err(error),
                        Some(Ok(batch)) => {
                            let up_to = passed.max(batch.passed.0);
                            self.take_in(batch.events, batch.unreadable).await.inspect(|_| passed = up_to)
                        }
                    };
                    match taken_in {
                        Ok(parked) if parked.is_empty() => continue,
                        Ok(parked) => parked,
                        Err(error) => return End::Stopped(with_causes(&error)),
                    }
                }
                _ = moment.tick(), if passed > checkpoint => Vec::new(),
            };
            match self.checkpoint().commit(&Arc::default(), &parked, checkpoint, passed).await {
                Ok(()) => checkpoint = passed,
                Err(NotMoved::Fenced) => return End::Fenced,
                Err(NotMoved::Corrupt(error)) => return End::Stopped(with_causes(&error)),
            }
        }
    }

    /// Brings about what a batch of events calls for, and tells what could not be.
    ///
    /// # Errors
    /// For an event of a newer program: it may call for what this one does not know of.
    async fn take_in(
        &self,
        events: Vec<Stored>,
        unreadable: Vec<Unreadable>,
    ) -> Result<Vec<Parked>, LogError> {
        let mut parked = Vec::new();
        for Unreadable { position, event_type, error } in unreadable {
            if error.is_of_newer_program() {
                return Err(error);
            }
            parked.push(self.set_aside(position, event_type, with_causes(&error)));
        }
        let mut read = Vec::with_capacity(events.len());
        for stored in events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => read.push(recorded),
                Err(error) if error.is_of_newer_program() => return Err(error),
                Err(error) => parked.push(self.set_aside(position, event_type, with_causes(&error))),
            }
        }
        let effects = futures::stream::iter(read).map(async |recorded| {
            let failed = self.reaction.effect(&recorded).await.err()?;
            Some(self.set_aside(recorded.position, recorded.envelope.event_type.to_string(), failed))
        });
        let failed: Vec<Option<Parked>> = effects.buffered(AT_ONCE).collect().await;
        parked.extend(failed.into_iter().flatten());
        Ok(parked)
    }

    fn set_aside(&self, position: Position, event_type: String, error: String) -> Parked {
        let name = self.reaction.name();
        tracing::error!(reaction = name, %position, event_type, error, "an event is set aside");
        metrics::counter!("chorus_reaction_parked_total", "reaction" => name).increment(1);
        Parked { position: position.0, event_type, error }
    }

    fn tell(&self, passed: u64) {
        let name = self.reaction.name();
        self.statuses.set(name, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "a position for a chart")]
        metrics::gauge!("chorus_reaction_passed", "reaction" => name).set(passed as f64);
    }
}
