//! Detects a log with fewer events than the key vault has keys of users: it has lost events. Needs no view, so that
//! every process that appends can compare before it starts.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use thiserror::Error;

use crate::{LogError, Position, SealedLog};

/// Retries of the comparison before the log counts as truncated.
const COMPARISONS: ConstantBuilder =
    ConstantBuilder::new().with_delay(Duration::from_millis(500)).with_max_times(4);

/// Why a log does not match its key vault.
#[derive(Debug, Error)]
pub enum VaultMismatch {
    #[error(
        "the log holds {head} events, but the key vault holds the keys of {people} users, each of whom has at least one \
         event: the log has lost events. Find the right log, or restore a backup. If the events are lost for good, \
         start once with --accept-lost-events"
    )]
    LostEvents { head: u64, people: u64 },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl VaultMismatch {
    /// True if another attempt may succeed.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Log(LogError::Unavailable(_)))
    }
}

impl SealedLog {
    /// Compares the number of events with the number of users in the key vault. Returns the position of the last
    /// event.
    ///
    /// # Errors
    /// [`VaultMismatch::LostEvents`] if there are more users than events.
    pub async fn compare_with_vault(&self) -> Result<Position, VaultMismatch> {
        let compare = async || {
            let people = self.people().await?;
            let head = self.raw().head().await?;
            if people <= head.0 { Ok(head) } else { Err(VaultMismatch::LostEvents { head: head.0, people }) }
        };
        // The first event of a new key may not be appended yet.
        compare.retry(COMPARISONS).when(|error| matches!(error, VaultMismatch::LostEvents { .. })).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MasterKeys, UserId, open_sealed};

    #[tokio::test]
    async fn log_with_fewer_events_than_users_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("events.db").display());
        let master = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let log = open_sealed(&url, None, &master).await.unwrap();
        assert_eq!(log.compare_with_vault().await.unwrap(), Position::START);
        log.keys().sealing(UserId::new(uuid::Uuid::from_u128(1))).await.unwrap();
        let refused = log.compare_with_vault().await.unwrap_err();
        assert!(matches!(refused, VaultMismatch::LostEvents { head: 0, people: 1 }), "{refused}");
        assert!(!refused.is_outage());
    }
}
