use reqwest::Method;
use serde_json::json;
use tests::chorus::Chorus;
use tests::client::{PASSWORD, User};
use tests::waiting::until;

crate::journeys! {
    login_accepts_username_or_email,
    failed_login_does_not_reveal_accounts,
    logout_ends_the_session_on_both_sides,
    sessions_are_listed_and_ended_singly_or_all_at_once,
    browser_session_is_kept_in_a_cookie,
    invalid_tokens_are_refused,
    public_signing_keys_are_served,
}

async fn login_accepts_username_or_email(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let address = format!("{}@example.org", ann.username);
    for login in [&ann.username, &ann.username.to_uppercase(), &address] {
        let signed_in =
            api.post("/v1/sessions", &json!({ "login": login, "password": PASSWORD })).await.expect(201);
        let token = signed_in.json()["token"].as_str().unwrap().to_owned();
        let again = User { token, ..ann.clone() };
        assert_eq!(api.get_as(&again, "/v1/me").await.expect(200).json()["id"], ann.id);
    }
}

async fn failed_login_does_not_reveal_accounts(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let refused = async |login: &str, password: &str| {
        let answer = api.post("/v1/sessions", &json!({ "login": login, "password": password })).await;
        answer.problem(401, "wrong-login");
        answer.json()
    };
    let wrong_password = refused(&ann.username, "not the password").await;
    assert_eq!(refused("nobody.has.this.name", PASSWORD).await, wrong_password);
    assert_eq!(refused("", "").await, wrong_password);
    assert_eq!(refused("nobody@example.org", PASSWORD).await, wrong_password);
}

async fn logout_ends_the_session_on_both_sides(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let other_device =
        api.post("/v1/sessions", &json!({ "login": ann.username, "password": PASSWORD })).await;
    let other_device =
        User { token: other_device.json()["token"].as_str().unwrap().to_owned(), ..ann.clone() };
    // Both sides have seen the token before its session ends.
    api.get_as(&ann, "/v1/me").await.expect(200);
    api.patch_as(&ann, "/v1/me/profile", &json!({ "bio": "x" })).await.expect(200);
    api.get_as(&other_device, "/v1/me").await.expect(200);

    api.delete_as(&ann, "/v1/sessions/current").await.expect(200);
    until("the read side to refuse the ended session", async || {
        api.get_as(&ann, "/v1/me").await.status == 401
    })
    .await;
    api.patch_as(&ann, "/v1/me/profile", &json!({ "bio": "y" })).await.problem(401, "session-ended");
    api.get_as(&other_device, "/v1/me").await.expect(200);
}

async fn sessions_are_listed_and_ended_singly_or_all_at_once(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let log_in = api.request(Method::POST, "/v1/sessions").header("user-agent", "Lynx/2.9");
    let body = json!({ "login": ann.username, "password": PASSWORD });
    let on_lynx = api.send(log_in.json(&body)).await.expect(201).json();
    let on_lynx = User { token: on_lynx["token"].as_str().unwrap().to_owned(), ..ann.clone() };
    let third = api.log_in(&ann, PASSWORD).await;
    let list = async |user: &User| {
        api.get_as(user, "/v1/me/sessions").await.expect(200).json()["items"].as_array().unwrap().clone()
    };
    let mine = list(&on_lynx).await;
    let current: Vec<bool> = mine.iter().map(|session| session["current"].as_bool().unwrap()).collect();
    assert_eq!(current, [false, true, false], "the newest first: {mine:?}");
    assert_eq!((&mine[1]["device"], &mine[1]["address"]), (&json!("Lynx/2.9"), &json!("127.0.0.1")));
    assert!(mine[1]["seen"].is_string() && mine[1]["expires"].is_string(), "{mine:?}");

    let path = format!("/v1/sessions/{}", mine[1]["id"].as_str().unwrap());
    api.delete_as(&bob, &path).await.problem(404, "not-found");
    api.delete_as(&ann, &path).await.expect(200);
    api.wait_until_logged_out(&on_lynx).await;
    assert_eq!(list(&ann).await.len(), 2);
    api.delete_as(&ann, "/v1/sessions").await.expect(200);
    api.wait_until_logged_out(&third).await;
    assert_eq!(list(&ann).await.len(), 1);
    api.get_as(&bob, "/v1/me").await.expect(200);
}

async fn browser_session_is_kept_in_a_cookie(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let body = json!({ "login": ann.username, "password": PASSWORD });
    let log_in = async |headers: &[(&'static str, &str)]| {
        let mut request = api.request(Method::POST, "/v1/sessions").json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        api.send(request).await
    };
    log_in(&[("origin", "https://evil.example")]).await.problem(403, "foreign-origin");
    let answer = log_in(&[]).await.expect(201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax; Secure; Path=/;"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert!(pair.starts_with("__Host-chorus="), "{cookie}");
    let ask = async |method: Method, path: &str, pair: &str, origin: Option<&str>| {
        let mut request = api.request(method, path).header("cookie", pair).json(&json!({ "bio": "x" }));
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        api.send(request).await
    };
    let profile = "/v1/me/profile";
    assert_eq!(ask(Method::GET, "/v1/me", pair, None).await.expect(200).json()["id"], ann.id);
    // The same host with the other scheme is another origin.
    let (scheme, host) = chorus.url().split_once("://").unwrap();
    let other_scheme = format!("{}://{host}", if scheme == "https" { "http" } else { "https" });
    for foreign in [None, Some("https://evil.example"), Some("null"), Some(other_scheme.as_str())] {
        ask(Method::PATCH, profile, pair, foreign).await.problem(403, "foreign-origin");
    }
    ask(Method::PATCH, profile, pair, Some(chorus.url())).await.expect(200);

    // A log-in starts a new session and ends the one whose cookie was sent.
    let planted = log_in(&[("cookie", pair)]).await.expect(201);
    let renewed = planted.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_ne!(renewed, pair);
    until("the previous session to be refused", async || {
        ask(Method::GET, "/v1/me", pair, None).await.status == 401
    })
    .await;
    let end = ask(Method::DELETE, "/v1/sessions/current", &renewed, Some(chorus.url())).await.expect(200);
    assert!(end.header("set-cookie").unwrap().ends_with("; Path=/; Max-Age=0"));
}

async fn invalid_tokens_are_refused(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let (head, rest) = ann.token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let swapped = format!("{head}.{body}.{}", signature.chars().rev().collect::<String>());
    let unsigned = format!("{head}.{body}.");
    for token in ["null", "undefined", "a.b.c", &swapped, &unsigned, &"x".repeat(5000)] {
        for (method, path) in [(Method::GET, "/v1/me"), (Method::DELETE, "/v1/sessions/current")] {
            let answer = api.send(api.request(method, path).bearer_auth(token)).await;
            answer.problem(401, "invalid-token");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    // An invalid token is refused also where none is needed: the client believes that it is logged in.
    let answer = api.send(api.request(Method::GET, "/v1/posts").bearer_auth(&unsigned)).await;
    answer.problem(401, "invalid-token");
    let basic = api.send(api.request(Method::GET, "/v1/me").basic_auth("ann", Some(PASSWORD))).await;
    basic.problem(401, "unauthenticated");
    api.get("/v1/me").await.problem(401, "unauthenticated");
}

async fn public_signing_keys_are_served(chorus: &Chorus) {
    let keys = chorus.api().get("/.well-known/jwks.json").await.expect(200).json();
    let key = &keys["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA")));
    assert!(key["kid"].is_string() && key["x"].is_string() && key["d"].is_null(), "{keys}");
}
