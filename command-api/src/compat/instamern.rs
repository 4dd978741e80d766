//! What the InstaMERN app asks the write side for. Texts and statuses are the app's, word for word.

mod accounts;
mod caller;
mod passwords;
mod people;
mod posts;
mod rules;
mod stories;
mod user;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Response;
use axum::routing::{delete, patch, post};
use http::StatusCode;
use serde::Serialize;
use web::compat::{Refusal, Success};

use super::Desk;
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::Prefer;
use crate::social::posts::IMAGE_LIMIT;

/// What a form with one picture has beside it, in bytes.
const FORM_MARGIN: usize = 64 * 1024;

type Answer = Result<Response, Refusal>;

pub(super) fn routes() -> Router<Desk> {
    let uploads = Router::new()
        .route("/instamern/users/upload", post(people::upload_photo))
        .route("/instamern/posts/upload", post(posts::upload))
        .route("/instamern/stories/upload", post(stories::upload))
        .layer(DefaultBodyLimit::max(IMAGE_LIMIT + FORM_MARGIN));
    Router::new()
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
        .route("/instamern/posts/like/{id}", post(posts::like))
        .route("/instamern/posts/comments/{id}", post(posts::comment).delete(posts::delete_comment))
        .route("/instamern/posts/comment/{id}", post(posts::comment).delete(posts::delete_comment))
        .route("/instamern/posts/update/{id}", post(posts::update))
        .route("/instamern/posts/delete/{id}", delete(posts::delete))
        .merge(uploads)
}

impl Desk {
    /// Answers once the views have taken in what was done.
    async fn answer<T: Serialize>(&self, status: StatusCode, done: &[Outcome], said: Success<T>) -> Response {
        self.commands.settle(Prefer::TO_WAIT, done).await.answer(status, axum::Json(said))
    }

    async fn answer_nothing(&self, done: &[Outcome]) -> Response {
        self.commands.settle(Prefer::TO_WAIT, done).await.answer(StatusCode::NO_CONTENT, ())
    }
}
