//! What the InstaMERN app asks the read side for. Nobody needs a token but for oneself, and none is looked at.

mod notifications;
mod posts;
mod stories;
mod users;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use chrono::DateTime;
use web::compat::{Refusal, time};

use crate::Queries;

type Answer = Result<Response, Refusal>;

pub(super) fn routes() -> Router<Queries> {
    Router::new()
        .route("/instamern", get(async || "Welcome to InstaMERN, served by Chorus."))
        .route("/instamern/users", get(users::drawn))
        .route("/instamern/users/id/{id}", get(users::by_id))
        .route("/instamern/users/username/{username}", get(users::by_username))
        .route("/instamern/users/search/{*text}", get(users::search))
        .route("/instamern/users/authorization/current-user", get(users::current))
        .route("/instamern/posts", get(posts::newest))
        .route("/instamern/posts/{id}", get(posts::one))
        .route("/instamern/stories", get(stories::all))
}

/// Milliseconds since 1970, as the app writes times.
fn moment(milliseconds: i64) -> String {
    time(DateTime::from_timestamp_millis(milliseconds).unwrap_or_default())
}
