//! Answers with a session and its user. The user comes from the views, or from the log while the views are unavailable.

use command_api::accounts::sign_up::SignUp;
use command_api::pipeline::errors::log_problem;
use command_api::pipeline::execute::Outcome;
use events::{ProfileDetails, UserId};
use http::{HeaderValue, StatusCode};
use media::ImageVariant;
use query_api::reading::answer::Conditions;
use serde_json::{Value, json};
use web::compat::{Refusal, Success};
use web::http::PENDING;
use web::problem::Problem;

use crate::session::UserSession;
use crate::{Answer, Apps};

impl Apps {
    /// Answers with the session, its cookie and the user.
    pub(super) async fn answer_signed_in(
        &self,
        session: UserSession,
        outcomes: &[Outcome],
        body: Success<()>,
    ) -> Answer {
        let newest = outcomes.iter().map(|outcome| outcome.position).max().unwrap_or_default();
        let (user, pending) = match self.current_user(session.user, &Conditions::since(newest)).await {
            Ok((mut user, _)) => {
                user.active = None;
                (serde_json::to_value(user).map_err(Problem::internal)?, false)
            }
            Err(error) => {
                tracing::warn!(%error, "the views cannot be read: the user is built from the log");
                (self.user_from_log(session.user).await?, true)
            }
        };
        let mut answer = self.answer_with_session(StatusCode::OK, &session, outcomes, body, user).await?;
        if pending {
            answer.headers_mut().insert(PENDING, HeaderValue::from_static("true"));
        }
        Ok(answer)
    }

    /// Fields that only views have are empty.
    async fn user_from_log(&self, user: UserId) -> Result<Value, Refusal> {
        let account = self.commands.account(user).await.map_err(log_problem)?;
        let (details, photo) = self.commands.profile(user).await.map_err(log_problem)?;
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

/// A user who has just signed up.
pub(super) fn new_user(user: UserId, command: &SignUp) -> Value {
    let SignUp { username, email, firstname, lastname, .. } = command;
    json!({
        "_id": user, "id": user,
        "firstname": firstname, "lastname": lastname,
        "username": username, "email": email, "bio": "",
        "followers": [], "followings": [], "notifications": [],
    })
}
