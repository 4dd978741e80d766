//! Projections of accounts.

mod account;
pub(crate) mod markers;
pub(crate) mod profiles;
mod search;
mod sessions;

use std::sync::Arc;

pub use account::Accounts;
pub use profiles::Profiles;
pub use search::Search;
pub use sessions::Sessions;

use crate::Projection;

pub(crate) fn projections() -> Vec<Arc<dyn Projection>> {
    vec![Arc::new(Accounts), Arc::new(Profiles), Arc::new(Search), Arc::new(Sessions)]
}
