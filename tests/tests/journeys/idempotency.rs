use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, PASSWORD, User, fresh};

crate::journeys! {
    repeated_post_with_one_key_is_published_once,
    repeated_sign_up_with_one_key_creates_one_account,
    replayed_sign_up_or_log_in_returns_no_token_of_an_ended_session,
    concurrent_comments_with_one_key_are_stored_once,
    replayed_toggle_does_not_toggle_back,
    key_is_scoped_to_one_request_of_one_user,
    replay_after_a_suspension_is_refused,
}

async fn publish(api: &Api, user: &User, key: &str, caption: &str) -> Answer {
    let request =
        api.request(Method::POST, "/v1/posts").bearer_auth(&user.token).header("Idempotency-Key", key);
    api.send(request.multipart(Api::post_form(caption))).await
}

async fn send(api: &Api, user: &User, method: Method, path: &str, key: &str, body: Option<Value>) -> Answer {
    let request = api.request(method, path).bearer_auth(&user.token).header("Idempotency-Key", key);
    api.send(match body {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

async fn repeated_post_with_one_key_is_published_once(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let first = publish(&api, &ann, "\"k1\"", "Dawn").await.expect(201).json();
    let again = publish(&api, &ann, "\"k1\"", "Dawn").await.expect(201).json();
    assert_eq!((&first["id"], &first["position"]), (&again["id"], &again["position"]));
    assert_eq!(first, again);
    let page = api.all_pages(&format!("/v1/users/{}/posts", ann.id)).await;
    assert_eq!(page.len(), 1);
}

async fn repeated_sign_up_with_one_key_creates_one_account(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("ann");
    let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
    let sign_up = async |key: &str, body: &Value| {
        api.send(api.request(Method::POST, "/v1/accounts").header("Idempotency-Key", key).json(body)).await
    };
    let key = fresh("key");
    let (one, two) = tokio::join!(sign_up(&key, &body), sign_up(&key, &body));
    let (one, two) = (one.expect(201).json(), two.expect(201).json());
    assert_eq!((&one["user"], &one["session"]), (&two["user"], &two["session"]));
    // Both tokens belong to the one session and are valid.
    for signed_in in [&one, &two] {
        let user = User {
            id: String::new(),
            username: name.clone(),
            token: signed_in["token"].as_str().unwrap().into(),
        };
        api.get_as(&user, "/v1/me").await.expect(200);
    }
    sign_up(&fresh("key"), &body).await.problem(409, "username-and-email-taken");
    // The whole request is compared.
    for field in ["firstname", "lastname", "password", "email"] {
        let mut other = body.clone();
        other[field] = json!(format!("other.{name}@example.org"));
        sign_up(&key, &other).await.problem(422, "idempotency-key-reused");
    }
}

async fn replayed_sign_up_or_log_in_returns_no_token_of_an_ended_session(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("ann");
    let keyed = async |path: &str, body: &Value| {
        api.send(api.request(Method::POST, path).header("Idempotency-Key", &name).json(body)).await
    };
    let user = |answer: Answer| {
        let answer = answer.expect(201).json();
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        User { id: text("user"), username: name.clone(), token: text("token") }
    };
    let body = json!({ "username": name, "email": format!("{name}@example.org"), "password": PASSWORD });
    let sign_up = async || keyed("/v1/accounts", &body).await;
    let log_in =
        async |password: &str| keyed("/v1/sessions", &json!({ "login": name, "password": password })).await;
    let first = user(sign_up().await);
    let second = user(log_in(PASSWORD).await);
    api.get_as(&user(log_in(PASSWORD).await), "/v1/me").await.expect(200);

    // After the logout only the session of the sign-up is active.
    api.delete_as(&second, "/v1/sessions/current").await.expect(200);
    log_in(PASSWORD).await.problem(401, "session-ended");
    api.get_as(&user(sign_up().await), "/v1/me").await.expect(200);

    // The session of the sign-up survives a password change, but a replay with the old password is refused.
    let change = json!({ "current_password": PASSWORD, "password": "staple correct horse" });
    api.put_json_as(&first, "/v1/me/password", &change).await.expect(200);
    sign_up().await.problem(401, "wrong-login");
    log_in(PASSWORD).await.problem(401, "wrong-login");
    log_in("staple correct horse").await.problem(422, "idempotency-key-reused");

    // A replayed log-in does not undo a deactivation.
    let key = fresh("key");
    let again = async || {
        let body = json!({ "login": name, "password": "staple correct horse" });
        api.send(api.request(Method::POST, "/v1/sessions").header("Idempotency-Key", &key).json(&body)).await
    };
    let third = user(again().await);
    let current = json!({ "current_password": "staple correct horse" });
    api.post_as(&third, "/v1/me/deactivation", &current).await.expect(200);
    again().await.problem(401, "session-ended");
    chorus.settle().await.unwrap();
    api.get(&format!("/v1/users/by-username/{name}")).await.problem(404, "not-found");

    let back = api.log_in(&third, "staple correct horse").await;
    let current = json!({ "currentPassword": "staple correct horse" });
    let erase =
        api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&back.token).json(&current);
    api.send(erase).await.expect(204);
    again().await.problem(401, "wrong-login");
    sign_up().await.problem(401, "wrong-login");
}

async fn concurrent_comments_with_one_key_are_stored_once(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let path = format!("/v1/posts/{post}/comments");
    let sends = (0..10).map(|_| send(&api, &ann, Method::POST, &path, "k", Some(json!({ "text": "Hello" }))));
    let answers = futures::future::join_all(sends).await;
    let ids: Vec<String> = answers.into_iter().map(|answer| answer.expect(201).id()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(api.all_pages(&path).await.len(), 1);
    assert_eq!(api.post_page(&post).await["comments"], 1);
}

async fn replayed_toggle_does_not_toggle_back(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let like = format!("/v1/posts/{post}/like");
    let liked = send(&api, &ann, Method::PUT, &like, "like", None).await.expect(200).json();
    send(&api, &ann, Method::DELETE, &like, "unlike", None).await.expect(200);
    // The first request arrives a second time.
    let again = send(&api, &ann, Method::PUT, &like, "like", None).await.expect(200).json();
    assert_eq!((&again["changed"], &again["position"]), (&json!(true), &liked["position"]));
    assert_eq!(api.post_page(&post).await["likes"], 0);

    let path = format!("/v1/posts/{post}");
    let edit = async |key: &str, caption: &str| {
        send(&api, &ann, Method::PATCH, &path, key, Some(json!({ "caption": caption }))).await
    };
    edit("e1", "one").await.expect(200);
    edit("e2", "two").await.expect(200);
    edit("e1", "one").await.expect(200);
    assert_eq!(api.post_page(&post).await["caption"], "two");
}

async fn key_is_scoped_to_one_request_of_one_user(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let of_ann = publish(&api, &ann, "k", "Dawn").await.expect(201).id();
    publish(&api, &ann, "k", "Dusk").await.problem(422, "idempotency-key-reused");
    let of_bob = publish(&api, &bob, "k", "Dawn").await.expect(201).id();
    assert_ne!(of_ann, of_bob);
    let path = format!("/v1/posts/{of_ann}");
    send(&api, &ann, Method::PATCH, &path, "e", Some(json!({ "caption": "one" }))).await.expect(200);
    let other = send(&api, &ann, Method::PATCH, &path, "e", Some(json!({ "caption": "two" }))).await;
    other.problem(422, "idempotency-key-reused");
    assert_eq!(api.post_page(&of_ann).await["caption"], "one");
    for bad in ["", "\"\"", &"x".repeat(300)] {
        let answer = send(&api, &ann, Method::PUT, &format!("{path}/like"), bad, None).await;
        assert_eq!(answer.problem(400, "malformed"), ["idempotency-key"]);
    }
}

async fn replay_after_a_suspension_is_refused(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, moderator) = (api.sign_up("ann").await, api.sign_up("moderator").await);
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;

    let key = fresh("key");
    let log_in = async || {
        let body = json!({ "login": ann.username, "password": PASSWORD });
        api.send(api.request(Method::POST, "/v1/sessions").header("Idempotency-Key", &key).json(&body)).await
    };
    let post = publish(&api, &ann, "k", "Dawn").await.expect(201).id();
    let path = format!("/v1/posts/{post}");
    let edit = async || send(&api, &ann, Method::PATCH, &path, "e", Some(json!({ "caption": "Dusk" }))).await;
    edit().await.expect(200);
    log_in().await.expect(201);

    let suspension = format!("/v1/users/{}/suspension", ann.id);
    api.put_json_as(&moderator, &suspension, &json!({ "reason": "spam" })).await.expect(200);
    api.wait_until_logged_out(&ann).await;
    publish(&api, &ann, "k", "Dawn").await.problem(401, "session-ended");
    edit().await.problem(401, "session-ended");
    log_in().await.problem(403, "forbidden");

    // A reinstatement does not restore the sessions of earlier log-ins.
    api.delete_as(&moderator, &suspension).await.expect(200);
    publish(&api, &ann, "k", "Dawn").await.problem(401, "session-ended");
    log_in().await.problem(401, "session-ended");
}
