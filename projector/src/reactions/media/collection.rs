//! Deletes files that no event claims: left-overs of a crash between storing files and appending the event, parked
//! deletions, and files of content that cannot be restored any more. A claimed picture is never deleted: an upload is
//! claimed within minutes or never, its id is never reused, and the log is read after the listing. An audio file may
//! be found by a song that is being published, so it is released in the log first, on the condition that nothing has
//! claimed it since the log was read; its id is not used again. A truncated log claims too little, so a collection
//! that would delete more than a small share of the store deletes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{AppendError, AudioReleased, Draft, EventLog, LogError, MediaId};
use futures::TryStreamExt;
use media::MediaStore;
use service::telemetry::with_causes;

use super::claims::{AudioUse, Tracked, of_log};
use super::{MediaFailed, NAME, Parts, Stored};
use crate::{ProjectionState, Statuses};

/// Minimum age of a collected file: far longer than any request or clock error.
pub const SAFE_AGE: TimeDelta = TimeDelta::days(1);
/// Delay of the first collection after the start, and the interval.
const FIRST_DELAY: Duration = Duration::from_mins(10);
const INTERVAL: Duration = Duration::from_hours(12);
/// Maximum number of pictures and audio files per pass over the log: a few megabytes.
const FILES_PER_PASS: usize = 100_000;

/// Maximum share of the stored pictures and audio files, in percent, that one collection may delete. Crashes leave far less; more
/// means that the log lacks events or belongs to another store.
const MAX_SHARE_PERCENT: usize = 5;
/// A collection may always delete this many, for small stores.
const MIN_ALLOWED: usize = 20;

/// Maximum number of pictures and audio files that a collection may delete; if it is exceeded, none is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A small share of the store.
    Share,
    /// An explicit number, set by an operator.
    Files(usize),
}

impl Limit {
    fn of(self, stored: usize) -> usize {
        match self {
            Self::Share => MIN_ALLOWED.max(stored.saturating_mul(MAX_SHARE_PERCENT) / 100),
            Self::Files(files) => files,
        }
    }
}

/// The result of a collection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Pictures and audio files that are old enough to be checked.
    pub checked: usize,
    pub deleted: Vec<MediaId>,
}

pub(super) async fn collect_periodically(parts: &Parts, statuses: &Statuses) {
    let mut timer = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_DELAY, INTERVAL);
    loop {
        timer.tick().await;
        // One worker is enough.
        if !matches!(statuses.all().get(NAME), Some(ProjectionState::Following(_))) {
            continue;
        }
        let collected = collect(&*parts.log, &*parts.media, parts.clock.now(), Limit::Share).await;
        if let Err(MediaFailed::TooMany { unclaimed, .. }) = collected {
            refused_gauge(unclaimed);
        }
        match collected {
            Ok(collected) => {
                refused_gauge(0);
                tracing::info!(
                    files = collected.checked,
                    deleted = collected.deleted.len(),
                    "the collection of unclaimed uploads has finished"
                );
            }
            Err(error @ MediaFailed::TooMany { .. }) => {
                tracing::error!(error = with_causes(&error), "the media clean-up has stopped");
            }
            // The next run retries.
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "unclaimed uploads could not be collected");
            }
        }
    }
}

/// Unclaimed pictures and audio files that were not deleted because they exceed the limit.
fn refused_gauge(files: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
    metrics::gauge!("chorus_media_collection_refused").set(files as f64);
}

/// Deletes every picture and audio file older than [`SAFE_AGE`] that the log does not claim, or whose content was removed so long
/// ago that it cannot be restored, unless they exceed the limit.
///
/// # Errors
/// [`MediaFailed::TooMany`] if they exceed the limit; then nothing is deleted. Others if the log or the media store
/// is unavailable; earlier deletions were correct.
pub async fn collect(
    log: &dyn EventLog,
    media: &dyn MediaStore,
    now: DateTime<Utc>,
    limit: Limit,
) -> Result<Collected, MediaFailed> {
    let mut checked = 0;
    let mut stored = 0;
    let mut unclaimed = HashMap::new();
    let mut listed = media.list();
    let mut newest: HashMap<Stored, DateTime<Utc>> = HashMap::new();
    loop {
        let next = listed.try_next().await?;
        if let Some(one) = &next
            && let Some(file) = Stored::of(&one.name)
        {
            // The files of a picture are listed together; a picture split between two rounds is checked in both.
            if newest.len() == FILES_PER_PASS && !newest.contains_key(&file) {
                stored += newest.len();
                let old = old_enough(&mut newest, now);
                checked += old.len();
                unclaimed.extend(unclaimed_of(log, old, now).await?);
            }
            let modified = newest.entry(file).or_insert(one.modified);
            *modified = one.modified.max(*modified);
        }
        if next.is_none() {
            stored += newest.len();
            let old = old_enough(&mut newest, now);
            checked += old.len();
            unclaimed.extend(unclaimed_of(log, old, now).await?);
            break;
        }
    }
    let allowed = limit.of(stored);
    if unclaimed.len() > allowed {
        return Err(MediaFailed::TooMany { unclaimed: unclaimed.len(), stored, allowed });
    }
    let mut deleted = Vec::with_capacity(unclaimed.len());
    for (file, last) in unclaimed {
        if let Stored::Audio(audio) = file
            && !release(log, audio, last, now).await?
        {
            continue;
        }
        tracing::info!(?file, "deleting an unclaimed file");
        file.delete_from(media).await?;
        metrics::counter!("chorus_media_collected_total").increment(1);
        deleted.push(file.id());
    }
    Ok(Collected { checked, deleted })
}

/// Ends the use of an audio file's id. False if a song that is being published has claimed it since the log was read.
async fn release(
    log: &dyn EventLog,
    audio: MediaId,
    last: AudioUse,
    now: DateTime<Utc>,
) -> Result<bool, MediaFailed> {
    // By a collection that ended before it deleted the file.
    if last.is_released() {
        return Ok(true);
    }
    let draft = Draft::without_cause(now, AudioReleased { audio });
    match log.append(&draft.message()?, last.position).await {
        Ok(_) => Ok(true),
        Err(AppendError::Conflict) => Ok(false),
        // If it was appended, the next collection deletes the file.
        Err(AppendError::OutcomeUnknown(cause)) => Err(LogError::Unavailable(cause).into()),
        Err(AppendError::Log(error)) => Err(error.into()),
    }
}

fn old_enough(newest: &mut HashMap<Stored, DateTime<Utc>>, now: DateTime<Utc>) -> HashSet<Stored> {
    newest.drain().filter(|(_, modified)| now - *modified >= SAFE_AGE).map(|(file, _)| file).collect()
}

/// The files that the log does not claim, with the last event of those of songs.
async fn unclaimed_of(
    log: &dyn EventLog,
    mut files: HashSet<Stored>,
    now: DateTime<Utc>,
) -> Result<Vec<(Stored, AudioUse)>, MediaFailed> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let head = log.head().await?;
    let tracked = Tracked::These(files.iter().map(|file| file.id()).collect());
    let mut claims = of_log(log, head, tracked, &|_| ()).await?.ok_or(MediaFailed::Closed)?;
    claims.release_removed(now);
    for (picture, _) in claims.pictures() {
        files.remove(&Stored::Picture(picture));
    }
    for audio in claims.audio_in_use(now) {
        files.remove(&Stored::Audio(audio));
    }
    Ok(files.into_iter().map(|file| (file, claims.last_use(file.id()))).collect())
}
