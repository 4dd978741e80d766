//! Collects uploads that no event claims: what a crash or a lost log leaves between the storing of files and the event
//! about them. It also takes what the reaction had to set aside. Nothing that the log claims can be taken: an upload is
//! claimed within minutes of being stored or never, its id is never used again, and the log is asked after the list was
//! made.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{EventLog, MediaId};
use futures::TryStreamExt;
use service::media::MediaStore;
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
        match collect(&*parts.log, &*parts.media, parts.clock.now()).await {
            Ok(collected) => tracing::info!(
                pictures = collected.looked_at,
                deleted = collected.deleted.len(),
                "uploads that no event claims are collected"
            ),
            // The next time will do.
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "unclaimed uploads could not be collected");
            }
        }
    }
}

/// Deletes every picture that is older than [`SAFE_AGE`] and that the log does not claim.
///
/// # Errors
/// If the log or the media store is away. What has been deleted till then was right to go.
pub async fn collect(
    log: &dyn EventLog,
    media: &dyn MediaStore,
    now: DateTime<Utc>,
) -> Result<Collected, MediaFailed> {
    let mut collected = Collected::default();
    let mut listed = media.list();
    let mut newest: HashMap<MediaId, DateTime<Utc>> = HashMap::new();
    loop {
        let next = listed.try_next().await?;
        if let Some(one) = &next
            && let Some(picture) = picture_of(&one.name)
        {
            // Its files lie together; whatever falls between two rounds is looked at in both.
            if newest.len() == ASKED_AT_ONCE && !newest.contains_key(&picture) {
                collect_of(log, media, old_enough(&mut newest, now), &mut collected).await?;
            }
            let modified = newest.entry(picture).or_insert(one.modified);
            *modified = one.modified.max(*modified);
        }
        if next.is_none() {
            collect_of(log, media, old_enough(&mut newest, now), &mut collected).await?;
            return Ok(collected);
        }
    }
}

fn old_enough(newest: &mut HashMap<MediaId, DateTime<Utc>>, now: DateTime<Utc>) -> HashSet<MediaId> {
    newest.drain().filter(|(_, modified)| now - *modified >= SAFE_AGE).map(|(picture, _)| picture).collect()
}

async fn collect_of(
    log: &dyn EventLog,
    media: &dyn MediaStore,
    pictures: HashSet<MediaId>,
    collected: &mut Collected,
) -> Result<(), MediaFailed> {
    if pictures.is_empty() {
        return Ok(());
    }
    collected.looked_at += pictures.len();
    let mut unclaimed = pictures.clone();
    let head = log.head().await?;
    let claims = of_log(log, head, LookedFor::These(pictures), &|_| ()).await?.ok_or(MediaFailed::Closed)?;
    for (picture, _) in claims.pictures() {
        unclaimed.remove(&picture);
    }
    for picture in unclaimed {
        tracing::info!(%picture, "a picture that nothing claims is collected");
        delete_picture(media, picture).await?;
        metrics::counter!("chorus_media_collected_total").increment(1);
        collected.deleted.push(picture);
    }
    Ok(())
}
