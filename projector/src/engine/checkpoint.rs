//! The checkpoint of a follower of the log, in the view store. It is moved by compare-and-set, so that one of two workers
//! is fenced off, and outages of the store are retried.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use service::retry::{OUTAGE_BACKOFF, retry_until_available};
use service::telemetry::with_causes;
use tokio::time::Instant;
use views::{Commit, CommitError, Parked, StoreError, ViewStore, Write};

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
    /// Reads it. Retries outages of the store.
    pub(crate) async fn read(&self) -> Result<u64, StoreError> {
        let is_outage = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
        retry_until_available("the view store", || self.store.checkpoint(self.of), is_outage).await
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

/// Delays during an outage, for loops that do more than retry.
#[derive(Debug)]
pub(crate) struct Pause {
    delays: <ExponentialBuilder as BackoffBuilder>::Backoff,
    paused: bool,
}

impl Default for Pause {
    fn default() -> Self {
        Self { delays: OUTAGE_BACKOFF.build(), paused: false }
    }
}

impl Pause {
    pub(crate) async fn wait_out(&mut self, of: &str, error: &(dyn std::error::Error + Send + Sync)) {
        tracing::warn!(outage = %error, name = of, error = with_causes(error), "an outage; trying again");
        tokio::time::sleep(self.next()).await;
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.paused = true;
        // It has no end.
        self.delays.next().unwrap_or_default()
    }

    pub(crate) fn paused(&self) -> bool {
        self.paused
    }
}

/// The delay after a number of others: twice as long each time, from the first to the longest, with jitter.
pub(crate) fn growing((first, longest): (Duration, Duration), before: u32) -> Duration {
    // Jitter adds up to as much again.
    let delays = ExponentialBuilder::new().with_min_delay(first / 2).with_max_delay(longest / 2);
    let mut delays = delays.without_max_times().with_jitter().build();
    delays.nth(before.min(20).try_into().unwrap_or_default()).unwrap_or(longest)
}
