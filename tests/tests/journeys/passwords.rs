use events::{
    AccountEvent, AccountsEvent, Draft, Event, EventId, LinkPurpose, PasswordChangeReason, PasswordChanged,
    Personal, Position, SealedLog, Subject, UserId, time_ordered_id,
};
use reqwest::Method;
use serde_json::json;
use service::clock::{Clock, SystemClock};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User, fresh};
use uuid::Uuid;

crate::journeys! {
    weak_password_is_refused_with_a_reason,
    password_change_ends_all_other_sessions,
    password_reset_link_works_once,
    password_reset_request_does_not_reveal_accounts,
    weak_hash_is_replaced_at_log_in_and_ends_no_session,
    deactivated_account_with_a_weak_hash_returns_at_a_log_in_under_a_key,
}

const NEW: &str = "staple correct horse";
/// A hash of [`NEW`] with less memory and fewer passes than new hashes.
const WEAK_HASH_OF_NEW: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c2FsdCBvZiBhIHRlc3Q$/Vacx7US7Z2rrvE4OMXawyqH96+9g5Eo2RsXYiaAG9U";

async fn weak_password_is_refused_with_a_reason(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("weakling");
    let address = format!("{name}@example.org");
    let sign_up = async |password: &str| {
        let body =
            json!({ "username": name, "email": address, "password": password, "firstname": "Bartholomew" });
        let answer = api.post("/v1/accounts", &body).await;
        assert_eq!(answer.problem(422, "invalid"), ["password"]);
        answer.json()["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    assert!(sign_up("short").await.contains("8 to 128"));
    assert!(sign_up("Password123").await.contains("most common"));
    for own in [name.as_str(), &address, "bartholomew"] {
        assert!(sign_up(own).await.contains("your own"), "{own}");
    }
    let ann = api.sign_up("ann").await;
    let change = json!({ "current_password": PASSWORD, "password": ann.username });
    assert_eq!(api.put_json_as(&ann, "/v1/me/password", &change).await.problem(422, "invalid"), ["password"]);
}

async fn change(api: &Api, user: &User, current: &str, new: &str) -> tests::client::Answer {
    let body = json!({ "current_password": current, "password": new });
    api.put_json_as(user, "/v1/me/password", &body).await
}

async fn password_change_ends_all_other_sessions(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let (other, bob) = (api.log_in(&ann, PASSWORD).await, api.sign_up("bob").await);
    // Both sides have seen the other token before its session ends.
    api.get_as(&other, "/v1/me").await.expect(200);
    api.patch_as(&other, "/v1/me/profile", &json!({ "bio": "x" })).await.expect(200);

    let wrong = change(&api, &ann, "not the password", NEW).await;
    assert_eq!(wrong.problem(422, "invalid"), ["current_password"]);
    api.get_as(&other, "/v1/me").await.expect(200);
    change(&api, &ann, PASSWORD, NEW).await.expect(200);

    api.wait_until_logged_out(&other).await;
    for user in [&ann, &bob] {
        api.get_as(user, "/v1/me").await.expect(200);
        api.patch_as(user, "/v1/me/profile", &json!({ "bio": "y" })).await.expect(200);
    }
    api.try_log_in(&ann, PASSWORD).await.problem(401, "wrong-login");
    let again = api.log_in(&ann, NEW).await;
    api.get_as(&again, "/v1/me").await.expect(200);
    let list = api.get_as(&ann, "/v1/me/sessions").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
}

async fn password_reset_link_works_once(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let reset = json!({ "email": format!("{}@example.org", ann.username) });
    api.post("/v1/password-resets", &reset).await.expect(202);
    let first = chorus.mailed_token(&ann, LinkPurpose::ResetPassword).await.unwrap();
    api.post("/v1/password-resets", &reset).await.expect(202);
    let second = chorus.mailed_token(&ann, LinkPurpose::ResetPassword).await.unwrap();
    let set = async |token: &str, password: &str| {
        api.put(&format!("/v1/password-resets/{token}"), &json!({ "password": password })).await
    };
    set(&first, NEW).await.problem(404, "no-link");
    let mut tampered = second.clone();
    let last = if tampered.pop() == Some('0') { '1' } else { '0' };
    tampered.push(last);
    for bad in [&tampered, "x", &"0".repeat(64)] {
        set(bad, NEW).await.problem(404, "no-link");
    }
    // A link for another purpose is not accepted.
    let verification = chorus.mailed_token(&ann, LinkPurpose::VerifyEmail).await.unwrap();
    set(&verification, NEW).await.problem(404, "no-link");
    assert_eq!(set(&second, "password").await.problem(422, "invalid"), ["password"]);

    set(&second, NEW).await.expect(200);
    api.wait_until_logged_out(&ann).await;
    set(&second, "yet another password").await.problem(404, "no-link");
    api.try_log_in(&ann, PASSWORD).await.problem(401, "wrong-login");
    api.log_in(&ann, NEW).await;
}

async fn password_reset_request_does_not_reveal_accounts(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let ask = async |address: &str| {
        let answer = api.post("/v1/password-resets", &json!({ "email": address })).await.expect(202);
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        (answer.text(), names)
    };
    let known = ask(&format!("{}@example.org", ann.username)).await;
    assert_eq!(ask(&format!("{}@example.org", fresh("nobody"))).await, known);
}

async fn password_changes(log: &SealedLog, user: UserId) -> Vec<PasswordChanged> {
    let events = log.read(Subject::Account(user), Position::START).await.unwrap();
    let changes = events.into_iter().filter_map(|recorded| match recorded.event {
        Event::Accounts(AccountsEvent::Account(AccountEvent::PasswordChanged(event))) => Some(event),
        _ => None,
    });
    changes.collect()
}

/// Gives a user the password [`NEW`], with a hash of weaker parameters than those of new hashes.
async fn weaken(log: &SealedLog, user: UserId) {
    let time = SystemClock.now();
    let weak = PasswordChanged {
        user,
        password_hash: Personal::Open(WEAK_HASH_OF_NEW.to_owned()),
        reason: PasswordChangeReason::Rehashed,
        kept: None,
    };
    let draft = Draft {
        id: EventId::new(time_ordered_id(time)),
        time,
        actor: Some(user),
        correlation: Uuid::from_u128(rand::random()),
        causation: None,
        traceparent: None,
        event: weak.into(),
    };
    let last = log.read(Subject::Account(user), Position::START).await.unwrap().pop().unwrap();
    log.append(draft, last.position).await.unwrap();
}

async fn deactivated_account_with_a_weak_hash_returns_at_a_log_in_under_a_key(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let deactivation = json!({ "current_password": PASSWORD });
    api.post_as(&ann, "/v1/me/deactivation", &deactivation).await.expect(200);
    weaken(&chorus.log().await.unwrap(), ann.id.parse().unwrap()).await;
    chorus.settle().await.unwrap();
    let request = api.request(Method::POST, "/v1/sessions").header("Idempotency-Key", "back");
    let login = json!({ "login": ann.username, "password": NEW });
    api.send(request.json(&login)).await.expect(201);
    chorus.settle().await.unwrap();
    api.get(&format!("/v1/users/{}", ann.id)).await.expect(200);
}

async fn weak_hash_is_replaced_at_log_in_and_ends_no_session(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let (log, user) = (chorus.log().await.unwrap(), ann.id.parse().unwrap());
    weaken(&log, user).await;

    let mut sessions = vec![api.log_in(&ann, NEW).await, ann];
    let changes = password_changes(&log, user).await;
    let [_, rehashed] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(rehashed.reason, PasswordChangeReason::Rehashed);
    let hash = rehashed.password_hash.open().unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    // The new hash is of the same password and is kept.
    sessions.push(api.log_in(&sessions[0], NEW).await);
    assert_eq!(password_changes(&log, user).await.len(), 2);
    chorus.settle().await.unwrap();
    for session in &sessions {
        api.get_as(session, "/v1/me").await.expect(200);
        api.patch_as(session, "/v1/me/profile", &json!({ "bio": "x" })).await.expect(200);
    }
    api.try_log_in(&sessions[0], PASSWORD).await.problem(401, "wrong-login");
}
