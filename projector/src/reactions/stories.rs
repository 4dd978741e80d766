//! Expires stories: appends an expiry event when a story is due, or when a process next runs. The append expects the
//! publishing event to be the last one of its subject. So a story ends once, even if another worker, its author or
//! this process before a crash also ends it. The checkpoint in the view store never passes an active story.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use events::{
    Batch, Draft, Event, EventId, Filter, Kind, LogError, Position, Recorded, STORY_LIFETIME, SealedLog,
    SocialEvent, StoryEvent, StoryExpired, StoryId, Subject, UserId, time_ordered_id,
};
use futures::future::{Fuse, FusedFuture};
use futures::{FutureExt, StreamExt, stream};
use service::clock::Clock;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use uuid::Uuid;
use views::{Parked, ViewStore};

use super::ticks;
use crate::engine::checkpoint::Checkpoint;
use crate::engine::log::{append_at, head};
use crate::{ProjectionState, Statuses};

/// The name of its checkpoint; no view has this name.
pub const NAME: &str = "stories-reaction";
/// The kinds of events that it follows.
const KINDS: &[Kind] = &[Kind::Story];
/// Maximum number of events per batch.
const BATCH: usize = 500;
/// Maximum number of tracked stories; reading pauses at the limit, since later stories end later. Each takes about
/// 200 bytes.
const TRACKED_STORIES: usize = 100_000;
/// Maximum number of concurrent appends.
const AT_ONCE: usize = 16;
/// How often to look for due stories.
const DUE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the checkpoint is moved. After a crash, later events are read again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// The dependencies of the reaction.
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

/// Starts the reaction. Any number of processes can run it concurrently.
pub fn run(parts: Parts, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    statuses.set(NAME, ProjectionState::Starting);
    let stories = Stories { parts, statuses: statuses.clone() };
    tasks.spawn_until_stopping(NAME, async move {
        if let Err(why) = stories.follow().await {
            tracing::error!(why, "the expiry of stories has stopped");
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
    /// A permanent error.
    async fn follow(&self) -> Result<(), String> {
        let mut checkpoint = self.checkpoint().read().await.map_err(|error| with_causes(&error))?;
        // Stories that already ended are not expired again: their ends up to this head are read first.
        let mut waiting = Waiting::new(
            checkpoint,
            head(&**self.parts.log.raw()).await.map_err(|error| with_causes(&error))?,
        );
        let mut follow = self.parts.log.raw().follow(Filter::kinds(KINDS), Position(checkpoint));
        let mut moving = pin!(Fuse::terminated());
        let (mut look, mut move_on) = (ticks(DUE_INTERVAL), ticks(CHECKPOINT_INTERVAL));
        loop {
            self.end_due(&mut waiting).await;
            self.report(&waiting);
            tokio::select! {
                read = follow.next_batch(BATCH), if waiting.has_room() => match read {
                    None => return Ok(()),
                    Some(batch) => {
                        let added = batch.and_then(|batch| waiting.add_batch(batch));
                        added.map_err(|error| with_causes(&error))?;
                    }
                },
                _ = look.tick() => {}
                _ = move_on.tick(), if waiting.is_beyond(checkpoint) && moving.is_terminated() => {
                    let (to, parked) = (waiting.ended_up_to(), std::mem::take(&mut waiting.parked));
                    let at = self.checkpoint();
                    moving.set(async move { at.advance(checkpoint, to, &parked).await }.fuse());
                }
                moved = &mut moving => checkpoint = moved.map_err(|error| with_causes(&error))?,
            }
        }
    }

    /// Expires all due stories. Retries during outages of the log.
    async fn end_due(&self, waiting: &mut Waiting) {
        let due = waiting.due(self.parts.clock.now());
        let ends = stream::iter(due).map(|story| async move { (self.end(&story).await, story) });
        let ended: Vec<(Result<(), LogError>, ActiveStory)> = ends.buffer_unordered(AT_ONCE).collect().await;
        for (outcome, story) in ended {
            waiting.remove(story.story);
            if let Err(error) = outcome {
                let subject = Subject::Story(story.author, story.story).to_string();
                waiting.park(story.position, subject, with_causes(&error));
            }
        }
    }

    /// Appends the expiry of a story unless it has already ended.
    async fn end(&self, story: &ActiveStory) -> Result<(), LogError> {
        let now = self.parts.clock.now();
        let draft = Draft {
            id: EventId::new(time_ordered_id(now)),
            time: now,
            actor: None,
            correlation: story.correlation,
            causation: Some(story.published_by),
            traceparent: None,
            event: StoryExpired { author: story.author, story: story.story }.into(),
        };
        // Only the end of a story can follow its first event.
        if append_at(&self.parts.log, NAME, &draft, story.position).await? {
            metrics::counter!("chorus_stories_expired_total").increment(1);
        }
        Ok(())
    }

    fn report(&self, waiting: &Waiting) {
        let passed = waiting.settled_up_to(self.parts.clock.now());
        self.statuses.set(NAME, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "numbers for a chart")]
        {
            metrics::gauge!("chorus_reaction_passed", "reaction" => NAME).set(passed as f64);
            metrics::gauge!("chorus_stories_waiting").set(waiting.by_position.len() as f64);
        }
    }
}

/// A story that has not ended.
#[derive(Debug, Clone, Copy)]
struct ActiveStory {
    author: UserId,
    story: StoryId,
    until: DateTime<Utc>,
    /// The position of the publishing event.
    position: Position,
    published_by: EventId,
    correlation: Uuid,
}

/// What has been read, and the active stories in it.
struct Waiting {
    passed: u64,
    /// The head of the log at the start: up to here the log may contain ends that are not read yet.
    history: u64,
    by_position: BTreeMap<Position, ActiveStory>,
    by_end: BTreeSet<(DateTime<Utc>, Position)>,
    positions: HashMap<StoryId, Position>,
    /// Events and stories to park with their errors.
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
    /// For an event of a newer version of the program: skipping it could keep a story forever.
    fn add_batch(&mut self, batch: Batch) -> Result<(), LogError> {
        for events::Unreadable { position, event_type, error, .. } in batch.unreadable {
            if error.is_from_newer_version() {
                return Err(error);
            }
            self.park(position, event_type, with_causes(&error));
        }
        for stored in batch.events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => self.apply(&recorded),
                Err(error) if error.is_from_newer_version() => return Err(error),
                Err(error) => self.park(position, event_type, with_causes(&error)),
            }
        }
        self.passed = self.passed.max(batch.passed.0);
        Ok(())
    }

    fn apply(&mut self, recorded: &Recorded) {
        let Event::Social(SocialEvent::Story(event)) = &recorded.event else { return };
        match event {
            StoryEvent::StoryPublished(event) => self.wait_for(ActiveStory {
                author: event.author,
                story: event.story,
                until: recorded.envelope.time + STORY_LIFETIME,
                position: recorded.position,
                published_by: recorded.envelope.id,
                correlation: recorded.envelope.correlation,
            }),
            StoryEvent::StoryDeleted(event) => self.remove(event.story),
            StoryEvent::StoryExpired(event) => self.remove(event.story),
        }
    }

    fn wait_for(&mut self, story: ActiveStory) {
        self.positions.insert(story.story, story.position);
        self.by_end.insert((story.until, story.position));
        self.by_position.insert(story.position, story);
    }

    fn remove(&mut self, story: StoryId) {
        let Some(story) = self.positions.remove(&story).and_then(|at| self.by_position.remove(&at)) else {
            return;
        };
        self.by_end.remove(&(story.until, story.position));
    }

    fn park(&mut self, position: Position, event_type: String, error: String) {
        tracing::error!(%position, event_type, error, "the expiry of a story is parked");
        metrics::counter!("chorus_reaction_parked_total", "reaction" => NAME).increment(1);
        self.parked.push(Parked { position: position.0, event_type, subject: None, error });
    }

    fn has_room(&self) -> bool {
        self.by_position.len() < TRACKED_STORIES
    }

    /// The due stories, oldest end first. None until `history` is read, unless the limit of tracked stories is
    /// reached.
    fn due(&self, now: DateTime<Utc>) -> Vec<ActiveStory> {
        if self.passed < self.history && self.has_room() {
            return Vec::new();
        }
        let due = self.by_end.iter().take_while(|(until, _)| *until <= now);
        due.filter_map(|(_, position)| self.by_position.get(position).copied()).collect()
    }

    /// All stories published up to this position have ended.
    fn ended_up_to(&self) -> u64 {
        self.by_position.first_key_value().map_or(self.passed, |(position, _)| position.0 - 1)
    }

    /// All stories published up to this position have ended or are not due yet.
    fn settled_up_to(&self, now: DateTime<Utc>) -> u64 {
        let due = self.by_end.iter().take_while(|(until, _)| *until <= now);
        due.map(|(_, position)| position.0 - 1).min().unwrap_or(self.passed)
    }

    fn is_beyond(&self, checkpoint: u64) -> bool {
        !self.parked.is_empty() || self.ended_up_to() > checkpoint
    }
}
