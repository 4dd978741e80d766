use reqwest::Method;
use serde_json::json;
use sqlite::rusqlite::Connection;
use tests::cable::Cable;
use tests::chorus::{Chorus, Service};
use tests::client::{Answer, Api, PASSWORD, User};
use tests::model::{World, all_events};
use tests::waiting::until;

fn assert_unavailable(answer: &Answer) {
    answer.problem(503, "unavailable");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

/// The views show what the log says, however they came to it.
async fn assert_views_follow_the_log(chorus: &Chorus) {
    chorus.settle().await.unwrap();
    let expected = World::of_log(&all_events(&chorus.log().await.unwrap()).await.unwrap());
    let shown = World::of_views(&*chorus.views().await.unwrap(), &expected).await.unwrap();
    assert_eq!(shown, expected);
}

struct Scene {
    api: Api,
    ann: User,
    post: String,
    page: String,
}

async fn scene(chorus: &Chorus) -> Scene {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    // Both sides know who Ann is before anything fails.
    api.get_as(&ann, "/v1/me").await.expect(200);
    Scene { page: format!("/v1/posts/{post}"), api, ann, post }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_log_commands_say_so_and_queries_go_on() {
    let mut chorus = Chorus::distributed().await.unwrap();
    let Scene { api, ann, post, page } = scene(&chorus).await;
    chorus.nats.as_mut().unwrap().kill().unwrap();
    for _ in 0..3 {
        assert_unavailable(&api.like(&ann, &post).await);
        assert_unavailable(&api.publish_form(&ann, Api::post_form("lost")).await);
        let name = tests::client::fresh("bob");
        let body =
            json!({ "username": name, "email": format!("{name}@example.org"), "password": "a password" });
        assert_unavailable(&api.post("/v1/accounts", &body).await);
        // Reading goes on, also for who is logged in.
        assert_eq!(api.get_as(&ann, &page).await.expect(200).json()["caption"], "Dawn");
        api.get("/v1/posts").await.expect(200);
    }
    chorus.nats.as_mut().unwrap().start_again().await.unwrap();
    until("commands are taken again", async || api.like(&ann, &post).await.status == 200).await;
    until("views go on", async || api.post_page(&post).await["likes"] == 1).await;
    assert_views_follow_the_log(&chorus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_views_queries_say_so_and_commands_go_on() {
    let mut chorus = Chorus::distributed().await.unwrap();
    let Scene { api, ann, post, page } = scene(&chorus).await;
    let bob = api.sign_up("bob").await;
    chorus.mongo.as_mut().unwrap().kill().unwrap();
    for (n, user) in [&ann, &bob].into_iter().enumerate() {
        assert_unavailable(&api.get(&page).await);
        assert_unavailable(&api.get_as(user, "/v1/me").await);
        let liked = api.like(user, &post).await.expect(200);
        assert_eq!(liked.header("chorus-pending"), Some("true"));
        assert_eq!(liked.json()["pending"], true);
        api.post_as(user, &format!("{page}/comments"), &json!({ "text": n.to_string() })).await.expect(201);
    }
    chorus.mongo.as_mut().unwrap().start_again().await.unwrap();
    until("queries are answered again", async || api.get(&page).await.status == 200).await;
    until("what was done meanwhile is there", async || {
        let page = api.post_page(&post).await;
        page["likes"] == 2 && page["comments"] == 2
    })
    .await;
    assert_views_follow_the_log(&chorus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_media_store_nothing_is_published_and_the_rest_goes_on() {
    let mut chorus = Chorus::distributed().await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    // The mail of the sign-up is sent, so that nothing else comes into the log.
    chorus.settle().await.unwrap();
    let head = chorus.raw_log().await.unwrap().head().await.unwrap();
    chorus.s3.as_mut().unwrap().kill().unwrap();
    assert_unavailable(&api.publish_form(&ann, Api::post_form("lost")).await);
    let photo =
        api.request(Method::PUT, "/v1/me/photo").bearer_auth(&ann.token).body(tests::client::png(10, 10));
    assert_unavailable(&api.send(photo).await);
    let picture = api.post_page(&post).await["images"][0]["feed"].as_str().unwrap().to_owned();
    assert_unavailable(&api.get(&picture).await);
    assert_eq!(chorus.raw_log().await.unwrap().head().await.unwrap(), head, "an event without its picture");
    api.like(&ann, &post).await.expect(200);
    // What comes back has forgotten its bucket: it is a store, and its keeper's to restore.
    chorus.s3.as_mut().unwrap().start_again().await.unwrap();
    chorus.stop(Service::CommandApi).unwrap();
    chorus.start_again(Service::CommandApi).await.unwrap();
    until("pictures are taken again", async || {
        api.publish_form(&ann, Api::post_form("found")).await.status == 201
    })
    .await;
}

/// The event lands, and nobody can be told so: the answer says that, and the same request again tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_append_is_not_answered_has_an_unknown_outcome() {
    let mut chorus = Chorus::distributed().await.unwrap();
    let Scene { api, ann, post, page } = scene(&chorus).await;
    let proxy = Cable::to(chorus.nats.as_ref().unwrap().port()).await.unwrap();
    let log = format!("nats://127.0.0.1:{}/chorus", proxy.port());
    for service in [Service::CommandApi, Service::CompatApi] {
        chorus.stop(service).unwrap();
        chorus.start_again_with(service, &[("CHORUS_LOG", &log)]).await.unwrap();
    }
    let like = || {
        let request = api.request(Method::PUT, &format!("{page}/like")).bearer_auth(&ann.token);
        request.header("Idempotency-Key", "once")
    };
    proxy.lose_answers_after("HPUB chorus.like.");
    let answer = api.send(like()).await;
    answer.problem(503, "outcome-unknown");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    proxy.mend();
    until("the same request is answered", async || api.send(like()).await.status == 200).await;
    until("it was done", async || api.post_page(&post).await["likes"] == 1).await;

    // The app reads the same in its own form.
    proxy.lose_answers_after("HPUB chorus.comment.");
    let path = format!("/instamern/posts/comment/{post}");
    let comment =
        api.request(Method::POST, &path).bearer_auth(&ann.token).json(&json!({ "comment": "Lovely" }));
    let answer = api.send(comment).await.expect(503);
    assert_eq!(answer.json()["status"], "fail");
    assert!(answer.text().contains("not known"), "{}", answer.text());
    proxy.mend();
    until("it was done", async || api.post_page(&post).await["comments"] == 1).await;
    assert_views_follow_the_log(&chorus).await;
}

/// Projections that are down make nothing wrong, only late.
#[tokio::test(flavor = "multi_thread")]
async fn without_its_projector_commands_are_pending_and_caught_up_with_later() {
    let mut chorus = Chorus::distributed().await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    chorus.kill(Service::Projector).unwrap();
    assert_eq!(api.like(&ann, &post).await.expect(200).json()["pending"], true);
    assert_eq!(api.post_page(&post).await["likes"], 0);
    // Somebody new can log in and read, though the view of sessions does not know them.
    let name = tests::client::fresh("new");
    let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": "a password" });
    let signed_up = api.post("/v1/accounts", &body).await.expect(201).json();
    let token = signed_up["token"].as_str().unwrap().to_owned();
    let new = User { id: signed_up["user"].as_str().unwrap().to_owned(), username: name, token };
    api.get_as(&new, "/v1/posts").await.expect(200);
    chorus.start_again(Service::Projector).await.unwrap();
    until("the like is there", async || api.post_page(&post).await["likes"] == 1).await;
    assert_views_follow_the_log(&chorus).await;
}

/// On one machine the files themselves can be out of reach: another process holds their lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_locked_is_an_outage_that_ends_by_itself() {
    let chorus = Chorus::one_machine().await.unwrap();
    let Scene { api, ann, post, page } = scene(&chorus).await;
    let hold = |file: &str| {
        let connection = Connection::open(chorus.folder().join("data").join(file)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    };
    let views = hold("views.db");
    let liked = api.like(&ann, &post).await.expect(200);
    assert_eq!(liked.header("chorus-pending"), Some("true"));
    assert_eq!(api.get(&page).await.expect(200).json()["likes"], 0);
    drop(views);
    until("the view goes on", async || api.post_page(&post).await["likes"] == 1).await;

    let log = hold("events.db");
    let refused = api.delete_as(&ann, &format!("{page}/like")).await;
    assert_unavailable(&refused);
    api.get(&page).await.expect(200);
    drop(log);
    api.delete_as(&ann, &format!("{page}/like")).await.expect(200);
    assert_eq!(api.post_page(&post).await["likes"], 0);
    assert_views_follow_the_log(&chorus).await;
}

/// What an operator reads while the log can be read but not written, as on a full disk, and while a view stands still.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_cannot_append_or_project_is_not_ready_and_says_why() {
    let chorus = Chorus::one_machine().await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    let hold = |file: &str| {
        let connection = Connection::open(chorus.folder().join("data").join(file)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    };
    let log = hold("events.db");
    assert_unavailable(&api.like(&ann, &post).await);
    let told = api.get("/readyz").await.expect(503).json();
    let problem = told["checks"]["log"].as_str().unwrap();
    assert!(problem.starts_with("the last ") && problem.contains(" appends failed: "), "{told}");
    assert!(told["details"]["log"]["appends"]["failures_in_a_row"].as_u64().unwrap() > 0, "{told}");
    drop(log);
    api.like(&ann, &post).await.expect(200);
    let told = api.get("/readyz").await.expect(200).json();
    assert_eq!(told["details"]["log"]["appends"]["failures_in_a_row"], 0, "{told}");

    chorus.settle().await.unwrap();
    let views = hold("views.db");
    let unlike = api.delete_as(&ann, &format!("/v1/posts/{post}/like")).await.expect(200).json();
    assert_eq!(unlike["pending"], true);
    until("the process says that a view stands still", async || api.get("/readyz").await.status == 503).await;
    let told = api.get("/readyz").await.json();
    assert!(told["checks"]["projections"].as_str().unwrap().contains("posts has stood at "), "{told}");
    let posts = &told["details"]["projections"]["posts"];
    assert!(
        posts["behind"].as_u64().unwrap() > 0 && posts["unmoved_seconds"].as_u64().unwrap() > 0,
        "{told}"
    );
    drop(views);
    until("the process is ready again", async || api.get("/readyz").await.status == 200).await;
    assert_views_follow_the_log(&chorus).await;
    // Fifteen projections met the outage, each again and again.
    let printed = chorus.printed(Service::Chorus);
    let told = printed.lines().filter(|line| line.contains("the view store is unavailable")).count();
    assert!((1..=3).contains(&told), "{told} lines tell of one outage:\n{printed}");
}

/// Whoever is erased is erased, also while their key cannot be destroyed: that is done as soon as it can be.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_goes_on_once_the_key_vault_is_back() {
    let chorus = Chorus::one_machine().await.unwrap();
    let Scene { api, ann, page, .. } = scene(&chorus).await;
    let keys = chorus.folder().join("data/keys.db");
    let name = format!("person.{}", ann.id);
    let key = || {
        let connection = Connection::open(&keys).unwrap();
        let wrapped = "SELECT wrapped FROM keys WHERE name = ?1";
        connection.query_row(wrapped, [&name], |row| row.get::<_, Option<Vec<u8>>>(0)).unwrap()
    };
    assert!(key().is_some());
    let held = Connection::open(&keys).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let erase = api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&ann.token);
    api.send(erase.json(&json!({ "currentPassword": PASSWORD }))).await.expect(204);
    until("nothing is shown of hers", async || api.get(&page).await.status == 404).await;
    assert!(key().is_some(), "the file is locked");
    drop(held);
    until("the key is destroyed", async || key().is_none()).await;
}

/// A system whose servers come later than itself waits for them, and says that it is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_starts_before_its_servers_waits_for_them() {
    let mut chorus = Chorus::distributed().await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    for service in chorus.services() {
        chorus.stop(service).unwrap();
    }
    chorus.nats.as_mut().unwrap().kill().unwrap();
    chorus.mongo.as_mut().unwrap().kill().unwrap();
    for service in chorus.services() {
        chorus.start_again_unready(service).unwrap();
    }
    until("all say that they wait", async || {
        chorus.services().into_iter().all(|service| chorus.printed(service).contains("waiting for"))
    })
    .await;
    chorus.mongo.as_mut().unwrap().start_again().await.unwrap();
    chorus.nats.as_mut().unwrap().start_again().await.unwrap();
    until("commands are taken", async || api.like(&ann, &post).await.status == 200).await;
    until("queries are answered", async || {
        let answer = api.get(&format!("/v1/posts/{post}")).await;
        answer.status == 200 && answer.json()["likes"] == 1
    })
    .await;
}
