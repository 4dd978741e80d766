//! Erasure, to its end: the key of whoever is erased is destroyed. The command does so at once; where it could not, by a
//! crash or an outage, nobody could ask for it a second time, and what they wrote would stay readable.

use std::sync::Arc;

use async_trait::async_trait;
use events::{AccountEvent, AccountsEvent, Event, KeyRing, Kind, Recorded, SealedLog};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use views::ViewStore;

use super::repeatable::{self, Repeatable};
use crate::Statuses;

/// The name of its checkpoint; no view has it.
pub const NAME: &str = "erasures-reaction";

struct Erasures {
    keys: Arc<KeyRing>,
}

/// Starts the reaction.
pub fn run(log: &SealedLog, store: Arc<dyn ViewStore>, tasks: &Tasks) -> Statuses {
    let erasures = Erasures { keys: Arc::clone(log.keys()) };
    repeatable::run(erasures, Arc::clone(log.raw()), store, tasks)
}

#[async_trait]
impl Repeatable for Erasures {
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
        // Whatever is wrong with the vault: an erasure is never set aside.
        let destroyed =
            retry_until_available("the key vault", || self.keys.destroy(event.user), |_| true).await;
        destroyed.map_err(|error| with_causes(&error))
    }
}
