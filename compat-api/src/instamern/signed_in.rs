//! Answers that carry a session and its user: the user as the views have them, or, while these cannot be read, as far as the
//! log tells.

use events::{ProfileDetails, UserId};
use http::{HeaderValue, StatusCode, header};
use media::ImageVariant;
use serde_json::{Value, json};
use web::compat::{Refusal, Success, cookie, forget_cookie};
use web::http::PENDING;
use web::problem::Problem;

use command_api::accounts::sign_up::SignUp;
use command_api::pipeline::errors::log_problem;
use command_api::pipeline::execute::Outcome;
use command_api::pipeline::receipt::Prefer;
use query_api::reading::answer::Conditions;

use super::Answer;
use crate::Apps;

/// A session that somebody has, or has just begun.
pub(super) struct Held {
    pub(super) user: UserId,
    pub(super) token: String,
    pub(super) expires: chrono::DateTime<chrono::Utc>,
    /// Whether a cookie from before is to be forgotten first.
    pub(super) renewed: bool,
}

impl Apps {
    /// Answers with the session, its cookie and the user.
    pub(super) async fn answer_signed_in(
        &self,
        held: Held,
        all_done: &[Outcome],
        said: Success<()>,
    ) -> Answer {
        let seen = all_done.iter().map(|done| done.position).max().unwrap_or_default();
        let (user, pending) = match self.current_user(held.user, &Conditions::since(seen)).await {
            Ok((mut user, _)) => {
                user.active = None;
                (serde_json::to_value(user).map_err(Problem::internal)?, false)
            }
            Err(error) => {
                tracing::warn!(%error, "a user is answered from the log, without what only views know");
                (self.user_from_log(held.user).await?, true)
            }
        };
        let mut answer = self.answer_with_session(StatusCode::OK, &held, all_done, said, user).await?;
        if pending {
            answer.headers_mut().insert(PENDING, HeaderValue::from_static("true"));
        }
        Ok(answer)
    }

    pub(super) async fn answer_with_session(
        &self,
        status: StatusCode,
        held: &Held,
        all_done: &[Outcome],
        said: Success<()>,
        user: Value,
    ) -> Answer {
        let body = said.token(held.token.clone()).with(json!({ "user": user }));
        let settled = self.commands.settle(Prefer::TO_WAIT, all_done).await;
        let mut answer = settled.answer(status, axum::Json(body));
        let headers = answer.headers_mut();
        if held.renewed {
            headers.append(header::SET_COOKIE, forget_cookie());
        }
        headers.append(header::SET_COOKIE, cookie(&held.token, held.expires)?);
        Ok(answer)
    }

    /// What only views know is empty.
    async fn user_from_log(&self, user: UserId) -> Result<Value, Refusal> {
        let account = self.commands.account(user).await.map_err(log_problem)?;
        let (details, photo) = self.commands.shown(user).await.map_err(log_problem)?;
        let ProfileDetails { firstname, lastname, bio } = details;
        let mut shown = json!({
            "_id": user, "id": user,
            "firstname": firstname, "lastname": lastname,
            "username": account.username(), "email": account.address(), "bio": bio,
            "followers": [], "followings": [], "notifications": [], "posts": [], "stories": [],
        });
        if let Some(photo) = photo {
            shown["photo"] =
                ImageVariant::PHOTO.url(self.queries.public_url(), &photo.media.to_string()).into();
        }
        Ok(shown)
    }
}

/// Somebody who has just signed up.
pub(super) fn newcomer(user: UserId, command: &SignUp) -> Value {
    let SignUp { username, email, firstname, lastname, .. } = command;
    json!({
        "_id": user, "id": user,
        "firstname": firstname, "lastname": lastname,
        "username": username, "email": email, "bio": "",
        "followers": [], "followings": [], "notifications": [],
    })
}
