use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};

crate::journeys! {
    the_operator_grants_a_role_and_takes_it_away,
    each_route_takes_the_roles_it_is_for,
    who_is_suspended_is_out_at_once_until_reinstated,
}

fn grant(chorus: &Chorus, user: &User, role: &str) {
    chorus.operate(&["grant", &user.username, role]).unwrap();
}

async fn roles(api: &Api, user: &User) -> Value {
    api.get_as(user, "/v1/me").await.expect(200).json()["roles"].clone()
}

async fn the_operator_grants_a_role_and_takes_it_away(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    assert_eq!(roles(&api, &ann).await, json!([]));
    let told = chorus.operate(&["grant", &ann.username, "admin"]).unwrap();
    assert!(told.contains("is admin now"), "{told}");
    // What a session may do does not change while it goes on.
    api.is_logged_out(&ann).await;
    let ann = api.log_in(&ann, PASSWORD).await;
    assert_eq!(roles(&api, &ann).await, json!(["admin"]));
    let told = chorus.operate(&["grant", &format!("{}@example.org", ann.username), "admin"]).unwrap();
    assert!(told.contains("already"), "{told}");
    api.get_as(&ann, "/v1/me").await.expect(200);
    chorus.operate(&["grant", &ann.username, "admin", "--revoke"]).unwrap();
    api.is_logged_out(&ann).await;
    let ann = api.log_in(&ann, PASSWORD).await;
    assert_eq!(roles(&api, &ann).await, json!([]));
    let refused = chorus.operate(&["grant", "nobody.of.this.name", "admin"]).unwrap_err().to_string();
    assert!(refused.contains("nobody"), "{refused}");
}

/// Who may do what to somebody without a role: by nobody, a user, an artist, a moderator, an admin.
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

async fn each_route_takes_the_roles_it_is_for(chorus: &Chorus) {
    let api = chorus.api();
    let mut actors = vec![None, Some(api.sign_up("user").await)];
    for role in ["artist", "moderator", "admin"] {
        let user = api.sign_up(role).await;
        grant(chorus, &user, role);
        api.is_logged_out(&user).await;
        actors.push(Some(api.log_in(&user, PASSWORD).await));
    }
    for (method, path, statuses) in TABLE {
        for (actor, status) in actors.iter().zip(statuses) {
            // Somebody new each time, so that what was done before does not count.
            let somebody = api.sign_up("somebody").await;
            let mut path = path.replace("{user}", &somebody.id);
            if path.contains("{post}") {
                path = path.replace("{post}", &api.publish(&somebody, "a lake").await);
            } else if path.contains("{story}") {
                path = path.replace("{story}", &api.publish_story(&somebody).await);
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

async fn who_is_suspended_is_out_at_once_until_reinstated(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, moderator) = (api.sign_up("ann").await, api.sign_up("moderator").await);
    grant(chorus, &moderator, "moderator");
    api.is_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;
    api.get_as(&ann, "/v1/me").await.expect(200);
    let path = format!("/v1/users/{}/suspension", ann.id);
    assert_eq!(
        api.put_json_as(&moderator, &path, &json!({ "reason": " " })).await.problem(422, "invalid"),
        ["reason"]
    );
    api.put_json_as(&moderator, &path, &json!({ "reason": "spam" })).await.expect(200);
    api.is_logged_out(&ann).await;
    api.try_log_in(&ann, PASSWORD).await.problem(403, "forbidden");
    // Whoever does not know the password learns nothing of it.
    api.try_log_in(&ann, "not the password").await.problem(401, "wrong-login");
    api.delete_as(&moderator, &path).await.expect(200);
    let ann = api.log_in(&ann, PASSWORD).await;
    api.get_as(&ann, "/v1/me").await.expect(200);
    let own = format!("/v1/users/{}/suspension", moderator.id);
    api.put_json_as(&moderator, &own, &json!({ "reason": "a rest" })).await.problem(409, "oneself");
}
