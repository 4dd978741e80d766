use events::LinkPurpose;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{PASSWORD, fresh};

crate::journeys! {
    email_is_verified_by_a_link,
    email_changes_after_confirmation_by_link,
    email_change_fails_if_the_address_was_taken_meanwhile,
}

async fn email_is_verified_by_a_link(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    assert_eq!(api.get_as(&ann, "/v1/me").await.json()["email_verified"], false);
    let first = chorus.mailed_token(&ann, LinkPurpose::VerifyEmail).await.unwrap();
    api.post_as(&ann, "/v1/me/email-verification", &Value::Null).await.expect(200);
    let second = chorus.mailed_token(&ann, LinkPurpose::VerifyEmail).await.unwrap();
    assert_ne!(first, second);
    let verify = async |token: &str| api.put(&format!("/v1/email-verifications/{token}"), &Value::Null).await;
    verify(&first).await.problem(404, "no-link");
    assert_eq!(verify(&second).await.expect(200).json()["changed"], true);
    assert_eq!(api.get_as(&ann, "/v1/me").await.json()["email_verified"], true);
    // Opening the link twice, as some mail programs do, is harmless.
    assert_eq!(verify(&second).await.expect(200).json()["changed"], false);
    let again = api.post_as(&ann, "/v1/me/email-verification", &Value::Null).await.expect(200);
    assert_eq!(again.json()["changed"], false);
}

async fn email_changes_after_confirmation_by_link(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let other = api.log_in(&ann, PASSWORD).await;
    let old = format!("{}@example.org", ann.username);
    let new = format!("{}@example.net", fresh("lee"));
    let ask = async |password: &str, email: &str| {
        let body = json!({ "current_password": password, "email": email });
        api.post_as(&ann, "/v1/me/email-change", &body).await
    };
    assert_eq!(ask("not the password", &new).await.problem(422, "invalid"), ["current_password"]);
    assert_eq!(ask(PASSWORD, "not an address").await.problem(422, "invalid"), ["email"]);
    ask(PASSWORD, &old.to_uppercase()).await.problem(409, "same-email");
    ask(PASSWORD, &new).await.expect(200);
    assert_eq!(api.get_as(&ann, "/v1/me").await.json()["email"], old);

    let token = chorus.mailed_token(&ann, LinkPurpose::ChangeEmail).await.unwrap();
    let confirm = async |token: &str| api.put(&format!("/v1/email-changes/{token}"), &Value::Null).await;
    confirm(&token).await.expect(200);
    confirm(&token).await.problem(404, "no-link");
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!((&me["email"], &me["email_verified"]), (&json!(new), &json!(true)));
    api.wait_until_logged_out(&other).await;
    // The new address can log in, the old one is released.
    api.post("/v1/sessions", &json!({ "login": new, "password": PASSWORD })).await.expect(201);
    api.post("/v1/sessions", &json!({ "login": old, "password": PASSWORD }))
        .await
        .problem(401, "wrong-login");
    let body = json!({ "username": fresh("bob"), "email": old, "password": PASSWORD });
    api.post("/v1/accounts", &body).await.expect(201);
}

async fn email_change_fails_if_the_address_was_taken_meanwhile(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let wanted = format!("{}@example.net", fresh("wanted"));
    let body = json!({ "current_password": PASSWORD, "email": wanted });
    // The request does not reveal whether the address is taken.
    api.post_as(&ann, "/v1/me/email-change", &body).await.expect(200);
    let faster = json!({ "username": fresh("faster"), "email": wanted, "password": PASSWORD });
    api.post("/v1/accounts", &faster).await.expect(201);
    let token = chorus.mailed_token(&ann, LinkPurpose::ChangeEmail).await.unwrap();
    api.put(&format!("/v1/email-changes/{token}"), &Value::Null).await.problem(409, "email-taken");
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!(me["email"], format!("{}@example.org", ann.username));
}
