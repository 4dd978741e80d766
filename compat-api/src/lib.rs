//! Routes of apps that existed before Chorus: their paths, texts, statuses and rules for fields, over the same commands
//! and queries as `/v1`. Nothing is decided here.

mod instamern;
mod start;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use command_api::Commands;
use query_api::Queries;
use web::sessions::Authenticator;

pub use start::Parts;

/// Both sides, as the routes of the apps use them.
#[derive(Debug, Clone)]
pub struct Apps {
    pub commands: Commands,
    pub queries: Queries,
}

impl FromRef<Apps> for Commands {
    fn from_ref(apps: &Apps) -> Self {
        apps.commands.clone()
    }
}

impl FromRef<Apps> for Arc<Authenticator> {
    fn from_ref(apps: &Apps) -> Self {
        Arc::clone(apps.commands.authenticator())
    }
}

/// The routes of all apps.
pub fn routes(apps: Apps) -> Router {
    command_api::report_partial_failures(instamern::routes().with_state(apps))
}
