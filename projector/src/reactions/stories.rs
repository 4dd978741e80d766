//! The end of a story's day, as an event: appended when it is due, or as soon as a process runs again. The event that
//! published a story is what its end expects to be the last of its subject, so that there is one end at most, whoever
//! else appends one: another worker, its author, or this one before a crash. How far the log has been followed is a
//! checkpoint in the view store, which never passes a story that has not ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::{
    AppendError, Batch, Draft, Event, EventId, Filter, Kind, LogError, Position, Recorded, STORY_LIFETIME,
    SealedLog, SocialEvent, StoryEvent, StoryExpired, StoryId, Subject, UserId, time_ordered_id,
};
use futures::future::{Fuse, FusedFuture};
use futures::{FutureExt, StreamExt, stream};
use service::clock::Clock;
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;
use views::{Parked, StoreError, ViewStore};

use crate::engine::checkpoint::{Checkpoint, NotMoved, Pause};
use crate::{ProjectionState, Statuses};

/// The name of its checkpoint; no view has it.
pub const NAME: &str = "stories-reaction";
/// The kinds of events that it follows.
const KINDS: &[Kind] = &[Kind::Story];
/// Events taken from the log at once.
const BATCH: usize = 500;
/// Stories that are waited for at most: beyond, reading waits, since later ones end later. Each is about 200 bytes.
const WAITED_FOR: usize = 100_000;
/// Ends that are appended at the same time.
const AT_ONCE: usize = 16;
/// How often to look at the clock.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the checkpoint is moved: what is lost of it in a crash is read again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// What the reaction is built from.
#[derive(Debug)]
pub struct Parts {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
    pub clock: Arc<dyn Clock>,
}

struct Stories {
    parts: Parts,
    statuses: Statuses,
}

/// Starts the reaction. Any number of processes may run it at once.
pub fn run(parts: Parts, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    statuses.set(NAME, ProjectionState::Starting);
    let stories = Stories { parts, statuses: statuses.clone() };
    tasks.spawn_until_stopping(NAME, async move {
        if let Err(why) = stories.follow().await {
            tracing::error!(why, "stories no longer end by themselves");
            stories.statuses.set(NAME, ProjectionState::Stopped(why));
        }
    });
    statuses
}

impl Stories {
    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.parts.store, of: NAME }
    }

    /// Follows the log until the process shuts down.
    ///
    /// # Errors
    /// Why it cannot go on.
    async fn follow(&self) -> Result<(), String> {
        let mut checkpoint = self.checkpoint().read().await.map_err(|error| with_causes(&error))?;
        // What ended before now need not be tried: its end is read before this one is passed.
        let mut waiting = Waiting::new(checkpoint, self.head().await?);
        let mut follow = self.parts.log.raw().follow(Filter::kinds(KINDS), Position(checkpoint));
        let mut moving = pin!(Fuse::terminated());
        let (mut look, mut move_on) = (ticks(LOOK_INTERVAL), ticks(CHECKPOINT_INTERVAL));
        loop {
            self.end_due(&mut waiting).await;
            self.tell(&waiting);
            tokio::select! {
                read = follow.next_batch(BATCH), if waiting.has_room() => match read {
                    None => return Ok(()),
                    Some(batch) => {
                        batch.and_then(|batch| waiting.take_in(batch)).map_err(|error| with_causes(&error))?;
                    }
                },
                _ = look.tick() => {}
                _ = move_on.tick(), if waiting.is_beyond(checkpoint) && moving.is_terminated() => {
                    let (to, parked) = (waiting.ended_up_to(), std::mem::take(&mut waiting.parked));
                    moving.set(self.move_checkpoint(checkpoint, to, parked).fuse());
                }
                moved = &mut moving => checkpoint = moved.map_err(|error| with_causes(&error))?,
            }
        }
    }

    async fn head(&self) -> Result<Position, String> {
        let log = self.parts.log.raw();
        let is_outage = |error: &LogError| matches!(error, LogError::Unavailable(_));
        retry_until_available("the event log", || log.head(), is_outage)
            .await
            .map_err(|error| with_causes(&error))
    }

    /// Where the checkpoint stands then. Where another worker has moved it, what was to be parked with it is parked by
    /// that one, too.
    async fn move_checkpoint(&self, from: u64, to: u64, parked: Vec<Parked>) -> Result<u64, StoreError> {
        match self.checkpoint().commit(&Arc::default(), &parked, from, to).await {
            Ok(()) => Ok(to),
            Err(NotMoved::Fenced) => self.checkpoint().read().await,
            Err(NotMoved::Corrupt(error)) => Err(error),
        }
    }

    /// Ends every story whose day is over. An outage of the log is waited out.
    async fn end_due(&self, waiting: &mut Waiting) {
        let due = waiting.due(self.parts.clock.now());
        let ends = stream::iter(due).map(|story| async move { (self.end(&story).await, story) });
        let ended: Vec<(Result<(), LogError>, Shown)> = ends.buffer_unordered(AT_ONCE).collect().await;
        for (outcome, story) in ended {
            waiting.over(story.story);
            if let Err(error) = outcome {
                let subject = Subject::Story(story.author, story.story).to_string();
                waiting.park(story.position, subject, with_causes(&error));
            }
        }
    }

    /// Appends the end of a story, unless it has ended already.
    async fn end(&self, shown: &Shown) -> Result<(), LogError> {
        let mut pause = Pause::default();
        let now = self.parts.clock.now();
        let draft = Draft {
            id: EventId::new(time_ordered_id(now)),
            time: now,
            actor: None,
            correlation: shown.correlation,
            causation: Some(shown.published_by),
            traceparent: None,
            event: StoryExpired { author: shown.author, story: shown.story }.into(),
        };
        loop {
            match self.parts.log.append(draft.clone(), shown.position).await {
                Ok(_) => {
                    metrics::counter!("chorus_stories_expired_total").increment(1);
                    return Ok(());
                }
                // The only events that follow the first one of a story are its ends.
                Err(AppendError::Conflict) => return Ok(()),
                Err(
                    error @ (AppendError::Log(LogError::Unavailable(_)) | AppendError::OutcomeUnknown(_)),
                ) => pause.wait_out(NAME, &error).await,
                Err(AppendError::Log(error)) => return Err(error),
            }
        }
    }

    fn tell(&self, waiting: &Waiting) {
        let passed = waiting.passed_but_due(self.parts.clock.now());
        self.statuses.set(NAME, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "numbers for a chart")]
        {
            metrics::gauge!("chorus_reaction_passed", "reaction" => NAME).set(passed as f64);
            metrics::gauge!("chorus_stories_waiting").set(waiting.by_position.len() as f64);
        }
    }
}

fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A story that has not ended.
#[derive(Debug, Clone, Copy)]
struct Shown {
    author: UserId,
    story: StoryId,
    until: DateTime<Utc>,
    /// Of the event that published it.
    position: Position,
    published_by: EventId,
    correlation: Uuid,
}

/// What has been read, and which stories of it have not ended.
struct Waiting {
    passed: u64,
    /// Up to here the log tells by itself which stories have ended.
    history: u64,
    by_position: BTreeMap<Position, Shown>,
    by_end: BTreeSet<(DateTime<Utc>, Position)>,
    positions: HashMap<StoryId, Position>,
    /// What cannot be read or ended, and is set aside with its reason.
    parked: Vec<Parked>,
}

impl Waiting {
    fn new(checkpoint: u64, head: Position) -> Self {
        Self {
            passed: checkpoint,
            history: head.0,
            by_position: BTreeMap::new(),
            by_end: BTreeSet::new(),
            positions: HashMap::new(),
            parked: Vec::new(),
        }
    }

    /// # Errors
    /// For an event of a newer program: to pass over it could leave a story for ever.
    fn take_in(&mut self, batch: Batch) -> Result<(), LogError> {
        for events::Unreadable { position, event_type, error } in batch.unreadable {
            if error.is_of_newer_program() {
                return Err(error);
            }
            self.park(position, event_type, with_causes(&error));
        }
        for stored in batch.events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => self.hear(&recorded),
                Err(error) if error.is_of_newer_program() => return Err(error),
                Err(error) => self.park(position, event_type, with_causes(&error)),
            }
        }
        self.passed = self.passed.max(batch.passed.0);
        Ok(())
    }

    fn hear(&mut self, recorded: &Recorded) {
        let Event::Social(SocialEvent::Story(event)) = &recorded.event else { return };
        match event {
            StoryEvent::StoryPublished(event) => self.wait_for(Shown {
                author: event.author,
                story: event.story,
                until: recorded.envelope.time + STORY_LIFETIME,
                position: recorded.position,
                published_by: recorded.envelope.id,
                correlation: recorded.envelope.correlation,
            }),
            StoryEvent::StoryDeleted(event) => self.over(event.story),
            StoryEvent::StoryExpired(event) => self.over(event.story),
        }
    }

    fn wait_for(&mut self, shown: Shown) {
        self.positions.insert(shown.story, shown.position);
        self.by_end.insert((shown.until, shown.position));
        self.by_position.insert(shown.position, shown);
    }

    fn over(&mut self, story: StoryId) {
        let Some(shown) = self.positions.remove(&story).and_then(|at| self.by_position.remove(&at)) else {
            return;
        };
        self.by_end.remove(&(shown.until, shown.position));
    }

    fn park(&mut self, position: Position, event_type: String, error: String) {
        tracing::error!(%position, event_type, error, "the end of a story is set aside");
        metrics::counter!("chorus_reaction_parked_total", "reaction" => NAME).increment(1);
        self.parked.push(Parked { position: position.0, event_type, error });
    }

    fn has_room(&self) -> bool {
        self.by_position.len() < WAITED_FOR
    }

    /// The stories whose day is over, the first to end first. None as long as the log may still tell of their ends, unless
    /// there is no room to read on.
    fn due(&self, now: DateTime<Utc>) -> Vec<Shown> {
        if self.passed < self.history && self.has_room() {
            return Vec::new();
        }
        let due = self.by_end.iter().take_while(|(until, _)| *until <= now);
        due.filter_map(|(_, position)| self.by_position.get(position).copied()).collect()
    }

    /// Every story published up to here has ended.
    fn ended_up_to(&self) -> u64 {
        self.by_position.first_key_value().map_or(self.passed, |(position, _)| position.0 - 1)
    }

    /// Every story published up to here has ended or has time left.
    fn passed_but_due(&self, now: DateTime<Utc>) -> u64 {
        let due = self.by_end.iter().take_while(|(until, _)| *until <= now);
        due.map(|(_, position)| position.0 - 1).min().unwrap_or(self.passed)
    }

    fn is_beyond(&self, checkpoint: u64) -> bool {
        !self.parked.is_empty() || self.ended_up_to() > checkpoint
    }
}
