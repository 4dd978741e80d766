//! Detects a log that has lost events, and refuses to start on it. Views, keys and media are evidence of the missing
//! events.

use events::{LogError, Position, SealedLog, VaultMismatch};
use futures::TryStreamExt;
use media::MediaStore;
use service::telemetry::with_causes;
use thiserror::Error;
use views::{StoreError, ViewStore};

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
    #[error(transparent)]
    Vault(#[from] VaultMismatch),
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
        match self {
            Self::Vault(mismatch) => mismatch.is_outage(),
            Self::Log(error) => matches!(error, LogError::Unavailable(_)),
            Self::Store(error) => error.is_outage(),
            Self::Views { .. } | Self::Media { .. } => false,
        }
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
    if log.compare_with_vault().await? > Position::START {
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
