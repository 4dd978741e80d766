//! Injection attacks on every documented route: database operators, duplicate keys, path traversal, line breaks in
//! headers, oversized and deeply nested bodies.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::chorus::{Chorus, Service};
use tests::client::{Answer, Api, User, fresh};
use tests::raw;
use tests::routes::{self, Access, Body, Route, example, texts};

crate::journeys! {
    operators_in_json_fields_are_refused,
    operators_in_query_and_path_match_nothing,
    duplicate_fields_parameters_and_headers_are_refused,
    path_traversal_out_of_the_media_store_is_refused,
    line_breaks_inject_no_header,
    oversized_body_is_refused_on_every_route,
    deeply_nested_json_is_refused_on_every_route,
}

/// A new user for each route, since a request may end the user's session.
async fn user_for(api: &Api, route: &Route) -> Option<User> {
    if route.access == Access::Public { None } else { Some(api.sign_up("ann").await) }
}

async fn send(api: &Api, route: &Route, user: Option<&User>, body: String) -> Answer {
    let path = route.path_with(&[]);
    let request =
        api.request(route.method.clone(), &path).header("content-type", "application/json").body(body);
    let request = match user {
        Some(user) => request.bearer_auth(&user.token),
        None => request,
    };
    api.send(request).await
}

/// A value that may be a secret, sent in a field of another type.
const MISPLACED: &str = "8877665544";

#[track_caller]
fn is_refused(answer: &Answer, what: &str) {
    assert!(!answer.text().contains(MISPLACED), "{what}: {}", answer.text());
    assert!(answer.status.is_client_error(), "{what}: {} {}", answer.status, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
}

/// Every route with a JSON body, and an example of the body.
async fn routes_with_json(api: &Api) -> Vec<(Route, Value)> {
    let routes = routes::all(api).await.into_iter();
    let with_json: Vec<_> = routes
        .filter_map(|route| match &route.body {
            Some(Body::Json(schema)) => Some((route.clone(), example(schema))),
            Some(Body::Form(_) | Body::Bytes) | None => None,
        })
        .collect();
    assert!(with_json.len() >= 6, "{with_json:?}");
    with_json
}

async fn operators_in_json_fields_are_refused(chorus: &Chorus) {
    let api = chorus.api();
    let operators = [
        json!({ "$gt": "" }),
        json!({ "$ne": null }),
        json!({ "$where": "sleep(1000)" }),
        json!({ "$regex": ".*" }),
        json!([{ "$gt": "" }]),
        json!({ "sealed": "AAAA" }),
        json!(MISPLACED.parse::<u64>().unwrap()),
        json!([MISPLACED]),
        json!({ "x": MISPLACED }),
    ];
    for (route, body) in routes_with_json(&api).await {
        let user = user_for(&api, &route).await;
        let before = seen(&api, user.as_ref()).await;
        for place in texts(&body) {
            for operator in &operators {
                let mut body = body.clone();
                *body.pointer_mut(&place).unwrap() = operator.clone();
                let answer = send(&api, &route, user.as_ref(), body.to_string()).await;
                is_refused(&answer, &format!("{} {body}", route.name()));
            }
        }
        for (name, value) in body.as_object().unwrap() {
            if !value.is_string() {
                let mut body = body.clone();
                body[name] = json!(MISPLACED);
                let answer = send(&api, &route, user.as_ref(), body.to_string()).await;
                is_refused(&answer, &format!("{} {body}", route.name()));
            }
        }
        for body in [json!(MISPLACED), json!([[MISPLACED]])] {
            let answer = send(&api, &route, user.as_ref(), body.to_string()).await;
            is_refused(&answer, &format!("{} {body}", route.name()));
        }
        assert_eq!(seen(&api, user.as_ref()).await, before, "{} has stored something", route.name());
    }
}

/// The user's own account.
async fn seen(api: &Api, user: Option<&User>) -> Option<Value> {
    match user {
        Some(user) => Some(api.get_as(user, "/v1/me").await.expect(200).json()),
        None => None,
    }
}

async fn operators_in_query_and_path_match_nothing(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let escaped = [
        "%7B%22%24gt%22%3A%22%22%7D",
        "%7B%22%24ne%22%3Anull%7D",
        "%24where",
        "%5B%24ne%5D",
        "'%20OR%201%3D1--",
        MISPLACED,
    ];
    for route in routes::all(&api).await {
        let ask = async |path: &str| api.send(route.request_to(&api, path).bearer_auth(&ann.token)).await;
        for variable in route.variables() {
            for operator in escaped {
                let path = route.path_with(&[(variable, operator)]);
                let answer = ask(&path).await;
                is_refused(&answer, &format!("{} {path}", route.method));
            }
        }
        for (name, is_text) in &route.query {
            for operator in escaped {
                let path = route.path_with(&[]);
                // Some frameworks parse this as an object with an operator.
                for query in [format!("{name}%5B%24gt%5D="), format!("{name}%5B%5D={operator}")] {
                    is_refused(&ask(&format!("{path}?{query}")).await, &query);
                }
                let answer = ask(&format!("{path}?{name}={operator}")).await;
                let found = answer.status == StatusCode::OK && answer.json()["items"] != json!([]);
                assert!(
                    !found && !answer.status.is_server_error(),
                    "{} {name}={operator}: {}",
                    route.name(),
                    answer.text()
                );
                assert!(*is_text || answer.status != 200, "{} {name}={operator}", route.name());
                assert!(
                    answer.status == 200 || !answer.text().contains(MISPLACED),
                    "{} {name}={operator}: {}",
                    route.name(),
                    answer.text()
                );
            }
        }
    }
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!((&me["followings"], &me["username"]), (&json!(0), &json!(ann.username)));
}

async fn duplicate_fields_parameters_and_headers_are_refused(chorus: &Chorus) {
    let api = chorus.api();
    for (route, body) in routes_with_json(&api).await {
        let user = user_for(&api, &route).await;
        for (name, value) in body.as_object().unwrap() {
            let text = body.to_string();
            let twice = format!("{},{}:{value}}}", text.strip_suffix('}').unwrap(), json!(name));
            let answer = send(&api, &route, user.as_ref(), twice.clone()).await;
            assert!(!answer.problem(400, "malformed").is_empty(), "{} {twice}", route.name());
        }
    }
    let ann = api.sign_up("ann").await;
    for route in routes::all(&api).await {
        for name in route.query.keys() {
            // The path is checked first, so it must be valid.
            let values = [("state", "sent"), ("day", "2026-02-03"), ("monday", "2026-02-02")];
            let path = format!("{}?{name}=1&{name}=1", route.path_with(&values));
            let request = api.request(route.method.clone(), &path).bearer_auth(&ann.token);
            assert_eq!(api.send(request).await.problem(400, "malformed"), [name.as_str()], "{path}");
        }
        if route.access != Access::Public {
            let request = route.request(&api).bearer_auth(&ann.token).bearer_auth(&ann.token);
            api.send(request).await.problem(401, "unauthenticated");
        }
        let (name, once) =
            if route.method == Method::GET { ("chorus-min-position", "0") } else { ("idempotency-key", "k") };
        let request = route.request(&api).bearer_auth(&ann.token).header(name, once).header(name, once);
        let answer = api.send(request).await;
        let looks_at_it = answer.status == 400;
        // No view has uploads in progress.
        let waits_for_no_view = route.name() == "GET /v1/uploads";
        assert!(
            looks_at_it || waits_for_no_view || route.access == Access::Public || answer.status == 404,
            "{} {name}",
            route.name()
        );
        assert!(!answer.status.is_server_error(), "{}", answer.text());
    }
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!((&me["posts"], &me["bio"]), (&json!(0), &json!("")), "a duplicate header had an effect");
}

async fn path_traversal_out_of_the_media_store_is_refused(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let url = api.post_page(&post).await["images"][0]["large"].as_str().unwrap().to_owned();
    let picture = url.split('/').rev().nth(1).unwrap().to_owned();
    let port = chorus.port(Service::QueryApi).or(chorus.port(Service::Chorus)).unwrap();
    raw::get(port, &format!("/media/images/{picture}/large.jpg"), &[]).await.unwrap().expect(200);
    let up = ["..", "%2e%2e", ".%2e", "%2E%2E", "%252e%252e", "%c0%ae%c0%ae", "..%00", "..;", "..."];
    let between = ["/", "%2f", "%2F", "%5c", "\\", "%252f", "//", "%00"];
    let targets = ["master.key", "signing-keys.pem", "events.db", "etc/passwd"];
    let mut paths: Vec<String> = Vec::new();
    for up in up {
        for between in between {
            for (depth, target) in targets.iter().enumerate() {
                let way = format!("{up}{between}").repeat(depth + 1);
                paths.push(format!("/media/images/{way}{target}"));
                paths.push(format!("/media/images/{picture}/{way}{target}"));
            }
        }
    }
    paths.extend(
        [
            "//etc/passwd",
            "/media//etc/passwd",
            "/media/images//etc/passwd",
            "/media/images/%2fetc/passwd",
            "/media/images/%2fetc%2fpasswd/x",
            "/media/images/file:%2f%2f%2fetc%2fpasswd/x",
            "/media/../data/master.key",
            "/docs/../../data/master.key",
            "/docs/%2e%2e/%2e%2e/data/master.key",
            "/docs/..%2f..%2fdata%2fmaster.key",
        ]
        .map(str::to_owned),
    );
    // Below a file, beside it, or a temporary file.
    for place in [
        "large.jpg%2fx",
        "large.jpg/x",
        "large.jpg%00.png",
        ".part-1",
        "",
        ".",
        "%2e",
        "large.jpg.",
        "LARGE.JPG",
    ] {
        paths.push(format!("/media/images/{picture}/{place}"));
    }
    paths.push(format!("/media/images/{picture}%2flarge.jpg/x"));
    paths.push(format!("/media/images/x%2f..%2f{picture}/large.jpg"));
    for path in paths {
        let answer = raw::get(port, &path, &[]).await.unwrap();
        assert!(
            answer.status.is_client_error() || answer.status.is_redirection(),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        // Redirects lead only to the documentation page.
        assert!(
            answer.header("location").is_none_or(|to| to.starts_with("/docs/")),
            "{path}: {:?}",
            answer.headers
        );
    }
}

async fn line_breaks_inject_no_header(chorus: &Chorus) {
    let api = chorus.api();
    let injected = |answer: &Answer, what: &str| {
        assert!(!answer.status.is_server_error(), "{what}: {}", answer.text());
        assert!(answer.headers.get("x-injected").is_none(), "{what}: {:?}", answer.headers);
        assert!(
            answer.headers.get("set-cookie").is_none_or(|set| !set.as_bytes().starts_with(b"injected")),
            "{what}"
        );
    };
    let escaped = "x%0d%0aX-Injected:%20yes%0d%0aSet-Cookie:%20injected=yes";
    let plain = "x\r\nX-Injected: yes\r\nSet-Cookie: injected=yes";
    for route in routes::all(&api).await {
        let user = user_for(&api, &route).await;
        let token = user.as_ref().map(|user| user.token.as_str());
        let ask = async |path: &str| {
            let request = route.request_to(&api, path);
            api.send(match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            })
            .await
        };
        for variable in route.variables() {
            injected(&ask(&route.path_with(&[(variable, escaped)])).await, &route.name());
        }
        for name in route.query.keys() {
            injected(&ask(&format!("{}?{name}={escaped}", route.path_with(&[]))).await, &route.name());
        }
    }
    for (route, body) in routes_with_json(&api).await {
        let user = user_for(&api, &route).await;
        for place in texts(&body) {
            let mut body = body.clone();
            *body.pointer_mut(&place).unwrap() = json!(plain);
            let answer = send(&api, &route, user.as_ref(), body.to_string()).await;
            injected(&answer, &format!("{} {body}", route.name()));
        }
    }
    // Folded headers, and headers with only one of the two line-end characters, are invalid.
    let port = chorus.port(Service::QueryApi).or(chorus.port(Service::Chorus)).unwrap();
    for header in
        ["x-request-id: a\rX-Injected: yes", "x-request-id: a\n X-Injected: yes", "x-request-id: a\0"]
    {
        let answer = raw::get(port, "/v1/posts", &[header]).await.unwrap();
        injected(&answer, header);
    }
}

/// Maximum size of a change of a playlist's entries, in bytes.
const ENTRIES_LIMIT: usize = 512 * 1024;

async fn oversized_body_is_refused_on_every_route(chorus: &Chorus) {
    let api = chorus.api();
    for (route, body) in routes_with_json(&api).await {
        let user = user_for(&api, &route).await;
        let mut body = body;
        let limit = if route.name().contains("/entries") { ENTRIES_LIMIT } else { web::http::BODY_LIMIT };
        // Not every body has a string field.
        let first = body.as_object_mut().and_then(|fields| fields.values_mut().next()).unwrap();
        *first = json!("x".repeat(limit));
        send(&api, &route, user.as_ref(), body.to_string()).await.problem(413, "too-large");
        // Whitespace counts as well.
        let blown_up = format!("{{{}}}", " ".repeat(limit));
        send(&api, &route, user.as_ref(), blown_up).await.problem(413, "too-large");
    }
    for route in routes::all(&api).await.iter().filter(|route| !matches!(route.body, Some(Body::Json(_)))) {
        let Some(mut user) = user_for(&api, route).await else { continue };
        let mut path = route.path_with(&[]);
        if route.variables().contains(&"upload") {
            user = chorus.artist("ann").await;
            let upload = api.post_as(&user, "/v1/uploads", &json!({ "size": 1 })).await.expect(201).id();
            path = route.path_with(&[("upload", &upload)]);
        }
        let request = api.request(route.method.clone(), &path).bearer_auth(&user.token);
        if let Some(Body::Bytes) = route.body {
            let request = route.with_headers(request);
            let request = request.header("content-type", "image/png").body(vec![0; 21 << 20]);
            api.send(request).await.problem(413, "too-large");
        } else if route.body.is_none() && route.method != Method::GET {
            // These routes ignore the body.
            let answer = api.send(request.body(vec![b' '; 1 << 20])).await;
            assert!(!answer.status.is_server_error(), "{}: {}", route.name(), answer.text());
        }
    }
}

async fn deeply_nested_json_is_refused_on_every_route(chorus: &Chorus) {
    let api = chorus.api();
    let deep = [
        format!("{}{}", "[".repeat(20_000), "]".repeat(20_000)),
        "{\"a\":".repeat(10_000),
        "[".repeat(60_000),
    ];
    for (route, body) in routes_with_json(&api).await {
        let user = user_for(&api, &route).await;
        for deep in &deep {
            let (name, _) = body.as_object().unwrap().iter().next().unwrap();
            for body in
                [deep.clone(), format!("{{{}:{deep}}}", json!(name)), format!("{{\"unknown\":{deep}}}")]
            {
                let answer = send(&api, &route, user.as_ref(), body).await;
                assert_eq!(answer.problem(400, "malformed").len(), 1, "{}", route.name());
            }
        }
    }
    // The process still works, also for a new user.
    let name = fresh("after");
    api.sign_up(&name[..12]).await;
}
