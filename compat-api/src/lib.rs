//! Routes of apps that existed before Chorus: their paths, texts, status codes and rules for fields, on top of the same
//! commands and queries as `/v1`. No decisions are made here.

mod instamern;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use command_api::Commands;
use query_api::Queries;
use web::sessions::Authenticator;

/// The state of the routes: both sides.
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
