//! Detects a log that has lost events, and refuses to start on it. Views, keys and media are evidence of the missing
//! events.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use events::{LogError, SealedLog};
use futures::TryStreamExt;
use media::MediaStore;
use service::telemetry::with_causes;
use thiserror::Error;
use views::{StoreError, ViewStore};

/// Retries of the comparison with the vault before the log counts as truncated.
const COMPARISONS: ConstantBuilder =
    ConstantBuilder::new().with_delay(Duration::from_millis(500)).with_max_times(4);

/// Why a process refuses to start on a log.
#[derive(Debug, Error)]
pub enum LostEvents {
    #[error(
        "the log ends at position {head}, but `{of}` has reached position {checkpoint}: the log has lost events, or these \
         views belong to another log. Find the right log, or restore a backup. If the events are lost for good, delete \
         the views (the file views.db with its -wal and -shm; on MongoDB the database): they are rebuilt from the \
         current log"
    )]
    Views { head: u64, of: String, checkpoint: u64 },
    #[error(
        "the log holds {head} events, but the key vault holds the keys of {people} users, each of whom has at least one \
         event: the log has lost events. Find the right log, or restore a backup. If the events are lost for good, \
         start once with --accept-lost-events"
    )]
    Keys { head: u64, people: u64 },
    #[error(
        "the log is empty, but the media store holds files (such as {example}): the log has lost its events. Find the \
         right log, or restore a backup. If the events are lost for good, start once with --accept-lost-events"
    )]
    Media { example: String },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LostEvents {
    /// True if another attempt may succeed.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Log(LogError::Unavailable(_)) | Self::Store(StoreError::Unavailable(_)))
    }
}

/// Compares the log with views, keys and media before any consumer starts. With `accepted` (`--accept-lost-events`)
/// only views are compared: views ahead of the log would stay wrong forever.
///
/// # Errors
/// The evidence of lost events.
pub async fn refuse_lost_events(
    log: &SealedLog,
    store: &dyn ViewStore,
    media: &dyn MediaStore,
    accepted: bool,
) -> Result<(), LostEvents> {
    let checkpoints = store.checkpoints().await?;
    // Read the head after the checkpoints: other processes may be appending.
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
            // The clean-up has its own limit on deletions.
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
    // The first event of a new key may not be appended yet.
    compare.retry(COMPARISONS).when(|error| matches!(error, LostEvents::Keys { .. })).await
}
