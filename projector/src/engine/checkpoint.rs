//! The checkpoint of a log follower, stored in the view store. Moves are compare-and-set, so a second worker is
//! fenced off. Outages of the store are retried.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use service::retry::{OUTAGE_BACKOFF, retry_until_available};
use service::telemetry::with_causes;
use tokio::time::Instant;
use views::{Commit, CommitError, Parked, StoreError, ViewStore, Write};

use super::parking::{PARKED_LIMIT, Parking, TooManyParked};

/// How often a standby worker polls the active worker's checkpoint.
const STAND_BY_POLL: Duration = Duration::from_secs(1);
/// A standby worker takes over when the checkpoint has not moved for this long.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(5);

/// Why a checkpoint was not moved. Nothing was written.
#[derive(Debug)]
pub(crate) enum NotMoved {
    /// Another worker moved the checkpoint.
    Fenced,
    /// The store rejected the writes.
    Corrupt(StoreError),
}

/// The checkpoint of one projection or reaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checkpoint<'a> {
    pub(crate) store: &'a dyn ViewStore,
    pub(crate) of: &'static str,
}

impl Checkpoint<'_> {
    /// Reads the checkpoint. Retries during outages of the store.
    pub(crate) async fn read(&self) -> Result<u64, StoreError> {
        retry_until_available("the view store", || self.store.checkpoint(self.of), StoreError::is_outage)
            .await
    }

    /// The events that are parked. Read after the checkpoint: another worker that parks one later also moves the checkpoint,
    /// which fences this one. Retries during outages of the store.
    pub(crate) async fn parking(&self) -> Result<Result<Parking, TooManyParked>, StoreError> {
        let read = || self.store.parked(self.of, PARKED_LIMIT + 1);
        Ok(Parking::of(&retry_until_available("the view store", read, StoreError::is_outage).await?))
    }

    /// Commits the writes and moves the checkpoint in one transaction. Retries during outages of the store.
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
                // An earlier attempt may have succeeded with a lost answer: then this is our own checkpoint.
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

    /// Moves the checkpoint and parks events; returns where it is then. If another worker has moved it, that worker also parks
    /// the events.
    pub(crate) async fn advance(&self, from: u64, to: u64, parked: &[Parked]) -> Result<u64, StoreError> {
        match self.commit(&Arc::default(), parked, from, to).await {
            Ok(()) => Ok(to),
            Err(NotMoved::Fenced) => self.read().await,
            Err(NotMoved::Corrupt(error)) => Err(error),
        }
    }

    /// Polls the other worker's checkpoint and passes each value to the callback. Returns when the checkpoint has not
    /// moved for [`TAKE_OVER_AFTER`].
    pub(crate) async fn stand_by(&self, on_checkpoint: impl Fn(u64)) {
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            match self.read().await {
                Ok(checkpoint) if seen == Some(checkpoint) => {}
                Ok(checkpoint) => (seen, since) = (Some(checkpoint), Instant::now()),
                Err(_) => return,
            }
            on_checkpoint(seen.unwrap_or_default());
            tokio::time::sleep(STAND_BY_POLL).await;
            if since.elapsed() > TAKE_OVER_AFTER {
                return;
            }
        }
    }
}

/// Backoff delays for loops that do more than retry.
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
        // The iterator is endless.
        self.delays.next().unwrap_or_default()
    }

    pub(crate) fn paused(&self) -> bool {
        self.paused
    }
}

/// The delay after `before` earlier attempts: doubles from the first to the longest delay, with jitter.
pub(crate) fn backoff_delay((first, longest): (Duration, Duration), before: u32) -> Duration {
    // Jitter at most doubles a delay.
    let delays = ExponentialBuilder::new().with_min_delay(first / 2).with_max_delay(longest / 2);
    let mut delays = delays.without_max_times().with_jitter().build();
    delays.nth(before.min(20).try_into().unwrap_or_default()).unwrap_or(longest)
}
