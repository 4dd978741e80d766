//! The commands in the README work.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests say what went wrong by failing, and look for programs where the system does"
)]

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::chorus::{Chorus, binary};
use tests::client::png;
use tests::servers::jq;

const README: &str = include_str!("../../README.md");
const SONG: &[u8] = include_bytes!("../../chorus/src/demo/songs/low-water.mp3");
/// The caption of the published post.
const CAPTION: &str = "First light over the harbour";

/// The first block of shell commands under a heading.
fn commands_under(heading: &str) -> String {
    let (_, section) = README.split_once(&format!("## {heading}\n")).unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_session_runs_as_documented() {
    let (chorus, folder) = (Chorus::standalone().await.unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("photo.jpg"), png(400, 300)).unwrap();
    std::fs::write(folder.path().join("song.mp3"), SONG).unwrap();
    let session = commands_under("A first session");
    assert!(session.starts_with("chorus=http://127.0.0.1:8080\n"), "{session}");
    let song = commands_under("A first song");
    assert!(song.contains("target/quick/chorus "), "{song}");
    let session = session.replace("http://127.0.0.1:8080", chorus.url());
    let song = song.replace("target/quick/chorus", binary("chorus").unwrap().to_str().unwrap());
    let output = tokio::task::block_in_place(|| {
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("{session}{song}")])
            .current_dir(folder.path())
            .env("CHORUS_DATA", chorus.folder().join("data"))
            .env("PATH", path_with_jq())
            .output()
            .unwrap()
    });
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{errors}");
    // The output is a sequence of JSON responses, apart from that of the grant.
    let printed =
        printed.replace("ann is artist now, from the next log-in on; their sessions have ended\n", "");
    let answers = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    let answers: Vec<Value> =
        answers.map(|answer| answer.unwrap_or_else(|e| panic!("{e}:\n{printed}"))).collect();
    let count = |wanted: &dyn Fn(&Value) -> bool| objects(&answers).filter(|object| wanted(object)).count();
    let posts =
        |likes: u64| count(&move |o| o["caption"] == CAPTION && o["likes"] == likes && o["comments"] == 1);
    // In the newest posts without a viewer; by itself, in the home feed and among the saved posts of a user who likes it.
    assert_eq!((posts(1), posts(2)), (3, 1), "{printed}");
    assert_eq!(count(&|o| o["caption"] == CAPTION && o["viewer"]["liked"] == true), 3, "{printed}");
    for kind in ["like", "follow"] {
        assert_eq!(count(&|o| o["kind"] == kind), 1, "{kind}: {printed}");
    }
    assert_eq!(count(&|o| o["viewed"] == true && !o["stories"][0]["id"].is_null()), 1, "{printed}");
    // In the answer to the command, and in the list.
    assert_eq!(count(&|o| o["text"] == "So early!"), 2, "{printed}");
    let ann = answers.iter().find_map(|answer| answer["user"].as_str()).expect("a user id");
    assert_eq!(count(&|o| o["items"][0]["id"] == ann), 2, "{printed}");
    // The song by itself and in the search, with an album from its tags.
    let songs = count(&|o| o["title"] == "Harbour at Night" && o["album"]["title"] == "Tide Tables");
    assert_eq!(songs, 2, "{printed}");
    let streamed = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(streamed("whole.mp3") == SONG && streamed("part.mp3") == SONG[..65536]);
}

/// All objects in these documents, at any depth.
fn objects(documents: &[Value]) -> impl Iterator<Item = &Value> {
    let mut rest: Vec<&Value> = documents.iter().collect();
    std::iter::from_fn(move || {
        let next = rest.pop()?;
        match next {
            Value::Object(fields) => rest.extend(fields.values()),
            Value::Array(items) => rest.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Some(next)
    })
    .filter(|value| value.is_object())
}

/// `PATH`, with the folder of the fetched jq if necessary.
fn path_with_jq() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(jq) = jq().unwrap() else { return path };
    let folders = std::env::split_paths(&path).chain([jq]);
    std::env::join_paths(folders).unwrap()
}

#[test]
fn make_targets_and_links_exist() {
    let makefile = include_str!("../../Makefile");
    let named = README.lines().filter_map(|line| line.strip_prefix("make "));
    let targets: Vec<&str> = named.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(targets.len() >= 5, "{targets:?}");
    for target in targets {
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
    for link in README.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(link);
        assert!(link.contains("://") || path.exists(), "{link}");
    }
}
