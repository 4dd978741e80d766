use reqwest::Method;
use serde_json::json;
use sqlite::rusqlite::Connection;
use tests::chorus::{Chorus, Service};
use tests::client::{Answer, Api, PASSWORD, User};
use tests::fault_proxy::FaultProxy;
use tests::model::{World, all_events};
use tests::waiting::until;

/// Commands are pending here, and need not wait for it.
const SHORT_WAIT: (&str, &str) = ("CHORUS_VIEW_WAIT", "1");

fn assert_unavailable(answer: &Answer) {
    answer.problem(503, "unavailable");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

/// The views equal a fold of the log.
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
    // Both sides have seen Ann's session before anything fails.
    api.get_as(&ann, "/v1/me").await.expect(200);
    Scene { page: format!("/v1/posts/{post}"), api, ann, post }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_outage_fails_commands_but_not_queries() {
    let mut chorus = Chorus::distributed_with(&[SHORT_WAIT]).await.unwrap();
    let Scene { api, ann, post, page } = scene(&chorus).await;
    chorus.nats.as_mut().unwrap().kill().unwrap();
    for _ in 0..3 {
        assert_unavailable(&api.like(&ann, &post).await);
        assert_unavailable(&api.publish_form(&ann, Api::post_form("lost")).await);
        let name = tests::client::fresh("bob");
        let body =
            json!({ "username": name, "email": format!("{name}@example.org"), "password": "a password" });
        assert_unavailable(&api.post("/v1/accounts", &body).await);
        // Reads still work, also for logged-in users.
        assert_eq!(api.get_as(&ann, &page).await.expect(200).json()["caption"], "Dawn");
        api.get("/v1/posts").await.expect(200);
    }
    chorus.nats.as_mut().unwrap().start_again().await.unwrap();
    until("commands are accepted again", async || api.like(&ann, &post).await.status == 200).await;
    until("views resume", async || api.post_page(&post).await["likes"] == 1).await;
    assert_views_follow_the_log(&chorus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn view_store_outage_fails_queries_but_not_commands() {
    let mut chorus = Chorus::distributed_with(&[SHORT_WAIT]).await.unwrap();
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
    until("commands during the outage are visible", async || {
        let page = api.post_page(&post).await;
        page["likes"] == 2 && page["comments"] == 2
    })
    .await;
    assert_views_follow_the_log(&chorus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_store_outage_fails_uploads_only() {
    let mut chorus = Chorus::distributed_with(&[SHORT_WAIT]).await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    // The sign-up mail is sent, so that no other event follows.
    chorus.settle().await.unwrap();
    let head = chorus.raw_log().await.unwrap().head().await.unwrap();
    chorus.s3.as_mut().unwrap().kill().unwrap();
    assert_unavailable(&api.publish_form(&ann, Api::post_form("lost")).await);
    let photo =
        api.request(Method::PUT, "/v1/me/photo").bearer_auth(&ann.token).body(tests::client::png(10, 10));
    assert_unavailable(&api.send(photo).await);
    let picture = api.post_page(&post).await["images"][0]["feed"].as_str().unwrap().to_owned();
    assert_unavailable(&api.get(&picture).await);
    assert_eq!(chorus.raw_log().await.unwrap().head().await.unwrap(), head, "an event without its image");
    api.like(&ann, &post).await.expect(200);
    // moto restarts without its bucket; command-api creates it at its start.
    chorus.s3.as_mut().unwrap().start_again().await.unwrap();
    chorus.stop(Service::CommandApi).unwrap();
    chorus.start_again(Service::CommandApi).await.unwrap();
    until("uploads are accepted again", async || {
        api.publish_form(&ann, Api::post_form("found")).await.status == 201
    })
    .await;
}

/// The event is stored but not acknowledged: the response says so, and the same request again succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn command_without_append_acknowledgement_has_an_unknown_outcome() {
    let mut chorus = Chorus::distributed_with(&[SHORT_WAIT]).await.unwrap();
    let Scene { api, ann, post, page } = scene(&chorus).await;
    let proxy = FaultProxy::to(chorus.nats.as_ref().unwrap().port()).await.unwrap();
    let log = format!("nats://127.0.0.1:{}/chorus", proxy.port());
    for service in [Service::CommandApi, Service::CompatApi] {
        chorus.stop(service).unwrap();
        chorus.start_again_with(service, &[("CHORUS_LOG", &log)]).await.unwrap();
    }
    let like = || {
        let request = api.request(Method::PUT, &format!("{page}/like")).bearer_auth(&ann.token);
        request.header("Idempotency-Key", "once")
    };
    proxy.drop_responses_after("HPUB chorus.like.");
    let answer = api.send(like()).await;
    answer.problem(503, "outcome-unknown");
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    proxy.restore();
    until("the same request is answered", async || api.send(like()).await.status == 200).await;
    until("the command took effect", async || api.post_page(&post).await["likes"] == 1).await;

    // The compatibility API answers in the app's format.
    proxy.drop_responses_after("HPUB chorus.comment.");
    let path = format!("/instamern/posts/comment/{post}");
    let comment =
        api.request(Method::POST, &path).bearer_auth(&ann.token).json(&json!({ "comment": "Lovely" }));
    let answer = api.send(comment).await.expect(503);
    assert_eq!(answer.json()["status"], "fail");
    assert!(answer.text().contains("not known"), "{}", answer.text());
    proxy.restore();
    until("the command took effect", async || api.post_page(&post).await["comments"] == 1).await;
    assert_views_follow_the_log(&chorus).await;
}

/// A stopped projector delays views but corrupts nothing.
#[tokio::test(flavor = "multi_thread")]
async fn projector_outage_leaves_commands_pending_until_it_ends() {
    let mut chorus = Chorus::distributed_with(&[SHORT_WAIT]).await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    chorus.kill(Service::Projector).unwrap();
    assert_eq!(api.like(&ann, &post).await.expect(200).json()["pending"], true);
    assert_eq!(api.post_page(&post).await["likes"], 0);
    // A new user can read, although the view of sessions does not have the session yet.
    let name = tests::client::fresh("new");
    let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": "a password" });
    let signed_up = api.post("/v1/accounts", &body).await.expect(201).json();
    let token = signed_up["token"].as_str().unwrap().to_owned();
    let new = User { id: signed_up["user"].as_str().unwrap().to_owned(), username: name, token };
    api.get_as(&new, "/v1/posts").await.expect(200);
    chorus.start_again(Service::Projector).await.unwrap();
    until("the like is visible", async || api.post_page(&post).await["likes"] == 1).await;
    assert_views_follow_the_log(&chorus).await;
}

/// In a standalone deployment another process can lock the files.
#[tokio::test(flavor = "multi_thread")]
async fn locked_database_file_is_a_temporary_outage() {
    let chorus = Chorus::standalone_with(&[SHORT_WAIT]).await.unwrap();
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
    until("the view resumes", async || api.post_page(&post).await["likes"] == 1).await;

    let log = hold("events.db");
    let refused = api.delete_as(&ann, &format!("{page}/like")).await;
    assert_unavailable(&refused);
    api.get(&page).await.expect(200);
    drop(log);
    api.delete_as(&ann, &format!("{page}/like")).await.expect(200);
    assert_eq!(api.post_page(&post).await["likes"], 0);
    assert_views_follow_the_log(&chorus).await;
}

/// Readiness while the log cannot be written, as on a full disk, and while a view stalls.
#[tokio::test(flavor = "multi_thread")]
async fn readiness_reports_failing_appends_and_stalled_projections() {
    let chorus = Chorus::standalone_with(&[SHORT_WAIT]).await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    let hold = |file: &str| {
        let connection = Connection::open(chorus.folder().join("data").join(file)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    };
    let log = hold("events.db");
    assert_unavailable(&api.like(&ann, &post).await);
    let report = api.get("/readyz").await.expect(503).json();
    let problem = report["checks"]["log"].as_str().unwrap();
    assert!(problem.starts_with("the last ") && problem.contains(" appends failed: "), "{report}");
    assert!(report["details"]["log"]["appends"]["failures_in_a_row"].as_u64().unwrap() > 0, "{report}");
    drop(log);
    api.like(&ann, &post).await.expect(200);
    let report = api.get("/readyz").await.expect(200).json();
    assert_eq!(report["details"]["log"]["appends"]["failures_in_a_row"], 0, "{report}");

    chorus.settle().await.unwrap();
    let views = hold("views.db");
    let unlike = api.delete_as(&ann, &format!("/v1/posts/{post}/like")).await.expect(200).json();
    assert_eq!(unlike["pending"], true);
    until("readiness reports a stalled view", async || api.get("/readyz").await.status == 503).await;
    let report = api.get("/readyz").await.json();
    assert!(report["checks"]["projections"].as_str().unwrap().contains("posts has stalled: "), "{report}");
    let posts = &report["details"]["projections"]["posts"];
    assert_eq!(posts["state"], "stalled", "{report}");
    assert!(
        posts["reason"].as_str().unwrap().starts_with("it has been committing to the view store for "),
        "{report}"
    );
    until("the metric says so too", async || {
        let metrics = api.get("/metrics").await.text();
        metrics.contains("chorus_projection_stalled{projection=\"posts\"} 1\n")
    })
    .await;
    assert!(posts["lag_seconds"].as_u64().unwrap() >= 30, "{report}");
    assert!(
        posts["behind"].as_u64().unwrap() > 0 && posts["unmoved_seconds"].as_u64().unwrap() > 0,
        "{report}"
    );
    drop(views);
    until("the process is ready again", async || api.get("/readyz").await.status == 200).await;
    assert_views_follow_the_log(&chorus).await;
    // Fifteen projections retry during the outage.
    let printed = chorus.printed(Service::Chorus);
    let lines = printed.lines().filter(|line| line.contains("the view store is unavailable")).count();
    assert!((1..=3).contains(&lines), "{lines} lines for one outage:\n{printed}");
    // The writers of both files repeat their attempts.
    let lines = printed.lines().filter(|line| line.contains("a group was not committed")).count();
    assert!((1..=6).contains(&lines), "{lines} lines for two outages:\n{printed}");
}

/// Erasure hides a user at once; the key is destroyed as soon as the vault is available.
#[tokio::test(flavor = "multi_thread")]
async fn erasure_completes_once_the_key_vault_is_available() {
    let chorus = Chorus::standalone_with(&[SHORT_WAIT]).await.unwrap();
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
    until("her post is hidden", async || api.get(&page).await.status == 404).await;
    assert!(key().is_some(), "the file is locked");
    drop(held);
    until("the key is destroyed", async || key().is_none()).await;
}

/// Services wait for their servers and are not ready until then.
#[tokio::test(flavor = "multi_thread")]
async fn services_wait_for_servers_that_start_later() {
    let mut chorus = Chorus::distributed_with(&[SHORT_WAIT]).await.unwrap();
    let Scene { api, ann, post, .. } = scene(&chorus).await;
    for service in chorus.services() {
        chorus.stop(service).unwrap();
    }
    chorus.nats.as_mut().unwrap().kill().unwrap();
    chorus.mongo.as_mut().unwrap().kill().unwrap();
    for service in chorus.services() {
        chorus.start_again_unready(service).unwrap();
    }
    until("all services report that they wait", async || {
        chorus.services().into_iter().all(|service| chorus.printed(service).contains("waiting for"))
    })
    .await;
    chorus.mongo.as_mut().unwrap().start_again().await.unwrap();
    chorus.nats.as_mut().unwrap().start_again().await.unwrap();
    until("commands are accepted", async || api.like(&ann, &post).await.status == 200).await;
    until("queries are answered", async || {
        let answer = api.get(&format!("/v1/posts/{post}")).await;
        answer.status == 200 && answer.json()["likes"] == 1
    })
    .await;
}
