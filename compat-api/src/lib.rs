//! Routes of apps that existed before Chorus: their paths, texts, statuses and rules for fields, over the same commands
//! and queries as `/v1`. Nothing is decided here.

mod accounts;
mod instamern;
mod rules;
mod session;
mod spotifymern;
mod start;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::response::Response;
use command_api::Commands;
use query_api::Queries;
use web::compat::Refusal;
use web::sessions::Authenticator;

pub use start::Parts;

type Answer = Result<Response, Refusal>;

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
    let routes = instamern::routes().merge(spotifymern::routes());
    command_api::report_partial_failures(routes.with_state(apps))
}
