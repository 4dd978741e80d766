//! Views are rebuilt, switched, switched back and dropped under load, with kills: no request fails, nobody sees less than
//! before, and nothing acknowledged is missing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]
#![allow(clippy::print_stdout, reason = "counts and times are printed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use events::{
    Draft, Event, Freshness, Kind, LikeEvent, PostUnliked, Recorded, SealedLog, SocialEvent, Subject,
};
use futures::future::join_all;
use projector::{BuildSettings, Feeder, OnFailure, Projection, Search, feed};
use reqwest::Method;
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use service::config::FeedSettings;
use service::shutdown::Tasks;
use tests::chorus::{Chorus, Service};
use tests::client::{Answer, Api, User};
use tests::verbs::{fails, failure, run};
use tests::waiting::{found, until};
use views::generations::{Builder, Generation, GenerationState, Generations};
use views::{Family, StoreError, View, Writes};

/// Concurrent readers and writers.
const READERS: usize = 4;
const WRITERS: usize = 2;
/// Between two requests of one of them: the load shall be there, not keep the machine busy.
const PAUSE: Duration = Duration::from_millis(20);
/// Kills of each kind of process.
const KILLS: usize = 2;
/// How long a verb waits for a projector before it says that none runs.
const ANSWER_LIMIT: Duration = Duration::from_secs(6);
/// How long a builder runs between two stops, and how many builders are tried until one is stopped while it builds.
const STEP: Duration = Duration::from_millis(3);
const BUILDERS: usize = 30;
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How long a builder that goes on may take to notice that it was replaced.
const RESUMED_LIMIT: Duration = Duration::from_mins(1);

tests::on_both! {
    views_are_rebuilt_switched_and_dropped_under_load,
    kills_during_rebuilds_are_not_noticed,
    kills_during_switches_and_deletions_are_not_noticed,
    second_builder_is_refused_and_a_paused_one_replaced,
    paused_builder_goes_on_later_and_changes_nothing_that_is_read,
    switches_without_a_projector_are_recorded_and_made_by_the_next_one,
    serving_generation_of_another_version_is_dropped_only_by_force,
    deleted_views_are_built_anew_and_never_shown_empty,
    bug_of_a_projection_is_found_explained_and_mended_under_load,
}

/// Requests that run beside a test.
struct Load {
    api: Api,
    users: Vec<User>,
    post: String,
    /// Posts of everybody.
    posts: usize,
    stop: AtomicBool,
    reads: AtomicU64,
    writes: AtomicU64,
    /// Milliseconds of the slowest command.
    slowest_write: AtomicU64,
    /// A process that answers requests is being killed: requests may fail to connect, but no other way.
    may_fail: AtomicBool,
    /// Whether commands may have been done without an answer.
    with_kills: bool,
    /// Comments that were acknowledged before a read began.
    acknowledged: AtomicU64,
}

impl Load {
    #[expect(clippy::disallowed_methods, reason = "the test waits for its tasks")]
    async fn start(chorus: &Chorus, with_kills: bool) -> (Arc<Self>, Vec<tokio::task::JoinHandle<()>>) {
        let api = chorus.api();
        let users = join_all(["ann", "bob", "cem"].map(|name| api.sign_up(name))).await;
        for follower in &users[1..] {
            api.follow(follower, &users[0]).await.expect(200);
        }
        let post = api.publish(&users[0], "Dawn over the lake").await;
        let posts = api.all_pages("/v1/posts?limit=100").await.len();
        let load = Arc::new(Self {
            api,
            users,
            post,
            posts,
            stop: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            slowest_write: AtomicU64::new(0),
            may_fail: AtomicBool::new(false),
            with_kills,
            acknowledged: AtomicU64::new(0),
        });
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let load = Arc::clone(&load);
            tasks.push(tokio::spawn(async move { load.write(writer).await }));
        }
        for _ in 0..READERS {
            let load = Arc::clone(&load);
            tasks.push(tokio::spawn(async move { load.read().await }));
        }
        (load, tasks)
    }

    async fn end(&self, tasks: Vec<tokio::task::JoinHandle<()>>) {
        self.stop.store(true, Ordering::Release);
        for ended in join_all(tasks).await {
            ended.unwrap();
        }
        println!(
            "{} reads, {} commands, the slowest in {} ms",
            self.reads.load(Ordering::Relaxed),
            self.writes.load(Ordering::Relaxed),
            self.slowest_write.load(Ordering::Relaxed)
        );
    }

    fn may_fail(&self) -> bool {
        self.may_fail.load(Ordering::Acquire)
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Acquire)
    }

    /// The answer. None if the process was just killed, or is starting.
    async fn ask(&self, method: Method, path: &str, user: &User, body: Option<Value>) -> Option<Answer> {
        let mut request = self.api.request(method, path).bearer_auth(&user.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        match self.api.try_send(request).await {
            Ok(answer) if self.may_fail() && [502, 503, 504].contains(&answer.status.as_u16()) => None,
            Ok(answer) => {
                assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text());
                Some(answer)
            }
            Err(error) => {
                assert!(self.may_fail(), "{path}: {error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
                None
            }
        }
    }

    /// Comments, and reads the number of comments by the position of the event: no less than were acknowledged.
    async fn write(&self, writer: usize) {
        let user = &self.users[writer % self.users.len()];
        while self.goes_on() {
            // Their events come before the next one.
            let before = self.acknowledged.load(Ordering::Acquire);
            let number = self.writes.fetch_add(1, Ordering::Relaxed);
            let path = format!("/v1/posts/{}/comments", self.post);
            let began = Instant::now();
            let text = json!({ "text": format!("Comment {number}") });
            let Some(answer) = self.ask(Method::POST, &path, user, Some(text)).await else { continue };
            let taken = u64::try_from(began.elapsed().as_millis()).unwrap();
            self.slowest_write.fetch_max(taken, Ordering::Relaxed);
            self.acknowledged.fetch_add(1, Ordering::AcqRel);
            let position = answer.json()["position"].to_string();
            let path = format!("/v1/posts/{}", self.post);
            let request = self.api.request(Method::GET, &path).header("Chorus-Min-Position", position);
            match self.api.try_send(request).await {
                // The views could not be waited for.
                Ok(found) if found.header("chorus-pending").is_some() => {}
                Ok(found) if self.may_fail() && found.status.is_server_error() => {}
                Ok(found) => {
                    let shown = found.expect(200).json()["comments"].as_u64().unwrap();
                    assert!(shown > before, "{before} and one more were acknowledged, {shown} are shown");
                }
                Err(error) => assert!(self.may_fail(), "{error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads lists and pages; what was seen once stays.
    async fn read(&self) {
        let (mut comments, mut round) = (0, 0);
        let paths = [
            format!("/v1/posts/{}", self.post),
            "/v1/feed".to_owned(),
            format!("/v1/users/{}", self.users[0].id),
            "/v1/posts".to_owned(),
        ];
        while self.goes_on() {
            let path = &paths[round % paths.len()];
            round += 1;
            let Some(answer) = self.ask(Method::GET, path, &self.users[1], None).await else { continue };
            self.reads.fetch_add(1, Ordering::Relaxed);
            let page = answer.json();
            match round % paths.len() {
                1 => {
                    let now = page["comments"].as_u64().unwrap();
                    assert!(now >= comments, "{comments} comments were seen, then {now}");
                    comments = now;
                }
                3 => assert_eq!(page["username"], self.users[0].username),
                other => {
                    let expected = if other == 0 { self.posts } else { 1 };
                    assert_eq!(page["items"].as_array().unwrap().len(), expected, "{page}");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// All acknowledged comments are there.
    async fn check(&self, chorus: &Chorus) {
        chorus.settle().await.unwrap();
        let page = self.api.post_page(&self.post).await;
        let acknowledged = self.acknowledged.load(Ordering::Acquire);
        let shown = page["comments"].as_u64().unwrap();
        // A command whose answer was lost may have been done.
        assert!(shown >= acknowledged, "{acknowledged} comments were acknowledged, {shown} are shown");
        if !self.with_kills {
            assert_eq!(shown, acknowledged);
        }
        let listed = self.api.all_pages(&format!("/v1/posts/{}/comments?limit=100", self.post)).await;
        assert_eq!(listed.len() as u64, shown);
    }
}

fn family(name: &str) -> &'static Family {
    views::families().iter().find(|family| family.name == name).unwrap()
}

async fn record(chorus: &Chorus, name: &str) -> Generations {
    chorus.generations().await.unwrap().record(family(name)).unwrap()
}

async fn views_are_rebuilt_switched_and_dropped_under_load(chorus: Chorus) {
    let (load, tasks) = Load::start(&chorus, false).await;
    let printed = run(&chorus, &["rebuild", "--all"]);
    for family in views::families() {
        // Later versions of a family have no generation that began with the log.
        let new = if family.version == 1 { 1 } else { 2 };
        let expected =
            format!("{}: generation {new} serves now; generation {} is kept", family.name, new - 1);
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
    for line in run(&chorus, &["generations", "--json"]).lines() {
        let generation: Value = serde_json::from_str(line).unwrap();
        let position = generation["builder"]["position"].as_u64();
        assert!(generation["role"] != "serving" || position > Some(0), "{generation}");
    }
    let printed = run(&chorus, &["rollback", "posts"]);
    assert!(printed.contains("posts: generation 0 serves now; generation 1 is kept"), "{printed}");
    let printed = run(&chorus, &["rebuild", "posts", "comments"]);
    assert!(printed.contains("posts: generation 2 serves now; generation 0 is kept"), "{printed}");
    // Of three, the oldest is dropped.
    assert!(printed.contains("comments: generation 2 serves now; generation 1 is kept"), "{printed}");
    until("generation 0 of comments to be dropped", async || {
        record(&chorus, "comments").await.get(0).is_none()
    })
    .await;
    fails(&chorus, &["generations", "drop", "comments", "--generation", "2"], "serves");
    fails(&chorus, &["rollback", "comments", "--generation", "7"], "has no generation 7");
    fails(&chorus, &["rebuild", "nothing"], "there is no family `nothing`");
    run(&chorus, &["generations", "drop", "comments"]);
    let listed = run(&chorus, &["generations"]);
    assert!(listed.lines().filter(|line| line.starts_with("comments ")).count() == 1, "{listed}");
    load.end(tasks).await;
    load.check(&chorus).await;
    let families = views::families().len();
    assert_eq!(acts(&chorus, "operation.rebuild_started.v1"), families + 2);
    assert_eq!(acts(&chorus, "operation.generation_switched.v1"), families + 2);
    assert_eq!(acts(&chorus, "operation.generation_rolled_back.v1"), 1);
    assert_eq!(acts(&chorus, "operation.generation_dropped.v1"), 1);
}

/// A running verb.
fn start_verb(chorus: &Chorus, arguments: &[&str]) -> Child {
    let mut command = chorus.cli(arguments).unwrap();
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A running rebuild of everything.
fn builder(chorus: &Chorus) -> Child {
    start_verb(chorus, &["rebuild", "--all"])
}

async fn kills_during_rebuilds_are_not_noticed(mut chorus: Chorus) {
    let (load, tasks) = Load::start(&chorus, true).await;
    let kills = tests_kills();
    for kill in 0..kills {
        // At another moment each time, between the first claim and the last switch.
        let moment = Duration::from_millis(100 + (kill as u64 * 700) % 3000);
        let mut building = builder(&chorus);
        tokio::time::sleep(moment).await;
        building.kill().unwrap();
        building.wait().unwrap();
        for victim in victims(&chorus) {
            let building = builder(&chorus);
            tokio::time::sleep(moment).await;
            kill_during(&mut chorus, &load, victim, building).await;
        }
    }
    kill_engines(&mut chorus, &load, kills.div_ceil(2)).await;
    load.end(tasks).await;
    load.check(&chorus).await;
    // Nothing of the killed builders remains once the next has been there.
    run(&chorus, &["rebuild", "--all"]);
    load.check(&chorus).await;
    for family in views::families() {
        until("unfinished generations to be gone", async || {
            let record = record(&chorus, family.name).await;
            record.generations.len() == 2 && record.wanted.is_none() && record.serving.is_some()
        })
        .await;
    }
}

async fn kills_during_switches_and_deletions_are_not_noticed(mut chorus: Chorus) {
    let (load, tasks) = Load::start(&chorus, true).await;
    run(&chorus, &["rebuild", "posts"]);
    for kill in 0..tests_kills().div_ceil(2) {
        let moment = moment_of_switch(&chorus, kill);
        let rollback = ["rollback", "posts"];
        let mut switching = start_verb(&chorus, &rollback);
        tokio::time::sleep(moment).await;
        switching.kill().unwrap();
        switching.wait().unwrap();
        for victim in victims(&chorus) {
            let switching = start_verb(&chorus, &rollback);
            tokio::time::sleep(moment).await;
            kill_during(&mut chorus, &load, victim, switching).await;
        }
        let deleting = start_verb(&chorus, &["generations", "drop", "posts"]);
        tokio::time::sleep(moment).await;
        let feeder = feeder(&chorus);
        kill_during(&mut chorus, &load, feeder, deleting).await;
        run(&chorus, &["rebuild", "posts"]);
    }
    load.end(tasks).await;
    load.check(&chorus).await;
    until("the last switch to be made", async || {
        let record = record(&chorus, "posts").await;
        record.generations.len() == 2 && record.wanted.is_none() && record.previous.is_some()
    })
    .await;
    assert!(run(&chorus, &["verify", "posts"]).contains("all views equal the log"));
}

/// After the start of a verb: another moment each time, while a projector makes the switch.
fn moment_of_switch(chorus: &Chorus, kill: usize) -> Duration {
    let kill = kill as u64;
    // The processes of a distributed deployment let each other see the request first.
    Duration::from_millis(if chorus.mongo.is_some() { 500 + kill * 900 % 4000 } else { 40 + kill * 13 % 100 })
}

/// The processes that feed the views, and that read them.
fn victims(chorus: &Chorus) -> Vec<Service> {
    let mut victims = vec![feeder(chorus)];
    victims.extend(chorus.services().into_iter().filter(|service| *service == Service::QueryApi));
    victims
}

/// Kills a process while a verb runs, and starts it again.
async fn kill_during(chorus: &mut Chorus, load: &Load, victim: Service, mut verb: Child) {
    load.may_fail.store(victim != Service::Projector, Ordering::Release);
    chorus.kill(victim).unwrap();
    chorus.start_again(victim).await.unwrap();
    // Requests that began before.
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.may_fail.store(false, Ordering::Release);
    tokio::task::block_in_place(|| verb.wait()).unwrap();
}

/// Kills the engines of a distributed deployment, which start again at once.
async fn kill_engines(chorus: &mut Chorus, load: &Load, kills: usize) {
    for kill in 0..kills {
        for of_log in [false, true] {
            if chorus.mongo.is_none() {
                return;
            }
            let mut building = builder(chorus);
            tokio::time::sleep(Duration::from_millis(300 + (kill as u64 * 900) % 3000)).await;
            load.may_fail.store(true, Ordering::Release);
            if of_log {
                let nats = chorus.nats.as_mut().unwrap();
                nats.kill().unwrap();
                nats.start_again().await.unwrap();
            } else {
                let mongo = chorus.mongo.as_mut().unwrap();
                mongo.kill().unwrap();
                mongo.start_again().await.unwrap();
            }
            let path = format!("/v1/posts/{}", load.post);
            let like = format!("{path}/like");
            let author = &load.users[0];
            until("requests to be answered again", async || {
                let (read, written) = (load.api.get(&path).await, load.api.put_as(author, &like).await);
                read.status == 200 && written.status == 200
            })
            .await;
            load.may_fail.store(false, Ordering::Release);
            // It goes on or gives up; the next one begins anew.
            tokio::task::block_in_place(|| building.wait()).unwrap();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
fn tests_kills() -> usize {
    std::env::var("CHORUS_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

async fn second_builder_is_refused_and_a_paused_one_replaced(chorus: Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    api.publish(&ann, "Dawn over the lake").await;
    chorus.settle().await.unwrap();
    let views = chorus.generations().await.unwrap();
    let posts = family("posts");
    let beat = async |position: u64| {
        let beat = |record: Option<&Generations>| {
            let mut record = record?.clone();
            record.next = record.next.max(8);
            let builder = Builder {
                name: "process 7 on the other machine".to_owned(),
                started: 0,
                beat: position,
                position,
                target: 200,
            };
            record.generations.retain(|generation| generation.number != 7);
            record.generations.push(Generation {
                number: 7,
                state: GenerationState::Building,
                builder: Some(builder),
            });
            Some(record)
        };
        views.change(posts, beat).await.unwrap();
    };
    beat(1).await;
    let stop = AtomicBool::new(false);
    let beating = async {
        let mut position = 50;
        while !stop.load(Ordering::Acquire) {
            position += 1;
            beat(position).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let refused = async {
        let printed = tokio::task::spawn_blocking({
            let mut command = chorus.cli(&["rebuild", "posts"]).unwrap();
            move || command.output().unwrap()
        });
        let output = printed.await.unwrap();
        stop.store(true, Ordering::Release);
        String::from_utf8(output.stderr).unwrap()
    };
    let (refused, ()) = tokio::join!(refused, beating);
    assert!(
        refused.contains("posts is already being built by process 7 on the other machine, which has done"),
        "{refused}"
    );
    // It stands still from now on.
    let printed = run(&chorus, &["rebuild", "posts"]);
    assert!(printed.contains("posts: generation 8 serves now"), "{printed}");
    assert!(record(&chorus, "posts").await.get(7).is_none());
    assert_eq!(api.get("/v1/posts").await.expect(200).json()["items"].as_array().unwrap().len(), 1);
}

/// A verb that runs beside the test, and is killed at its end.
struct Verb(Child);

impl Verb {
    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }

    /// Stops it, and waits until it has stopped. False if it has ended.
    async fn stop(&mut self) -> bool {
        self.signal("STOP");
        let stat = format!("/proc/{}/stat", self.0.id());
        let child = Mutex::new(&mut self.0);
        found(STOP_LIMIT, "the builder to stop or end", async || {
            if child.lock().unwrap().try_wait().unwrap().is_some() {
                return Some(false);
            }
            // The name, in brackets, may contain spaces; after it comes the state.
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T')).then_some(true)
        })
        .await
    }
}

impl Drop for Verb {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A builder of posts that is stopped while it builds, with the number of its generation.
async fn stopped_builder(chorus: &Chorus) -> (Verb, u64) {
    for _ in 0..BUILDERS {
        let mut command = chorus.cli(&["rebuild", "posts"]).unwrap();
        let mut builder = Verb(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        while builder.stop().await {
            if let Some(number) = building(chorus).await.filter(|_| is_unlocked(chorus)) {
                return (builder, number);
            }
            builder.signal("CONT");
            tokio::time::sleep(STEP).await;
        }
    }
    panic!("each of {BUILDERS} builders was too fast");
}

/// The generation of posts that is being built. Read without a lock, which the stopped builder may hold.
async fn building(chorus: &Chorus) -> Option<u64> {
    let views = match &chorus.mongo {
        Some(mongo) => mongo.url("chorus"),
        None => format!("sqlite:{}", chorus.folder().join("data/views.db").display()),
    };
    let views = views::open_read_only(&views).await.unwrap();
    Some(views.record(family("posts"))?.building()?.number)
}

/// Whether the stopped builder holds no lock on a file, for which servers would wait.
fn is_unlocked(chorus: &Chorus) -> bool {
    let data = chorus.folder().join("data");
    let is_free = |file: &Path| {
        let connection = sqlite::rusqlite::Connection::open(file).unwrap();
        connection.busy_timeout(Duration::from_secs(1)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok()
    };
    chorus.mongo.is_some()
        || ["events.db", "keys.db", "views.generations.db"].iter().all(|file| is_free(&data.join(file)))
}

async fn paused_builder_goes_on_later_and_changes_nothing_that_is_read(chorus: Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn over the lake").await;
    api.like(&bob, &post).await.expect(200);
    chorus.settle().await.unwrap();
    let (paused, number) = stopped_builder(&chorus).await;

    let printed = run(&chorus, &["rebuild", "posts"]);
    let expected = format!("posts: generation {} serves now", number + 1);
    assert!(printed.contains(&expected), "{expected}: {printed}");
    until("older generations to be dropped", async || {
        let generations = record(&chorus, "posts").await.generations;
        generations.iter().all(|generation| generation.state == GenerationState::Adopted)
    })
    .await;
    let before = record(&chorus, "posts").await;
    assert!(before.get(number).is_none(), "{before:?}");
    let page = api.post_page(&post).await;
    assert_eq!(page["likes"], 1, "{page}");

    paused.signal("CONT");
    let paused = Mutex::new(paused);
    let status = found(RESUMED_LIMIT, "the paused builder to give up", async || {
        assert_eq!(api.post_page(&post).await, page);
        paused.lock().unwrap().0.try_wait().unwrap()
    })
    .await;
    assert!(!status.success(), "its generation was given to another builder");
    assert_eq!(record(&chorus, "posts").await, before);
    assert_eq!(api.post_page(&post).await, page);
    assert!(run(&chorus, &["verify", "posts"]).contains("all views equal the log"));
    let left = format!("data/views.{}.db", family("posts").generation(number));
    assert!(!chorus.folder().join(&left).exists(), "{left}");
}

/// The service that makes the views.
fn feeder(chorus: &Chorus) -> Service {
    if chorus.services().contains(&Service::Chorus) { Service::Chorus } else { Service::Projector }
}

/// Operators' events of a type.
fn acts(chorus: &Chorus, act: &str) -> usize {
    let acts = run(chorus, &["events", "tail", "--no-follow", "--from", "1", "--subject", "operation"]);
    acts.lines().filter(|line| line.contains(act)).count()
}

async fn checkpoints_of_reactions(chorus: &Chorus) -> BTreeMap<String, u64> {
    let mut checkpoints = chorus.views().await.unwrap().checkpoints().await.unwrap();
    checkpoints.retain(|name, _| views::families().iter().all(|family| family.name != name));
    assert!(!checkpoints.is_empty());
    checkpoints
}

async fn end_of_log(chorus: &Chorus) -> u64 {
    chorus.raw_log().await.unwrap().head().await.unwrap().0
}

async fn switches_without_a_projector_are_recorded_and_made_by_the_next_one(mut chorus: Chorus) {
    const SWITCHED: &str = "operation.generation_switched.v1";
    const ROLLED_BACK: &str = "operation.generation_rolled_back.v1";
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn over the lake").await;
    api.like(&bob, &post).await.expect(200);
    chorus.settle().await.unwrap();
    let address = format!("{}@example.org", ann.username);
    let mails = chorus.mails_to(&address).await.unwrap().len();
    let feeder = feeder(&chorus);
    chorus.stop(feeder).unwrap();

    let families = views::families().len();
    let (checkpoints, end) = (checkpoints_of_reactions(&chorus).await, end_of_log(&chorus).await);
    let began = Instant::now();
    let printed = run(&chorus, &["rebuild", "--all"]);
    let one_after_the_other = ANSWER_LIMIT * u32::try_from(families).unwrap();
    assert!(began.elapsed() < one_after_the_other, "{:?}", began.elapsed());
    assert_eq!(checkpoints_of_reactions(&chorus).await, checkpoints);
    if chorus.mongo.is_none() {
        // Nothing else runs that could append.
        assert_eq!(end_of_log(&chorus).await, end + 2 * families as u64);
    }
    for family in views::families() {
        let (name, new) = (family.name, if family.version == 1 { 1 } else { 2 });
        let expected = format!("{name}: no projector runs, so generation {new} serves when one starts");
        assert!(printed.contains(&expected), "{expected}: {printed}");
        let record = record(&chorus, name).await;
        assert_eq!((record.serving, record.wanted), (Some(new - 1), Some(new)), "{name}");
    }
    assert_eq!(acts(&chorus, SWITCHED), families);
    // One of them shall not be made.
    fails(&chorus, &["rollback", "saves"], "`--generation 0` cancels the switch to generation 1");
    let printed = run(&chorus, &["rollback", "saves", "--generation", "0"]);
    let cancelled = "saves: generation 0 goes on serving; the switch to generation 1 is cancelled";
    assert!(printed.contains(cancelled), "{printed}");
    assert_eq!(acts(&chorus, ROLLED_BACK), 1);

    chorus.start_again(feeder).await.unwrap();
    let serving = async |name: &str| record(&chorus, name).await.serving;
    until("posts and follows to be switched", async || {
        (serving("posts").await, serving("follows").await) == (Some(1), Some(1))
    })
    .await;
    assert_eq!(serving("saves").await, Some(0));
    assert_eq!(api.post_page(&post).await["likes"], 1);
    chorus.stop(feeder).unwrap();

    let printed = run(&chorus, &["rollback", "posts"]);
    let expected = "posts: no projector runs, so generation 0 serves when one starts";
    assert!(printed.contains(expected), "{printed}");
    assert_eq!(acts(&chorus, ROLLED_BACK), 2);
    interrupted_rollback(&chorus).await;
    assert_eq!(acts(&chorus, ROLLED_BACK), 3);
    chorus.start_again(feeder).await.unwrap();
    let serving = async |name: &str| record(&chorus, name).await.serving;
    until("posts and follows to be switched back", async || {
        (serving("posts").await, serving("follows").await) == (Some(0), Some(0))
    })
    .await;
    assert_eq!(api.post_page(&post).await["likes"], 1);
    // No switch is left that would need an event.
    assert_eq!((acts(&chorus, SWITCHED), acts(&chorus, ROLLED_BACK)), (families, 3));
    chorus.settle().await.unwrap();
    assert_eq!(chorus.mails_to(&address).await.unwrap().len(), mails);
}

/// Ctrl-C while the verb waits for a projector.
async fn interrupted_rollback(chorus: &Chorus) {
    // Opened once, before: the verb refuses files at rest that another process opens while it reads them.
    let views = chorus.generations().await.unwrap();
    let wanted = async || {
        views.refresh().await.unwrap();
        views.record(family("follows")).unwrap().wanted
    };
    let mut command = chorus.cli(&["rollback", "follows"]).unwrap();
    let mut verb = Verb(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    until("the switch to be asked for", async || wanted().await == Some(0)).await;
    verb.signal("INT");
    let (status, printed) = tokio::task::block_in_place(|| {
        let printed = std::io::read_to_string(verb.0.stderr.take().unwrap()).unwrap();
        (verb.0.wait().unwrap(), printed)
    });
    assert!(!status.success() && printed.contains("follows: the waiting was interrupted"), "{printed}");
    assert!(printed.contains("generation 0 serves as soon as a projector has made it"), "{printed}");
    assert_eq!(wanted().await, Some(0));
}

/// A server of the other version, as in a rolling upgrade, may read what serves there.
async fn serving_generation_of_another_version_is_dropped_only_by_force(chorus: Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn over the lake").await;
    chorus.settle().await.unwrap();
    let other = Family { version: 7, ..*family("posts") };
    let generation = |number| Generation { number, state: GenerationState::Adopted, builder: None };
    let generations = vec![generation(1), generation(2)];
    let record = Generations { next: 3, serving: Some(2), generations, ..Generations::default() };
    let views = chorus.generations().await.unwrap();
    let (registered, _) = views.change(&other, |_| Some(record.clone())).await.unwrap();
    let of_other = async || chorus.generations().await.unwrap().record(&other);

    let dropping = ["generations", "drop", "posts", "--version", "7", "--generation"];
    let serving = [&dropping[..], &["2"]].concat();
    fails(&chorus, &serving, "generation 2 of posts version 7 serves: with --force ");
    assert_eq!(of_other().await, registered);
    let printed = run(&chorus, &[&dropping[..], &["1"]].concat());
    assert!(printed.contains("dropped generation 1 of posts version 7"), "{printed}");
    assert_eq!(of_other().await.unwrap().serving, Some(2));
    let printed = run(&chorus, &[&serving[..], &["--force"]].concat());
    assert!(printed.contains("dropped generation 2 of posts version 7"), "{printed}");
    let left = of_other().await.unwrap();
    assert_eq!((left.serving, left.generations), (None, vec![]));
    assert_eq!(acts(&chorus, "operation.generation_dropped.v1"), 2);
    api.get(&format!("/v1/posts/{post}")).await.expect(200);
}

async fn deleted_views_are_built_anew_and_never_shown_empty(mut chorus: Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn over the lake").await;
    chorus.settle().await.unwrap();
    run(&chorus, &["rebuild", "posts"]);
    let feeder = feeder(&chorus);
    chorus.kill(feeder).unwrap();
    match &chorus.mongo {
        None => {
            for entry in std::fs::read_dir(chorus.folder().join("data")).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if name.starts_with("views.") && !name.contains("generations") {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
        Some(mongo) => {
            let database =
                mongodb::Client::with_uri_str(mongo.url("chorus")).await.unwrap().database("chorus");
            for name in database.list_collection_names().await.unwrap() {
                if name != "generations" && name != "schema" {
                    database.collection::<mongodb::bson::Document>(&name).drop().await.unwrap();
                }
            }
        }
    }
    chorus.start_again_unready(feeder).unwrap();
    until("the views to be there again", async || {
        let request = api.request(Method::GET, &format!("/v1/posts/{post}"));
        match api.try_send(request).await {
            Ok(answer) if answer.status.is_server_error() => {
                if answer.status == 503 && answer.json()["type"] == "urn:chorus:problem:unavailable" {
                    assert!(answer.header("retry-after").is_some());
                }
                false
            }
            // Never 404: the post is there.
            Ok(answer) => {
                answer.expect(200);
                true
            }
            Err(_starting) => false,
        }
    })
    .await;
    chorus.settle().await.unwrap();
    until("posts to serve", async || record(&chorus, "posts").await.serving == Some(2)).await;
}

/// A projection with a bug: it forgets that likes can be taken back.
struct Forgetful(Arc<dyn Projection>);

fn is_forgotten(event: &Event) -> bool {
    matches!(event, Event::Social(SocialEvent::Like(LikeEvent::PostUnliked(_))))
}

impl Projection for Forgetful {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn views(&self) -> Vec<&'static str> {
        self.0.views()
    }

    fn kinds(&self) -> &'static [Kind] {
        self.0.kinds()
    }

    fn on_failure(&self) -> OnFailure {
        self.0.on_failure()
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        self.0.reads(recorded)
    }

    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        self.0.searches(recorded)
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        if is_forgotten(&recorded.event) { Ok(()) } else { self.0.project(recorded, writes) }
    }
}

/// Starts a projector whose posts have the bug, in place of the one of this deployment.
async fn release_the_bug(chorus: &Chorus, log: &SealedLog, tasks: &Tasks) {
    let with_the_bug = |projection: Arc<dyn Projection>| -> Arc<dyn Projection> {
        if projection.name() == "posts" { Arc::new(Forgetful(projection)) } else { projection }
    };
    let projections = projector::projections(&FeedSettings::default()).into_iter().map(with_the_bug);
    let views = chorus.views_to_feed().await.unwrap();
    let feeder = Feeder { log: log.clone(), views, build: BuildSettings::for_missing(chorus.folder()) };
    feed(&feeder, projections.collect(), tasks);
}

/// From the release of the bug to the practised way back.
async fn bug_of_a_projection_is_found_explained_and_mended_under_load(mut chorus: Chorus) {
    let api = chorus.api();
    let (dan, eve) = (api.sign_up("dan").await, api.sign_up("eve").await);
    let post = api.publish(&dan, "Dusk over the lake").await;
    api.like(&eve, &post).await.expect(200);
    chorus.settle().await.unwrap();
    let feeder = feeder(&chorus);
    chorus.stop(feeder).unwrap();
    let (log, tasks) = (chorus.log().await.unwrap(), Tasks::default());
    release_the_bug(&chorus, &log, &tasks).await;
    let (post_id, user) = (post.parse().unwrap(), eve.id.parse().unwrap());
    let liked = log.last(&[Subject::Like(post_id, user)], Freshness::Latest).await.unwrap();
    let unliked = PostUnliked { post: post_id, user, post_author: dan.id.parse().unwrap() };
    let draft = Draft::without_cause(SystemClock.now(), unliked);
    let position = log.append(draft, liked[0].as_ref().unwrap().position).await.unwrap();
    let serving = chorus.serving("posts").await.unwrap();
    until("the bug to have done its work", async || serving.checkpoint("posts").await.unwrap() >= position.0)
        .await;
    assert!(tasks.stop().await);
    log.close().await.unwrap();
    drop((log, serving));

    // The corrected program.
    chorus.start_again(feeder).await.unwrap();
    let (load, tasks) = Load::start(&chorus, false).await;
    let likes = async || load.api.post_page(&post).await["likes"].as_u64().unwrap();
    assert_eq!(likes().await, 1);
    let printed = failure(&chorus, &["verify", "posts"]);
    for expected in [&format!("! posts {post}: different in "), "likes", "2 differences."] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let printed = run(&chorus, &["why", "posts", &post]);
    assert!(printed.contains("~ likes 1 → 0") && printed.contains("! NOT the stored document"), "{printed}");
    let printed = failure(&chorus, &["shadow", "posts", "--version", "1", "--json"]);
    let compared: Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    let differing: Vec<&Value> =
        compared["differences"].as_array().unwrap().iter().map(|difference| &difference["key"]).collect();
    assert_eq!(differing.len(), 2, "{printed}");
    assert!(differing.contains(&&json!(post)), "{printed}");

    run(&chorus, &["rebuild", "posts", "--reason", "likes that were taken back were still counted"]);
    until("the right count to be read", async || likes().await == 0).await;
    assert!(run(&chorus, &["verify", "posts"]).contains("all views equal the log"));
    run(&chorus, &["rollback", "posts"]);
    until("the old count to be read", async || likes().await == 1).await;
    run(&chorus, &["rollback", "posts"]);
    until("the right count to be read again", async || likes().await == 0).await;
    load.end(tasks).await;
    load.check(&chorus).await;
}

/// The disk of the temporary files is full.
#[tokio::test(flavor = "multi_thread")]
async fn distributed_rebuild_without_room_is_given_up_and_what_serves_goes_on() {
    let chorus = Chorus::distributed().await.unwrap();
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    for number in 0..20 {
        api.publish(&ann, &format!("{number} {}", "Dawn over the lake".repeat(100))).await;
    }
    chorus.settle().await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let verb = chorus.cli(&["rebuild", "posts", "comments", "--scratch"]).unwrap();
    // In blocks of 512 bytes: writes beyond it fail.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 48; exec \"$0\" \"$@\""]).arg(verb.get_program());
    limited.args(verb.get_args()).arg(scratch.path());
    limited.envs(verb.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = tokio::task::block_in_place(|| limited.output()).unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && printed.contains("posts.v1g1.db is unavailable"), "{printed}");
    assert!(!printed.contains("panicked"), "{printed}");
    for family in ["posts", "comments"] {
        let record = record(&chorus, family).await;
        assert_eq!((record.serving, record.generations.len()), (Some(0), 1), "{printed}");
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    api.publish(&ann, "Dusk").await;
    let page = api.get("/v1/posts?limit=100").await.expect(200).json();
    assert_eq!(page["items"].as_array().unwrap().len(), 21);
}
