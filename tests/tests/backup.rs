//! Copies of a standalone deployment: plain copies after a clean stop, `chorus backup`, `chorus restore`, and refusals.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use events::{
    AccountEvent, AccountsEvent, CaptionEdited, Draft, Erased, Event, EventId, Filter, Kind, LogFiles,
    MasterKeys, Personal, Position, PostEvent, PostId, Recorded, SealedLog, SocialEvent, UserId, open_sealed,
};
use serde_json::Value;
use service::clock::{Clock, SystemClock};
use tests::chorus::{Chorus, Service, binary};
use tests::client::{User, fresh, wav};
use tests::folder::Folder;
use tests::routes;
use tests::servers::NatsServer;
use uuid::Uuid;

fn chorus(data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    run("chorus", data, arguments, environment)
}

fn run(program: &str, data: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary(program).unwrap());
    // Without the developer's settings.
    command.env_clear().current_dir(data.parent().unwrap()).env("CHORUS_DATA", data).args(arguments);
    command.envs(environment.iter().copied()).output().unwrap()
}

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", printed(output));
    printed(output)
}

#[track_caller]
fn fails(output: &Output, because: &[&str]) {
    let text = printed(output);
    assert!(!output.status.success(), "{text}");
    assert!(because.iter().all(|why| text.contains(why)), "{because:?}: {text}");
}

fn remove(data: &Path, name: &str) {
    for suffix in ["", "-wal", "-shm"] {
        // After a clean stop there is only the main file.
        let _ = std::fs::remove_file(data.join(format!("{name}{suffix}")));
    }
}

/// A standalone deployment with data.
async fn filled() -> (Chorus, User) {
    let folder = Folder::of_earlier_version().unwrap();
    // Views of an earlier version may differ from those of this version.
    remove(&folder.path().join("data"), "views.db");
    let chorus = Chorus::standalone_in(folder, &[]).await.unwrap();
    chorus.settle().await.unwrap();
    let ann = User { id: String::new(), username: "ann.fixture".to_owned(), token: String::new() };
    let api = chorus.api();
    let ann = api.log_in(&ann, tests::client::PASSWORD).await;
    let post = api.publish(&ann, "Dawn").await;
    let collection = serde_json::json!({ "name": "Mornings" });
    let collection = api.post_as(&ann, "/v1/me/collections", &collection).await.expect(201).id();
    api.put_as(&ann, &format!("/v1/me/collections/{collection}/posts/{post}")).await;
    api.post_as(&ann, "/v1/playlists", &serde_json::json!({ "name": "Road" })).await.expect(201);
    chorus.settle().await.unwrap();
    (chorus, ann)
}

/// The responses of every read route, with existing ids where possible.
async fn every_read(chorus: &Chorus, ann: &User) -> BTreeMap<String, (u16, String)> {
    chorus.settle().await.unwrap();
    let api = &chorus.api();
    let items = async |path: &str| {
        let list = api.get_as(ann, path).await.expect(200).json();
        list["items"].as_array().cloned().unwrap_or_default()
    };
    let first =
        |items: &[Value], field: &str| items.first().map(|item| item[field].as_str().unwrap().to_owned());
    let id_of = |items: &[Value]| first(items, "id").unwrap_or_else(|| routes::NOTHING.to_owned());
    let posts = items("/v1/posts").await;
    let with_comments = posts.iter().find(|post| post["comments"].as_u64().unwrap_or(0) > 0).unwrap();
    let post = with_comments["id"].as_str().unwrap().to_owned();
    let comment = id_of(&items(&format!("/v1/posts/{post}/comments")).await);
    let collection = id_of(&items("/v1/me/collections").await);
    let playlist = id_of(&items("/v1/me/playlists").await);
    let media = with_comments["images"][0]["feed"].as_str().unwrap();
    let media = media.split_once("/media/images/").unwrap().1;
    let (picture, file) = media.split_once('/').unwrap();
    let mut reads = BTreeMap::new();
    for post in &posts {
        let path = format!("/v1/posts/{}", post["id"].as_str().unwrap());
        let answer = api.get_as(ann, &path).await;
        reads.insert(path, (answer.status.as_u16(), text(chorus, &answer.text())));
    }
    let values = [
        ("user", &*ann.id),
        ("username", "bob.fixture"),
        ("playlist", &playlist),
        ("post", &post),
        ("comment", &comment),
        ("collection", &collection),
        ("state", "sent"),
        ("day", "2026-02-03"),
        ("monday", "2026-02-02"),
        ("year", "2026"),
        ("picture", picture),
        ("file", file),
    ];
    for route in routes::all(api).await.iter().filter(|route| route.method == "GET") {
        let path = route.path_with(&values);
        let request = route.request_to(api, &path).bearer_auth(&ann.token);
        let request =
            if route.query.contains_key("part") { request.query(&[("part", "fix")]) } else { request };
        let answer = api.send(request).await;
        let mut body = text(chorus, &String::from_utf8_lossy(&answer.body));
        // The order is random.
        if path.contains("discover") {
            let mut found: Value = serde_json::from_str(&body).unwrap();
            found["items"].as_array_mut().unwrap().sort_by_key(|item| item["id"].as_str().map(str::to_owned));
            body = found.to_string();
        }
        reads.insert(path, (answer.status.as_u16(), body));
    }
    reads
}

/// Removes the URL of the deployment, which differs.
fn text(chorus: &Chorus, text: &str) -> String {
    text.replace(chorus.url(), "")
}

#[track_caller]
fn assert_same(before: &BTreeMap<String, (u16, String)>, after: &BTreeMap<String, (u16, String)>) {
    let good = before.values().filter(|(status, _)| *status == 200).count();
    assert!(good > 20, "{good} reads of {} have an answer", before.len());
    for (path, answer) in before {
        let now = after.get(path);
        assert!(now == Some(answer), "{path}: {answer:?}, then {now:?}");
    }
    assert_eq!(before.len(), after.len());
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_copy_after_a_clean_stop_serves_identical_reads() {
    let (mut old, ann) = filled().await;
    let before = every_read(&old, &ann).await;
    old.stop(Service::Chorus).unwrap();
    let folder = Folder::new().unwrap();
    let (from, to) = (old.folder().join("data"), folder.path().join("data"));
    std::fs::create_dir(&to).unwrap();
    for name in ["events.db", "keys.db", "media", "uploads", "master.key", "signing-keys.pem"] {
        copy(&from.join(name), &to.join(name));
    }
    let new = Chorus::standalone_in(folder, &[]).await.unwrap();
    assert_same(&before, &every_read(&new, &ann).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_backup_of_a_running_server_serves_identical_reads() {
    let (mut old, ann) = filled().await;
    let before = every_read(&old, &ann).await;
    let place = Folder::new().unwrap();
    let backup = place.path().join("backup");
    let output = old.run_cli(&["backup", backup.to_str().unwrap(), "--with-secrets"]).unwrap();
    assert!(output.contains("anyone who has the backup can read everything"), "{output}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&backup), 0o700);
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(&backup).unwrap() {
        let entry = entry.unwrap();
        names.insert(entry.file_name().into_string().unwrap(), mode(&entry.path()));
    }
    names.remove("media").unwrap();
    names.remove("uploads").unwrap();
    let private = |name: &str| (name.to_owned(), 0o600);
    let files = ["backup.json", "events.db", "keys.db", "master.key", "signing-keys.pem"];
    assert_eq!(names, files.map(private).into());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left beside it");
    // A later post is not in the backup.
    old.api().publish(&ann, "Too late").await;
    fails(
        &chorus(&old.folder().join("data"), &["backup", backup.to_str().unwrap()], &[]),
        &["is not empty: nothing is overwritten"],
    );

    let folder = Folder::new().unwrap();
    let data = folder.path().join("data");
    succeeds(&chorus(&data, &["restore", backup.to_str().unwrap()], &[]));
    fails(&chorus(&data, &["restore", backup.to_str().unwrap()], &[]), &["is not empty"]);
    // The restored server does not depend on the original.
    old.kill(Service::Chorus).unwrap();
    let new = Chorus::standalone_in(folder, &[]).await.unwrap();
    assert_same(&before, &every_read(&new, &ann).await);
    assert!(new.run_cli(&["media", "audit"]).unwrap().contains("nothing is missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_quota_holds_after_a_restore() {
    let size = wav("x", 31).len();
    // Room for one song.
    let quota = (size + size / 2).to_string();
    let settings = [("CHORUS_STORAGE_QUOTA", quota.as_str())];
    let mut old = Chorus::standalone_with(&settings).await.unwrap();
    let artist = old.artist("singer").await;
    let song = old.api().publish_song(&artist, &fresh("Stored")).await;
    let place = Folder::new().unwrap();
    let backup = place.path().join("backup");
    old.run_cli(&["backup", backup.to_str().unwrap(), "--with-secrets"]).unwrap();
    old.kill(Service::Chorus).unwrap();
    let restored = || {
        let folder = Folder::new().unwrap();
        let output = chorus(&folder.path().join("data"), &["restore", backup.to_str().unwrap()], &[]);
        (folder, output)
    };

    let (folder, output) = restored();
    assert!(!succeeds(&output).contains("what each account stores"), "{}", printed(&output));
    let new = Chorus::standalone_in(folder, &settings).await.unwrap();
    let api = new.api();
    let create = async || api.post_as(&artist, "/v1/uploads", &serde_json::json!({ "size": size })).await;
    create().await.problem(507, "quota-exceeded");
    api.delete_as(&artist, &format!("/v1/songs/{song}")).await.expect(200);
    create().await.expect(201);

    // A ledger is missing.
    let uploads = backup.join("uploads");
    std::fs::rename(&uploads, place.path().join("aside")).unwrap();
    fails(&restored().1, &["should hold the ledgers of 1 accounts"]);
    // As an earlier version has made it.
    let manifest = backup.join("backup.json");
    let mut described: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    assert_eq!(described.as_object_mut().unwrap().remove("ledgers"), Some(1.into()));
    std::fs::write(&manifest, described.to_string()).unwrap();
    let output = succeeds(&restored().1);
    assert!(output.contains("missing  what each account stores"), "{output}");
}

/// A data folder of a stopped server, and a backup of it without its secrets.
fn backed_up() -> (Folder, PathBuf) {
    let folder = Folder::of_earlier_version().unwrap();
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let output = succeeds(&chorus(&data, &["backup", backup.to_str().unwrap()], &[]));
    assert!(output.contains("keep the master key elsewhere"), "{output}");
    assert!(!backup.join("master.key").exists());
    (folder, backup)
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_restore_reports_the_problem_and_leaves_no_files() {
    let (folder, backup) = backed_up();
    let data = folder.path().join("restored");
    let restore = |more: &[&str]| {
        let arguments = [&["restore", backup.to_str().unwrap()], more].concat();
        chorus(&data, &arguments, &[])
    };
    let is_untouched = || std::fs::read_dir(&data).unwrap().count() == 0;
    // A file that an event refers to.
    let pictures = backup.join("media/images");
    let picture = std::fs::read_dir(&pictures).unwrap().next().unwrap().unwrap().path();
    let aside = folder.path().join("aside");
    std::fs::rename(&picture, &aside).unwrap();
    fails(&restore(&[]), &["missing  images/", "--accept-missing-media"]);
    assert!(is_untouched());
    std::fs::rename(&aside, &picture).unwrap();
    // A master key of another deployment.
    std::fs::write(data.join("master.key"), MasterKeys::generate().as_bytes()).unwrap();
    fails(&restore(&[]), &["does not belong to this vault"]);
    std::fs::remove_file(data.join("master.key")).unwrap();
    assert!(is_untouched());
    // Lost events, and a damaged file.
    let log = backup.join("events.db");
    let whole = std::fs::read(&log).unwrap();
    let manifest = backup.join("backup.json");
    let described = std::fs::read_to_string(&manifest).unwrap();
    let mut value: Value = serde_json::from_str(&described).unwrap();
    value["position"] = (value["position"].as_u64().unwrap() + 1).into();
    std::fs::write(&manifest, value.to_string()).unwrap();
    fails(&restore(&[]), &["the backup should hold"]);
    std::fs::write(&manifest, described).unwrap();
    std::fs::write(&log, &whole[..whole.len() / 2]).unwrap();
    fails(&restore(&[]), &["checking the log and the keys"]);
    std::fs::write(&log, whole).unwrap();
    assert!(is_untouched());
    // Without the master key, which can be added later.
    let output = succeeds(&restore(&[]));
    assert!(output.contains("missing  the master key: put it at"), "{output}");
    fails(&chorus(&data, &["restore", folder.path().to_str().unwrap()], &[]), &["is not a backup"]);
}

#[test]
fn backup_and_restore_refuse_a_log_on_nats() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let backup = folder.path().join("backup");
    let settings = [("CHORUS_LOG", "nats://127.0.0.1:1")];
    for verb in ["backup", "restore"] {
        let refused = chorus(&data, &[verb, backup.to_str().unwrap()], &settings);
        fails(&refused, &["nats stream backup", "KV_<name>-keys", "docs/operations.md"]);
    }
    assert!(!backup.exists());
    fails(&chorus(&data, &["backup", backup.to_str().unwrap()], &[]), &["there is no log at"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_refuses_a_log_with_lost_events() {
    let folder = Folder::of_earlier_version().unwrap();
    let data = folder.path().join("data");
    let serve = |more: &[&str]| chorus(&data, &[&["serve", "--listen", "127.0.0.1:0"], more].concat(), &[]);
    remove(&data, "events.db");
    fails(&serve(&[]), &["the log ends at position 0", "delete the views"]);
    fails(&serve(&["--accept-lost-events"]), &["the log ends at position 0", "delete the views"]);
    remove(&data, "views.db");
    let problem = "the log holds 0 events, but the key vault holds the keys of";
    fails(&serve(&[]), &[problem, "--accept-lost-events"]);
    remove(&data, "keys.db");
    fails(&serve(&[]), &["the log is empty, but the media store holds files", "--accept-lost-events"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn command_api_refuses_a_log_with_lost_events() {
    let (nats, folder) = (NatsServer::start().await.unwrap(), Folder::new().unwrap());
    let (data, url) = (folder.path().join("data"), nats.url("chorus"));
    std::fs::create_dir(&data).unwrap();
    let master = MasterKeys::generate();
    std::fs::write(data.join("master.key"), &*master).unwrap();
    let log = open_sealed(&url, None, &MasterKeys::parse(&master).unwrap()).await.unwrap();
    let (post, author) = (PostId::new(Uuid::from_u128(1)), UserId::new(Uuid::from_u128(2)));
    append(&log, CaptionEdited { post, author, caption: Personal::Open("Dawn".into()) }).await;
    log.close().await.unwrap();
    let jetstream = async_nats::jetstream::new(nats.client().await.unwrap());
    jetstream.delete_stream("chorus").await.unwrap();

    let environment = [("CHORUS_LOG", url.as_str()), ("CHORUS_LISTEN", "127.0.0.1:0")];
    let problem = "the log holds 0 events, but the key vault holds the keys of 1 users";
    fails(&run("command-api", &data, &[], &environment), &[problem, "--accept-lost-events"]);
}

const PEOPLE: u128 = 120;

async fn append(log: &SealedLog, event: impl Into<Event>) {
    let draft = Draft {
        id: EventId::new(Uuid::from_u128(rand::random())),
        time: SystemClock.now(),
        actor: None,
        correlation: Uuid::from_u128(rand::random()),
        causation: None,
        traceparent: None,
        event: event.into(),
    };
    log.append(draft, Position::default()).await.unwrap();
}

async fn all(log: &SealedLog) -> Vec<Recorded> {
    let head = log.raw().head().await.unwrap();
    let mut follow = log.raw().follow(Filter::kinds(&[Kind::Account, Kind::Post]), Position::START);
    let mut events = Vec::new();
    while events.len() < usize::try_from(head.0).unwrap() {
        let batch = follow.next_batch(1000).await.unwrap().unwrap();
        events.extend(batch.events.into_iter().map(|stored| Recorded::sealed(stored).unwrap()));
    }
    assert_eq!(log.unseal(&mut events).await.unwrap().len(), 0);
    events
}

/// In every copy each event has its key, and each destroyed key its erasure event, whatever is written and erased meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_log_and_keys_are_consistent_under_concurrent_erasures() {
    let folder = tempfile::tempdir().unwrap();
    let files = LogFiles::of_log(folder.path().join("events.db"));
    let setting = |files: &LogFiles| format!("sqlite:{}", files.log.display());
    let master = MasterKeys::parse(&MasterKeys::generate()).unwrap();
    let log = open_sealed(&setting(&files), None, &master).await.unwrap();
    let done = AtomicBool::new(false);
    let write = async {
        for n in 1..=PEOPLE {
            let (author, post) = (UserId::new(Uuid::from_u128(n)), PostId::new(Uuid::from_u128(n)));
            let caption = Personal::Open(format!("of {n}"));
            append(&log, CaptionEdited { post, author, caption }).await;
            if n % 3 == 0 {
                append(&log, Erased { user: author }).await;
                log.keys().destroy(author).await.unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let copy = async {
        let mut copies = Vec::new();
        while !done.load(Ordering::Relaxed) || copies.len() < 2 {
            let place = folder.path().join(format!("copy-{}", copies.len()));
            std::fs::create_dir(&place).unwrap();
            let (files, copy) = (files.clone(), LogFiles::of_log(place.join("events.db")));
            let target = copy.clone();
            let position = tokio::task::spawn_blocking(move || {
                files.begin_copy(&target).unwrap();
                files.complete_copy(&target).unwrap();
                // A second round, as after media were deleted meanwhile.
                files.complete_copy(&target).unwrap()
            });
            let position = position.await.unwrap();
            assert_eq!(copy.check().unwrap().position, position);
            copies.push(copy);
        }
        copies
    };
    let ((), copies) = tokio::join!(write, copy);
    for copy in &copies {
        let log = open_sealed(&setting(copy), None, &master).await.unwrap();
        let mut readable: BTreeMap<UserId, bool> = BTreeMap::new();
        let mut erased = Vec::new();
        for recorded in all(&log).await {
            match recorded.event {
                Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(event))) => {
                    readable.insert(event.author, event.caption.open().is_some());
                }
                Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                    erased.push(event.user);
                }
                other => panic!("{other:?}"),
            }
        }
        for (user, readable) in readable {
            assert!(
                readable || erased.contains(&user),
                "{user} is not erased at this position, but unreadable"
            );
        }
        log.close().await.unwrap();
    }
}
