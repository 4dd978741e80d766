//! Extractors of handlers. Invalid input is answered with a problem document that names the field.

use std::collections::HashSet;

use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::problem::{FieldCode, FieldProblem, Problem};

/// A JSON body.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not-json",
                "The body must be JSON, and Content-Type must say so: application/json",
            ));
        }
        let bytes = body(request, state).await?;
        let mut json = serde_json::Deserializer::from_slice(without_bom(&bytes));
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let problem = error.into_inner();
            if problem.is_data() {
                refused("body", &path, &problem.to_string())
            } else {
                Problem::malformed("body", FieldCode::InvalidFormat, format!("not JSON: {problem}"))
            }
        })?;
        let more =
            |_| Problem::malformed("body", FieldCode::InvalidFormat, "not JSON: more follows after its end");
        json.end().map_err(more)?;
        Ok(Self(value))
    }
}

const NOT_EXPECTED: &str = "is not of the expected form";

/// The problem with a field of `whole`, a body or a query, from the path and the message of a deserializer.
fn refused(whole: &str, path: &str, message: &str) -> Problem {
    let is_whole = path == ".";
    if let Some(missing) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        let field = if is_whole { missing.to_owned() } else { format!("{path}.{missing}") };
        return Problem::malformed(field, FieldCode::Required, "is required");
    }
    let (code, message) = expected(message);
    Problem::malformed(if is_whole { whole } else { path }, code, message)
}

/// What a field must be, from the message of a deserializer, without the value that it found: the value may be a secret that was
/// sent with a wrong type or in a wrong place, and must be in no answer and no log line. The prefixes are those of
/// [`serde::de::Error`]; of other messages nothing is kept.
fn expected(message: &str) -> (FieldCode, String) {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| message.starts_with(prefix));
    let number = || (FieldCode::OutOfRange, "must be a whole number within its limits".to_owned());
    if begins(&["duplicate field `"]) {
        // The name is one of the route's.
        return (FieldCode::Duplicate, message.to_owned());
    }
    // The last one: the value may contain these words too.
    let Some((_, expected)) = message.rsplit_once(", expected ") else {
        return if begins(&["invalid digit", "cannot parse integer", "number too"]) {
            number()
        } else {
            (FieldCode::InvalidFormat, NOT_EXPECTED.to_owned())
        };
    };
    if begins(&["invalid value: string "]) {
        (FieldCode::InvalidFormat, format!("must be {expected}"))
    } else if begins(&["unknown field `"]) {
        (FieldCode::Unknown, format!("is not known here: expected {expected}"))
    } else if begins(&["invalid type: ", "invalid value: ", "invalid length ", "unknown variant `"]) {
        match expected {
            "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => number(),
            expected if expected.starts_with("struct ") => {
                (FieldCode::WrongType, "must be an object".to_owned())
            }
            expected => (FieldCode::WrongType, format!("must be {expected}")),
        }
    } else {
        (FieldCode::InvalidFormat, NOT_EXPECTED.to_owned())
    }
}

/// Text without a leading byte order mark, which some programs write (RFC 8259, section 8.1).
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

/// The whole body, within the limit of its route.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection {
        BytesRejection::FailedToBufferBody(failed) if failed.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            body_too_large()
        }
        other => Problem::malformed("body", FieldCode::InvalidFormat, "could not be read to its end")
            .because(other),
    })
}

/// 413: the whole body.
pub fn body_too_large() -> Problem {
    too_large("body", "The body is larger than this route takes")
}

/// 413: the body, or one part of it.
pub fn too_large(field: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    let field = FieldProblem::new(field, FieldCode::TooLarge, detail.clone());
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail).in_fields(vec![field])
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The query string. Unknown and repeated parameters are rejected.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or("");
        let pairs = form_urlencoded::parse(query.as_bytes());
        let mut names = HashSet::new();
        if let Some((twice, _)) = pairs.clone().find(|(name, _)| !names.insert(name.to_string())) {
            return Err(Problem::malformed(twice, FieldCode::Duplicate, "may be given once"));
        }
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs)).map(Self).map_err(
            |error| {
                let path = error.path().to_string();
                refused("query", &path, &error.into_inner().to_string())
            },
        )
    }
}

/// The variable parts of the path.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // Errors of a route with one variable do not name it.
        let names = RawPathParams::from_request_parts(parts, state).await;
        let name = names.ok().and_then(|names| names.iter().next().map(|(name, _)| name.to_owned()));
        let name = || name.unwrap_or_else(|| "path".to_owned());
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(failed)) => Err(match failed.into_kind() {
                ErrorKind::ParseErrorAtKey { key, .. } => {
                    Problem::malformed(key, FieldCode::InvalidFormat, NOT_EXPECTED)
                }
                ErrorKind::DeserializeError { key, message, .. } => {
                    let (code, message) = expected(&message);
                    Problem::malformed(key, code, message)
                }
                ErrorKind::InvalidUtf8InPathParam { key } => {
                    Problem::malformed(key, FieldCode::InvalidFormat, "not UTF-8")
                }
                ErrorKind::Message(message) => {
                    let (code, message) = expected(&message);
                    Problem::malformed(name(), code, message)
                }
                _ => Problem::malformed(name(), FieldCode::InvalidFormat, NOT_EXPECTED),
            }),
            Err(other) => Err(Problem::internal(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::DefaultBodyLimit;
    use axum::routing::{get, post};
    use http_body_util::BodyExt;
    use serde::Deserialize;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        #[expect(dead_code, reason = "only read")]
        words: Vec<Word>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Word {
        #[expect(dead_code, reason = "only read")]
        text: String,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Window {
        limit: Option<u8>,
    }

    fn app() -> Router {
        Router::new()
            .route("/form", post(async |Json(_): Json<Form>| "taken"))
            .route("/window", get(async |Query(window): Query<Window>| format!("{:?}", window.limit)))
            .route("/number/{n}", get(async |Path(n): Path<u32>| n.to_string()))
            .layer(DefaultBodyLimit::max(200))
    }

    async fn ask(
        method: &str,
        uri: &str,
        content_type: &str,
        body: impl Into<Body>,
    ) -> (StatusCode, String, Value) {
        let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, content_type);
        let response = app().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = response.status();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    #[tokio::test]
    async fn invalid_body_names_the_field() {
        for (body, status, field) in [
            (r#"{"words":[{"text":1}]}"#, 400, Some("words[0].text")),
            (r#"{"words":[{}]}"#, 400, Some("words[0].text")),
            (r#"{"words":[],"wrods":[]}"#, 400, Some("wrods")),
            ("{}", 400, Some("words")),
            (r#"{"words":"#, 400, Some("body")),
            (r#"{"words":[]} x"#, 400, Some("body")),
            ("", 400, Some("body")),
            (&"x".repeat(300), 413, Some("body")),
        ] {
            let (answered, kind, problem) = ask("POST", "/form", "application/json", body.to_owned()).await;
            assert_eq!(answered.as_u16(), status, "{body}: {problem}");
            assert_eq!(kind, "application/problem+json");
            assert_eq!(problem["errors"][0]["field"].as_str(), field, "{body}: {problem}");
        }
        let good =
            ask("POST", "/form", "application/json; charset=utf-8", r#"{"words":[{"text":""}]}"#).await;
        assert_eq!(good.0, StatusCode::OK);
        let with_bom = ask("POST", "/form", "application/json", "\u{feff}{\"words\":[]}").await;
        assert_eq!(with_bom.0, StatusCode::OK);
        let text = ask("POST", "/form", "text/plain", "{}").await;
        assert_eq!(text.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }

    #[test]
    fn message_keeps_the_expectation_without_the_value() {
        for (message, kept) in [
            ("invalid type: integer `8877665544`, expected a string at line 1 column 24", "must be a string"),
            (
                r#"invalid type: string "a, expected b at line 1", expected u8 at line 1 column 3"#,
                "must be a whole number within its limits",
            ),
            (r#"invalid value: string "secret, expected x", expected `a` or `b`"#, "must be `a` or `b`"),
            ("invalid type: sequence, expected struct Form at line 1 column 0", "must be an object"),
            (
                "unknown variant `secret`, expected one of `a`, `b` at line 2 column 1",
                "must be one of `a`, `b`",
            ),
            (
                "unknown field `secret`, expected `text` at line 1 column 9",
                "is not known here: expected `text`",
            ),
            ("duplicate field `text` at line 1 column 2", "duplicate field `text`"),
            ("number too large to fit in target type", "must be a whole number within its limits"),
            ("secret is no colour", "is not of the expected form"),
            ("secret is no colour, expected red", "is not of the expected form"),
        ] {
            assert_eq!(expected(message).1, kept, "{message}");
        }
    }

    #[tokio::test]
    async fn value_of_a_wrong_type_is_not_quoted() {
        const VALUE: &str = "8877665544";
        for value in
            [VALUE.to_owned(), format!("[{VALUE}]"), format!("{{\"x\":{VALUE}}}"), format!("{VALUE}.5")]
        {
            for body in
                [format!(r#"{{"words":[{{"text":{value}}}]}}"#), format!(r#"{{"words":{value}}}"#), value]
            {
                let (status, _, problem) = ask("POST", "/form", "application/json", body.clone()).await;
                assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
                assert!(!problem.to_string().contains(VALUE), "{body}: {problem}");
            }
        }
        for uri in
            [format!("/window?limit={VALUE}"), format!("/window?limit=x{VALUE}"), format!("/number/{VALUE}")]
        {
            let (status, _, problem) = ask("GET", &uri, "", "").await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{uri}");
            assert!(!problem.to_string().contains(VALUE), "{uri}: {problem}");
        }
    }

    #[tokio::test]
    async fn invalid_query_or_path_names_the_parameter() {
        for (uri, field) in [
            ("/window?limit=x", "limit"),
            ("/window?limit=300", "limit"),
            ("/window?limit=1&limit=2", "limit"),
            ("/window?limt=1", "limt"),
            ("/number/x", "n"),
            ("/number/%ff", "n"),
        ] {
            let (status, _, problem) = ask("GET", uri, "", "").await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{uri}: {problem}");
            let error = problem["errors"][0].to_string();
            assert!(error.contains(field), "{uri}: {problem}");
        }
        assert_eq!(ask("GET", "/window", "", "").await.0, StatusCode::OK);
        assert_eq!(ask("GET", "/number/7", "", "").await.0, StatusCode::OK);
    }
}
