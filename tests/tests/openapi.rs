//! The OpenAPI document as client generators read it. `one_binary` tests that the file equals the routes.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::servers;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../query-api/openapi.json")
}

fn document() -> Value {
    serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap()
}

/// Every value of a key, at any depth.
fn values_of<'a>(key: &str, value: &'a Value) -> Vec<&'a Value> {
    match value {
        Value::Object(fields) => {
            let below = fields.values().flat_map(|field| values_of(key, field));
            fields.get(key).into_iter().chain(below).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| values_of(key, item)).collect(),
        _ => Vec::new(),
    }
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
}

#[test]
fn every_reference_resolves_and_every_schema_is_referenced() {
    let document = document();
    let references: BTreeSet<String> =
        values_of("$ref", &document).into_iter().map(|text| text.as_str().unwrap().to_owned()).collect();
    let names = document["components"]["schemas"].as_object().unwrap().keys();
    let defined: BTreeSet<String> = names.map(|name| format!("#/components/schemas/{name}")).collect();
    assert!(defined.len() > 50, "{defined:?}");
    assert_eq!(references, defined);
}

#[test]
fn every_tag_is_described_and_used() {
    let document = document();
    let described = document["tags"].as_array().unwrap();
    assert!(described.iter().all(|tag| tag["description"].as_str().is_some_and(|text| text.len() > 10)));
    let described: BTreeSet<&str> = described.iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let used: BTreeSet<&str> = operations(&document)
        .flat_map(|operation| operation["tags"].as_array().unwrap())
        .map(|tag| tag.as_str().unwrap())
        .collect();
    assert_eq!(described, used);
}

#[test]
fn every_operation_that_takes_a_token_takes_the_cookie() {
    let document = document();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["token"]["type"], &schemes["token"]["scheme"]), (&json!("http"), &json!("bearer")));
    let cookie = &schemes["cookie"];
    assert_eq!((&cookie["type"], &cookie["in"]), (&json!("apiKey"), &json!("cookie")));
    assert_eq!(cookie["name"], web::session_cookies::SESSION_COOKIE);
    assert_eq!(document["servers"][0]["url"], "/");
    let secured: Vec<_> =
        operations(&document).filter_map(|operation| operation["security"].as_array()).collect();
    let takes = |scheme: &str| {
        let takes = |accepted: &&&Vec<Value>| accepted.contains(&json!({ scheme: [] }));
        secured.iter().filter(takes).collect::<Vec<_>>()
    };
    assert!(takes("token").len() > 30);
    assert_eq!(takes("token"), takes("cookie"));
}

#[test]
fn every_json_answer_has_an_example_with_all_its_fields() {
    let document = document();
    let mut seen = 0;
    for operation in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            for (kind, content) in response["content"].as_object().into_iter().flatten() {
                if !kind.contains("json") {
                    continue;
                }
                let name = format!("{} {status}", operation["operationId"]);
                assert!(!content["example"].is_null(), "{name} has no example");
                complete(&content["example"], &content["schema"], &document, &name);
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "{seen}");
}

/// Whether a value has every field that its schema requires, at any depth.
fn complete(value: &Value, schema: &Value, document: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return complete(value, &document["components"]["schemas"][name], document, place);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        complete(value, part, document, place);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{place}: {name} is missing in {value}");
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name).filter(|value| !value.is_null()) {
            complete(value, field, document, &format!("{place}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        complete(item, &schema["items"], document, place);
    }
}

#[test]
fn every_answer_is_described() {
    let document = document();
    for operation in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let is_described = response["description"].as_str().is_some_and(|text| text.len() > 4);
            assert!(is_described, "{} {status}: {response}", operation["operationId"]);
        }
    }
}

/// The page of the documentation fills in examples and defaults: each of its requests would be a replay of the one before.
#[test]
fn optional_headers_of_commands_have_no_prefilled_value() {
    let document = document();
    let mut seen = 0;
    for parameter in
        operations(&document).flat_map(|operation| operation["parameters"].as_array().into_iter().flatten())
    {
        if parameter["name"] == "Idempotency-Key" || parameter["name"] == "Prefer" {
            for place in [parameter, &parameter["schema"]] {
                let prefilled = ["example", "examples", "default"].map(|name| place[name].is_null());
                assert_eq!(prefilled, [true; 3], "{parameter}");
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn every_problem_type_is_in_the_api_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = std::fs::read_to_string(root.join("docs/api-guide.md")).unwrap();
    let mut types = BTreeSet::new();
    for source in ["command-api/src", "query-api/src", "crates/web/src"] {
        let files = walkdir::WalkDir::new(root.join(source)).into_iter().map(Result::unwrap);
        for file in files.filter(|file| file.path().extension().is_some_and(|extension| extension == "rs")) {
            types.extend(problem_types(&std::fs::read_to_string(file.path()).unwrap()));
        }
    }
    assert!(types.len() > 40, "{types:?}");
    let missing: Vec<_> = types.iter().filter(|name| !guide.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The types that the constructors of problems are given.
fn problem_types(source: &str) -> impl Iterator<Item = String> {
    let constructors = [("conflict(", false), ("unauthorized(", false), ("new(", true)];
    let calls = constructors.into_iter().flat_map(|(name, has_status)| {
        source.match_indices(name).map(move |(at, name)| (at + name.len(), has_status))
    });
    calls.filter_map(|(at, has_status)| {
        let mut argument = source[at..].trim_start();
        if has_status {
            argument = argument.strip_prefix("StatusCode::")?.split_once(',')?.1.trim_start();
        }
        let (name, _) = argument.strip_prefix('"')?.split_once('"')?;
        // Refusals to existing apps have texts.
        name.chars().all(|c| c.is_ascii_lowercase() || c == '-').then(|| name.to_owned())
    })
}

#[test]
fn files_are_binary() {
    let document = document();
    let mut seen = 0;
    for operation in operations(&document) {
        for (kind, content) in
            values_of("content", operation).into_iter().flat_map(|it| it.as_object().unwrap())
        {
            if kind.starts_with("image/") || kind == "application/octet-stream" {
                assert_eq!(content["schema"], json!({ "type": "string", "format": "binary" }), "{operation}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn fields_of_answers_that_may_be_null_are_required() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (schema, field) in
        [("Post", "caption"), ("Post", "viewer"), ("User", "photo"), ("Comment", "reply_to")]
    {
        let required = schemas[schema]["required"].as_array().unwrap();
        assert!(required.contains(&json!(field)), "{schema}.{field}: {required:?}");
    }
    let comment = schemas["NewComment"]["required"].as_array().unwrap();
    assert!(!comment.contains(&json!("reply_to")), "{comment:?}");
}

/// Generated by three generators that share no code with the program that wrote the document.
#[test]
fn generated_typescript_clients_compile() {
    let tools = servers::typescript().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/typescript");
    // Below the tools, so that Node finds the packages.
    let folder = tempfile::tempdir_in(&tools).unwrap();
    let run = |script: &str, arguments: &[&str]| {
        let script = tools.join("node_modules").join(script);
        let mut node = Command::new("node");
        let output = node.arg(&script).args(arguments).current_dir(folder.path()).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}: {}", script.display(), String::from_utf8_lossy(&printed));
    };
    for name in ["client.ts", "tsconfig.json", "generated.tsconfig.json", "package.json"] {
        std::fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    std::fs::copy(file(), folder.path().join("openapi.json")).unwrap();
    run("openapi-typescript/bin/cli.js", &["openapi.json", "--output", "api.d.ts"]);
    run("@hey-api/openapi-ts/bin/run.js", &["-i", "openapi.json", "-o", "hey-api"]);
    let orval = ["--input", "./openapi.json", "--output", "./orval/client.ts", "--client", "fetch"];
    run("orval/dist/bin/orval.js", &orval);
    run("typescript/bin/tsc", &["--project", "tsconfig.json"]);
    run("typescript/bin/tsc", &["--project", "generated.tsconfig.json"]);
}
