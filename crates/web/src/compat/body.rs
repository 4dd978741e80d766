//! The JSON bodies of the apps: an object of texts, in which all fields are optional unless a route requires them.

use axum::extract::{FromRequest, Request};
use http::{StatusCode, header};
use serde_json::{Map, Value};

use super::Refusal;
use crate::extract;

/// The fields of a body as sent. Routes read known fields as texts or numbers, so that neither keys nor values can be
/// operators; the pages escape what they show.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Refusal;

    /// A request without a body has no fields, whatever its headers say.
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_json = kind.is_none_or(|kind| {
            let essence = kind.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json")
        });
        let body = extract::body(request, state).await?;
        if body.is_empty() {
            return Ok(Self::default());
        }
        if !is_json {
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body must be JSON."));
        }
        let bad = || Refusal::new(StatusCode::BAD_REQUEST, "The body is not JSON that can be read.");
        match serde_json::from_slice(extract::without_bom(&body)) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            // A list has no fields.
            Ok(Value::Array(_)) => Ok(Self::default()),
            Ok(_) | Err(_) => Err(bad()),
        }
    }
}

impl Fields {
    /// A field as text; numbers and booleans are converted. None if it is missing or cannot be text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(is) => Some(is.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// A text that is not empty.
    pub fn filled(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// Whether the field was sent at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the field has a truthy value: not null, false, zero or an empty text.
    pub fn says(&self, name: &str) -> bool {
        match self.0.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => true,
        }
    }

    pub fn whole_number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.as_i64()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::response::IntoResponse;
    use futures::FutureExt;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(kind: Option<&str>, body: impl Into<Body>) -> Result<Fields, StatusCode> {
        let mut request = Request::post("/");
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let request = request.body(body.into()).unwrap();
        let read = Fields::from_request(request, &()).now_or_never().unwrap();
        read.map_err(|refusal| refusal.into_response().status())
    }

    #[test]
    fn texts_are_read_as_typed_and_operators_are_rejected() {
        let body = json!({ "password": "<b>&lt;&amp;", "nested": { "$gt": "" }, "$where": "x", "a.b": 1 });
        let fields = read(Some("application/json"), body.to_string()).unwrap();
        assert_eq!(fields.text("password").as_deref(), Some("<b>&lt;&amp;"));
        assert_eq!((fields.text("nested"), fields.says("nested")), (None, true));
    }

    #[test]
    fn empty_body_has_no_fields_and_an_invalid_one_is_rejected() {
        for kind in [None, Some("application/json"), Some("text/plain")] {
            assert_eq!(read(kind, ""), Ok(Fields::default()));
        }
        for body in ["[]", "{}", " {} ", "\u{feff}{}"] {
            assert_eq!(read(Some("application/json; charset=utf-8"), body), Ok(Fields::default()), "{body}");
        }
        for body in ["{", "null", "7", "\"a\"", "{} x"] {
            assert_eq!(read(Some("application/json"), body), Err(StatusCode::BAD_REQUEST), "{body}");
        }
        assert_eq!(read(Some("text/plain"), "{}"), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }

    proptest! {
        #[test]
        fn any_body_is_parsed_or_rejected(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Err(status) = read(Some("application/json"), body) {
                prop_assert_eq!(status, StatusCode::BAD_REQUEST);
            }
        }
    }
}
