//! What `Cargo.toml` does not list cannot leak: the design's table of rooms, held to by what each may depend on.

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
fn each_room_depends_on_the_rooms_it_may() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("sqlite", &[] as &[&str]),
        ("events", &["sqlite"]),
        ("views", &["sqlite"]),
        ("service", &[]),
        ("command-api", &["events", "service"]),
        ("projector", &["events", "service", "views"]),
        ("query-api", &["events", "service", "views"]),
        ("chorus", &["command-api", "events", "projector", "query-api", "service", "views"]),
        (
            "bench",
            &[
                "chorus",
                "command-api",
                "events",
                "projector",
                "query-api",
                "service",
                "sqlite",
                "tests",
                "views",
            ],
        ),
        ("tests", &["events", "service", "sqlite", "views"]),
    ]);
    let all = dependencies();
    for (room, listed) in &all {
        let rooms: Vec<&str> =
            listed.iter().map(String::as_str).filter(|name| all.contains_key(*name)).collect();
        let may = allowed.get(room.as_str()).unwrap_or_else(|| panic!("{room} is not in the table"));
        assert!(
            rooms.iter().all(|name| may.contains(name)),
            "{room} depends on {rooms:?}, and may on {may:?}"
        );
    }
}

#[test]
fn no_room_knows_what_it_must_not() {
    let forbidden: &[(&str, &[&str])] = &[
        ("sqlite", &["axum", "async-nats", "mongodb", "reqwest"]),
        ("events", &["axum", "http", "mongodb", "reqwest", "tower"]),
        ("views", &["axum", "http", "async-nats", "reqwest", "tower"]),
        ("service", &["async-nats", "aws-sdk-sesv2", "aws-sdk-sqs", "lettre", "mongodb", "rusqlite"]),
        ("command-api", &["async-nats", "aws-sdk-sesv2", "aws-sdk-sqs", "lettre", "mongodb", "rusqlite"]),
        ("projector", &["axum", "async-nats", "mongodb", "rusqlite", "utoipa"]),
        ("query-api", &["async-nats", "aws-sdk-sesv2", "aws-sdk-sqs", "lettre", "mongodb", "rusqlite"]),
    ];
    let all = dependencies();
    for (room, names) in forbidden {
        let found: Vec<_> = names.iter().filter(|name| all[*room].contains(**name)).collect();
        assert!(found.is_empty(), "{room} lists {found:?}");
    }
}

/// A file's text without its tests.
fn source(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn sources(room: &str) -> Vec<std::path::PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(room).join("src")];
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
    for (room, adapter, words) in [
        ("views", "mongo", &["bson::", "mongodb::"][..]),
        ("events", "jetstream", &["async_nats"]),
        ("views", "sqlite", &["rusqlite", "SELECT "]),
        ("events", "sqlite", &["rusqlite", "SELECT "]),
    ] {
        for path in sources(room) {
            let text = source(&path);
            let inside =
                path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(adapter));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let leak = code.filter(|_| !inside).find(|line| words.iter().any(|word| line.contains(word)));
            assert_eq!(leak, None, "{}", path.display());
        }
    }
}
