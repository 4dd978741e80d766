//! Error responses in the format that the pages show.

use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;

use super::{App, fails};

crate::journeys! {
    protected_routes_require_a_login,
    unknown_path_returns_404_after_authentication,
    unreadable_body_is_refused_in_the_apps_format,
    malformed_requests_cause_no_500_and_change_no_other_user,
}

/// Every route, with another user's resources in its path. Without logout, which would end the test.
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
        // Unknown paths are reported to logged-in users only.
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

async fn protected_routes_require_a_login(chorus: &Chorus) {
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
            // The cookie is ignored.
            let request = request.header("cookie", "jsonwebtoken=x; __Host-chorus=y");
            fails(&app.send(request).await, 401, message);
        }
    }
}

async fn unknown_path_returns_404_after_authentication(chorus: &Chorus) {
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

async fn unreadable_body_is_refused_in_the_apps_format(chorus: &Chorus) {
    let app = App::of(chorus);
    let send = async |kind: &str, body: String| {
        let request = app.request(Method::POST, "/users/login").header("content-type", kind).body(body);
        let answer = app.send(request).await;
        let text = answer.json();
        assert_eq!(text["status"], "fail", "{text}");
        assert!(text["message"].is_string(), "{text}");
        assert_eq!(text.as_object().unwrap().len(), 2, "{text}");
        answer.status.as_u16()
    };
    for body in ["{", "null", "7", "{\"username\":", "not JSON"] {
        assert_eq!(send("application/json", body.to_owned()).await, 400, "{body}");
    }
    assert_eq!(send("text/plain", json!({ "username": "a" }).to_string()).await, 415);
    assert_eq!(send("application/json", format!("\"{}\"", "x".repeat(100_000))).await, 413);
    // An empty body is not an error by itself.
    assert_eq!(send("application/json", String::new()).await, 403);
}

/// A value that answers must not repeat: it may be a secret with a wrong type.
const MISPLACED: &str = "8877665544";

async fn malformed_requests_cause_no_500_and_change_no_other_user(chorus: &Chorus) {
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
        with(json!([MISPLACED.parse::<u64>().unwrap()])).to_string(),
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
                // Likes and follows legitimately change what Ann sees.
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
                let text = format!("{pattern} {path} {body:.60}: {} {}", answer.status, answer.text());
                assert!(!answer.status.is_server_error(), "{text}");
                assert!(!answer.text().contains(MISPLACED), "{text}");
                if answer.status != 204 {
                    let kind = if answer.status.is_success() { "success" } else { "fail" };
                    assert_eq!(answer.json()["status"], kind, "{text}");
                }
            }
        }
    }
    assert_eq!(app.current(&ann).await, before);
    let mut after = app.post_page(&post).await;
    // The comments are Bob's.
    after["comments"] = page["comments"].clone();
    assert_eq!(after, page);
    assert_eq!(app.current(&bob).await["username"], bob.username);
}
