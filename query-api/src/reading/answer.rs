//! The responses of queries: as fresh as the client requires, and 304 if nothing has changed.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use events::Position;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::IntoParams;
use web::http::{MIN_POSITION, PENDING};
use web::problem::{FieldCode, Problem};

use crate::Queries;

/// The headers of all queries, for OpenAPI.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described; `Conditions` reads them")]
pub(crate) struct QueryHeaders {
    /// Wait up to 1 second until the views include this position, which is from the answer to a command.
    #[param(rename = "Chorus-Min-Position", value_type = u64, required = false, minimum = 0)]
    min_position: Option<u64>,
    /// The `ETag` of an earlier answer: an unchanged answer is an empty 304.
    #[param(rename = "If-None-Match", value_type = String, required = false)]
    if_none_match: Option<String>,
}

/// The client's requirements for a response.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    min_position: Option<Position>,
    known: Vec<String>,
}

impl Conditions {
    /// For a response that includes everything up to this position.
    pub fn since(position: Position) -> Self {
        Self { min_position: Some(position), known: Vec::new() }
    }
}

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let bad = || {
            let message = "must be a single position, from the answer to a command";
            Problem::malformed(MIN_POSITION.as_str(), FieldCode::InvalidFormat, message)
        };
        let mut given = parts.headers.get_all(MIN_POSITION).iter();
        let min_position = match (given.next(), given.next()) {
            (None, _) => None,
            (Some(_), Some(_)) => return Err(bad()),
            (Some(value), None) => {
                let number: Option<i64> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
                // Stores use signed 64-bit positions.
                Some(Position(number.and_then(|number| number.try_into().ok()).ok_or_else(bad)?))
            }
        };
        Ok(Self { min_position, known: known_tags(&parts.headers) })
    }
}

/// The entity tags in `If-None-Match`, compared weakly (RFC 9110).
pub(crate) fn known_tags(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/").to_owned())
        .collect()
}

/// Whether the views reached the requested position.
#[derive(Debug, Clone, Copy)]
pub struct CaughtUp(bool);

impl Queries {
    /// Waits until the named views reach the requested position.
    pub async fn catch_up(&self, conditions: &Conditions, views: &[&str]) -> CaughtUp {
        match conditions.min_position {
            None => CaughtUp(true),
            Some(position) => CaughtUp(self.tracker.wait_for(views, position, self.view_wait).await),
        }
    }
}

/// A JSON response with its `ETag`, or 304 if the client has it.
pub fn answer(
    conditions: &Conditions,
    caught_up: CaughtUp,
    body: &impl Serialize,
) -> Result<Response, Problem> {
    let body = serde_json::to_vec(body).map_err(Problem::internal)?;
    answer_bytes(conditions, caught_up, "application/json", body)
}

/// As [`answer`], for a body of another type.
pub(crate) fn answer_bytes(
    conditions: &Conditions,
    caught_up: CaughtUp,
    media_type: &'static str,
    body: Vec<u8>,
) -> Result<Response, Problem> {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let mut response = if conditions.known.iter().any(|known| *known == tag || known == "*") {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, media_type)], body).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, HeaderValue::try_from(format!("W/{tag}")).map_err(Problem::internal)?);
    // Clients may store the response but must revalidate it; and it is private to one user.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("authorization, cookie"));
    if !caught_up.0 {
        headers.insert(PENDING, HeaderValue::from_static("true"));
    }
    Ok(response)
}
