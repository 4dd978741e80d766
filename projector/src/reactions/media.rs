//! The reaction that deletes the files of deleted, replaced and expired pictures. It depends on the log only, never
//! on a view, and deletions are idempotent: neither a crash, a second worker nor an empty view store deletes a
//! claimed picture. Uploads that no event claims, and the audio of removed songs, are collected separately.

mod audit;
mod claims;
mod collection;

use std::sync::Arc;

use async_trait::async_trait;
use events::{EventLog, Kind, LogError, MediaId, Recorded};
use media::{MediaError, MediaKey, MediaStore};
use service::clock::Clock;
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use views::ViewStore;

pub use audit::{Audit, Missing, audit};
pub use collection::{Collected, Limit, SAFE_AGE, collect};

use super::idempotent::{self, IdempotentReaction};
use crate::Statuses;
use crate::engine::checkpoint::Pause;
use crate::social::pictures::KINDS;

/// The name of its checkpoint; no view has this name.
pub const NAME: &str = "media-reaction";
/// Attempts to delete a picture while the store is reachable, before the event is parked: about ten seconds with
/// backoff.
const ATTEMPTS: u32 = 8;

/// The dependencies of the reaction.
#[derive(Debug, Clone)]
pub struct Parts {
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn ViewStore>,
    pub media: Arc<dyn MediaStore>,
    pub clock: Arc<dyn Clock>,
}

/// Why the clean-up or audit of the media store failed.
#[derive(Debug, thiserror::Error)]
pub enum MediaFailed {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("the process is shutting down")]
    Closed,
    #[error(
        "of {stored} pictures and audio files in the media store no event claims {unclaimed}, and at most {allowed} are deleted at once: \
         does the log lack events, or does it belong to another media store? `chorus media audit` names them; if they \
         are really to go, delete them with `chorus media clean --limit {unclaimed}`"
    )]
    TooMany { unclaimed: usize, stored: usize, allowed: usize },
}

struct Media {
    log: Arc<dyn EventLog>,
    media: Arc<dyn MediaStore>,
}

/// Starts the reaction and the collection of unclaimed uploads.
pub fn run(parts: Parts, tasks: &Tasks) -> Statuses {
    let Parts { log, store, media, clock: _ } = parts.clone();
    let media = Media { log: Arc::clone(&log), media };
    let statuses = idempotent::run(media, log, store, tasks);
    let collecting = statuses.clone();
    tasks.spawn_until_stopping("media-collection", async move {
        collection::collect_periodically(&parts, &collecting).await;
    });
    statuses
}

#[async_trait]
impl IdempotentReaction for Media {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [Kind] {
        KINDS
    }

    async fn effect(&self, recorded: &Recorded) -> Result<(), String> {
        let find = || claims::released_by(&*self.log, recorded.position, &recorded.event);
        let is_outage = |error: &LogError| matches!(error, LogError::Unavailable(_));
        let pictures = retry_until_available("the event log", find, is_outage).await;
        let pictures = pictures.map_err(|error| with_causes(&error))?;
        for picture in pictures {
            self.delete(picture).await.map_err(|error| with_causes(&error))?;
            metrics::counter!("chorus_media_deleted_total").increment(1);
        }
        Ok(())
    }
}

impl Media {
    /// Deletes a picture. Retries during outages of the store.
    async fn delete(&self, picture: MediaId) -> Result<(), MediaError> {
        let mut pause = Pause::default();
        let mut attempts = 0;
        loop {
            let Err(error) = Stored::Picture(picture).delete_from(&*self.media).await else { return Ok(()) };
            // Do not count attempts while the whole store is unreachable.
            if self.media.check().await.is_ok() {
                attempts += 1;
            }
            if attempts == ATTEMPTS {
                return Err(error);
            }
            pause.wait_out(NAME, &error).await;
        }
    }
}

/// What a folder of the store holds: the variants of a picture, or the file of songs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stored {
    Picture(MediaId),
    Audio(MediaId),
}

impl Stored {
    /// From the name of a file: `images/<picture>/<file>` or `songs/<audio>/<file>`.
    fn of(name: &str) -> Option<Self> {
        let (kind, path) = name.split_once('/')?;
        let (id, file) = path.split_once('/')?;
        let id = id.parse().ok().filter(|_| !file.is_empty() && !file.contains('/'))?;
        match kind {
            "images" => Some(Self::Picture(id)),
            "songs" => Some(Self::Audio(id)),
            _ => None,
        }
    }

    const fn id(self) -> MediaId {
        match self {
            Self::Picture(id) | Self::Audio(id) => id,
        }
    }

    async fn delete_from(self, media: &dyn MediaStore) -> Result<(), MediaError> {
        let folder = match self {
            Self::Picture(picture) => format!("images/{picture}"),
            Self::Audio(audio) => format!("songs/{audio}"),
        };
        match MediaKey::parse(&folder) {
            Some(folder) => media.delete_below(&folder).await,
            None => Ok(()),
        }
    }
}
