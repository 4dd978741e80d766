//! Answers to commands: sent when the views that project the event have passed its position, or at once if the client
//! prefers.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use events::Position;
use futures::future::join_all;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::{IntoParams, IntoResponses, ToSchema};
use web::http::{PENDING, POSITION};

use crate::Commands;
use crate::pipeline::execute::Outcome;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";

/// The outcome of a command. Many commands also answer with the resource that they created or changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Receipt {
    /// False if the command had no effect because the state already held.
    pub(crate) changed: bool,
    /// Position of the event in the log. Send it as `Chorus-Min-Position` with a query that must include the event.
    #[schema(example = 4711)]
    pub(crate) position: u64,
    /// True if the views did not include the event yet when the command was answered.
    pub(crate) pending: bool,
}

/// The headers that every command takes, for OpenAPI.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described; `Context` and `Prefer` read them")]
pub(crate) struct CommandHeaders {
    /// Identifies the request: a repeated request with the same key has no second effect and gets the same answer.
    #[param(
        rename = "Idempotency-Key", value_type = String, required = false,
        pattern = r#"^("[ !#-~]{1,255}"|[!#-~]{1,255})$"#
    )]
    idempotency_key: Option<String>,
    /// `respond-async`: answer immediately instead of waiting until the views include the event.
    #[param(rename = "Prefer", value_type = String, required = false)]
    prefer: Option<String>,
}

/// The responses of commands without a resource, for OpenAPI.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(crate) enum ReceiptAnswers {
    /// The command is done. The views include its event unless `pending` is true.
    #[response(status = 200)]
    Done(Receipt),
    /// The command is done. The views will include its event soon.
    #[response(status = 202)]
    Accepted(Receipt),
}

/// Whether the client wants its answer before the views have caught up (RFC 7240).
#[derive(Debug, Clone, Copy)]
pub struct Prefer {
    respond_async: bool,
}

impl<S: Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Prefer {
    /// For routes whose clients do not send the header.
    pub const TO_WAIT: Self = Self { respond_async: false };

    /// Ignores unknown and unreadable preferences.
    fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut preferences = values.flat_map(|value| value.split(',')).map(str::trim);
        Self { respond_async: preferences.any(|preference| preference.eq_ignore_ascii_case(RESPOND_ASYNC)) }
    }
}

/// The progress of the views when a command is answered.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    position: Position,
    pending: bool,
    respond_async: bool,
}

impl Commands {
    /// Waits for the views that project the events, unless the client does not want to.
    pub async fn settle(&self, prefer: Prefer, outcomes: &[Outcome]) -> Settled {
        let appended = outcomes.iter().filter(|outcome| outcome.position > Position::START);
        let settled = if prefer.respond_async {
            appended.count() == 0
        } else {
            // At the same time, so that the limit is that of the whole answer.
            let waits = appended
                .map(|outcome| self.tracker.wait_for_kind(outcome.kind, outcome.position, self.view_wait));
            join_all(waits).await.into_iter().all(|reached| reached)
        };
        let position = outcomes.iter().map(|outcome| outcome.position).max().unwrap_or_default();
        Settled { position, pending: !settled, respond_async: prefer.respond_async }
    }

    /// Answers a command with its outcome only.
    pub(crate) async fn receipt(&self, prefer: Prefer, outcome: Outcome) -> Response {
        self.receipt_with(prefer, outcome, |receipt| receipt).await
    }

    /// Answers a command with what it changed.
    pub(crate) async fn receipt_with<T: Serialize>(
        &self,
        prefer: Prefer,
        outcome: Outcome,
        body: impl FnOnce(Receipt) -> T,
    ) -> Response {
        self.respond(prefer, outcome, StatusCode::OK, body).await
    }

    async fn respond<T: Serialize>(
        &self,
        prefer: Prefer,
        outcome: Outcome,
        status: StatusCode,
        body: impl FnOnce(Receipt) -> T,
    ) -> Response {
        let settled = self.settle(prefer, &[outcome]).await;
        let receipt = settled.receipt(outcome.changed);
        settled.answer(status, axum::Json(body(receipt)))
    }

    /// Answers a command with the resource that it created at this path.
    pub(crate) async fn created<T: Serialize>(
        &self,
        prefer: Prefer,
        outcome: Outcome,
        location: &str,
        body: impl FnOnce(Receipt) -> T,
    ) -> Response {
        let mut response = self.respond(prefer, outcome, StatusCode::CREATED, body).await;
        if let Ok(location) = HeaderValue::try_from(location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl Settled {
    pub(crate) fn receipt(&self, changed: bool) -> Receipt {
        Receipt { changed, position: self.position.0, pending: self.pending }
    }

    pub fn answer(self, status: StatusCode, body: impl IntoResponse) -> Response {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_async(values: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok()) {
            headers.append(PREFER, value);
        }
        Prefer::of(&headers).respond_async
    }

    #[test]
    fn preference_is_found_among_others() {
        for values in
            [&["respond-async"][..], &["wait=10, Respond-Async"], &["handling=lenient", " respond-async ,"]]
        {
            assert!(is_async(&values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>()), "{values:?}");
        }
        for values in [&[][..], &[""], &["respond"], &["respond-asynchronously"], &["x=respond-async"]] {
            assert!(
                !is_async(&values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>()),
                "{values:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(
            bytes in prop::collection::vec(any::<u8>(), 0..30),
            others in prop::collection::vec("[ -+.-~]{0,12}", 0..4),
            is_there in any::<bool>(),
        ) {
            let known = others.iter().any(|other| other.trim().eq_ignore_ascii_case(RESPOND_ASYNC));
            let mut preferences = others;
            preferences.extend(is_there.then(|| RESPOND_ASYNC.to_owned()));
            prop_assert_eq!(is_async(&[&bytes, preferences.join(",").as_bytes()]), is_there || known);
        }
    }
}
