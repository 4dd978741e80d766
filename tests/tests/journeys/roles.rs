use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};

crate::journeys! {
    operator_grants_and_revokes_roles,
    routes_enforce_their_roles,
    suspended_user_is_logged_out_until_reinstated,
}

fn grant(chorus: &Chorus, user: &User, role: &str) {
    chorus.run_cli(&["grant", &user.username, role]).unwrap();
}

async fn roles(api: &Api, user: &User) -> Value {
    api.get_as(user, "/v1/me").await.expect(200).json()["roles"].clone()
}

async fn operator_grants_and_revokes_roles(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    assert_eq!(roles(&api, &ann).await, json!([]));
    let printed = chorus.run_cli(&["grant", &ann.username, "admin"]).unwrap();
    assert!(printed.contains("is admin now"), "{printed}");
    // The rights of a session never change: the grant ends it.
    api.wait_until_logged_out(&ann).await;
    let ann = api.log_in(&ann, PASSWORD).await;
    assert_eq!(roles(&api, &ann).await, json!(["admin"]));
    let printed = chorus.run_cli(&["grant", &format!("{}@example.org", ann.username), "admin"]).unwrap();
    assert!(printed.contains("already"), "{printed}");
    api.get_as(&ann, "/v1/me").await.expect(200);
    chorus.run_cli(&["grant", &ann.username, "admin", "--revoke"]).unwrap();
    api.wait_until_logged_out(&ann).await;
    let ann = api.log_in(&ann, PASSWORD).await;
    assert_eq!(roles(&api, &ann).await, json!([]));
    let refused = chorus.run_cli(&["grant", "nobody.of.this.name", "admin"]).unwrap_err().to_string();
    assert!(refused.contains("no user has"), "{refused}");
}

/// Expected statuses by actor (nobody, a user, an artist, a moderator, an admin) on a user without a role.
const TABLE: &[(&str, &str, [u16; 5])] = &[
    ("PUT", "/v1/users/{user}/roles/artist", [401, 403, 403, 403, 200]),
    ("DELETE", "/v1/users/{user}/roles/artist", [401, 403, 403, 403, 200]),
    ("PUT", "/v1/users/{user}/roles/admin", [401, 403, 403, 403, 200]),
    ("DELETE", "/v1/users/{user}/roles/admin", [401, 403, 403, 403, 200]),
    ("PUT", "/v1/users/{user}/suspension", [401, 403, 403, 200, 200]),
    ("DELETE", "/v1/users/{user}/suspension", [401, 403, 403, 200, 200]),
    ("GET", "/v1/mails/given_up", [401, 403, 403, 403, 200]),
    ("GET", "/v1/mails/sent", [401, 403, 403, 403, 200]),
    ("PUT", "/v1/users/{user}/follow", [401, 200, 200, 200, 200]),
    ("DELETE", "/v1/posts/{post}", [401, 403, 403, 403, 403]),
    ("PATCH", "/v1/posts/{post}", [401, 403, 403, 403, 403]),
    ("PUT", "/v1/posts/{post}/like", [401, 200, 200, 200, 200]),
    ("DELETE", "/v1/users/{user}/stories/{story}", [401, 403, 403, 403, 403]),
    ("GET", "/v1/users/{user}/stories/{story}/viewers", [401, 403, 403, 403, 403]),
    ("PUT", "/v1/users/{user}/stories/{story}/view", [401, 200, 200, 200, 200]),
];

async fn routes_enforce_their_roles(chorus: &Chorus) {
    let api = chorus.api();
    let mut actors = vec![None, Some(api.sign_up("user").await)];
    for role in ["artist", "moderator", "admin"] {
        let user = api.sign_up(role).await;
        grant(chorus, &user, role);
        api.wait_until_logged_out(&user).await;
        actors.push(Some(api.log_in(&user, PASSWORD).await));
    }
    for (method, path, statuses) in TABLE {
        for (actor, status) in actors.iter().zip(statuses) {
            // A new user each time, so that earlier requests have no effect.
            let target = api.sign_up("target").await;
            let mut path = path.replace("{user}", &target.id);
            if path.contains("{post}") {
                path = path.replace("{post}", &api.publish(&target, "a lake").await);
            } else if path.contains("{story}") {
                path = path.replace("{story}", &api.publish_story(&target).await);
            }
            let mut request = api.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
            if let Some(actor) = actor {
                request = request.bearer_auth(&actor.token);
            }
            if path.ends_with("suspension") && *method == "PUT" {
                request = request.json(&json!({ "reason": "spam" }));
            } else if *method == "PATCH" {
                request = request.json(&json!({ "caption": "mine now" }));
            }
            let answer = api.send(request).await;
            let name = actor.as_ref().map_or("nobody", |actor| &actor.username);
            assert_eq!(answer.status.as_u16(), *status, "{method} {path} by {name}: {}", answer.text());
        }
    }
}

async fn suspended_user_is_logged_out_until_reinstated(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, moderator) = (api.sign_up("ann").await, api.sign_up("moderator").await);
    grant(chorus, &moderator, "moderator");
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;
    api.get_as(&ann, "/v1/me").await.expect(200);
    let path = format!("/v1/users/{}/suspension", ann.id);
    assert_eq!(
        api.put_json_as(&moderator, &path, &json!({ "reason": " " })).await.problem(422, "invalid"),
        ["reason"]
    );
    api.put_json_as(&moderator, &path, &json!({ "reason": "spam" })).await.expect(200);
    api.wait_until_logged_out(&ann).await;
    api.try_log_in(&ann, PASSWORD).await.problem(403, "forbidden");
    // The suspension is not revealed without the password.
    api.try_log_in(&ann, "not the password").await.problem(401, "wrong-login");
    api.delete_as(&moderator, &path).await.expect(200);
    let ann = api.log_in(&ann, PASSWORD).await;
    api.get_as(&ann, "/v1/me").await.expect(200);
    let own = format!("/v1/users/{}/suspension", moderator.id);
    api.put_json_as(&moderator, &own, &json!({ "reason": "a rest" })).await.problem(409, "oneself");
}
