//! Processes of two versions beside each other. Events that only a newer program knows are appended as they are, and read by
//! this program as the older one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use events::{CommentId, Envelope, EventId, Message, Position, PostId, Subject, UserId, time_ordered_id};
use service::clock::{Clock, SystemClock};
use tests::chorus::{Chorus, Service};
use tests::client::Api;
use tests::verbs::{failure, run};
use tests::waiting::found;

/// How long projections may take to meet the events.
const LIMIT: std::time::Duration = std::time::Duration::from_mins(1);
const NEW_TYPE: &str = "like.superliked.v1";
const NEW_VERSION: &str = "comment.commented.v9";

/// Appends an event of a newer program.
async fn append(chorus: &Chorus, event_type: &'static str, subject: Subject) -> Position {
    let now = SystemClock.now();
    let envelope = Envelope {
        id: EventId::new(time_ordered_id(now)),
        event_type: Cow::Borrowed(event_type),
        source: "chorus".into(),
        time: now,
        subject,
        actor: None,
        correlation: time_ordered_id(now),
        causation: None,
        traceparent: None,
    };
    let log = chorus.raw_log().await.unwrap();
    log.append(&Message { envelope, body: "{}".into() }, Position::START).await.unwrap()
}

/// The address of the service that builds the views.
fn projector(chorus: &Chorus) -> String {
    let port = chorus.port(Service::Projector).or_else(|| chorus.port(Service::Chorus));
    format!("http://127.0.0.1:{}", port.unwrap())
}

/// The stopped projections with their reasons.
async fn stopped(api: &Api, projector: &str) -> BTreeMap<String, String> {
    let report = api.get(&format!("{projector}/readyz")).await.json();
    let projections = report["details"]["projections"].as_object().unwrap();
    let stopped = projections.iter().filter(|(_, status)| status["state"] == "stopped");
    stopped.map(|(name, status)| (name.clone(), status["reason"].as_str().unwrap().to_owned())).collect()
}

async fn older_program_beside_newer_events(chorus: &mut Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn over the lake").await;
    chorus.settle().await.unwrap();
    let post_id: PostId = post.parse().unwrap();
    let ann_id: UserId = ann.id.parse().unwrap();
    let comment = CommentId::new(time_ordered_id(SystemClock.now()));
    let liked = append(chorus, NEW_TYPE, Subject::Like(post_id, ann_id)).await;
    let commented = append(chorus, NEW_VERSION, Subject::Comment(post_id, comment)).await;

    // Projections about these kinds of subjects stop before the event and say so.
    let projector = projector(chorus);
    let expected = [
        ("posts", NEW_TYPE, liked),
        ("comments", NEW_VERSION, commented),
        ("notifications", NEW_VERSION, commented),
    ];
    let found = async |api: &Api| {
        found(LIMIT, "three projections have stopped", async || {
            let stopped = stopped(api, &projector).await;
            (stopped.len() >= expected.len()).then_some(stopped)
        })
        .await
    };
    let check = |stopped: &BTreeMap<String, String>| {
        for (name, event_type, position) in expected {
            let reason = &stopped[name];
            assert!(
                reason.contains(event_type) && reason.contains(&position.to_string()),
                "{name}: {reason}"
            );
        }
        assert_eq!(stopped.len(), expected.len(), "{stopped:?}");
    };
    check(&found(&api).await);
    let report = api.get(&format!("{projector}/readyz")).await.expect(503).json();
    let problem = report["checks"]["projections"].as_str().unwrap();
    assert!(problem.contains("posts has stopped: ") && problem.contains("a newer one wrote it"), "{report}");

    // The others go on, and so do the processes that serve users.
    api.follow(&bob, &ann).await.expect(200);
    tests::waiting::until("the view of follows goes on", async || {
        api.all_pages(&format!("/v1/users/{}/followers", ann.id)).await.len() == 1
    })
    .await;
    api.get(&format!("/v1/posts/{post}")).await.expect(200);
    let second = api.publish(&bob, "Dusk").await;
    api.get(&format!("/v1/posts/{second}")).await.expect(404);
    for service in chorus.services() {
        let at = format!("http://127.0.0.1:{}", chorus.port(service).unwrap());
        api.get(&format!("{at}/livez")).await.expect(200);
        if ![Service::Chorus, Service::Projector].contains(&service) {
            api.get(&format!("{at}/readyz")).await.expect(200);
        }
    }
    // Only a decision about a subject with an unknown event is impossible.
    api.like(&ann, &post).await.expect(500);
    api.like(&bob, &post).await.expect(200);

    // Another process of the old version stops at the same events, and has lost none.
    let service =
        if chorus.port(Service::Projector).is_some() { Service::Projector } else { Service::Chorus };
    chorus.kill(service).unwrap();
    chorus.start_again_unready(service).unwrap();
    let api = chorus.api();
    tests::waiting::until("it answers", async || {
        api.try_send(api.request(reqwest::Method::GET, &format!("{projector}/livez"))).await.is_ok()
    })
    .await;
    check(&found(&api).await);
    let store = chorus.views().await.unwrap();
    assert!(store.checkpoint("posts").await.unwrap() < liked.0);
    assert!(store.checkpoint("comments").await.unwrap() < commented.0);

    // What can be built is built.
    let printed = failure(chorus, &["rebuild", "posts", "comments", "follows"]);
    for expected in [
        "the others are built without comments, posts".to_owned(),
        // Each attempt took a number.
        "follows: generation 2 serves now".to_owned(),
        format!("posts stops at position {liked} (`{NEW_TYPE}`)"),
        format!("comments stops at position {commented} (`{NEW_VERSION}`)"),
    ] {
        assert!(printed.contains(&expected), "{expected}: {printed}");
    }
    assert_eq!(api.all_pages(&format!("/v1/users/{}/followers", ann.id)).await.len(), 1);
    // A newer program knows the events: no fault of the log.
    let printed = run(chorus, &["verify", "follows"]);
    let listed = format!("  the event at {liked} (`{NEW_TYPE}`) is unreadable");
    assert!(printed.contains(&listed) && printed.contains("all views equal the log"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn older_program_beside_newer_events_standalone() {
    older_program_beside_newer_events(&mut Chorus::standalone().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_program_beside_newer_events_distributed() {
    older_program_beside_newer_events(&mut Chorus::distributed().await.unwrap()).await;
}
