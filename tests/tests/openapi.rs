//! The description of the API as client generators read it. That the file equals the routes is tested in `one_binary`.

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

/// By a generator that shares no code with what wrote the document.
#[test]
fn a_generated_typescript_client_compiles() {
    let tools = servers::typescript().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/typescript");
    // Below the tools, so that the packages are found by their names.
    let folder = tempfile::tempdir_in(&tools).unwrap();
    let run = |script: &str, arguments: &[&std::ffi::OsStr]| {
        let script = tools.join("node_modules").join(script);
        let mut node = Command::new("node");
        let output = node.arg(script).args(arguments).current_dir(folder.path()).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&told));
    };
    for name in ["client.ts", "tsconfig.json", "package.json"] {
        std::fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    run("openapi-typescript/bin/cli.js", &[file().as_ref(), "--output".as_ref(), "api.d.ts".as_ref()]);
    run("typescript/bin/tsc", &["--project".as_ref(), "tsconfig.json".as_ref()]);
}
