//! What `Cargo.toml` does not list cannot leak: which crate may depend on which, and which types stay in one place.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// The dependencies of every crate of the workspace, those of its tests left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let listed = metadata.workspace_packages().into_iter().map(|package| {
        let normal =
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        (package.name.to_string(), normal.map(|dependency| dependency.name.clone()).collect())
    });
    listed.collect()
}

#[test]
fn each_crate_depends_on_the_crates_it_may() {
    const SUPPORT: &[&str] = &["ids", "media", "service", "web"];
    let with = |more: &[&'static str]| [SUPPORT, more].concat();
    let allowed: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("ids", vec![]),
        ("sqlite", vec![]),
        ("service", vec![]),
        ("media", vec!["service"]),
        ("web", vec!["ids", "service"]),
        ("events", vec!["ids", "sqlite"]),
        ("views", vec!["sqlite"]),
        ("command-api", with(&["events"])),
        ("projector", with(&["events", "views"])),
        ("query-api", with(&["events", "views"])),
        ("chorus", with(&["command-api", "events", "projector", "query-api", "views"])),
        (
            "bench",
            with(&["chorus", "command-api", "events", "projector", "query-api", "sqlite", "tests", "views"]),
        ),
        ("tests", with(&["events", "sqlite", "views"])),
    ]);
    let all = dependencies();
    for (name, listed) in &all {
        let own: Vec<&str> =
            listed.iter().map(String::as_str).filter(|name| all.contains_key(*name)).collect();
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert!(own.iter().all(|name| may.contains(name)), "{name} depends on {own:?}, and may on {may:?}");
    }
}

#[test]
fn no_crate_lists_an_engine_or_transport_that_it_must_not_know() {
    let api = &["async-nats", "aws-sdk-sesv2", "aws-sdk-sqs", "lettre", "mongodb", "rusqlite"][..];
    let forbidden: &[(&str, &[&str])] = &[
        ("ids", &["axum", "http", "async-nats", "mongodb", "rusqlite", "tokio"]),
        ("sqlite", &["axum", "async-nats", "mongodb", "reqwest"]),
        ("events", &["axum", "http", "mongodb", "reqwest", "tower"]),
        ("views", &["axum", "http", "async-nats", "reqwest", "tower"]),
        ("service", &["axum", "async-nats", "aws-sdk-s3", "aws-sdk-sesv2", "mongodb", "rusqlite"]),
        ("media", &["axum", "async-nats", "mongodb", "rusqlite"]),
        ("web", api),
        ("command-api", api),
        ("query-api", api),
        ("projector", &["axum", "async-nats", "mongodb", "rusqlite", "utoipa"]),
    ];
    let all = dependencies();
    for (name, names) in forbidden {
        let found: Vec<_> = names.iter().filter(|listed| all[*name].contains(**listed)).collect();
        assert!(found.is_empty(), "{name} lists {found:?}");
    }
}

/// A file's text without its tests.
fn source(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn sources(name: &str) -> Vec<std::path::PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

/// BSON stays in `views/src/mongo*`, NATS in `events/src/jetstream*`, SQL in the adapters named `sqlite`.
#[test]
fn an_engines_types_and_words_stay_in_its_adapter() {
    for (name, adapter, words) in [
        ("views", "mongo", &["bson::", "mongodb::"][..]),
        ("events", "jetstream", &["async_nats"]),
        ("views", "sqlite", &["rusqlite", "SELECT "]),
        ("events", "sqlite", &["rusqlite", "SELECT "]),
    ] {
        for path in sources(name) {
            let text = source(&path);
            let inside =
                path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(adapter));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let leak = code.filter(|_| !inside).find(|line| words.iter().any(|word| line.contains(word)));
            assert_eq!(leak, None, "{}", path.display());
        }
    }
}
