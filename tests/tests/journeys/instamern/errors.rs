//! What the pages are told when something is wrong, in a shape that they can show.

use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;

use super::{App, fails};

crate::journeys! {
    who_is_not_logged_in_is_told_so_on_every_route_that_needs_it,
    a_path_that_is_not_there_says_so_after_asking_who_asks,
    a_body_that_cannot_be_read_is_refused_in_the_apps_shape,
    nothing_that_is_sent_breaks_a_route_or_crosses_ownership,
}

/// Every route, with something of somebody else's in its path. Logging out is left out: it would end the walk.
const ROUTES: [(&str, &str); 28] = [
    ("GET", "/users"),
    ("GET", "/users/id/{user}"),
    ("GET", "/users/username/{username}"),
    ("GET", "/users/search/{username}"),
    ("GET", "/users/authorization/current-user"),
    ("GET", "/posts"),
    ("GET", "/posts/{post}"),
    ("GET", "/stories"),
    ("POST", "/users/signup"),
    ("POST", "/users/login"),
    ("POST", "/users/forgot-password"),
    ("PATCH", "/users/reset-password/{token}"),
    ("POST", "/users/follow/{username}"),
    ("POST", "/users/unfollow/{username}"),
    ("POST", "/users/upload"),
    ("POST", "/users/remove"),
    ("PATCH", "/users/update"),
    ("PATCH", "/users/change-email"),
    ("PATCH", "/users/change-password"),
    ("DELETE", "/users/deactivate"),
    ("DELETE", "/users/delete"),
    ("POST", "/posts/upload"),
    ("POST", "/stories/upload"),
    ("POST", "/posts/comments/{post}"),
    ("DELETE", "/posts/comments/{post}"),
    ("POST", "/posts/update/{post}"),
    ("DELETE", "/posts/delete/{post}"),
    ("POST", "/posts/like/{post}"),
];

/// All fields that any route knows.
const FIELDS: [&str; 15] = [
    "firstname",
    "lastname",
    "username",
    "email",
    "bio",
    "password",
    "passwordConfirm",
    "currentPassword",
    "photo",
    "active",
    "caption",
    "comment",
    "postedBy",
    "postedAt",
    "limit",
];

const NOT_LOGGED_IN: &str = "You're not logged in. Please login.";
const BAD_TOKEN: &str = "Authorization failed. Please login.";

fn for_members() -> Vec<(Method, String)> {
    let id = "0".repeat(32);
    let routes = [
        (Method::GET, "/users/authorization/current-user"),
        (Method::POST, "/users/follow/ann"),
        (Method::POST, "/users/unfollow/ann"),
        (Method::POST, "/users/upload"),
        (Method::POST, "/users/remove"),
        (Method::POST, "/users/logout"),
        (Method::PATCH, "/users/update"),
        (Method::PATCH, "/users/change-email"),
        (Method::PATCH, "/users/change-password"),
        (Method::DELETE, "/users/deactivate"),
        (Method::DELETE, "/users/delete"),
        (Method::POST, "/posts/upload"),
        (Method::POST, "/stories/upload"),
        (Method::POST, "/posts/like/{id}"),
        (Method::POST, "/posts/comments/{id}"),
        (Method::DELETE, "/posts/comments/{id}"),
        (Method::POST, "/posts/update/{id}"),
        (Method::DELETE, "/posts/delete/{id}"),
        // What is not there is told to who is logged in.
        (Method::GET, "/users/nothing"),
        (Method::POST, "/users"),
        (Method::PUT, "/users/update"),
        (Method::GET, "/users/login"),
        (Method::DELETE, "/posts"),
        (Method::GET, "/posts/like/{id}"),
        (Method::GET, "/stories/nothing/at/all"),
        (Method::GET, "/users/search/"),
    ];
    routes.map(|(method, path)| (method, path.replace("{id}", &id))).to_vec()
}

async fn who_is_not_logged_in_is_told_so_on_every_route_that_needs_it(chorus: &Chorus) {
    let app = App::of(chorus);
    for (method, path) in for_members() {
        for (header, message) in [
            (None, NOT_LOGGED_IN),
            (Some("Basic YTpi"), NOT_LOGGED_IN),
            (Some("Token abc"), NOT_LOGGED_IN),
            (Some("Bearer null"), BAD_TOKEN),
            (Some("Bearer undefined"), BAD_TOKEN),
            (Some("Bearer a.b.c"), BAD_TOKEN),
            (Some("bearer eyJhbGciOiJIUzI1NiJ9.e30.x"), BAD_TOKEN),
        ] {
            let request = app.request(method.clone(), &path).header("content-type", "application/json");
            let request = match header {
                Some(value) => request.header("authorization", value),
                None => request,
            };
            // The cookie is not looked at.
            let request = request.header("cookie", "jsonwebtoken=x; __Host-chorus=y");
            fails(&app.send(request).await, 401, message);
        }
    }
}

async fn a_path_that_is_not_there_says_so_after_asking_who_asks(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    for (method, path) in [
        (Method::GET, "/nothing"),
        (Method::POST, "/Nothing/at/ALL/?a=b"),
        (Method::GET, "/usersx"),
        (Method::DELETE, ""),
    ] {
        let answer = app.send(app.request(method, path)).await;
        fails(&answer, 404, &format!("Unsupported URL: /instamern{path}"));
    }
    for (method, path) in [
        (Method::GET, "/users/nothing"),
        (Method::PATCH, "/Users/"),
        (Method::GET, "/users/login?a=b%20c"),
        (Method::PUT, "/posts"),
        (Method::GET, "/users/username/a/b"),
    ] {
        let answer = app.send(app.request(method, path).bearer_auth(&ann.token)).await;
        fails(&answer, 404, &format!("Unsupported URL: /instamern{path}"));
    }
}

async fn a_body_that_cannot_be_read_is_refused_in_the_apps_shape(chorus: &Chorus) {
    let app = App::of(chorus);
    let send = async |kind: &str, body: String| {
        let request = app.request(Method::POST, "/users/login").header("content-type", kind).body(body);
        let answer = app.send(request).await;
        let told = answer.json();
        assert_eq!(told["status"], "fail", "{told}");
        assert!(told["message"].is_string(), "{told}");
        assert_eq!(told.as_object().unwrap().len(), 2, "{told}");
        answer.status.as_u16()
    };
    for body in ["{", "null", "7", "{\"username\":", "not JSON"] {
        assert_eq!(send("application/json", body.to_owned()).await, 400, "{body}");
    }
    assert_eq!(send("text/plain", json!({ "username": "a" }).to_string()).await, 415);
    assert_eq!(send("application/json", format!("\"{}\"", "x".repeat(100_000))).await, 413);
    // Nothing in it is no mistake of its own.
    assert_eq!(send("application/json", String::new()).await, 403);
}

async fn nothing_that_is_sent_breaks_a_route_or_crosses_ownership(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let post = app.publish(&ann, "Dawn").await;
    let (before, page) = (app.current(&ann).await, app.post_page(&post).await);
    let with = |value: Value| {
        Value::Object(FIELDS.iter().map(|field| ((*field).to_owned(), value.clone())).collect())
    };
    let twice = r#"{"comment":1,"comment":{},"username":"a","username":null,"caption":"a","caption":["b"]}"#;
    let bodies = [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "[[[[]]]]".to_owned(),
        "[".repeat(50_000),
        "\u{0}\u{1}".to_owned(),
        twice.to_owned(),
        with(json!({ "$gt": "" })).to_string(),
        with(json!([])).to_string(),
        with(json!(-1.5e300)).to_string(),
        with(json!(null)).to_string(),
        with(json!("\u{0}\u{202e}<script>")).to_string(),
        with(json!("x".repeat(3000))).to_string(),
    ];
    let ids = ["x", "%00", "%ff", "a%2fb", "$gt", "{}", "507f1f77bcf86cd799439011", "undefined", "null"];
    for (method, pattern) in ROUTES {
        let fill = |user: &str, username: &str, post: &str| {
            let path = pattern.replace("{user}", user).replace("{username}", username);
            path.replace("{post}", post).replace("{token}", post)
        };
        let mut paths = vec![fill(&ann.id, &ann.username, &post)];
        if pattern.contains('{') {
            paths.extend(ids.iter().map(|id| fill(id, id, id)));
        }
        for path in paths {
            for body in &bodies {
                // What a like or a comment on somebody's post, or following them, changes is not theirs.
                if pattern.contains("/like/")
                    || pattern.contains("/follow/")
                    || pattern.contains("/unfollow/")
                {
                    continue;
                }
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let request = app.request(method, &path).bearer_auth(&bob.token);
                let request = request.header("content-type", "application/json").body(body.clone());
                let answer = app.send(request).await;
                let told = format!("{pattern} {path} {body:.60}: {} {}", answer.status, answer.text());
                assert!(!answer.status.is_server_error(), "{told}");
                if answer.status != 204 {
                    let kind = if answer.status.is_success() { "success" } else { "fail" };
                    assert_eq!(answer.json()["status"], kind, "{told}");
                }
            }
        }
    }
    assert_eq!(app.current(&ann).await, before);
    let mut after = app.post_page(&post).await;
    // Comments are bob's own.
    after["comments"] = page["comments"].clone();
    assert_eq!(after, page);
    assert_eq!(app.current(&bob).await["username"], bob.username);
}
