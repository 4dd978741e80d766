//! Erasure in the files of the views: once every view has taken in that somebody is erased, the store makes unreadable what
//! they have deleted or overwritten. Its checkpoint moves only afterwards, so a crash repeats it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::{AccountEvent, AccountsEvent, Event, Kind, Position, ProgressBoard, Recorded, SealedLog};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::sync::Mutex;
use views::{StoreError, ViewStore};

use super::repeatable::{self, Repeatable};
use crate::{Projection, Statuses};

/// The name of its checkpoint; no view has it.
pub const NAME: &str = "purges-reaction";
/// How long a purge waits for all views. Then it is made for those that have taken the erasure in, and once more for
/// the others when they have.
const VIEWS_WAIT: Duration = Duration::from_mins(1);

struct Purges {
    store: Arc<dyn ViewStore>,
    board: ProgressBoard,
    /// The projections that take in erasures.
    projections: Vec<&'static str>,
    /// Erasures up to here are purged: one purge covers all that the views had taken in when it began.
    covered: Mutex<u64>,
}

/// Starts the reaction. `projections` are all that build views.
pub fn run(
    log: &SealedLog,
    store: Arc<dyn ViewStore>,
    board: ProgressBoard,
    projections: &[Arc<dyn Projection>],
    tasks: &Tasks,
) -> Statuses {
    let of_accounts = projections.iter().filter(|projection| projection.kinds().contains(&Kind::Account));
    let purges = Purges {
        store: Arc::clone(&store),
        board,
        projections: of_accounts.map(|projection| projection.name()).collect(),
        covered: Mutex::default(),
    };
    repeatable::run(purges, Arc::clone(log.raw()), store, tasks)
}

#[async_trait]
impl Repeatable for Purges {
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
            tracing::warn!(position = %recorded.position, "views have not taken in an erasure yet");
            passed = self.passed(recorded.position).await;
        }
        self.purge(recorded.position.0).await.map_err(|error| with_causes(&error))
    }
}

impl Purges {
    async fn passed(&self, position: Position) -> bool {
        self.board.passed_by(&self.projections, position, VIEWS_WAIT).await
    }

    /// Purges unless another purge has covered the position meanwhile, waiting out outages.
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
        let is_outage = |error: &StoreError| matches!(error, StoreError::Unavailable(_));
        *covered = retry_until_available("the view store", purge, is_outage).await?.unwrap_or(position);
        Ok(())
    }
}
