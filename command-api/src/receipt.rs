//! How a command is answered: when the views that care have taken it in, or at once if the client prefers.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use events::Position;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use service::http::{PENDING, POSITION};
use service::problem::Problem;
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::Commands;
use crate::execute::Done;

/// How long an answer waits for the views.
const WAIT_LIMIT: Duration = Duration::from_secs(1);
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";

/// What a command came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// Of what was made, where something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// False if it was so already.
    pub(crate) changed: bool,
    /// Send it as `Chorus-Min-Position` with a query that must have taken this in.
    pub(crate) position: u64,
    /// True if the views had not taken it in yet when this was answered.
    pub(crate) pending: bool,
}

/// The headers that every command takes, for OpenAPI.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described; `Context` and `Prefer` read them")]
pub(crate) struct CommandHeaders {
    /// Marks the request, so that sending it again does nothing again and answers the same.
    #[param(rename = "Idempotency-Key", max_length = 255, example = "8e03978e-40d5-43dd-bc93-6894a57f9324")]
    idempotency_key: Option<String>,
    /// `respond-async`: to be answered at once, not when the views have taken it in.
    #[param(rename = "Prefer", example = "respond-async")]
    prefer: Option<String>,
}

/// How a command is answered that changes something, for OpenAPI.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(crate) enum ReceiptAnswers {
    /// Done; the views have taken it in unless it says that it is pending.
    #[response(status = 200)]
    Done(Receipt),
    /// Done; the views take it in by themselves.
    #[response(status = 202)]
    Accepted(Receipt),
}

/// How a command is answered that makes something, for OpenAPI.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(crate) enum CreationAnswers {
    /// Made; the views have taken it in unless it says that it is pending.
    #[response(status = 201)]
    Created(Receipt),
    /// Made; the views take it in by themselves.
    #[response(status = 202)]
    Accepted(Receipt),
}

/// Whether the client wants its answer before the views have caught up (RFC 7240).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefer {
    respond_async: bool,
}

impl<S: Sync> FromRequestParts<S> for Prefer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let values = parts.headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut preferences = values.flat_map(|value| value.split(',')).map(str::trim);
        Ok(Self {
            respond_async: preferences.any(|preference| preference.eq_ignore_ascii_case(RESPOND_ASYNC)),
        })
    }
}

/// How far the views had come when a command was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settled {
    position: Position,
    pending: bool,
    respond_async: bool,
}

impl Commands {
    /// Waits for the views that care about what was done, unless the client does not want to.
    pub(crate) async fn settle(&self, prefer: Prefer, all_done: &[Done]) -> Settled {
        let mut settled = true;
        for done in all_done.iter().filter(|done| done.position > Position::START) {
            settled = settled
                && !prefer.respond_async
                && self.board.passed_by_all(done.kind, done.position, WAIT_LIMIT).await;
        }
        let position = all_done.iter().map(|done| done.position).max().unwrap_or_default();
        Settled { position, pending: !settled, respond_async: prefer.respond_async }
    }

    pub(crate) async fn receipt(
        &self,
        prefer: Prefer,
        done: Done,
        status: StatusCode,
        id: Option<String>,
    ) -> Response {
        let settled = self.settle(prefer, &[done]).await;
        let receipt =
            Receipt { id, changed: done.changed, position: settled.position.0, pending: settled.pending };
        settled.answer(status, axum::Json(receipt))
    }
}

impl Settled {
    pub(crate) fn answer(self, status: StatusCode, body: impl IntoResponse) -> Response {
        let status = if self.respond_async { StatusCode::ACCEPTED } else { status };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(POSITION, self.position.0.into());
        if self.pending {
            headers.insert(PENDING, HeaderValue::from_static("true"));
        }
        if self.respond_async {
            headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(RESPOND_ASYNC));
        }
        response
    }
}
