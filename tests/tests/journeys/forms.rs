//! What a form shows when the API refuses it: the fields with their codes, and why a user is not logged in.

use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, PASSWORD, fresh};

crate::journeys! {
    a_sign_up_names_every_taken_field_at_once,
    a_refused_field_has_a_code,
    a_body_that_is_too_large_names_its_field,
    a_wrong_password_and_an_ended_session_are_different_problems,
}

/// Each field with its code.
fn codes(answer: &Answer) -> Vec<(String, String)> {
    let problem = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let errors = problem["errors"].as_array().unwrap().iter();
    errors.map(|error| (text(&error["field"]), text(&error["code"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(field, code)| ((*field).to_owned(), (*code).to_owned())).collect()
}

async fn a_sign_up_names_every_taken_field_at_once(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let sign_up = async |username: &str, email: &str| {
        let body = json!({ "username": username, "email": email, "password": PASSWORD });
        api.post("/v1/accounts", &body).await
    };
    let free = fresh("free");
    let (address, free_address) = (format!("{}@example.org", bob.username), format!("{free}@example.org"));
    for (username, email, code, taken) in [
        (&ann.username, &free_address, "username-taken", &[("username", "taken")][..]),
        (&free, &address, "email-taken", &[("email", "taken")]),
        (&ann.username, &address, "username-and-email-taken", &[("username", "taken"), ("email", "taken")]),
    ] {
        let answer = sign_up(username, email).await;
        answer.problem(409, code);
        assert_eq!(codes(&answer), pairs(taken), "{code}");
    }
    sign_up(&free, &free_address).await.expect(201);
}

async fn a_refused_field_has_a_code(chorus: &Chorus) {
    let api = chorus.api();
    let refused = async |body: Value| codes(&api.post("/v1/accounts", &body).await);
    let all = json!({ "username": "a", "email": "nowhere", "password": "password1", "firstname": "a\nb" });
    assert_eq!(
        refused(all).await,
        pairs(&[
            ("username", "too-short"),
            ("email", "invalid-format"),
            ("password", "too-common"),
            ("firstname", "invalid-format"),
        ])
    );
    let missing = json!({ "username": "ann", "password": PASSWORD });
    assert_eq!(refused(missing).await, pairs(&[("email", "required")]));
    let wrong = json!({ "username": 7, "email": "ann@example.org", "password": PASSWORD });
    assert_eq!(refused(wrong).await, pairs(&[("username", "wrong-type")]));
    let more = json!({ "username": "ann", "email": "ann@example.org", "password": PASSWORD, "age": 7 });
    assert_eq!(refused(more).await, pairs(&[("age", "unknown")]));

    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let comments = format!("/v1/posts/{post}/comments");
    let comment = async |body: Value| api.post_as(&ann, &comments, &body).await;
    assert_eq!(codes(&comment(json!({ "text": " " })).await), pairs(&[("text", "empty")]));
    assert_eq!(codes(&comment(json!({ "text": "x".repeat(1001) })).await), pairs(&[("text", "too-long")]));
    let parent = comment(json!({ "text": "Lovely" })).await.id();
    let reply = comment(json!({ "text": "Thanks", "reply_to": parent })).await.id();
    let nested = comment(json!({ "text": "Hm", "reply_to": reply })).await;
    nested.problem(409, "nested-reply");
    assert_eq!(codes(&nested), pairs(&[("reply_to", "not-allowed")]));
    let change = json!({ "current_password": "not this one", "password": "another horse battery" });
    let answer = api.put_json_as(&ann, "/v1/me/password", &change).await;
    assert_eq!(codes(&answer), pairs(&[("current_password", "incorrect")]));
}

async fn a_body_that_is_too_large_names_its_field(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let body = json!({ "text": "x".repeat(100_000) });
    let answer = api.post_as(&ann, &format!("/v1/posts/{post}/comments"), &body).await;
    answer.problem(413, "too-large");
    assert_eq!(codes(&answer), pairs(&[("body", "too-large")]));
}

async fn a_wrong_password_and_an_ended_session_are_different_problems(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    api.try_log_in(&ann, "not this one").await.problem(401, "wrong-login");
    let forged = format!("{}x", ann.token);
    let request = api.request(Method::GET, "/v1/me").bearer_auth(forged);
    api.send(request).await.problem(401, "invalid-token");
    api.delete_as(&ann, "/v1/sessions/current").await.expect(200);
    api.get_as(&ann, "/v1/me").await.problem(401, "session-ended");
    api.get("/v1/me").await.problem(401, "unauthenticated");
}
