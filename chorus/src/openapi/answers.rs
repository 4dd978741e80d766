//! Completes the description of answers beyond the types of their fields: required fields and examples.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Map, Value, json};
use web::extract::body_too_large;
use web::problem::{FieldCode, FieldProblem, Problem};

/// What ids and cursors look like in examples.
const ID: &str = "0199a7c61c9b7d0c9f6c4c1d2a9e5b30";
const CURSOR: &str = "eyJwIjo0NzExfQ";
const SCHEMAS: &str = "#/components/schemas/";

/// Marks the fields of answers that may be null as required, since they are always sent. Requests may leave them out.
pub(super) fn require_nullable_fields(document: &mut Value) {
    let mut requested = BTreeSet::new();
    for operation in operations(document) {
        references(&operation["requestBody"], document, &mut requested);
    }
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    for (_, schema) in schemas.iter_mut().filter(|(name, _)| !requested.contains(*name)) {
        require_nullable(schema);
    }
}

fn require_nullable(schema: &mut Value) {
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(require_nullable);
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    let nullable: Vec<String> =
        properties.iter().filter(|(_, field)| is_nullable(field)).map(|(name, _)| name.clone()).collect();
    if nullable.is_empty() {
        return;
    }
    let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    for name in nullable.into_iter().map(Value::from) {
        if !required.contains(&name) {
            required.push(name);
        }
    }
    schema["required"] = required.into();
}

fn is_nullable(field: &Value) -> bool {
    let is_null = |part: &Value| part["type"] == "null";
    field["type"].as_array().is_some_and(|types| types.contains(&json!("null")))
        || field["oneOf"].as_array().is_some_and(|parts| parts.iter().any(is_null))
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let paths = document["paths"].as_object().into_iter().flat_map(Map::values);
    paths.filter_map(Value::as_object).flat_map(Map::values)
}

/// Each operation with its path.
fn operations_mut(document: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flat_map(Map::values_mut);
        operations.map(move |operation| (path, operation))
    })
}

/// Adds the names of all schemas that a part of the document refers to, at any depth.
fn references(part: &Value, document: &Value, names: &mut BTreeSet<String>) {
    match part {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(SCHEMAS));
            if let Some(name) = name.filter(|name| names.insert((*name).to_owned())) {
                references(&document["components"]["schemas"][name], document, names);
            }
            fields.values().for_each(|field| references(field, document, names));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, document, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Files are binary, whatever type their media type has.
pub(super) fn mark_files_as_binary(document: &mut Value) {
    let binary = json!({ "type": "string", "format": "binary" });
    let is_file = |kind: &String| kind.starts_with("image/") || kind == "application/octet-stream";
    for (_, operation) in operations_mut(document) {
        let mut bodies: Vec<&mut Value> = Vec::new();
        if let Some(fields) = operation.as_object_mut() {
            for (name, field) in fields {
                match name.as_str() {
                    "requestBody" => bodies.push(field),
                    "responses" => bodies.extend(field.as_object_mut().into_iter().flat_map(Map::values_mut)),
                    _ => {}
                }
            }
        }
        let contents = bodies.into_iter().filter_map(|body| body.get_mut("content")?.as_object_mut());
        for (_, content) in contents.flatten().filter(|(kind, _)| is_file(kind)) {
            content["schema"] = binary.clone();
        }
    }
}

/// Gives each JSON answer an example, made from its schema and the examples in it.
pub(super) fn add_examples(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    for (path, operation) in operations_mut(document) {
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        for (status, response) in responses {
            for kind in ["application/json", "application/problem+json"] {
                let Some(content) = response.pointer_mut(&format!("/content/{}", kind.replace('/', "~1")))
                else {
                    continue;
                };
                let value = match kind {
                    "application/json" => {
                        let mut made = example("", &content["schema"], &schemas);
                        if made.get("next").is_some() {
                            made["next"] = format!("{path}?limit=20&cursor={CURSOR}").into();
                        }
                        made
                    }
                    _ => problem(status),
                };
                content["example"] = value;
            }
        }
    }
}

/// An example problem document with this status.
fn problem(status: &str) -> Value {
    let status = StatusCode::from_bytes(status.as_bytes()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let field = FieldProblem::new;
    let problem = match status.as_u16() {
        400 => Problem::malformed("text", FieldCode::Required, "is required"),
        401 => Problem::unauthorized("session-ended", "Your session has ended: log in again"),
        403 => Problem::forbidden("This post belongs to another user"),
        404 => Problem::not_found("There is no such post"),
        408 => Problem::new(status, "too-slow", "The body came too slowly, or not to its end"),
        409 => Problem::conflict("username-taken", "This username is taken").in_fields(vec![field(
            "username",
            FieldCode::Taken,
            "is taken",
        )]),
        413 => body_too_large(),
        415 => Problem::new(status, "not-json", "The body must be JSON"),
        416 => Problem::new(
            status,
            "range-not-satisfiable",
            "The range begins behind the end of the file, which has 71220 bytes",
        ),
        422 => Problem::invalid(vec![field("text", FieldCode::Empty, "must not be empty")]),
        429 => {
            Problem::too_many("Too many attempts: try again in 60 seconds", std::time::Duration::from_mins(1))
        }
        503 => Problem::unavailable("The view store", "an example"),
        _ => Problem::internal("an example"),
    };
    serde_json::to_value(problem.document()).unwrap_or_default()
}

/// An example value of a schema. Texts are chosen by the name of the field.
fn example(name: &str, schema: &Value, schemas: &Value) -> Value {
    if let Some(given) = schema.get("example") {
        return given.clone();
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = &schemas[reference.strip_prefix(SCHEMAS).unwrap_or_default()];
        return example(name, schema, schemas);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().map(|part| example(name, part, schemas));
        let fields = parts.filter_map(|part| part.as_object().cloned()).flatten();
        return Value::Object(fields.collect());
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let choice = choices.iter().find(|choice| choice["type"] != "null");
        return choice.map_or(Value::Null, |choice| example(name, choice, schemas));
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.first().cloned().unwrap_or_default();
    }
    let kind = schema["type"].as_str().or_else(|| {
        let types = schema["type"].as_array()?;
        types.iter().filter_map(Value::as_str).find(|kind| *kind != "null")
    });
    match kind {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields = fields.map(|(name, field)| (name.clone(), example(name, field, schemas)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([example(name, &schema["items"], schemas)]),
        Some("integer" | "number") => match name {
            "width" => json!(1080),
            "height" => json!(810),
            "position" => json!(4711),
            _ => json!(1),
        },
        Some("boolean") => json!(true),
        Some("string") => text(name, schema),
        _ => Value::Null,
    }
}

fn text(name: &str, schema: &Value) -> Value {
    let is_url = schema["description"].as_str().is_some_and(|text| text.starts_with("URL"));
    if is_url {
        let file = if name == "photo" { "photo.png".to_owned() } else { format!("{name}.jpg") };
        return format!("https://chorus.example/media/images/{ID}/{file}").into();
    }
    let text = match name {
        _ if schema["format"] == "date-time" => "2026-11-29T08:30:00Z",
        "username" => "ann.lee",
        "firstname" => "Ann",
        "lastname" => "Lee",
        "email" => "ann@example.org",
        "caption" => "Dawn over the lake",
        "text" => "Lovely!",
        "alt" => "A lake at dawn",
        "name" => "Lakes",
        "bio" => "Photographs lakes",
        "blurhash" => "LEHV6nWB2yk8pyo0adR*.7kCMdnj",
        "url" => "https://chorus.example/media/images/0199a7c61c9b7d0c9f6c4c1d2a9e5b30/feed.jpg",
        "next_cursor" => CURSOR,
        "device" => "Firefox on Linux",
        "address" => "203.0.113.7",
        "reason" => "Shows a private address",
        "template" => "verify-email",
        "token" => "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMTk5In0.c2lnbmF0dXJl",
        _ => ID,
    };
    text.into()
}
