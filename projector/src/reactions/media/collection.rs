//! Deletes uploads that no event claims: left-overs of a crash between storing files and appending the event, and
//! parked deletions. A claimed picture is never deleted: an upload is claimed within minutes or never, its id is
//! never reused, and the log is read after the listing. A truncated log claims too little, so a collection that would
//! delete more than a small share of the store deletes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventLog, MediaId};
use futures::TryStreamExt;
use media::MediaStore;
use service::telemetry::with_causes;

use super::claims::{Tracked, of_log};
use super::{MediaFailed, NAME, Parts, delete_picture, picture_of};
use crate::{ProjectionState, Statuses};

/// Minimum age of a collected file: far longer than any request or clock error.
pub const SAFE_AGE: TimeDelta = TimeDelta::days(1);
/// Delay of the first collection after the start, and the interval.
const FIRST_DELAY: Duration = Duration::from_mins(10);
const INTERVAL: Duration = Duration::from_hours(12);
/// Maximum number of pictures per pass over the log: a few megabytes.
const PICTURES_PER_PASS: usize = 100_000;

/// Maximum share of the stored pictures, in percent, that one collection may delete. Crashes leave far less; more
/// means that the log lacks events or belongs to another store.
const MAX_SHARE_PERCENT: usize = 5;
/// A collection may always delete this many, for small stores.
const MIN_ALLOWED: usize = 20;

/// Maximum number of pictures that a collection may delete; if it is exceeded, none is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A small share of the store.
    Share,
    /// An explicit number, set by an operator.
    Pictures(usize),
}

impl Limit {
    fn of(self, stored: usize) -> usize {
        match self {
            Self::Share => MIN_ALLOWED.max(stored.saturating_mul(MAX_SHARE_PERCENT) / 100),
            Self::Pictures(pictures) => pictures,
        }
    }
}

/// The result of a collection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Pictures that are old enough to be checked.
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
                    pictures = collected.checked,
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

/// Unclaimed pictures that were not deleted because they exceed the limit.
fn refused_gauge(pictures: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
    metrics::gauge!("chorus_media_collection_refused").set(pictures as f64);
}

/// Deletes every picture older than [`SAFE_AGE`] that the log does not claim, or whose content was removed by
/// moderators so long ago that it cannot be restored, unless they exceed the limit.
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
    let mut unclaimed = HashSet::new();
    let mut listed = media.list();
    let mut newest: HashMap<MediaId, DateTime<Utc>> = HashMap::new();
    loop {
        let next = listed.try_next().await?;
        if let Some(one) = &next
            && let Some(picture) = picture_of(&one.name)
        {
            // The files of a picture are listed together; a picture split between two rounds is checked in both.
            if newest.len() == PICTURES_PER_PASS && !newest.contains_key(&picture) {
                stored += newest.len();
                let old = old_enough(&mut newest, now);
                checked += old.len();
                unclaimed.extend(unclaimed_of(log, old, now).await?);
            }
            let modified = newest.entry(picture).or_insert(one.modified);
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
    for picture in unclaimed {
        tracing::info!(%picture, "deleting an unclaimed picture");
        delete_picture(media, picture).await?;
        metrics::counter!("chorus_media_collected_total").increment(1);
        deleted.push(picture);
    }
    Ok(Collected { checked, deleted })
}

fn old_enough(newest: &mut HashMap<MediaId, DateTime<Utc>>, now: DateTime<Utc>) -> HashSet<MediaId> {
    newest.drain().filter(|(_, modified)| now - *modified >= SAFE_AGE).map(|(picture, _)| picture).collect()
}

/// The pictures that the log does not claim.
async fn unclaimed_of(
    log: &dyn EventLog,
    mut pictures: HashSet<MediaId>,
    now: DateTime<Utc>,
) -> Result<HashSet<MediaId>, MediaFailed> {
    if pictures.is_empty() {
        return Ok(pictures);
    }
    let head = log.head().await?;
    let tracked = Tracked::These(pictures.clone());
    let mut claims = of_log(log, head, tracked, &|_| ()).await?.ok_or(MediaFailed::Closed)?;
    claims.release_removed(now);
    for (picture, _) in claims.pictures() {
        pictures.remove(&picture);
    }
    Ok(pictures)
}
