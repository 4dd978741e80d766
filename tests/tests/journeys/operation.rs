use std::collections::BTreeMap;

use events::{Envelope, Filter, Message, Position, UserId};
use reqwest::Method;
use serde_json::json;
use tests::chorus::{Chorus, Service};
use uuid::Uuid;

crate::journeys! {
    root_serves_programs_and_browsers,
    api_description_and_docs_page_are_served,
    every_response_has_security_headers,
    liveness_readiness_and_metrics_are_served,
    every_event_has_its_causation,
    secrets_and_personal_data_are_not_printed,
}

async fn root_serves_programs_and_browsers(chorus: &Chorus) {
    let api = chorus.api();
    let links = api.get("/").await.expect(200).json();
    for link in ["documentation", "openapi"] {
        let url = links[link].as_str().unwrap();
        assert!(url.starts_with(chorus.url()), "{url}");
        api.get(url).await.expect(200);
    }
    let page = api.get_with("/", "accept", "text/html,*/*;q=0.8").await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for path in page.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        api.get(path).await.expect(200);
    }
    for path in ["/instamern", "/instamern/", "/spotifymern", "/spotifymern/"] {
        let welcome = api.get(path).await.expect(200);
        assert!(welcome.text().starts_with("Welcome to "), "{path}: {}", welcome.text());
    }
    for path in ["/", "/instamern", "/spotifymern"] {
        let head = api.send(api.request(Method::HEAD, path)).await.expect(200);
        assert!(head.body.is_empty(), "{path}");
    }
}

async fn api_description_and_docs_page_are_served(chorus: &Chorus) {
    let api = chorus.api();
    let document = api.get("/openapi.json").await.expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    // Routes of both sides, whichever process responds.
    assert!(
        document["paths"]["/v1/posts"]["get"].is_object()
            && document["paths"]["/v1/posts"]["post"].is_object()
    );
    let page = api.get("/docs/").await.expect(200);
    assert!(page.text().contains("swagger-ui"), "{}", page.text());
    // Its policy forbids inline scripts, and it has none.
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("script-src"), "{policy}");
    for script in page.text().split("<script").skip(1) {
        let (attributes, inside) = script.split_once('>').unwrap();
        let inside = inside.split("</script").next().unwrap();
        assert!(attributes.contains("src=\"./") && inside.trim().is_empty(), "{script}");
    }
    let initializer = api.get("/docs/swagger-initializer.js").await.expect(200);
    assert!(initializer.text().contains("/openapi.json"));
}

async fn every_response_has_security_headers(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "").await;
    let picture = api.post_page(&post).await["images"][0]["thumb"].as_str().unwrap().to_owned();
    let picture = api.get(&picture).await;
    // Images are embeddable cross-origin, unless they are redirected to the store.
    if picture.status == 200 {
        assert_eq!(picture.header("cross-origin-resource-policy"), Some("cross-origin"));
    }
    let headers = [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("origin-agent-cluster", "?1"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-dns-prefetch-control", "off"),
        ("x-download-options", "noopen"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-permitted-cross-domain-policies", "none"),
        ("x-xss-protection", "0"),
    ];
    let command = api.like(&ann, &post).await.expect(200);
    let query = api.get("/v1/posts").await.expect(200);
    let refused = api.post("/v1/posts", &serde_json::json!({})).await.expect(401);
    let missing = api.get("/v1/nothing").await.expect(404);
    let by_tls = chorus.url().starts_with("https");
    for answer in [command, query, refused, missing] {
        for (name, value) in headers {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let strict = answer.header("strict-transport-security");
        assert_eq!(strict, by_tls.then_some("max-age=15552000; includeSubDomains"));
        assert_eq!(answer.header("x-powered-by"), None);
    }
}

async fn liveness_readiness_and_metrics_are_served(chorus: &Chorus) {
    let api = chorus.api();
    api.sign_up("ann").await;
    chorus.settle().await.unwrap();
    for service in chorus.services() {
        let at = format!("http://127.0.0.1:{}", chorus.port(service).unwrap());
        assert_eq!(api.get(&format!("{at}/livez")).await.expect(200).text(), "alive\n");
        let ready = api.get(&format!("{at}/readyz")).await.expect(200).json();
        assert_eq!(ready["ready"], true, "{service:?} {ready}");
        let metrics = api.get(&format!("{at}/metrics")).await.expect(200).text();
        assert!(metrics.contains("chorus_http_request_seconds"), "{service:?}");
        if [Service::Chorus, Service::Projector].contains(&service) {
            assert!(metrics.contains("chorus_projection_passed{projection=\"profiles\"}"), "{metrics}");
        }
    }
    // The proxy does not expose the operations endpoints.
    let outside = api.get("/metrics").await;
    let behind_proxy = chorus.url().starts_with("https");
    assert_eq!(outside.status.as_u16(), if behind_proxy { 404 } else { 200 });
}

async fn every_event_has_its_causation(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    api.like(&bob, &post).await.expect(200);
    api.comment(&bob, &post, "Lovely!").await;
    api.follow(&bob, &ann).await.expect(200);
    api.publish_story(&ann).await;
    // A rename appends several events. A request id of another UUID version is not used as correlation.
    let name = format!("new{}", &ann.id[20..]);
    let rename = api.request(Method::PUT, "/v1/me/username").bearer_auth(&ann.token);
    let rename = rename.header("x-request-id", "8e03978e-40d5-43dd-bc93-6894a57f9324");
    api.send(rename.json(&json!({ "username": name }))).await.expect(200);
    chorus.settle().await.unwrap();

    let log = chorus.raw_log().await.unwrap();
    let head = log.head().await.unwrap();
    let mut follow = log.follow(Filter::everything(), Position::START);
    let (mut passed, mut requests) = (Position::START, BTreeMap::<Uuid, Vec<Envelope>>::new());
    while passed < head {
        let batch = follow.next_batch(1000).await.unwrap().unwrap();
        passed = batch.passed;
        for Message { envelope, .. } in batch.events.into_iter().map(|stored| stored.message) {
            requests.entry(envelope.correlation).or_default().push(envelope);
        }
    }
    // Other tests share the log.
    let people: [Option<UserId>; 2] = [ann.id.parse().ok(), bob.id.parse().ok()];
    requests.retain(|_, events| events.iter().any(|event| people.contains(&event.actor)));
    assert!(requests.len() >= 8, "{requests:?}");
    for (correlation, events) in &requests {
        assert_eq!(correlation.get_version_num(), 7, "{events:?}");
        assert_eq!(events[0].causation, None, "{events:?}");
        for (place, event) in events.iter().enumerate() {
            let before = |cause| events[..place].iter().any(|event| event.id == cause);
            assert!(place == 0 || event.causation.is_some_and(before), "{event:?} among {events:?}");
            let trace = event.traceparent.as_deref().unwrap();
            assert!(
                trace.starts_with(&format!("00-{}-", correlation.simple())) && trace.len() == 55,
                "{trace}"
            );
        }
    }
    let counts = |wire_name: &str| {
        let of = |events: &&Vec<Envelope>| events.iter().any(|event| event.event_type == wire_name);
        requests.values().filter(of).map(Vec::len).max().unwrap_or_default()
    };
    assert!(
        counts("account.signed_up.v2") >= 4 && counts("account.username_changed.v1") >= 3,
        "{requests:?}"
    );
}

async fn secrets_and_personal_data_are_not_printed(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("annsecretname").await;
    let post = api.publish(&ann, "a caption that nobody logs").await;
    api.comment(&ann, &post, "a comment that nobody logs").await;
    api.post("/v1/sessions", &serde_json::json!({ "login": ann.username, "password": "a wrong guess" }))
        .await
        .expect(401);
    for service in chorus.services() {
        let printed = chorus.printed(service);
        for secret in
            [&ann.token, &ann.username, "that nobody logs", "a wrong guess", tests::client::PASSWORD]
        {
            assert!(!printed.contains(secret), "{service:?} prints {secret}");
        }
        assert!(printed.contains("listening") || printed.contains("running"), "{printed}");
    }
    // Nor is it readable in the log's files.
    for file in ["events.db", "events.db-wal"] {
        let Ok(bytes) = std::fs::read(chorus.folder().join("data").join(file)) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        for personal in [&ann.username, "that nobody logs", "example.org"] {
            assert!(!text.contains(personal), "{file} holds {personal}");
        }
    }
}
