//! The user in the answers to commands: as the read side shows people to themselves, or, while that cannot be asked, as far
//! as the log tells.

use events::{ProfileDetails, UserId};
use http::{HeaderValue, StatusCode, header};
use media::ImageVariant;
use serde_json::{Value, json};
use web::compat::{Success, cookie, forget_cookie};
use web::http::PENDING;

use super::super::Desk;
use super::Answer;
use crate::accounts::sign_up::SignUp;
use crate::pipeline::errors::log_problem;
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::Prefer;

const CURRENT_USER: &str = "/instamern/users/authorization/current-user";

/// A session that somebody has, or has just begun.
pub(super) struct Held {
    pub(super) user: UserId,
    pub(super) token: String,
    pub(super) expires: chrono::DateTime<chrono::Utc>,
    /// Whether a cookie from before is to be forgotten first.
    pub(super) renewed: bool,
}

impl Desk {
    /// Answers with the session, its cookie and the user.
    pub(super) async fn answer_session(&self, held: Held, all_done: &[Outcome], said: Success<()>) -> Answer {
        let seen = all_done.iter().map(|done| done.position).max().unwrap_or_default();
        let asked = self.read_side.get(CURRENT_USER, &held.token, seen).await;
        let found = asked.map(|mut answer| answer["data"]["user"].take());
        let (user, pending) = match found {
            Ok(Value::Object(mut user)) => {
                // Only the current user is told it.
                user.remove("active");
                (Value::Object(user), false)
            }
            other => {
                if let Err(error) = &other {
                    tracing::warn!(
                        error = service::telemetry::with_causes(error),
                        "a user is shown by the log"
                    );
                }
                (self.user_by_log(held.user).await?, true)
            }
        };
        let mut answer = self.answer_user(StatusCode::OK, &held, all_done, said, user).await?;
        if pending {
            answer.headers_mut().insert(PENDING, HeaderValue::from_static("true"));
        }
        Ok(answer)
    }

    pub(super) async fn answer_user(
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
    async fn user_by_log(&self, user: UserId) -> Result<Value, web::compat::Refusal> {
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
            shown["photo"] = ImageVariant::PHOTO.url(&self.public_url, &photo.media.to_string()).into();
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
