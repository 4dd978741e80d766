//! The routes of the API from its OpenAPI document, so that tests cover all of them, new ones included.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Map, Value, json};

use crate::client::{Api, png};

/// Default value of path parameters: an id that does not exist.
pub const NOTHING: &str = "00000000000070008000000000000000";

/// The document as it is in the repository.
static DESCRIBED: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../query-api/openapi.json")).expect("the document")
});

/// Asserts that the document names this status for the operation that was called, if it has that operation.
#[track_caller]
pub(crate) fn expect_described(method: &Method, path: &str, status: StatusCode) {
    let matches = |described: &str| {
        let (described, called) = (described.split('/'), path.split('/'));
        described.clone().count() == called.clone().count()
            && described
                .zip(called)
                .all(|(described, called)| described == called || described.starts_with('{'))
    };
    let items = DESCRIBED["paths"].as_object().into_iter().flatten();
    let named = items.filter(|(path, _)| matches(path));
    // Of `/users/discover` and `/users/{user}`, the first is meant.
    let Some((path, item)) = named.min_by_key(|(path, _)| path.matches('{').count()) else { return };
    let Some(operation) = item.get(method.as_str().to_lowercase()) else { return };
    let is_described = !operation["responses"][status.as_str()].is_null();
    assert!(is_described, "{method} {path} answered {status}, which its description does not name");
}

/// One operation of the document.
#[derive(Debug, Clone)]
pub struct Route {
    pub method: Method,
    /// With its parameters in braces.
    pub path: String,
    /// Whether it needs a token.
    pub access: Access,
    /// Names of its query parameters, and whether they are strings.
    pub query: BTreeMap<String, bool>,
    /// Required headers, with a value.
    pub headers: BTreeMap<String, String>,
    pub body: Option<Body>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Ignores tokens.
    Public,
    /// Works without a token, but refuses an invalid one.
    Either,
    /// Needs a token.
    LoggedIn,
}

/// The request body of a route.
#[derive(Debug, Clone)]
pub enum Body {
    /// JSON of this schema, with all references resolved.
    Json(Value),
    /// `multipart/form-data` of this schema.
    Form(Value),
    /// Bytes.
    Bytes,
}

/// All routes, from the served document.
pub async fn all(api: &Api) -> Vec<Route> {
    let document = api.get("/openapi.json").await.expect(200).json();
    let paths = document["paths"].as_object().expect("paths");
    let routes = paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().expect("operations");
        operations.iter().filter_map(|(method, operation)| route(&document, path, method, operation))
    });
    let routes: Vec<Route> = routes.collect();
    assert!(routes.len() >= 29, "the document has lost routes: {}", routes.len());
    routes
}

fn route(document: &Value, path: &str, method: &str, operation: &Value) -> Option<Route> {
    let method: Method = method.to_uppercase().parse().ok()?;
    let is_operation =
        [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE].contains(&method);
    if !is_operation {
        return None;
    }
    let schemes = operation["security"].as_array().cloned().unwrap_or_default();
    let access = if schemes.is_empty() {
        Access::Public
    } else if schemes.contains(&json!({})) {
        Access::Either
    } else {
        Access::LoggedIn
    };
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let query = parameters.iter().filter(|parameter| parameter["in"] == "query").map(|parameter| {
        let name = parameter["name"].as_str().expect("a name").to_owned();
        (name, parameter["schema"]["type"] == "string")
    });
    let is_required = |parameter: &&Value| parameter["in"] == "header" && parameter["required"] == true;
    let headers = parameters.iter().filter(is_required).map(|parameter| {
        let name = parameter["name"].as_str().expect("a name").to_owned();
        (name, example(&parameter["schema"]).to_string())
    });
    let headers = headers.collect();
    let content = operation["requestBody"]["content"].as_object().and_then(|content| content.iter().next());
    let body = content.map(|(kind, content)| {
        let schema = resolved(document, &content["schema"]);
        match kind.as_str() {
            "application/json" => Body::Json(schema),
            "multipart/form-data" => Body::Form(schema),
            _ => Body::Bytes,
        }
    });
    Some(Route { method, path: path.to_owned(), access, query: query.collect(), headers, body })
}

/// The schema with every reference replaced by the component.
fn resolved(document: &Value, schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let target = document.pointer(reference.trim_start_matches('#')).expect("a component");
                return resolved(document, target);
            }
            fields.iter().map(|(name, field)| (name.clone(), resolved(document, field))).collect()
        }
        Value::Array(items) => items.iter().map(|item| resolved(document, item)).collect(),
        other => other.clone(),
    }
}

impl Route {
    /// The path with these values for its parameters, and [`NOTHING`] for the others. Values are not escaped.
    pub fn path_with(&self, values: &[(&str, &str)]) -> String {
        let parts = self.path.split('/').map(|part| {
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let value = |name| values.iter().find(|(of, _)| *of == name).map_or(NOTHING, |(_, value)| *value);
            name.map_or(part, value)
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The names of the path parameters.
    pub fn variables(&self) -> Vec<&str> {
        let parts = self.path.split('/');
        parts.filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}'))).collect()
    }

    /// A valid request according to the document, for ids that do not exist.
    pub fn request(&self, api: &Api) -> RequestBuilder {
        self.request_to(api, &self.path_with(&[]))
    }

    /// A valid request to this path.
    pub fn request_to(&self, api: &Api, path: &str) -> RequestBuilder {
        let request = self.with_headers(api.request(self.method.clone(), path));
        let request = match &self.body {
            None => request,
            Some(Body::Json(schema)) => request.json(&example(schema)),
            Some(Body::Form(_)) => request.multipart(Api::post_form("Dawn")),
            Some(Body::Bytes) => request.header("content-type", "image/png").body(png(8, 8)),
        };
        // Required parameters; optional ones are left out.
        let required = [("q", "ann"), ("day", "2026-02-03")];
        let given = required.iter().filter(|(name, _)| self.query.contains_key(*name));
        request.query(&given.collect::<Vec<_>>())
    }

    /// Adds the required headers.
    pub fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// A name for failure messages.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A value that a schema allows: its example, or the simplest value of its type. Optional fields are included.
pub fn example(schema: &Value) -> Value {
    if let Some(example) = schema.get("example").or_else(|| schema.get("default")) {
        return example.clone();
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    for of in ["oneOf", "anyOf"] {
        let choices = schema[of].as_array().into_iter().flatten();
        if let Some(choice) = choices.filter(|choice| choice["type"] != "null").map(example).next() {
            return choice;
        }
    }
    match kind(schema) {
        "object" => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            Value::Object(fields.map(|(name, field)| (name.clone(), example(field))).collect::<Map<_, _>>())
        }
        "array" => json!([example(&schema["items"])]),
        "integer" | "number" => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        "boolean" => json!(false),
        "string" if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("0-9a-f")) => {
            json!(NOTHING)
        }
        "string" => json!("x".repeat(schema["minLength"].as_u64().unwrap_or(1).try_into().unwrap_or(1))),
        _ => Value::Null,
    }
}

/// The type of a schema other than `null`.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("")
        }
        kind => kind.as_str().unwrap_or(""),
    }
}

/// JSON pointers to every string in a value, at any depth.
pub fn texts(value: &Value) -> Vec<String> {
    let below = |name: &str, child: &Value| -> Vec<String> {
        texts(child).into_iter().map(|place| format!("/{name}{place}")).collect()
    };
    match value {
        Value::String(_) => vec![String::new()],
        Value::Object(fields) => fields.iter().flat_map(|(name, child)| below(name, child)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(n, child)| below(&n.to_string(), child)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
