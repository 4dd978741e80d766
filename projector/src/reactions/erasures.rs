//! Completes erasures: destroys the key of the erased user (crypto-shredding). The command destroys it immediately;
//! this reaction does it if a crash or an outage prevented that. Otherwise the user's texts would stay readable.

use std::sync::Arc;

use async_trait::async_trait;
use events::{AccountEvent, AccountsEvent, Event, KeyRing, Kind, Recorded, SealedLog};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use views::ViewStore;

use super::idempotent::{self, IdempotentReaction};
use crate::Statuses;

/// The name of its checkpoint; no view has this name.
pub const NAME: &str = "erasures-reaction";

struct Erasures {
    keys: Arc<KeyRing>,
}

/// Starts the reaction.
pub fn run(log: &SealedLog, store: Arc<dyn ViewStore>, tasks: &Tasks) -> Statuses {
    let erasures = Erasures { keys: Arc::clone(log.keys()) };
    idempotent::run(erasures, Arc::clone(log.raw()), store, tasks)
}

#[async_trait]
impl IdempotentReaction for Erasures {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Account]
    }

    async fn effect(&self, recorded: &Recorded) -> Result<(), String> {
        let Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) = &recorded.event else {
            return Ok(());
        };
        // Retries every error of the vault: an erasure is never parked.
        let destroyed =
            retry_until_available("the key vault", || self.keys.destroy(event.user), |_| true).await;
        destroyed.map_err(|error| with_causes(&error))
    }
}
