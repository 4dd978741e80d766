//! Spelling of paths, CORS, and sanitising of request bodies.

use reqwest::Method;
use serde_json::json;
use tests::chorus::{Chorus, Service};
use tests::raw;

use super::{App, ORIGIN, PASSWORD, fails, says};

crate::journeys! {
    paths_match_in_any_case_with_or_without_trailing_slash,
    search_text_is_matched_literally,
    cors_allows_only_the_apps_origin,
    operator_keys_are_dropped,
}

async fn paths_match_in_any_case_with_or_without_trailing_slash(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("Ann").await;
    let post = app.publish(&ann, "Dawn").await;
    for path in
        ["/users/", "/users", "/USERS", "/posts", "/posts/", "/Posts/", "/stories/", "/stories", "/STORIES"]
    {
        let answer = app.get(path).await.expect(200).json();
        assert_eq!(answer["status"], "success", "{path}");
    }
    for path in [
        format!("/users/username/{}/", ann.username),
        format!("/Users/UserName/{}", ann.username),
        format!("/users/ID/{}/", ann.id),
    ] {
        assert_eq!(app.get(&path).await.expect(200).json()["data"]["user"]["_id"], ann.id, "{path}");
    }
    assert_eq!(app.get(&format!("/POSTS/{post}/")).await.expect(200).json()["data"]["post"]["_id"], post);
    let current = app.get_as(&ann, "/users/Authorization/Current-User/").await.expect(200).json();
    assert_eq!(current["data"]["user"]["_id"], ann.id);
    says(&app.press(&ann, &format!("/posts/Like/{post}/")).await, 200, "Liked!");
    let login = json!({ "username": ann.username, "password": PASSWORD });
    app.post("/users/Login/", &login).await.expect(200);
    let prefix = app.api.get(&format!("/InstaMERN/Users/Username/{}", ann.username)).await.expect(200);
    assert_eq!(prefix.json()["data"]["user"]["_id"], ann.id);
    for path in ["/instamern", "/instamern/", "/InstaMERN"] {
        let welcome = app.api.get(path).await.expect(200);
        assert!(welcome.header("content-type").unwrap().starts_with("text/plain"), "{path}");
    }
}

/// The page puts the search text into the path unescaped.
async fn search_text_is_matched_literally(chorus: &Chorus) {
    let app = App::of(chorus);
    app.sign_up("ann").await;
    let port = chorus.port(Service::CompatApi).or(chorus.port(Service::Chorus)).unwrap();
    for typed in [
        "(",
        ".*",
        ".",
        "..",
        "a.b",
        "[",
        "\\",
        "%",
        "100%",
        "%zz",
        "%2",
        "%ff",
        "a%20b",
        "a/b",
        "a//b",
        "a?b",
        "a&b=c",
        "+",
        "^$",
        "$gt",
        "{}",
        "%3Cb%3E",
        "%00",
        "'",
        "*",
        "~",
        "%F0%9F%8C%85",
    ] {
        // Sent raw, so that no library normalises the path.
        let path = format!("/instamern/users/search/{typed}");
        let answer = raw::get(port, &path, &[&format!("origin: {ORIGIN}")]).await.unwrap();
        assert_eq!(answer.status, 200, "{typed}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{typed}");
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{typed}");
        let found = answer.json();
        assert_eq!(found["status"], "success", "{typed}");
        assert!(found["data"]["users"].is_array(), "{typed}: {found}");
    }
}

async fn cors_allows_only_the_apps_origin(chorus: &Chorus) {
    let app = App::of(chorus);
    let ask = async |path: &str, origin: &str, method: &str| {
        let request = app.api.request(Method::OPTIONS, path).header("origin", origin);
        let request = request.header("access-control-request-method", method);
        app.api.send(request.header("access-control-request-headers", "authorization,content-type")).await
    };
    for (path, method) in [
        ("/instamern/users/authorization/current-user", "GET"),
        ("/instamern/users/update", "PATCH"),
        ("/InstaMERN/Users/Delete/", "DELETE"),
        ("/instamern/nothing", "POST"),
    ] {
        let answer = ask(path, ORIGIN, method).await.expect(204);
        for (name, value) in [
            ("access-control-allow-origin", ORIGIN),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE"),
            ("access-control-allow-headers", "authorization,content-type"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert!(answer.header("vary").unwrap().to_lowercase().contains("origin"));
    }
    for (path, origin) in [
        ("/instamern/posts", "https://evil.example"),
        ("/instamern/posts", "http://instamern.netlify.app"),
        ("/instamern/posts", "null"),
        ("/instamern/posts", "https://spotifymern.vercel.app"),
        // The app's origin is allowed on the app's routes only.
        ("/v1/posts", ORIGIN),
        ("/instamerns", ORIGIN),
    ] {
        assert_eq!(
            ask(path, origin, "GET").await.header("access-control-allow-origin"),
            None,
            "{path} {origin}"
        );
        let answer = app.api.get_with(path, "origin", origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path} {origin}");
    }
    // Requests without an origin are not from a page.
    app.api.get("/instamern/posts").await.expect(200);
}

async fn operator_keys_are_dropped(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    let incomplete = "Please type your username and password.";
    for password in [json!({ "$ne": "" }), json!([PASSWORD]), json!({ "a.b": PASSWORD })] {
        let body = json!({ "username": ann.username, "password": password });
        fails(&app.post("/users/login", &body).await, 403, incomplete);
    }
    for body in [
        json!({ "$username": ann.username, "password": PASSWORD }),
        json!({ "username": ann.username, "pass.word": PASSWORD }),
    ] {
        fails(&app.post("/users/login", &body).await, 403, incomplete);
    }
}
