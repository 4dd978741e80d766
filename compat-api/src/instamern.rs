//! The routes of InstaMERN. Texts and status codes are exactly those of the app.

mod accounts;
mod caller;
mod feed;
mod notifications;
mod passwords;
mod people;
mod posts;
mod rules;
mod signed_in;
mod stories;
mod users;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::{delete, get, patch, post};
use chrono::DateTime;
use command_api::pipeline::execute::Outcome;
use command_api::pipeline::receipt::Prefer;
use command_api::social::posts::IMAGE_LIMIT;
use http::StatusCode;
use web::compat::time;

use crate::{Answer, Apps};

/// Maximum size in bytes of a form without its picture.
const FORM_MARGIN: usize = 64 * 1024;

pub(crate) fn routes() -> Router<Apps> {
    let uploads = Router::new()
        .route("/instamern/users/upload", post(people::upload_photo))
        .route("/instamern/posts/upload", post(posts::upload))
        .route("/instamern/stories/upload", post(stories::upload))
        .layer(DefaultBodyLimit::max(IMAGE_LIMIT + FORM_MARGIN));
    Router::new()
        .route("/instamern", get(async || "Welcome to InstaMERN, served by Chorus."))
        .route("/instamern/users", get(users::random))
        .route("/instamern/users/id/{id}", get(users::by_id))
        .route("/instamern/users/username/{username}", get(users::by_username))
        .route("/instamern/users/search/{*text}", get(users::search))
        .route("/instamern/users/authorization/current-user", get(users::current))
        .route("/instamern/users/signup", post(accounts::sign_up))
        .route("/instamern/users/login", post(accounts::log_in))
        .route("/instamern/users/logout", post(accounts::log_out))
        .route("/instamern/users/change-email", patch(accounts::change_email))
        .route("/instamern/users/deactivate", delete(accounts::deactivate))
        .route("/instamern/users/delete", delete(accounts::erase))
        .route("/instamern/users/forgot-password", post(passwords::forgot))
        .route("/instamern/users/reset-password/{token}", patch(passwords::reset))
        .route("/instamern/users/change-password", patch(passwords::change))
        .route("/instamern/users/update", patch(people::update))
        .route("/instamern/users/remove", post(people::remove_photo))
        .route("/instamern/users/follow/{username}", post(people::follow))
        .route("/instamern/users/unfollow/{username}", post(people::unfollow))
        .route("/instamern/posts", get(feed::newest))
        .route("/instamern/posts/{id}", get(feed::one))
        .route("/instamern/posts/like/{id}", post(posts::like))
        .route("/instamern/posts/comments/{id}", post(posts::comment).delete(posts::delete_comment))
        .route("/instamern/posts/comment/{id}", post(posts::comment).delete(posts::delete_comment))
        .route("/instamern/posts/update/{id}", post(posts::update))
        .route("/instamern/posts/delete/{id}", delete(posts::delete))
        .route("/instamern/stories", get(stories::all))
        .merge(uploads)
}

impl Apps {
    async fn answer_nothing(&self, outcomes: &[Outcome]) -> Response {
        self.commands.settle(Prefer::TO_WAIT, outcomes).await.answer(StatusCode::NO_CONTENT, ())
    }
}

/// A time in milliseconds since 1970, in the app's format.
fn time_of(milliseconds: i64) -> String {
    time(DateTime::from_timestamp_millis(milliseconds).unwrap_or_default())
}
