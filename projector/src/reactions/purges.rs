//! Purges erased data from the view store's files: once all views have processed an erasure, deleted and overwritten
//! documents are made unreadable. The checkpoint moves afterwards, so a crash repeats the purge.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{AccountEvent, AccountsEvent, Event, Kind, Position, ProgressTracker, Recorded, SealedLog};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::sync::Mutex;
use views::{StoreError, ViewStore};

use super::idempotent::{self, IdempotentReaction};
use crate::{Projection, Statuses};

/// The name of its checkpoint; no view has this name.
pub const NAME: &str = "purges-reaction";
/// How long a purge waits for all views. Then it purges the views that have processed the erasure, and repeats it for
/// the others later.
const VIEWS_WAIT: Duration = Duration::from_mins(1);

struct Purges {
    store: Arc<dyn ViewStore>,
    tracker: ProgressTracker,
    /// The projections that process erasures.
    projections: Vec<&'static str>,
    /// Erasures up to this position are purged: one purge covers everything that the views had processed when it
    /// began.
    covered: Mutex<u64>,
}

/// Starts the reaction. `projections` must contain all projections.
pub fn run(
    log: &SealedLog,
    store: Arc<dyn ViewStore>,
    tracker: ProgressTracker,
    projections: &[Arc<dyn Projection>],
    tasks: &Tasks,
) -> Statuses {
    let of_accounts = projections.iter().filter(|projection| projection.kinds().contains(&Kind::Account));
    let purges = Purges {
        store: Arc::clone(&store),
        tracker,
        projections: of_accounts.map(|projection| projection.name()).collect(),
        covered: Mutex::default(),
    };
    idempotent::run(purges, Arc::clone(log.raw()), store, tasks)
}

#[async_trait]
impl IdempotentReaction for Purges {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account]
    }

    async fn effect(&self, recorded: &Recorded) -> Result<(), String> {
        let Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(_))) = &recorded.event else {
            return Ok(());
        };
        let mut passed = self.passed(recorded.position).await;
        self.purge(recorded.position.0).await.map_err(|error| with_causes(&error))?;
        if passed {
            return Ok(());
        }
        while !passed {
            tracing::warn!(position = %recorded.position, "some views have not processed an erasure yet");
            passed = self.passed(recorded.position).await;
        }
        self.purge(recorded.position.0).await.map_err(|error| with_causes(&error))
    }
}

impl Purges {
    async fn passed(&self, position: Position) -> bool {
        self.tracker.wait_for(&self.projections, position, VIEWS_WAIT).await
    }

    /// Purges unless another purge already covers the position. Retries during outages.
    async fn purge(&self, position: u64) -> Result<(), StoreError> {
        let mut covered = self.covered.lock().await;
        if *covered >= position {
            return Ok(());
        }
        let purge = async || {
            let checkpoints = self.store.checkpoints().await?;
            self.store.purge().await?;
            Ok(self.projections.iter().map(|name| checkpoints.get(*name).copied().unwrap_or(0)).min())
        };
        *covered =
            retry_until_available("the view store", purge, StoreError::is_outage).await?.unwrap_or(position);
        Ok(())
    }
}
