//! The operator's verbs `chorus events` and `chorus views` on both deployments: what they show, and that they change
//! nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]
#![allow(clippy::print_stdout, reason = "times are printed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use events::{Envelope, EventId, Message, Position, PostId, Subject, UserId, time_ordered_id};
use mongodb::bson::doc;
use serde_json::Value;
use service::clock::{Clock, SystemClock};
use tests::chorus::{Chorus, Service};
use tests::client::{Api, User, sha256};
use tests::contracts::log::{Foreign, plant_on_jetstream, plant_on_sqlite};
use tests::verbs::{fails, failure, run};
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

/// How long one line of a running verb may take.
const LINE_LIMIT: Duration = Duration::from_secs(30);
const SEALED: &str = "▒ sealed";

tests::on_both! {
    verbs_show_log_and_views_and_change_nothing,
    tail_shows_events_as_they_are_appended,
    revealed_fields_leave_an_event,
}

/// Two people, a post and a like.
async fn filled(chorus: &Chorus) -> (Api, User, String) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn over the lake").await;
    api.like(&bob, &post).await.expect(200);
    chorus.settle().await.unwrap();
    (api, ann, post)
}

async fn plant(chorus: &Chorus, foreign: Foreign) {
    match &chorus.nats {
        Some(nats) => plant_on_jetstream(nats.client().await.unwrap(), "chorus", foreign).await,
        None => plant_on_sqlite(&chorus.folder().join("data/events.db"), foreign),
    }
}

/// The files of a folder with their hashes. The index of a WAL (`-shm`) is memory that processes share.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.display().to_string().ends_with("-shm") {
            found.insert(path.display().to_string(), sha256(&std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// Everything that is stored.
async fn inventory(chorus: &Chorus) -> Vec<String> {
    let files = files(&chorus.folder().join("data"));
    let mut found: Vec<String> = files.iter().map(|(name, hash)| format!("{name}: {hash}")).collect();
    if let Some(nats) = &chorus.nats {
        found.extend(nats.inventory().await.unwrap());
    }
    if let Some(mongo) = &chorus.mongo {
        found.extend(mongo.inventory("chorus").await.unwrap());
    }
    found
}

fn lines_of(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs every verb and checks what it shows.
fn verbs_show(chorus: &Chorus, ann: &User, post: &str, foreign: Position) {
    let email = format!("{}@example.org", ann.username);
    let printed = run(chorus, &["events", "tail", "--no-follow", "--from", "1"]);
    for expected in
        ["account.signed_up.v", "post.published.v", &format!("like.{post}."), "planet.discovered.v1"]
    {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    assert!(!printed.contains(&ann.username), "{printed}");
    let unknown = printed.lines().find(|line| line.contains("planet.discovered.v1")).unwrap();
    assert!(unknown.trim_start().starts_with(&format!("{foreign} ")), "{unknown}");
    assert!(printed.contains("! `planet.discovered.v1` is not an event that this version"), "{printed}");
    let unreadable = printed.lines().find(|line| line.contains("unreadable")).unwrap();
    assert!(unreadable.trim_start().starts_with(&format!("{} ", foreign.next())), "{unreadable}");

    let all = lines_of(&run(chorus, &["events", "tail", "--json", "--no-follow", "--from", "1"]));
    let positions: Vec<u64> = all.iter().map(|event| event["position"].as_u64().unwrap()).collect();
    assert_eq!(positions, (1..=foreign.0 + 1).collect::<Vec<_>>());
    let published = all.iter().find(|event| event["subject"] == format!("post.{post}")).unwrap();
    let position = published["position"].to_string();
    assert_eq!((&published["actor"], &published["body"]["text"]), (&ann.id.clone().into(), &SEALED.into()));

    let of_kind = lines_of(&run(
        chorus,
        &["events", "tail", "--json", "--no-follow", "--since", "1h", "--subject", "post"],
    ));
    assert_eq!(of_kind, std::slice::from_ref(published));
    let filters: [(&[&str], usize); 7] = [
        (&["--type", "account.signed_up"], 2),
        (&["--actor", &ann.id, "--type", "post"], 1),
        (&["--correlation", published["correlation"].as_str().unwrap(), "--type", "post"], 1),
        (&["--subject", &format!("username:{}", ann.username)], 1),
        (&["--subject", &format!("post.{}", &post[..8])], 1),
        (&["--until", "1h", "--type", "post"], 0),
        (&["--limit", "2"], 2),
    ];
    for (filter, count) in filters {
        let arguments = [&["events", "tail", "--json", "--no-follow", "--from", "1"][..], filter].concat();
        assert_eq!(lines_of(&run(chorus, &arguments)).len(), count, "{filter:?}");
    }

    let shown = run(chorus, &["events", "show", &position]);
    for expected in [&format!("subject      post.{post}"), SEALED, "correlation  ", "\"author\":", "--reveal"]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("Dawn"), "{shown}");
    assert_eq!(
        lines_of(&run(chorus, &["events", "show", &position, "--json"])),
        std::slice::from_ref(published)
    );
    let shown = run(chorus, &["events", "show", &foreign.next().to_string()]);
    assert!(shown.contains("problem      ") && shown.contains("type         like.liked.v1"), "{shown}");

    let history = run(chorus, &["events", "of", &format!("post.{post}"), "--bodies"]);
    assert!(history.contains("post.published.v") && history.contains(SEALED), "{history}");
    for (name, claimed) in [("username", &ann.username), ("email", &email)] {
        let history = run(chorus, &["events", "of", &format!("{name}:{claimed}"), "--json"]);
        let events = lines_of(&history);
        assert_eq!(events[0]["type"], format!("{name}.claimed.v1"), "{history}");
        assert_eq!(events[0]["body"]["user"], ann.id, "{history}");
    }

    let account = format!("account.{}", ann.id);
    let signed_up = all.iter().find(|event| event["subject"] == account).unwrap();
    let trace = run(chorus, &["events", "trace", &signed_up["position"].to_string()]);
    for expected in [
        "username.claimed.v1",
        "email.claimed.v1",
        "account.signed_up.v",
        "session.started.v",
        "mail.sent.v1",
    ] {
        assert!(trace.contains(expected), "{expected}: {trace}");
    }
    assert!(trace.contains("events; searched positions "), "{trace}");
    let correlation = signed_up["correlation"].as_str().unwrap();
    let traced = lines_of(&run(chorus, &["events", "trace", correlation, "--json"]));
    assert!(traced.iter().all(|event| event["correlation"] == correlation), "{traced:?}");
    assert!(traced.len() >= 5 && traced.iter().any(|event| event["depth"] == 1), "{traced:?}");

    let stats = run(chorus, &["events", "stats"]);
    assert!(stats.contains("unreadable  1\n") && stats.contains("post.published.v"), "{stats}");
    let stats = lines_of(&run(chorus, &["events", "stats", "--json", "--type", "account"]));
    assert_eq!(stats[0]["events"], 2, "{stats:?}");
    assert_eq!(stats[0]["largest_subjects"].as_array().unwrap().len(), 2, "{stats:?}");

    verbs_compare_and_explain(chorus, post, foreign);
    let views = run(chorus, &["views"]);
    for expected in ["VIEW ", "posts ", "likes ", "REACTION", "! posts: 1 events are parked"] {
        assert!(views.contains(expected), "{expected}: {views}");
    }
    let views = lines_of(&run(chorus, &["views", "--json"]));
    let posts = views.iter().find(|view| view["view"] == "posts").unwrap();
    assert_eq!(
        (&posts["documents"], &posts["waiting"], &posts["parked"]),
        (&1.into(), &0.into(), &1.into()),
        "{posts}"
    );
    assert_parked(chorus, foreign.next());
    assert!(posts["bytes"].as_u64().unwrap() > 0 && posts["version"].as_u64().unwrap() > 0, "{posts}");
}

/// The verbs that fold the log and compare with the views.
fn verbs_compare_and_explain(chorus: &Chorus, post: &str, foreign: Position) {
    let verified = failure(chorus, &["verify"]);
    for expected in [
        "all views equal the log, and all counts their lists; the lines with `!` say what is wrong"
            .to_owned(),
        format!("  the event at {foreign} (`planet.discovered.v1`) is unreadable"),
        format!("! the event at {} (`like.liked.v1`) is unreadable", foreign.next()),
        format!("  the event at {} (`like.liked.v1`) is parked", foreign.next()),
    ] {
        assert!(verified.contains(&expected), "{expected}: {verified}");
    }
    let of_home =
        failure(chorus, &["verify", "home", "sessions", "--json", "--workers", "2", "--cache", "16"]);
    let of_home = lines_of(of_home.trim_end());
    let families: Vec<&Value> = of_home.iter().filter_map(|line| line.get("family")).collect();
    assert_eq!(families, ["sessions", "feeds"], "{of_home:?}");

    let why = run(chorus, &["why", "posts", post]);
    for expected in [
        "post.published.v",
        "like.liked.v1",
        "~ likes 0 → 1",
        "+ caption \"▒ personal\"",
        "complete: 2 events",
    ] {
        assert!(why.contains(expected), "{expected}: {why}");
    }
    assert!(!why.contains("Dawn"), "{why}");
    let steps = lines_of(&run(chorus, &["why", "posts", post, "--json"]));
    let [published, liked, told] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((&published["document"]["likes"], &liked["document"]["likes"]), (&0.into(), &1.into()));
    assert_eq!((&told["complete"], &told["whole_family"]), (&true.into(), &false.into()));
    let (first, last) = (published["position"].to_string(), liked["position"].to_string());
    let then = run(chorus, &["why", "posts", post, "--at", &first]);
    assert!(then.contains("this is the document then") && !then.contains("like.liked"), "{then}");
    let before = run(chorus, &["why", "posts", post, "--at", "1"]);
    let expected = format!("there was no document at position 1: the event at {first} made it first: posts");
    assert!(before.contains(&expected) && !before.contains("explain the document"), "{before}");
    let diff = run(chorus, &["diff", "posts", post, &first, &last]);
    assert!(diff.contains("~ likes 0 → 1") && !diff.contains("caption"), "{diff}");
    let diff = &lines_of(&run(chorus, &["diff", "posts", post, "1h", &last, "--json"]))[0];
    assert!(diff["before"].is_null() && diff["after"]["likes"] == 1, "{diff}");
    fails(chorus, &["why", "planets", "7"], "there is no view `planets`");
    fails(chorus, &["why", "posts", "0000000000000000000000000000abcd"], "has no document");
    let beyond = "there is no position 999999 yet: the log ends at";
    fails(chorus, &["why", "posts", post, "--at", "999999"], beyond);
    fails(chorus, &["diff", "posts", post, &first, "999999"], beyond);
    fails(chorus, &["verify", "planets"], "there is no family or view `planets`");
}

/// The unreadable event is parked by the projection of likes.
fn assert_parked(chorus: &Chorus, position: Position) {
    let subject = Foreign::Unreadable.subject();
    let listed = run(chorus, &["parked", "list", "posts"]);
    let line = listed.lines().nth(1).unwrap();
    for expected in [&position.to_string(), "posts", "like.liked.v1", subject] {
        assert!(line.contains(expected), "{expected}: {listed}");
    }
    let listed = lines_of(&run(chorus, &["parked", "list", "--json"]));
    let of_posts: Vec<&Value> = listed.iter().filter(|parked| parked["family"] == "posts").collect();
    let [parked] = of_posts.as_slice() else { panic!("{listed:?}") };
    assert_eq!((&parked["position"], &parked["subject"]), (&position.0.into(), &subject.into()));
    let shown = run(chorus, &["parked", "show", "posts"]);
    for expected in ["parked by    posts, with 0 later events", "error        ", subject, "problem      "] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let shown = lines_of(&run(chorus, &["parked", "show", "posts", &position.to_string(), "--json"]));
    assert_eq!((&shown[0]["event"]["position"], &shown[0]["events_behind"]), (&position.0.into(), &0.into()));
    fails(chorus, &["parked", "show", "posts", "1"], "the event at position 1 is not parked by posts");
    fails(chorus, &["parked", "show", "comments"], "no event of comments is parked");
    fails(chorus, &["parked", "list", "planets"], "there is no projection or reaction `planets`");
}

async fn verbs_show_log_and_views_and_change_nothing(mut chorus: Chorus) {
    let chorus = &mut chorus;
    let (_, ann, post) = filled(chorus).await;
    plant(chorus, Foreign::Unknown).await;
    plant(chorus, Foreign::Unreadable).await;
    let log = chorus.raw_log().await.unwrap();
    let foreign = Position(log.head().await.unwrap().0 - 1);
    drop(log);
    // The projection of likes parks the unreadable event; nothing else is about to happen.
    chorus.settle().await.unwrap();
    let services = chorus.services();
    // Stopped services change nothing themselves.
    for service in &services {
        chorus.signal(*service, "STOP").unwrap();
    }
    let before = inventory(chorus).await;
    verbs_show(chorus, &ann, &post, foreign);
    refusals(chorus, foreign.next());
    generations_are_refused(chorus);
    assert_eq!(inventory(chorus).await, before);
    for service in &services {
        chorus.signal(*service, "CONT").unwrap();
    }

    view_that_does_not_move(chorus).await;
    if services == [Service::Chorus] {
        at_rest(chorus, &ann).await;
    }
    if let Some(mongo) = &chorus.mongo {
        let newer = doc! {
            "update": "schema",
            "updates": [{ "q": { "_id": "views" }, "u": { "$set": { "steps": 99_i64 } } }],
        };
        mongo.command_on("chorus", newer).await.unwrap();
        for service in &services {
            chorus.kill(*service).unwrap();
        }
        let before = inventory(chorus).await;
        newer_store_is_refused(chorus);
        assert_eq!(inventory(chorus).await, before);
    }
}

/// By verbs that look, and by those that would change something.
fn newer_store_is_refused(chorus: &Chorus) {
    let verbs = [
        &["views"][..],
        &["parked", "list"],
        &["parked", "show", "posts"],
        &["verify"],
        &["shadow", "posts"],
        &["why", "posts", "0000000000000000000000000000abcd"],
        &["generations"],
        &["rebuild", "posts"],
        &["prepare"],
        &["rollback", "posts"],
        &["generations", "drop", "posts"],
    ];
    for verb in verbs {
        fails(chorus, verb, "use a newer program");
    }
}

/// Requests about generations that are refused.
fn generations_are_refused(chorus: &Chorus) {
    let unknown = "there is no family `nothing`; there are accounts, ";
    let verbs = [&["rebuild"][..], &["rollback"], &["generations", "drop"], &["shadow"]];
    for verb in verbs {
        fails(chorus, &[verb, &["nothing"]].concat(), unknown);
        fails(chorus, &[verb, &["likes"]].concat(), "`likes` is a view of the family `posts`");
    }
    fails(chorus, &["rollback", "posts"], "posts has no generation that served before");
    let missing = ["rollback", "posts", "--generation", "7"];
    fails(chorus, &missing, "posts has no generation 7 that could serve");
    let serving = ["generations", "drop", "posts", "--generation", "0"];
    fails(chorus, &serving, "generation 0 of posts version 1 serves: with --force ");
    let unregistered = ["generations", "drop", "posts", "--version", "9"];
    fails(chorus, &unregistered, "no server has started with version 9 of posts");
    fails(chorus, &["rollback", "posts", "--reason", " "], "--reason: give 1 to ");
}

/// What verbs refuse, with a reason and without creating anything.
fn refusals(chorus: &Chorus, head: Position) {
    fails(
        chorus,
        &["events", "show", "999999"],
        &format!("there is no event at position 999999: the log ends at {head}"),
    );
    fails(chorus, &["events", "show", "0"], "the first event is at position 1");
    fails(chorus, &["events", "of", "post.0000000000000000000000000000abcd"], "the log has no event about");
    fails(chorus, &["events", "of", "phone:123"], "username:<name>");
    fails(chorus, &["events", "of", "post"], "expected a kind with ids such as post.<id>");
    fails(chorus, &["events", "trace", &Uuid::nil().to_string()], "is not a UUIDv7");
    let request = time_ordered_id(SystemClock.now()).to_string();
    fails(chorus, &["events", "trace", &request], "no event of request");
    fails(chorus, &["events", "show", "1", "--reveal"], "--reason");
    fails(chorus, &["events", "tail", "--since", "yesterday"], "2h");
    let nowhere = chorus.folder().join("nowhere");
    let file = format!("sqlite:{}", nowhere.join("events.db").display());
    for verb in [&["events", "stats"][..], &["events", "tail"], &["views"]] {
        fails(chorus, &[verb, &["--log", &file]].concat(), "there is no such file");
    }
    assert!(!nowhere.exists());
    if let (Some(nats), Some(mongo)) = (&chorus.nats, &chorus.mongo) {
        fails(chorus, &["events", "stats", "--log", &nats.url("nowhere")], "there is no stream `nowhere`");
        fails(chorus, &["views", "--views", &mongo.url("nowhere")], "holds no views of Chorus");
    }
}

/// An event of a newer version stops its view, which says so.
async fn view_that_does_not_move(chorus: &Chorus) {
    let (id, user) = (Uuid::from_u128(7), UserId::new(Uuid::from_u128(8)));
    let envelope = Envelope {
        id: EventId::new(id),
        event_type: "like.superliked.v9".into(),
        source: "chorus".into(),
        time: SystemClock.now(),
        subject: Subject::Like(PostId::new(id), user),
        actor: None,
        correlation: id,
        causation: None,
        traceparent: None,
    };
    let log = chorus.raw_log().await.unwrap();
    let position = log.append(&Message { envelope, body: "{}".into() }, Position::START).await.unwrap();
    let views = run(chorus, &["views"]);
    let problem = format!("it stops before the event at {position} (`like.superliked.v9`)");
    assert!(views.contains(&problem), "{views}");
    let lines = lines_of(&run(chorus, &["views", "--json"]));
    let likes = lines.iter().find(|view| view["view"] == "likes").unwrap();
    assert!(likes["problem"].as_str().unwrap().contains(&problem) && likes["waiting"] == 1, "{likes}");
}

/// Files at rest: after a clean stop, after a crash, and of a newer program.
async fn at_rest(chorus: &mut Chorus, ann: &User) {
    let data = chorus.folder().join("data");
    let show_all = |chorus: &Chorus| {
        let shown = run(chorus, &["events", "tail", "--no-follow", "--from", "1", "--bodies"]);
        assert!(shown.contains("post.published.v") && !shown.contains("Dawn"), "{shown}");
        assert!(run(chorus, &["events", "of", &format!("username:{}", ann.username)]).contains("claimed"));
        run(chorus, &["events", "stats"]);
        run(chorus, &["views"]);
        shown
    };
    chorus.stop(Service::Chorus).unwrap();
    let before = inventory(chorus).await;
    let names =
        || std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let names_before = names();
    show_all(chorus);
    assert_eq!(inventory(chorus).await, before);
    assert_eq!(names(), names_before, "not even the index of a WAL");

    // Its last events are in the WAL only. The likes view has stopped, so it does not become ready.
    chorus.start_again_unready(Service::Chorus).unwrap();
    let api = chorus.api();
    tests::waiting::until("answer", async || {
        let request = api.request(reqwest::Method::GET, "/livez");
        api.try_send(request).await.is_ok()
    })
    .await;
    let carol = api.sign_up("carol").await;
    chorus.kill(Service::Chorus).unwrap();
    let before = inventory(chorus).await;
    assert!(before.iter().any(|file| file.contains("events.db-wal")), "{before:?}");
    let shown = show_all(chorus);
    assert!(shown.contains(&format!("account.{}", carol.id)), "{shown}");
    assert_eq!(inventory(chorus).await, before);

    // First the views alone, beside a log that can be opened.
    for name in ["views.db", "events.db"] {
        let connection = sqlite::rusqlite::Connection::open(data.join(name)).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        let before = inventory(chorus).await;
        newer_store_is_refused(chorus);
        assert_eq!(inventory(chorus).await, before, "{name}");
    }
    fails(chorus, &["events", "stats"], "use a newer program");
}

async fn tail_shows_events_as_they_are_appended(mut chorus: Chorus) {
    const POSTS: usize = 9;
    let chorus = &mut chorus;
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let filter = ["events", "tail", "--json", "--since", "1h", "--type", "post", "--limit", "10"];
    let mut command = tokio::process::Command::from(chorus.cli(&filter).unwrap());
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(LINE_LIMIT, lines.next_line()).await.unwrap().unwrap();
        line.map(|line| serde_json::from_str::<Value>(&line).unwrap())
    };
    // The first one shows that it runs.
    let first = api.publish(&ann, "first").await;
    assert_eq!(next().await.unwrap()["subject"], format!("post.{first}"));
    let mut delays = Vec::new();
    for _ in 0..POSTS {
        let post = api.publish(&ann, "next").await;
        let published = Instant::now();
        assert_eq!(next().await.unwrap()["subject"], format!("post.{post}"));
        delays.push(published.elapsed());
    }
    delays.sort();
    println!("shown after {delays:?}");
    assert!(next().await.is_none(), "it stops at its limit");
    assert!(child.wait().await.unwrap().success());
}

async fn revealed_fields_leave_an_event(mut chorus: Chorus) {
    let chorus = &mut chorus;
    let (api, ann, post) = filled(chorus).await;
    let email = format!("{}@example.org", ann.username);
    let reason = ["--reveal", "--reason", "Report 7 by Bob", "--operator", "eve"];
    let head = || async { chorus.raw_log().await.unwrap().head().await.unwrap() };
    let before = head().await;

    let shown =
        run(chorus, &[&["events", "of", &format!("account.{}", ann.id), "--json"][..], &reason].concat());
    let signed_up = &lines_of(&shown)[0];
    assert_eq!(signed_up["body"]["person"]["email"], email, "{shown}");
    assert_eq!(signed_up["body"]["person"]["password_hash"], "▒ never shown");
    assert!(!shown.contains("argon2"), "{shown}");
    let after = head().await;
    assert_eq!(after, before.next());
    let record = after.to_string();
    let recorded = &lines_of(&run(chorus, &["events", "show", &record, "--json"]))[0];
    assert_eq!(recorded["type"], "operation.content_revealed.v1");
    assert_eq!(recorded["body"]["scope"]["subject"], format!("account.{}", ann.id));
    assert_eq!(recorded["body"]["note"], SEALED, "{recorded}");
    let reveal = [&["events", "show", &record, "--json"][..], &reason].concat();
    let opened = &lines_of(&run(chorus, &reveal))[0];
    assert_eq!(opened["body"]["note"]["reason"], "Report 7 by Bob");
    assert_eq!(opened["body"]["note"]["operator"], "eve");

    let published = lines_of(&run(chorus, &["events", "of", &format!("post.{post}"), "--json"]));
    let position = published[0]["position"].to_string();
    let shown = run(chorus, &[&["events", "trace", &position][..], &reason].concat());
    assert!(shown.contains("Dawn over the lake"), "{shown}");
    assert_eq!(head().await, Position(before.0 + 3));

    let shown = run(chorus, &[&["why", "posts", &post][..], &reason].concat());
    assert!(shown.contains("caption \"Dawn over the lake\"") && shown.contains("complete"), "{shown}");
    let record = Position(before.0 + 4).to_string();
    let recorded = &lines_of(&run(chorus, &["events", "show", &record, "--json"]))[0];
    let scope = serde_json::json!({ "kind": "document", "view": "posts", "key": post });
    assert_eq!(recorded["body"]["scope"], scope);

    // Nothing is recorded and nothing shown without a reason, and without an event.
    fails(chorus, &["events", "show", &position, "--reveal", "--reason", " "], "--reason");
    fails(chorus, &[&["events", "show", "999999"][..], &reason].concat(), "there is no event");
    assert_eq!(head().await, Position(before.0 + 4));
    // The views pass the new kind.
    chorus.settle().await.unwrap();

    // The data of erased people stays unreadable.
    let current = serde_json::json!({ "currentPassword": tests::client::PASSWORD });
    let erase = api.request(reqwest::Method::DELETE, "/instamern/users/delete").bearer_auth(&ann.token);
    api.send(erase.json(&current)).await.expect(204);
    let shown = run(chorus, &[&["events", "show", &position][..], &reason].concat());
    assert!(shown.contains("▒ erased") && !shown.contains("Dawn"), "{shown}");
}
