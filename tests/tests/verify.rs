//! `chorus verify` and `chorus why` on both deployments: views that were damaged, and views that move on meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use events::{CommentId, Draft, Erased, EventId, Position, PostId, PostUnliked, Subject};
use futures::TryStreamExt;
use media::{Listed, MediaKey};
use reqwest::Method;
use serde_json::{Map, Value, json};
use service::clock::{Clock, SystemClock};
use tests::chorus::{Chorus, Service};
use tests::client::PASSWORD;
use tests::damage::damage;
use tests::verbs::{failure, run};
use tests::waiting::until;
use uuid::Uuid;
use views::generations::{Generation, GenerationState, Generations};
use views::social::likes::VIEW as LIKES;
use views::social::posts::{Post, VIEW as POSTS};
use views::{Commit, Family, Patch, SqliteViews, ViewStore, Write, Writes};

tests::on_both! {
    damaged_documents_are_found_and_cannot_be_explained,
    versions_of_a_family_are_compared,
    other_version_that_serves_is_compared_with_this_program,
    views_that_move_on_equal_the_log,
    wrong_counts_of_the_program_itself_are_found,
}

/// The lines of JSON of a verb that fails.
fn lines_of_failure(chorus: &Chorus, arguments: &[&str]) -> Vec<Value> {
    let printed = failure(chorus, arguments);
    let lines: Vec<Value> = printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(!lines.is_empty(), "{printed}");
    lines
}

/// The serving generation stands in for that of an older program, which made another document.
async fn versions_of_a_family_are_compared(chorus: Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn over the lake").await;
    api.like(&bob, &post).await.expect(200);
    chorus.settle().await.unwrap();
    let output = failure(&chorus, &["shadow", "posts"]);
    assert!(output.contains("no other version of posts serves; that of this program is 1"), "{output}");
    let equal = run(&chorus, &["shadow", "posts", "--version", "1"]);
    assert!(equal.contains("against generation 0 of version 1"), "{equal}");
    assert!(equal.contains("both versions make the same documents"), "{equal}");

    let mut other = Writes::default();
    other.patch::<Post>(post.clone(), Patch::default().inc("likes", 5));
    damage(&chorus, "posts", other.into_list()).await;
    let printed = lines_of_failure(&chorus, &["shadow", "posts", "--version", "1", "--json"]);
    let expected = json!([{ "view": "posts", "key": post, "kind": "different", "fields": ["likes"] }]);
    assert_eq!(printed[0]["differences"], expected);
}

/// Version 7 of posts, which serves a generation of its own and counts other likes of a post.
async fn serve_other_version(chorus: &Chorus, post: &str) {
    let views = chorus.generations().await.unwrap();
    let own = views.family("posts").unwrap();
    let other = Family { version: 7, ..*own };
    let (_, serving) = views.of_family(own).await.unwrap();
    let mut documents = Vec::new();
    for &view in own.views {
        for stored in serving.scan(view, None, 1000).await.unwrap() {
            let mut document: Map<String, Value> = stored.read().unwrap();
            // The key, in MongoDB.
            document.remove("_id");
            if stored.key == post {
                document.insert("likes".to_owned(), json!(5));
            }
            documents.push(Write::Put { view, key: stored.key, document, is_new: true });
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let store = views.generation_store();
    let file = store.scratch_file(&other, 1, folder.path());
    let scratch = Arc::new(SqliteViews::create_scratch(&file, own.views.to_vec(), 1 << 20).await.unwrap());
    let commit = Commit {
        projection: own.name,
        writes: Arc::new(documents),
        parked: Vec::new(),
        expected: 0,
        checkpoint: serving.checkpoint(own.name).await.unwrap(),
    };
    scratch.commit(commit).await.unwrap();
    store.publish(&other, 1, scratch).await.unwrap();
    let generation = Generation { number: 1, state: GenerationState::Adopted, builder: None };
    let record =
        Generations { next: 2, serving: Some(1), generations: vec![generation], ..Generations::default() };
    views.change(&other, |_| Some(record.clone())).await.unwrap();
}

async fn other_version_that_serves_is_compared_with_this_program(chorus: Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let (post, other) = (api.publish(&ann, "Dawn over the lake").await, api.publish(&ann, "Dusk").await);
    api.like(&bob, &post).await.expect(200);
    api.like(&bob, &other).await.expect(200);
    chorus.settle().await.unwrap();
    serve_other_version(&chorus, &post).await;
    // What comes later is not in the generation that stands still.
    api.like(&ann, &other).await.expect(200);
    chorus.settle().await.unwrap();
    let printed = failure(&chorus, &["shadow", "posts"]);
    for expected in [
        "version 1 of posts, folded by this program, against generation 1 of version 7",
        &format!("! posts {post}: different in likes"),
        "1 difference. ",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let printed = lines_of_failure(&chorus, &["shadow", "posts", "--json"]);
    let expected = json!([{ "view": "posts", "key": post, "kind": "different", "fields": ["likes"] }]);
    assert_eq!(printed[0]["differences"], expected);
    let own = api.post_page(&post).await;
    assert_eq!(own["likes"], 1, "each program reads its own version: {own}");
}

async fn damaged_documents_are_found_and_cannot_be_explained(chorus: Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn over the lake").await;
    api.like(&bob, &post).await.expect(200);
    chorus.settle().await.unwrap();
    assert!(run(&chorus, &["verify"]).contains("all views equal the log"));

    let mut wrong = Writes::default();
    let patch = Patch::default().inc("likes", 5).set("caption", "Dusk over the lake");
    wrong.patch::<Post>(post.clone(), patch);
    let mut writes = wrong.into_list();
    writes.push(Write::Delete { view: &LIKES, key: format!("{post}.{}", bob.id) });
    let Value::Object(extra) = json!({ "post": "none", "likes": 0 }) else { unreachable!() };
    writes.push(Write::Put { view: &POSTS, key: "none".to_owned(), document: extra, is_new: true });
    damage(&chorus, "posts", writes).await;

    let printed = lines_of_failure(&chorus, &["verify", "--json"]);
    let wrong: Vec<&Value> = printed
        .iter()
        .filter(|line| line["differences"].as_array().is_some_and(|list| !list.is_empty()))
        .collect();
    let [posts] = wrong.as_slice() else { panic!("{printed:?}") };
    assert_eq!(posts["family"], "posts");
    let mut differences = posts["differences"].as_array().unwrap().clone();
    differences.sort_by_key(|difference| difference["kind"].to_string());
    let expected = [
        json!({ "view": "posts", "key": post, "kind": "different", "fields": ["caption", "likes"] }),
        json!({ "view": "posts", "key": "none", "kind": "extra", "fields": [] }),
        json!({ "view": "likes", "key": format!("{post}.{}", bob.id), "kind": "missing", "fields": [] }),
    ];
    assert_eq!(differences, expected);

    let why = run(&chorus, &["why", "posts", &post]);
    assert!(why.contains("! NOT the stored document"), "{why}");
    assert!(why.contains("events of the family were folded"), "{why}");
    assert!(why.contains("~ likes 0 → 1") && !why.contains("Dusk"), "{why}");
}

/// A like that is taken back twice, which no command does: the projection counts it twice, live and in a fold.
async fn wrong_counts_of_the_program_itself_are_found(chorus: Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn over the lake").await;
    api.like(&bob, &post).await.expect(200);
    api.delete_as(&bob, &format!("/v1/posts/{post}/like")).await.expect(200);
    assert!(run(&chorus, &["verify", "posts"]).contains("all counts their lists"));

    let log = chorus.log().await.unwrap();
    let (post_id, user) = (post.parse().unwrap(), bob.id.parse().unwrap());
    let subject = Subject::Like(post_id, user);
    let last = log.read(subject, Position::START).await.unwrap().last().unwrap().position;
    let again = PostUnliked { post: post_id, user, post_author: ann.id.parse().unwrap() };
    log.append(Draft::without_cause(SystemClock.now(), again), last).await.unwrap();
    chorus.settle().await.unwrap();
    let printed = lines_of_failure(&chorus, &["verify", "posts", "--json"]);
    assert_eq!(printed[0]["differences"], json!([]));
    let wrong = json!([{ "view": "posts", "key": post, "field": "likes", "stored": -1, "counted": 0 }]);
    assert_eq!(printed[0]["wrong_counts"], wrong);
    let printed = failure(&chorus, &["verify", "posts"]);
    assert!(printed.contains(&format!("! posts {post}: likes is -1, but the list has 0")), "{printed}");
    assert!(
        printed.contains("1 difference.") && printed.contains("This program counts wrongly"),
        "{printed}"
    );
}

/// The event of the erasure is there, but its key was not destroyed; and a picture is missing.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_erased_users_and_missing_files_are_found() {
    let mut chorus = Chorus::standalone().await.unwrap();
    let api = chorus.api();
    let (ann, bob, cem) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cem").await);
    let post = api.publish(&cem, "Dawn over the lake").await;
    let erase = api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&bob.token);
    api.send(erase.json(&json!({ "currentPassword": PASSWORD }))).await.expect(204);
    chorus.settle().await.unwrap();
    assert!(run(&chorus, &["verify"]).contains("all views equal the log"));

    chorus.stop(Service::Chorus).unwrap();
    let log = chorus.log().await.unwrap();
    let user = ann.id.parse().unwrap();
    let last = log.read(Subject::Account(user), Position::START).await.unwrap().last().unwrap().position;
    log.append(Draft::without_cause(SystemClock.now(), Erased { user }), last).await.unwrap();
    log.close().await.unwrap();
    let media = chorus.media().await.unwrap();
    let mut files: Vec<Listed> = media.list().try_collect().await.unwrap();
    let missing = files.pop().unwrap().name;
    media.delete(&MediaKey::parse(&missing).unwrap()).await.unwrap();
    let printed = failure(&chorus, &["verify"]);
    let expected = format!("! user {} is erased, but their key is not destroyed", ann.id);
    assert!(printed.contains(&expected), "{printed}");
    assert!(!printed.contains(&bob.id), "{printed}");
    assert!(printed.contains(&format!("! the file {missing} of post.{post} is missing")), "{printed}");
    let printed = failure(&chorus, &["verify", "--without-media"]);
    assert!(printed.contains(&expected) && !printed.contains("is missing"), "{printed}");
}

/// A damaged event, and one of a newer program, which stops several families.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_read_hide_nothing_else() {
    let mut chorus = Chorus::standalone().await.unwrap();
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn over the lake").await;
    let comment = api.comment(&ann, &post, "Lovely").await;
    chorus.settle().await.unwrap();
    let log = chorus.raw_log().await.unwrap();
    let post = PostId::new(post.parse().unwrap());
    let published = log.read(Subject::Post(post), Position::START).await.unwrap()[0].position;
    let written = log.read(Subject::Comment(post, comment.parse().unwrap()), Position::START).await.unwrap();
    let mut message = written[0].message.clone();
    message.envelope.id = EventId::new(Uuid::from_u128(1));
    message.envelope.subject = Subject::Comment(post, CommentId::new(Uuid::from_u128(2)));
    let body = String::from_utf8(message.body.to_vec())
        .unwrap()
        .replace(&comment, &Uuid::from_u128(2).simple().to_string());
    let sealed = body.find("\"sealed\":\"").unwrap() + "\"sealed\":\"".len();
    message.body = [&body[..sealed], "AAAAAA", &body[sealed + 6..]].concat().into();
    let damaged = log.append(&message, Position::START).await.unwrap();
    chorus.settle().await.unwrap();
    let expected = format!("! the event at {damaged} (`comment.commented.v2`) is unreadable: ");
    let printed = failure(&chorus, &["verify"]);
    assert!(printed.contains(&expected) && printed.contains("all views equal the log"), "{printed}");

    // As a newer program would have written it, in a log whose views are those of that program.
    chorus.stop(Service::Chorus).unwrap();
    let connection = sqlite::rusqlite::Connection::open(chorus.folder().join("data/events.db")).unwrap();
    connection.execute_batch("DROP TRIGGER events_never_change").unwrap();
    let changed = "UPDATE events SET type = 'post.teleported.v1' WHERE position = ?1";
    connection.execute(changed, [published.0]).unwrap();
    for _ in 0..5 {
        let printed = failure(&chorus, &["verify"]);
        for expected in [
            expected.clone(),
            format!("  the event at {published} (`post.teleported.v1`) is unreadable: "),
            format!("! the fold stops before the event at {published} (`post.teleported.v1`)"),
            "the media store is not compared: ".to_owned(),
        ] {
            assert!(printed.contains(&expected), "{expected}: {printed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_verify_deletes_its_temporary_files() {
    let chorus = Chorus::standalone().await.unwrap();
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    for _ in 0..5 {
        api.publish(&ann, "Dawn over the lake").await;
    }
    let scratch = tempfile::tempdir().unwrap();
    let entries = || std::fs::read_dir(scratch.path()).unwrap().count();
    let mut verify = chorus.cli(&["verify", "--scratch"]).unwrap();
    let mut verify = verify.arg(scratch.path()).spawn().unwrap();
    until("it has temporary files", async || entries() > 0).await;
    let interrupt = std::process::Command::new("kill").args(["-INT", &verify.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let ended = verify.wait().unwrap();
    assert!(ended.code().is_some(), "it was killed by the signal");
    assert_eq!(entries(), 0);
}

async fn views_that_move_on_equal_the_log(chorus: Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "first").await;
    let done = AtomicBool::new(false);
    let verify = async {
        for _ in 0..3 {
            let verify = chorus.cli(&["verify", "posts", "feeds", "notifications", "profiles"]).unwrap();
            let output = tokio::process::Command::from(verify).output().await.unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && printed.contains("all views equal the log"), "{printed}");
        }
        done.store(true, Ordering::Relaxed);
    };
    let writes = async {
        let mut likes = 0;
        while !done.load(Ordering::Relaxed) {
            let fan = api.sign_up(&format!("fan{likes}")).await;
            api.like(&fan, &post).await.expect(200);
            api.publish(&fan, "next").await;
            likes += 1;
        }
        assert!(likes > 0);
    };
    tokio::join!(writes, verify);
}
