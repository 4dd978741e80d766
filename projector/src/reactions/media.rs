//! Media, as a reaction to events: the files of what was deleted, replaced or has expired are deleted. What is to go is
//! asked of the log alone, never of a view, and to delete it again does no harm: so neither a crash, nor a second
//! worker, nor an empty view store deletes what is held. Uploads that no event ever claimed are collected beside it.

mod audit;
mod claims;
mod collection;

use std::sync::Arc;
use std::time::Duration;

use events::{EventLog, Filter, LogError, MediaId, Position, Recorded, Stored};
use futures::StreamExt;
use service::clock::Clock;
use service::media::{MediaError, MediaKey, MediaStore};
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::time::MissedTickBehavior;
use views::{Parked, ViewStore};

pub use audit::{Audit, Missing, audit};
pub use collection::{Collected, SAFE_AGE, collect};

use self::claims::KINDS;
use crate::checkpoint::{Checkpoint, NotMoved, Pause};
use crate::{ProjectionState, Statuses};

/// The name of its checkpoint; no view has it.
pub const NAME: &str = "media-reaction";
/// Events taken from the log at once.
const BATCH: usize = 100;
/// Events whose files are deleted at the same time.
const AT_ONCE: usize = 8;
/// Attempts at deleting something while the store is there, before it is set aside: with their pauses about ten seconds.
const ATTEMPTS: u32 = 8;
/// How often the checkpoint is moved past events that let nothing go.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// What the reaction is built from.
#[derive(Debug, Clone)]
pub struct Parts {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn ViewStore>,
    pub media: Arc<dyn MediaStore>,
    pub clock: Arc<dyn Clock>,
}

/// Why the media store was not brought in order, or looked through.
#[derive(Debug, thiserror::Error)]
pub enum MediaFailed {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("the process is shutting down")]
    Closed,
}

/// Why following came to its end.
enum End {
    Fenced,
    /// The process shuts down.
    Closed,
    Stopped(String),
}

struct Media {
    parts: Parts,
    statuses: Statuses,
}

/// Starts the reaction, and the collection of what no event claims.
pub fn run(parts: Parts, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    statuses.set(NAME, ProjectionState::Starting);
    let collecting = (parts.clone(), statuses.clone());
    tasks.spawn_until_stopping("media-collection", async move {
        collection::collect_now_and_then(&collecting.0, &collecting.1).await;
    });
    let media = Media { parts, statuses: statuses.clone() };
    tasks.spawn_until_stopping(NAME, async move { media.run_and_tell().await });
    statuses
}

impl Media {
    async fn run_and_tell(self) {
        loop {
            let end = match self.checkpoint().read().await {
                Ok(checkpoint) => self.follow(checkpoint).await,
                Err(error) => End::Stopped(with_causes(&error)),
            };
            match end {
                End::Fenced => {
                    tracing::info!("another worker cleans up the media: standing by");
                    self.statuses.set(NAME, ProjectionState::StandingBy);
                    self.checkpoint().stand_by().await;
                }
                End::Closed => return,
                End::Stopped(why) => {
                    tracing::error!(why, "media are no longer cleaned up");
                    self.statuses.set(NAME, ProjectionState::Stopped(why));
                    return;
                }
            }
        }
    }

    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.parts.store, of: NAME }
    }

    /// Follows from a checkpoint until something ends it.
    async fn follow(&self, mut checkpoint: u64) -> End {
        let mut follow = self.parts.log.follow(Filter::kinds(KINDS), Position(checkpoint));
        let mut moment = tokio::time::interval(CHECKPOINT_INTERVAL);
        moment.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut passed = checkpoint;
        loop {
            self.tell(passed);
            let parked = tokio::select! {
                read = follow.next_batch(BATCH) => match read {
                    None => return End::Closed,
                    Some(Err(error)) => return End::Stopped(with_causes(&error)),
                    Some(Ok(batch)) => match self.take_in(batch.events).await {
                        Ok(parked) => {
                            passed = passed.max(batch.passed.0);
                            parked
                        }
                        Err(error) => return End::Stopped(with_causes(&error)),
                    },
                },
                _ = moment.tick(), if passed > checkpoint => {
                    match self.checkpoint().commit(&Arc::default(), &[], checkpoint, passed).await {
                        Ok(()) => checkpoint = passed,
                        Err(NotMoved::Fenced) => return End::Fenced,
                        Err(NotMoved::Corrupt(error)) => return End::Stopped(with_causes(&error)),
                    }
                    continue;
                }
            };
            if !parked.is_empty() {
                match self.checkpoint().commit(&Arc::default(), &parked, checkpoint, passed).await {
                    Ok(()) => checkpoint = passed,
                    Err(NotMoved::Fenced) => return End::Fenced,
                    Err(NotMoved::Corrupt(error)) => return End::Stopped(with_causes(&error)),
                }
            }
        }
    }

    /// Deletes what a batch of events lets go, and tells what could not be.
    ///
    /// # Errors
    /// For an event of a newer program: it may let go what this one does not know of.
    async fn take_in(&self, events: Vec<Stored>) -> Result<Vec<Parked>, LogError> {
        let mut parked = Vec::new();
        let mut read = Vec::with_capacity(events.len());
        for stored in events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => read.push(recorded),
                Err(error) if error.is_of_newer_program() => return Err(error),
                Err(error) => parked.push(set_aside(position, event_type, with_causes(&error))),
            }
        }
        let cleaned = futures::stream::iter(read).map(async |one| self.clean_up(&one).await);
        let cleaned: Vec<Option<Parked>> = cleaned.buffered(AT_ONCE).collect().await;
        parked.extend(cleaned.into_iter().flatten());
        Ok(parked)
    }

    async fn clean_up(&self, recorded: &Recorded) -> Option<Parked> {
        let park = |error| set_aside(recorded.position, recorded.envelope.event_type.to_string(), error);
        let mut pause = Pause::default();
        let pictures = loop {
            match claims::let_go_by(&*self.parts.log, recorded.position, &recorded.event).await {
                Ok(pictures) => break pictures,
                Err(error @ LogError::Unavailable(_)) => pause.wait_out(NAME, &error).await,
                Err(error) => return Some(park(with_causes(&error))),
            }
        };
        for picture in pictures {
            if let Err(error) = self.delete(picture).await {
                return Some(park(with_causes(&error)));
            }
            metrics::counter!("chorus_media_deleted_total").increment(1);
        }
        None
    }

    /// Deletes a picture, waiting out an outage of the store.
    async fn delete(&self, picture: MediaId) -> Result<(), MediaError> {
        let mut pause = Pause::default();
        let mut attempts = 0;
        loop {
            let Err(error) = delete_picture(&*self.parts.media, picture).await else { return Ok(()) };
            // While the store is away altogether, nothing is held against the picture.
            if self.parts.media.check().await.is_ok() {
                attempts += 1;
            }
            if attempts == ATTEMPTS {
                return Err(error);
            }
            pause.wait_out(NAME, &error).await;
        }
    }

    fn tell(&self, passed: u64) {
        self.statuses.set(NAME, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "a position for a chart")]
        metrics::gauge!("chorus_reaction_passed", "reaction" => NAME).set(passed as f64);
    }
}

fn set_aside(position: Position, event_type: String, error: String) -> Parked {
    tracing::error!(%position, event_type, error, "media that should go are set aside");
    metrics::counter!("chorus_reaction_parked_total", "reaction" => NAME).increment(1);
    Parked { position: position.0, event_type, error }
}

/// Where all files of a picture lie.
fn folder(picture: MediaId) -> Option<MediaKey> {
    MediaKey::parse(&format!("images/{picture}"))
}

async fn delete_picture(media: &dyn MediaStore, picture: MediaId) -> Result<(), MediaError> {
    match folder(picture) {
        Some(folder) => media.delete_below(&folder).await,
        None => Ok(()),
    }
}

/// The picture that a file in the store belongs to, by its name: `images/<picture>/<file>`.
fn picture_of(name: &str) -> Option<MediaId> {
    let (picture, file) = name.strip_prefix("images/")?.split_once('/')?;
    if file.is_empty() || file.contains('/') { None } else { picture.parse().ok() }
}
