//! Errors in HTTP: problem details (RFC 9457). The public text and the cause are separate; the cause is logged once,
//! here, and never sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::openapi::{self, ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use service::telemetry::with_causes;

/// The content of an error response.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// Identifies the kind of problem for programs; never changes once released.
    pub code: &'static str,
    /// For humans: this occurrence.
    pub detail: String,
    /// The invalid fields of the request.
    pub fields: Vec<FieldProblem>,
    pub retry_after: Option<Duration>,
    /// Further headers of the response.
    pub headers: Box<[(HeaderName, HeaderValue)]>,
    /// For the log only.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

/// Why a field is refused. Codes never change once released; new ones may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FieldCode {
    /// It is missing.
    Required,
    /// It is given but empty.
    Empty,
    TooShort,
    TooLong,
    /// A file, or a body, has too many bytes.
    TooLarge,
    TooMany,
    /// It has characters that are not accepted.
    InvalidCharacters,
    /// Its text has another form than the field requires.
    InvalidFormat,
    /// It has another JSON type, or is none of the values that there are.
    WrongType,
    OutOfRange,
    /// There is no such field here.
    Unknown,
    /// It is given more than once.
    Duplicate,
    /// Another account has it.
    Taken,
    /// Nobody can have it.
    Reserved,
    /// It is not the current password.
    Incorrect,
    /// A password that is easy to guess.
    TooCommon,
    /// It is what it was.
    Unchanged,
    /// It names something that cannot be used here.
    NotAllowed,
}

/// Why a value is refused: a code for programs and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub code: FieldCode,
    pub message: String,
}

impl Refused {
    pub fn new(code: FieldCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A field that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Name and path: `images[2].alt`.
    #[schema(example = "username")]
    pub field: String,
    pub code: FieldCode,
    /// For people: continues the name of the field.
    #[schema(example = "must have 3 to 30 characters")]
    pub message: String,
}

impl FieldProblem {
    pub fn new(field: impl Into<String>, code: FieldCode, message: impl Into<String>) -> Self {
        Self::of(field, Refused::new(code, message))
    }

    pub fn of(field: impl Into<String>, Refused { code, message }: Refused) -> Self {
        Self { field: field.into(), code, message }
    }
}

/// A problem document (RFC 9457), `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// `urn:chorus:problem:<code>`. Two codes have status 503: `unavailable` (nothing was done: try again) and
    /// `outcome-unknown` (it may have been done, or may still be: repeat the request with the same
    /// `Idempotency-Key`).
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            fields: Vec::new(),
            retry_after: None,
            headers: Box::default(),
            cause: None,
        }
    }

    #[must_use]
    pub fn because(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// 400: the request has the wrong form.
    pub fn malformed(field: impl Into<String>, code: FieldCode, message: impl Into<String>) -> Self {
        Self::fields(StatusCode::BAD_REQUEST, "malformed", vec![FieldProblem::new(field, code, message)])
    }

    /// 422: the request is well-formed, but some fields are invalid.
    pub fn invalid(fields: Vec<FieldProblem>) -> Self {
        Self::fields(StatusCode::UNPROCESSABLE_ENTITY, "invalid", fields)
    }

    fn fields(status: StatusCode, code: &'static str, fields: Vec<FieldProblem>) -> Self {
        let texts: Vec<String> =
            fields.iter().map(|FieldProblem { field, message, .. }| format!("{field}: {message}")).collect();
        Self { fields, ..Self::new(status, code, texts.join("; ")) }
    }

    /// Names the fields that caused the problem.
    #[must_use]
    pub fn in_fields(self, fields: Vec<FieldProblem>) -> Self {
        Self { fields, ..self }
    }

    /// 401. `unauthenticated` is for requests without a token that can be read.
    pub fn unauthorized(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::unauthorized("unauthenticated", detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 429: a rate limit is exceeded; the request is allowed again after this time.
    pub fn too_many(detail: impl Into<String>, wait: Duration) -> Self {
        let retry_after = Some(wait);
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail) }
    }

    /// 503: a dependency is unavailable, and nothing was done; the same request may succeed later.
    pub fn unavailable(what: &str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::overloaded(format!("{what} cannot be reached at the moment: try again a little later"), cause)
    }

    /// 503 in words of its own: this process cannot do it now, and nothing was done.
    pub fn overloaded(detail: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        }
        .because(cause)
    }

    /// 503: it is unknown whether the request was or will be executed.
    pub fn outcome_unknown(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let detail = "It is not known whether this was done. Look first, or repeat the request with the same Idempotency-Key";
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", detail)
        }
        .because(cause)
    }

    /// 500: a bug in this program.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side")
            .because(cause)
    }
}

impl Problem {
    /// What the client reads of it.
    pub fn document(&self) -> ProblemDocument {
        ProblemDocument {
            kind: format!("urn:chorus:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            errors: self.fields.clone(),
        }
    }
}

/// An infallible rejection causes no problem.
impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Rounded up, so that clients wait long enough.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// `Retry-After` of an outage.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The public text of a problem document, for conversion to other formats.
#[derive(Debug, Clone)]
pub(crate) struct ProblemText(pub(crate) String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = self.document();
        let Self { status, code, detail, retry_after, headers: further, cause, .. } = self;
        let outage = cause.as_ref().map_or_else(|| code.to_owned(), ToString::to_string);
        let cause = cause.as_deref().map(|cause| with_causes(cause));
        let cause = cause.as_deref().unwrap_or("none");
        // Errors of clients are not logged as errors.
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(outage, %status, code, cause, "request refused");
        } else if status.is_server_error() {
            tracing::error!(%status, code, cause, "request failed");
        } else {
            tracing::debug!(%status, code, detail, cause, "request refused");
        }
        let mut response = (status, axum::Json(document)).into_response();
        response.extensions_mut().insert(ProblemText(detail));
        let headers = response.headers_mut();
        headers.extend(further);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = retry_after {
            headers.insert(header::RETRY_AFTER, whole_seconds(after).max(1).into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)
    }
}

/// The error responses of a route, for OpenAPI.
#[derive(Debug)]
pub struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<openapi::Response>> {
        let document = Ref::from_schema_name(ProblemDocument::name());
        let content = ContentBuilder::new().schema(Some(document)).build();
        ["4XX", "5XX"]
            .into_iter()
            .map(|status| {
                let response = ResponseBuilder::new()
                    .description("A problem document")
                    .content("application/problem+json", content.clone())
                    .build();
                (status.to_owned(), RefOr::T(response))
            })
            .collect()
    }
}
