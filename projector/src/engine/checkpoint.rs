//! How far somebody who follows the log has come, as the view store keeps it: moved by compare-and-set, so that of two
//! workers one is fenced off, and with patience, since an outage of the store ends by itself.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use service::telemetry::with_causes;
use tokio::time::Instant;
use views::{Commit, CommitError, Parked, StoreError, ViewStore, Write};

/// Pause before the next attempt after an outage, growing from the first to the second.
const OUTAGE_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often a process that stands by looks whether it is needed.
const STAND_BY_POLL: Duration = Duration::from_secs(1);
/// How long another worker's checkpoint must have stood still before this one takes over.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(5);

/// Why a checkpoint was not moved. Nothing has been written.
#[derive(Debug)]
pub(crate) enum NotMoved {
    /// Another worker has moved it.
    Fenced,
    /// The store refuses what was to be written with it.
    Corrupt(StoreError),
}

/// The checkpoint of one projection or reaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpoint<'a> {
    pub(crate) store: &'a dyn ViewStore,
    pub(crate) of: &'static str,
}

impl Checkpoint<'_> {
    /// Where it stands, waiting out an outage of the store.
    pub(crate) async fn read(&self) -> Result<u64, StoreError> {
        let mut pause = Pause::default();
        loop {
            match self.store.checkpoint(self.of).await {
                Err(error @ StoreError::Unavailable(_)) => pause.wait_out(self.of, &error).await,
                outcome => return outcome,
            }
        }
    }

    /// Moves it together with writes, as one transaction, waiting out an outage of the store.
    pub(crate) async fn commit(
        &self,
        writes: &Arc<Vec<Write>>,
        parked: &[Parked],
        expected: u64,
        checkpoint: u64,
    ) -> Result<(), NotMoved> {
        let mut pause = Pause::default();
        loop {
            let commit = Commit {
                projection: self.of,
                writes: Arc::clone(writes),
                parked: parked.to_vec(),
                expected,
                checkpoint,
            };
            match self.store.commit(commit).await {
                Ok(()) => return Ok(()),
                // The answer to an attempt before this one may have been lost: then this is our own checkpoint.
                Err(CommitError::Fenced { actual }) if actual == checkpoint && pause.paused() => {
                    return Ok(());
                }
                Err(CommitError::Fenced { .. }) => return Err(NotMoved::Fenced),
                Err(CommitError::Store(error @ StoreError::Unavailable(_))) => {
                    pause.wait_out(self.of, &error).await;
                }
                Err(CommitError::Store(error @ StoreError::Corrupt(_))) => {
                    return Err(NotMoved::Corrupt(error));
                }
            }
        }
    }

    /// Ends once the other worker's checkpoint has stood still for a while. Passes on each time where it stands.
    pub(crate) async fn stand_by(&self, tell: impl Fn(u64)) {
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            match self.read().await {
                Ok(checkpoint) if seen == Some(checkpoint) => {}
                Ok(checkpoint) => (seen, since) = (Some(checkpoint), Instant::now()),
                Err(_) => return,
            }
            tell(seen.unwrap_or_default());
            tokio::time::sleep(STAND_BY_POLL).await;
            if since.elapsed() > TAKE_OVER_AFTER {
                return;
            }
        }
    }
}

/// Pauses that grow.
#[derive(Debug, Default)]
pub(crate) struct Pause(u32);

impl Pause {
    pub(crate) async fn wait_out(&mut self, of: &str, error: &(dyn std::error::Error + Send + Sync)) {
        tracing::warn!(outage = %error, name = of, error = with_causes(error), "an outage; trying again");
        tokio::time::sleep(self.next()).await;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = growing(OUTAGE_PAUSE, self.0);
        self.0 += 1;
        pause
    }

    pub(crate) fn paused(&self) -> bool {
        self.0 > 0
    }
}

/// The pause after so many others: twice as long each time, from the first to the second, with jitter, so that those
/// who failed together do not come back together.
pub(crate) fn growing((first, longest): (Duration, Duration), before: u32) -> Duration {
    let full = first.saturating_mul(1 << before.min(20)).min(longest);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}
