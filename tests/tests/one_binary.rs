//! `chorus` as a program: settings, subcommands, start and shutdown.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::chorus::{Chorus, Service, binary};
use tests::servers::free_port;

fn chorus(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("chorus").unwrap());
    // Without the developer's settings.
    command.env_clear().current_dir(folder.path()).args(arguments).envs(environment.iter().copied());
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn help_lists_every_command_and_setting() {
    let help = printed(&chorus(&["--help"], &[]));
    for command in ["serve", "import", "backup", "restore", "demo", "media", "openapi"] {
        assert!(help.contains(command), "{help}");
    }
    assert_eq!(printed(&chorus(&[], &[])), help, "without a subcommand it prints the help");
    let serve = printed(&chorus(&["serve", "--help"], &[]));
    for variable in settings_of(&serve) {
        assert!(serve.contains(&format!("[env: {variable}")), "{variable}");
    }
    assert!(settings_of(&serve).len() >= 12, "{serve}");
}

/// The variables in a help text.
fn settings_of(help: &str) -> Vec<String> {
    let named = help.match_indices("[env: CHORUS_").map(|(place, _)| {
        help[place + 6..].chars().take_while(|&c| c.is_ascii_uppercase() || c == '_').collect::<String>()
    });
    let mut names: Vec<String> = named.collect();
    names.sort();
    names.dedup();
    names
}

/// `.env.example` explains exactly the variables that the programs know.
#[test]
fn env_example_is_complete() {
    let mut known: Vec<String> = settings_of(&printed(&chorus(&["serve", "--help"], &[])));
    known.extend(settings_of(&printed(&chorus(&["demo", "--help"], &[]))));
    known.extend(settings_of(&printed(&chorus(&["media", "audit", "--help"], &[]))));
    known.extend(settings_of(&printed(&chorus(&["verify", "--help"], &[]))));
    for service in ["command-api", "compat-api", "projector", "query-api"] {
        let help = Command::new(binary(service).unwrap()).arg("--help").output().unwrap();
        known.extend(settings_of(&printed(&help)));
    }
    known.sort();
    known.dedup();
    let example = include_str!("../../.env.example");
    let mut explained: Vec<String> = example
        .lines()
        .filter_map(|line| {
            line.trim_start_matches('#').trim().split_once('=').map(|(name, _)| name.to_owned())
        })
        .filter(|name| name.starts_with("CHORUS_"))
        .collect();
    explained.sort();
    explained.dedup();
    assert_eq!(explained, known);
}

#[test]
fn all_problems_with_settings_are_reported_together() {
    let folder = tempfile::tempdir().unwrap();
    let bad_key = folder.path().join("bad.key");
    std::fs::write(&bad_key, "too short\n").unwrap();
    let output = chorus(
        &["serve"],
        &[
            ("CHORUS_ENV", "production"),
            ("CHORUS_PUBLIC_URL", "chorus.example"),
            ("CHORUS_ALLOWED_ORIGINS", "*"),
            ("CHORUS_MASTER_KEY_FILE", &bad_key.display().to_string()),
        ],
    );
    assert!(!output.status.success());
    let text = printed(&output);
    for variable in [
        "CHORUS_PUBLIC_URL",
        "CHORUS_ALLOWED_ORIGINS",
        "CHORUS_MASTER_KEY_FILE",
        "CHORUS_SIGNING_KEY_FILE",
        "CHORUS_MAIL",
    ] {
        assert!(text.contains(variable), "{text}");
    }
}

#[test]
fn production_refuses_development_settings_and_keys() {
    let data = tempfile::tempdir().unwrap();
    // Key files under the names that development mode uses.
    for (name, content) in [("master.key", "made by Chorus"), ("signing-keys.pem", "")] {
        std::fs::write(data.path().join(name), content).unwrap();
    }
    let of = |name: &str| data.path().join(name).display().to_string();
    let output = chorus(
        &["serve"],
        &[
            ("CHORUS_ENV", "production"),
            ("CHORUS_DATA", &data.path().display().to_string()),
            ("CHORUS_PUBLIC_URL", "http://chorus.example"),
            ("CHORUS_ALLOWED_ORIGINS", "http://app.example"),
            ("CHORUS_MASTER_KEY_FILE", &of("master.key")),
            ("CHORUS_SIGNING_KEY_FILE", &of("signing-keys.pem")),
            ("CHORUS_TLS_KEY_FILE", &of("master.key")),
        ],
    );
    assert!(!output.status.success());
    let text = printed(&output);
    for problem in [
        "CHORUS_PUBLIC_URL: `http://chorus.example` is not https",
        "CHORUS_ALLOWED_ORIGINS: `http://app.example` is not https",
        "it lies in the data folder",
        "the file is empty",
        "CHORUS_TLS_CERTIFICATE_FILE: the key's certificate is missing",
    ] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    assert!(!text.contains("made by Chorus"), "{text}");
}

#[test]
fn passwords_on_the_command_line_are_refused() {
    for arguments in [
        ["serve", "--log", "nats://ann:s3cret@127.0.0.1:1"],
        ["serve", "--views", "mongodb://ann:s3cret@127.0.0.1:1/db"],
        ["demo", "--password", "s3cret"],
    ] {
        let output = chorus(&arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = printed(&output);
        assert!(text.contains("CHORUS_") && !text.contains("s3cret"), "{text}");
    }
    for service in ["command-api", "compat-api", "projector", "query-api"] {
        let output = Command::new(binary(service).unwrap())
            .env_clear()
            .args(["--log", "nats://ann:s3cret@127.0.0.1:1"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{service}");
        assert!(!printed(&output).contains("s3cret"), "{service}");
    }
}

#[test]
fn invalid_url_setting_is_refused_without_printing_its_password() {
    for (variable, value) in [
        ("CHORUS_LOG", "postgres://ann:s3cret@host/db"),
        ("CHORUS_VIEWS", "redis://ann:s3cret@host"),
        ("CHORUS_LOG", "nats://ann:s3cret@host?replicas=2"),
        ("CHORUS_MEDIA", "ftp://ann:s3cret@host/bucket"),
        ("CHORUS_MAIL", "smtp://ann:s3cret@host"),
    ] {
        let output = chorus(&["serve"], &[(variable, value), ("CHORUS_LISTEN", "127.0.0.1:0")]);
        assert!(!output.status.success(), "{value}");
        let text = printed(&output);
        assert!(!text.contains("s3cret"), "{text}");
    }
    // Separate processes cannot share SQLite files.
    let folder = tempfile::tempdir().unwrap();
    let query =
        Command::new(binary("query-api").unwrap()).env_clear().current_dir(folder.path()).output().unwrap();
    let text = printed(&query);
    assert!(
        text.contains("CHORUS_LOG") && text.contains("CHORUS_VIEWS") && text.contains("chorus serve"),
        "{text}"
    );
}

#[test]
fn openapi_file_is_up_to_date() {
    let described = chorus(&["openapi"], &[]);
    let file = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../query-api/openapi.json")).unwrap();
    assert!(described.stdout == file, "run `chorus openapi > query-api/openapi.json`");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_and_metrics_move_to_the_operations_address() {
    let address = format!("127.0.0.1:{}", free_port().unwrap());
    let system = Chorus::standalone_with(&[("CHORUS_OPERATIONS_LISTEN", &address)]).await.unwrap();
    let api = system.api();
    for path in ["/readyz", "/metrics"] {
        api.get(&format!("http://{address}{path}")).await.expect(200);
        api.get(path).await.problem(404, "not-found");
    }
    for at in [format!("http://{address}/livez"), "/livez".to_owned()] {
        api.get(&at).await.expect(200);
    }
    api.get("/v1/posts").await.expect(200);
    api.get(&format!("http://{address}/v1/posts")).await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_fills_a_running_server_and_is_idempotent() {
    let system = Chorus::standalone().await.unwrap();
    let arguments = ["demo", "--url", system.url(), "--people", "4", "--posts", "6"];
    // With the settings of the server.
    let demo = || system.run_cli(&arguments).unwrap();
    let text = demo();
    assert!(text.contains("4 people, 6 posts") && text.contains("8 songs"), "{text}");
    assert!(text.contains("Log in as"), "{text}");
    system.settle().await.unwrap();
    let api = system.api();
    let posts = api.all_pages("/v1/posts?limit=2").await;
    assert_eq!(posts.len(), 6);
    for image in posts.iter().flat_map(|post| post["images"].as_array().unwrap()) {
        api.get(image["feed"].as_str().unwrap()).await.expect(200);
    }
    let stories = api.get("/v1/stories/newest").await.expect(200).json();
    assert_eq!(stories["items"].as_array().unwrap().len(), 2, "{stories}");
    let songs = api.all_pages("/v1/songs").await;
    let albums: BTreeSet<&str> = songs.iter().map(|song| song["album"]["title"].as_str().unwrap()).collect();
    assert_eq!(
        (songs.len(), albums),
        (8, BTreeSet::from(["Kitchen Radio", "Square Waltzes", "Tide Tables"]))
    );
    let likes: u64 = songs.iter().map(|song| song["likes"].as_u64().unwrap()).sum();
    assert!((4..=12).contains(&likes), "{songs:?}");
    for song in &songs {
        // A play counts from here on.
        assert!(song["duration_ms"].as_u64().unwrap() > 30_000, "{song}");
        api.get(song["stream_url"].as_str().unwrap()).await.expect(200);
    }
    let playlists = async |name: &str| {
        let search = api.request(Method::GET, "/v1/search").query(&[("q", name)]);
        api.send(search).await.expect(200).json()["playlists"].clone()
    };
    for (name, entries, collaborators) in [("By the water", 4, 0), ("Kitchen", 4, 1)] {
        let found = playlists(name).await;
        assert_eq!((&found[0]["name"], &found[0]["entries"]), (&json!(name), &json!(entries)), "{found}");
        let path = format!("/v1/playlists/{}", found[0]["id"].as_str().unwrap());
        let playlist = api.get(&path).await.expect(200).json();
        assert_eq!(playlist["collaborators"].as_array().unwrap().len(), collaborators, "{playlist}");
        let shown = api.get(&format!("{path}/entries")).await.expect(200).json();
        assert!(shown["items"].as_array().unwrap().iter().all(|entry| entry["song"].is_object()), "{shown}");
    }
    assert_eq!(playlists("Not finished").await, json!([]), "a private playlist");
    // The second run is idempotent.
    let before = system.raw_log().await.unwrap().head().await.unwrap();
    demo();
    let after = system.raw_log().await.unwrap().head().await.unwrap();
    assert_eq!(before, after);

    // Without the settings of the server nobody can be made an artist.
    let elsewhere = chorus(&arguments, &[]);
    assert!(
        elsewhere.status.success() && printed(&elsewhere).contains("no songs"),
        "{}",
        printed(&elsewhere)
    );

    let nowhere = chorus(&["demo", "--url", "http://127.0.0.1:1"], &[]);
    assert!(!nowhere.status.success() && printed(&nowhere).contains("chorus serve"), "{}", printed(&nowhere));
}

#[tokio::test(flavor = "multi_thread")]
async fn second_server_on_the_same_folder_is_refused_until_the_first_is_killed() {
    let mut system = Chorus::standalone().await.unwrap();
    let ann = system.api().sign_up("ann").await;
    let second = system.run_cli(&["serve", "--listen", "127.0.0.1:0"]).unwrap_err().to_string();
    assert!(second.contains("in use by another `chorus serve` (process "), "{second}");
    // Subcommands that may run beside a server still work.
    system.run_cli(&["grant", &ann.username, "moderator"]).unwrap();
    system.run_cli(&["media", "audit"]).unwrap();
    system.kill(Service::Chorus).unwrap();
    system.start_again(Service::Chorus).await.unwrap();
}

/// Requests in progress get a response, and acknowledged commands survive the restart.
#[tokio::test(flavor = "multi_thread")]
async fn graceful_shutdown_finishes_open_requests() {
    let mut system = Chorus::standalone().await.unwrap();
    let api = system.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let path = format!("/v1/posts/{post}/comments");
    let comments = (0..20).map(|n| {
        let request =
            api.request(Method::POST, &path).bearer_auth(&ann.token).json(&json!({ "text": n.to_string() }));
        let api = api.clone();
        async move { api.try_send(request).await }
    });
    let stop = async {
        // While the requests are in progress.
        tokio::time::sleep(Duration::from_millis(3)).await;
        tokio::task::block_in_place(|| system.stop(Service::Chorus)).unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(comments), stop);
    // Late connections are refused; accepted ones are not broken.
    let acknowledged =
        answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 201)).count();
    assert!(system.printed(Service::Chorus).contains("asked to end"));
    // The WAL files are merged, so that a plain copy is complete.
    let files = std::fs::read_dir(system.folder().join("data")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.retain(|name| name.contains(".db") && !name.contains(".lock"));
    for whole in ["events.db", "keys.db", "views.db", "views.generations.db"] {
        assert!(files.iter().any(|name| name == whole), "{whole}: {files:?}");
    }
    files.retain(|name| name.contains(".db-"));
    assert_eq!(files, Vec::<String>::new());
    system.start_again(Service::Chorus).await.unwrap();
    system.settle().await.unwrap();
    let there = system.api().all_pages(&path).await.len();
    assert!(there >= acknowledged, "{acknowledged} were acknowledged, {there} are there");
}
