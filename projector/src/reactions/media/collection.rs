//! Collects uploads that no event claims: what a crash or a lost log leaves between the storing of files and the event
//! about them. It also takes what the reaction had to set aside. Nothing that the log claims can be taken: an upload is
//! claimed within minutes of being stored or never, its id is never used again, and the log is asked after the list was
//! made. A log that has lost events claims too little: a collection that would delete more than a small share of the store
//! deletes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventLog, MediaId};
use futures::TryStreamExt;
use media::MediaStore;
use service::telemetry::with_causes;

use super::claims::{LookedFor, of_log};
use super::{MediaFailed, NAME, Parts, delete_picture, picture_of};
use crate::{ProjectionState, Statuses};

/// How old something unclaimed must be to be collected: far beyond any request, and any clock that is wrong.
pub const SAFE_AGE: TimeDelta = TimeDelta::days(1);
/// How long after its start a process collects for the first time, and how often then.
const FIRST: Duration = Duration::from_mins(10);
const INTERVAL: Duration = Duration::from_hours(12);
/// Pictures that the log is asked about at once: a few megabytes, and one pass over the log for so many.
const ASKED_AT_ONCE: usize = 100_000;

/// Of the pictures in the store, the share in percent that one collection may delete. What crashes leave is far less: more
/// means that the log lacks events, or is not the log of this store.
const SHARE: usize = 5;
/// So many may be deleted in any case, for small stores.
const ALWAYS: usize = 20;

/// How many pictures a collection may delete; if there are more, it deletes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A small share of the store.
    Share,
    /// So many, as somebody has decided who has looked.
    Pictures(usize),
}

impl Limit {
    fn of(self, stored: usize) -> usize {
        match self {
            Self::Share => ALWAYS.max(stored.saturating_mul(SHARE) / 100),
            Self::Pictures(pictures) => pictures,
        }
    }
}

/// What a collection came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Pictures looked at: those that are old enough.
    pub looked_at: usize,
    pub deleted: Vec<MediaId>,
}

pub(super) async fn collect_now_and_then(parts: &Parts, statuses: &Statuses) {
    let mut moment = tokio::time::interval_at(tokio::time::Instant::now() + FIRST, INTERVAL);
    loop {
        moment.tick().await;
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
                    pictures = collected.looked_at,
                    deleted = collected.deleted.len(),
                    "uploads that no event claims are collected"
                );
            }
            Err(error @ MediaFailed::TooMany { .. }) => {
                tracing::error!(error = with_causes(&error), "the media clean-up has stopped");
            }
            // The next time will do.
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "unclaimed uploads could not be collected");
            }
        }
    }
}

/// Pictures that no event claims and that were not deleted, since they are too many.
fn refused_gauge(pictures: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
    metrics::gauge!("chorus_media_collection_refused").set(pictures as f64);
}

/// Deletes every picture that is older than [`SAFE_AGE`] and that the log does not claim, or that belongs to what moderators
/// removed so long ago that it cannot be restored, unless there are more than the limit allows.
///
/// # Errors
/// [`MediaFailed::TooMany`] if there are; then nothing is deleted. Others if the log or the media store is away: what has
/// been deleted till then was right to go.
pub async fn collect(
    log: &dyn EventLog,
    media: &dyn MediaStore,
    now: DateTime<Utc>,
    limit: Limit,
) -> Result<Collected, MediaFailed> {
    let mut looked_at = 0;
    let mut stored = 0;
    let mut unclaimed = HashSet::new();
    let mut listed = media.list();
    let mut newest: HashMap<MediaId, DateTime<Utc>> = HashMap::new();
    loop {
        let next = listed.try_next().await?;
        if let Some(one) = &next
            && let Some(picture) = picture_of(&one.name)
        {
            // Its files lie together; whatever falls between two rounds is looked at in both.
            if newest.len() == ASKED_AT_ONCE && !newest.contains_key(&picture) {
                stored += newest.len();
                let old = old_enough(&mut newest, now);
                looked_at += old.len();
                unclaimed.extend(unclaimed_of(log, old, now).await?);
            }
            let modified = newest.entry(picture).or_insert(one.modified);
            *modified = one.modified.max(*modified);
        }
        if next.is_none() {
            stored += newest.len();
            let old = old_enough(&mut newest, now);
            looked_at += old.len();
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
        tracing::info!(%picture, "a picture that nothing claims is collected");
        delete_picture(media, picture).await?;
        metrics::counter!("chorus_media_collected_total").increment(1);
        deleted.push(picture);
    }
    Ok(Collected { looked_at, deleted })
}

fn old_enough(newest: &mut HashMap<MediaId, DateTime<Utc>>, now: DateTime<Utc>) -> HashSet<MediaId> {
    newest.drain().filter(|(_, modified)| now - *modified >= SAFE_AGE).map(|(picture, _)| picture).collect()
}

/// Those of the pictures that the log does not claim.
async fn unclaimed_of(
    log: &dyn EventLog,
    mut pictures: HashSet<MediaId>,
    now: DateTime<Utc>,
) -> Result<HashSet<MediaId>, MediaFailed> {
    if pictures.is_empty() {
        return Ok(pictures);
    }
    let head = log.head().await?;
    let looked_for = LookedFor::These(pictures.clone());
    let mut claims = of_log(log, head, looked_for, &|_| ()).await?.ok_or(MediaFailed::Closed)?;
    claims.let_go_of_removed(now);
    for (picture, _) in claims.pictures() {
        pictures.remove(&picture);
    }
    Ok(pictures)
}
