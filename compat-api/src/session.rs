//! Answers with a session: its token in the body and in the cookie.

use axum::response::Response;
use chrono::{DateTime, Utc};
use command_api::pipeline::execute::Outcome;
use command_api::pipeline::receipt::Prefer;
use events::UserId;
use http::{StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use web::compat::{Success, cookie, forget_cookie};

use crate::{Answer, Apps};

/// A new or existing session of a user.
pub(crate) struct UserSession {
    pub(crate) user: UserId,
    pub(crate) token: String,
    pub(crate) expires: DateTime<Utc>,
    /// Whether an earlier cookie must be deleted first.
    pub(crate) renewed: bool,
}

impl Apps {
    /// Answers once the views include the outcomes.
    pub(crate) async fn answer<T: Serialize>(
        &self,
        status: StatusCode,
        outcomes: &[Outcome],
        body: Success<T>,
    ) -> Response {
        self.commands.settle(Prefer::TO_WAIT, outcomes).await.answer(status, axum::Json(body))
    }

    pub(crate) async fn answer_with_session(
        &self,
        status: StatusCode,
        session: &UserSession,
        outcomes: &[Outcome],
        body: Success<()>,
        user: Value,
    ) -> Answer {
        let body = body.token(session.token.clone()).with(json!({ "user": user }));
        let settled = self.commands.settle(Prefer::TO_WAIT, outcomes).await;
        let mut answer = settled.answer(status, axum::Json(body));
        let headers = answer.headers_mut();
        if session.renewed {
            headers.append(header::SET_COOKIE, forget_cookie());
        }
        headers.append(header::SET_COOKIE, cookie(&session.token, session.expires)?);
        Ok(answer)
    }
}
