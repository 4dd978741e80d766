//! The apps' response format: `{status, message?, token?, results?, data?}`. The pages look at `status` and show
//! `message`.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use cookie::time::OffsetDateTime;
use cookie::{Cookie, SameSite};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::limits::TooManyAttempts;
use crate::problem::Problem;
use crate::session_cookies::cookie_header;

const COOKIE: &str = "jsonwebtoken";

/// A successful response.
#[derive(Debug, Serialize)]
pub struct Success<T> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// The number of items in `data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<T>,
}

impl Success<()> {
    pub fn saying(message: impl Into<Cow<'static, str>>) -> Self {
        Self { status: "success", message: Some(message.into()), token: None, results: None, data: None }
    }
}

impl<T> Success<T> {
    pub fn of(data: T) -> Self {
        Self { status: "success", message: None, token: None, results: None, data: Some(data) }
    }

    #[must_use]
    pub fn counting(self, results: usize) -> Self {
        Self { results: Some(results), ..self }
    }

    #[must_use]
    pub fn token(self, token: String) -> Self {
        Self { token: Some(token), ..self }
    }

    #[must_use]
    pub fn with<D>(self, data: D) -> Success<D> {
        let Self { status, message, token, results, .. } = self;
        Success { status, message, token, results, data: Some(data) }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    status: &'static str,
    message: &'a str,
}

/// Messages for users must have status `fail`: the pages show nothing of an `error`.
pub(super) fn failure(status: StatusCode, message: &str) -> Response {
    let kind = if status == StatusCode::INTERNAL_SERVER_ERROR { "error" } else { "fail" };
    (status, axum::Json(Failure { status: kind, message })).into_response()
}

/// A failed response.
#[derive(Debug)]
pub enum Refusal {
    /// With the app's own text.
    Message(StatusCode, Cow<'static, str>),
    /// A common problem; its text is converted to the app's format on its way out.
    Problem(Problem),
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Message(status, message.into())
    }

    /// 403, which the apps interpret as a missing or invalid field.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// The app's status for a problem's HTTP status; other problems are unchanged.
    pub fn rename(problem: Problem, names: &[(StatusCode, StatusCode, &'static str)]) -> Self {
        let name = names.iter().find(|(status, ..)| *status == problem.status);
        name.map_or(Self::Problem(problem), |&(_, status, message)| Self::new(status, message))
    }
}

impl From<TooManyAttempts> for Refusal {
    fn from(exceeded: TooManyAttempts) -> Self {
        Self::Problem(exceeded.into())
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Message(status, message) => {
                tracing::debug!(%status, %message, "request refused");
                failure(status, &message)
            }
            Self::Problem(problem) => problem.into_response(),
        }
    }
}

/// The time format of the apps: UTC with milliseconds.
pub fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The cookie that the original servers set. Chorus does not read it.
///
/// # Errors
/// If the token has bytes that a header cannot have.
pub fn cookie(token: &str, expires: DateTime<Utc>) -> Result<HeaderValue, Problem> {
    let expires = OffsetDateTime::from_unix_timestamp(expires.timestamp()).map_err(Problem::internal)?;
    let cookie = Cookie::build((COOKIE, token)).path("/").expires(expires).http_only(true).secure(true);
    cookie_header(&cookie.same_site(SameSite::None).build())
}

/// Removes the cookie.
pub const fn forget_cookie() -> HeaderValue {
    HeaderValue::from_static("jsonwebtoken=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_omits_missing_fields() {
        let json = |answer: &dyn erased::Json| answer.json();
        assert_eq!(json(&Success::saying("Done.")), r#"{"status":"success","message":"Done."}"#);
        let nothing = Success::saying("Done.").with(serde_json::Value::Null);
        assert_eq!(json(&nothing), r#"{"status":"success","message":"Done.","data":null}"#);
        let list = Success::of([1, 2]).counting(2).token("t".into());
        assert_eq!(json(&list), r#"{"status":"success","token":"t","results":2,"data":[1,2]}"#);
    }

    mod erased {
        pub(super) trait Json {
            fn json(&self) -> String;
        }

        impl<T: serde::Serialize> Json for T {
            fn json(&self) -> String {
                serde_json::to_string(self).unwrap()
            }
        }
    }

    #[test]
    fn cookies_and_times_have_the_apps_format() {
        let moment = DateTime::from_timestamp_millis(1_795_296_350_569).unwrap();
        assert_eq!(time(moment), "2026-11-21T21:25:50.569Z");
        assert_eq!(
            cookie("t", moment).unwrap().to_str().unwrap(),
            "jsonwebtoken=t; HttpOnly; SameSite=None; Secure; Path=/; Expires=Sat, 21 Nov 2026 21:25:50 GMT"
        );
    }
}
