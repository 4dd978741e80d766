//! A log that has lost events must not be served: views, keys and media show that it was longer.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use events::{LogError, SealedLog};
use futures::TryStreamExt;
use media::MediaStore;
use service::telemetry::with_causes;
use thiserror::Error;
use views::{StoreError, ViewStore};

/// How often the log is compared with the vault before it counts as too short, and the pause in between.
const COMPARISONS: ConstantBuilder =
    ConstantBuilder::new().with_delay(Duration::from_millis(500)).with_max_times(4);

/// Why a process does not start on a log.
#[derive(Debug, Error)]
pub enum LostEvents {
    #[error(
        "the log ends at position {head}, but `{of}` has taken in position {checkpoint}: the log has lost events, or these \
         views belong to another one. Look for the right log, or restore a backup. If the lost events cannot be had, \
         delete the views (the file views.db with its -wal and -shm; on MongoDB the database): they are built again from \
         the log that is there"
    )]
    Views { head: u64, of: String, checkpoint: u64 },
    #[error(
        "the log holds {head} events, but the key vault the keys of {people} people, each of whom has left an event: the \
         log has lost events. Look for the right log, or restore a backup. If the lost events cannot be had, start \
         once with --accept-lost-events"
    )]
    Keys { head: u64, people: u64 },
    #[error(
        "the log is empty, but the media store holds files (such as {example}): the log has lost its events. Look for the \
         right log, or restore a backup. If the lost events cannot be had, start once with --accept-lost-events"
    )]
    Media { example: String },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LostEvents {
    /// True where another attempt may succeed.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Log(LogError::Unavailable(_)) | Self::Store(StoreError::Unavailable(_)))
    }
}

/// Compares the log with what has come of it, before anything follows it. `accepted`: whoever runs the process knows that
/// events are lost. Views that are ahead of the log are refused even so, since they would never be right again.
///
/// # Errors
/// What shows that the log was longer.
pub async fn refuse_lost_events(
    log: &SealedLog,
    store: &dyn ViewStore,
    media: &dyn MediaStore,
    accepted: bool,
) -> Result<(), LostEvents> {
    let checkpoints = store.checkpoints().await?;
    // After the checkpoints: other processes may be at work.
    let head = log.raw().head().await?.0;
    let furthest = checkpoints.into_iter().max_by_key(|(_, checkpoint)| *checkpoint);
    if let Some((of, checkpoint)) = furthest.filter(|(_, checkpoint)| *checkpoint > head) {
        return Err(LostEvents::Views { head, of, checkpoint });
    }
    if accepted {
        return Ok(());
    }
    let head = compare_with_vault(log).await?;
    if head > 0 {
        return Ok(());
    }
    match media.list().try_next().await {
        Ok(None) => Ok(()),
        Ok(Some(found)) => Err(LostEvents::Media { example: found.name }),
        Err(error) => {
            // The clean-up deletes nothing that it should not, either.
            tracing::warn!(
                error = with_causes(&error),
                "the empty log cannot be compared with the media store"
            );
            Ok(())
        }
    }
}

/// The position of the last event.
async fn compare_with_vault(log: &SealedLog) -> Result<u64, LostEvents> {
    let compare = async || {
        let people = log.people().await?;
        let head = log.raw().head().await?.0;
        if people <= head { Ok(head) } else { Err(LostEvents::Keys { head, people }) }
    };
    // A new key's first event may be on its way.
    compare.retry(COMPARISONS).when(|error| matches!(error, LostEvents::Keys { .. })).await
}
