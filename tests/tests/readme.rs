//! What the README tells people to type does what it says.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests say what went wrong by failing, and look for programs where the system does"
)]

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use tests::chorus::Chorus;
use tests::client::png;
use tests::servers::jq;

const README: &str = include_str!("../../README.md");

/// The first block of shell commands under a heading.
fn commands_under(heading: &str) -> String {
    let (_, section) = README.split_once(&format!("## {heading}\n")).unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_session_goes_from_sign_up_to_feed() {
    let (chorus, folder) = (Chorus::one_machine().await.unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("photo.jpg"), png(400, 300)).unwrap();
    let session = commands_under("A first session");
    assert!(session.starts_with("chorus=http://127.0.0.1:8080\n"), "{session}");
    let session = session.replace("http://127.0.0.1:8080", chorus.url());
    let output = tokio::task::block_in_place(|| {
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &session])
            .current_dir(folder.path())
            .env("PATH", path_with_jq())
            .output()
            .unwrap()
    });
    let (printed, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{printed}\n{errors}");
    // The post among the newest, without a viewer, and by itself, in a home and among what is saved with one who likes it.
    assert_eq!(printed.matches(r#""caption":"First light over the harbour""#).count(), 4, "{printed}");
    assert_eq!(printed.matches(r#""likes":1,"comments":1"#).count(), 3, "{printed}");
    assert_eq!(printed.matches(r#""likes":2,"comments":1"#).count(), 1, "{printed}");
    assert_eq!(printed.matches(r#""viewer":{"liked":true,"#).count(), 3, "{printed}");
    for kind in ["like", "follow"] {
        assert_eq!(printed.matches(&format!(r#""kind":"{kind}""#)).count(), 1, "{printed}");
    }
    assert_eq!(printed.matches(r#""viewed":true,"stories":[{"id":"#).count(), 1, "{printed}");
    assert_eq!(printed.matches(r#""text":"So early!""#).count(), 1, "{printed}");
    assert_eq!(
        printed.matches(&format!(r#"{{"items":[{{"id":"{}""#, user_of(&printed))).count(),
        2,
        "{printed}"
    );
}

/// The id of whoever has signed up.
fn user_of(printed: &str) -> &str {
    printed.split_once(r#""user":""#).unwrap().1.split('"').next().unwrap()
}

/// The folders that programs are looked for in, and the one with jq if that is in none of them.
fn path_with_jq() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(jq) = jq().unwrap() else { return path };
    let folders = std::env::split_paths(&path).chain([jq]);
    std::env::join_paths(folders).unwrap()
}

#[test]
fn the_commands_it_names_are_there() {
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
