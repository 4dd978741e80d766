//! Sign-ups that a crash interrupted between their steps: their claims are released after ten minutes, and they can never
//! complete once another account has the name.

use chrono::TimeDelta;
use events::{
    App, AppendError, ClaimAbandoned, ClaimHash, Draft, EmailClaimed, Event, EventId, NewPerson, Personal,
    Position, SignedUp, Subject, UserId, UsernameClaimed, time_ordered_id,
};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use tests::chorus::Chorus;
use tests::client::{PASSWORD, fresh};
use uuid::Uuid;

crate::journeys! {
    abandoned_claims_are_released_after_ten_minutes,
    recent_claims_are_not_released,
    exactly_one_of_concurrent_sign_ups_gets_an_abandoned_claim,
    internationalised_address_is_unique_across_its_forms,
    unicode_address_claim_of_an_earlier_version_is_kept,
}

/// The claims of a sign-up whose process died after them.
struct Interrupted {
    user: UserId,
    username: ClaimHash,
    email: ClaimHash,
}

fn draft(event: Event, age: TimeDelta) -> Draft {
    let time = SystemClock.now() - age;
    Draft {
        id: EventId::new(time_ordered_id(time)),
        time,
        actor: None,
        correlation: Uuid::from_u128(rand::random()),
        causation: None,
        traceparent: None,
        event,
    }
}

async fn interrupt(chorus: &Chorus, name: &str, age: TimeDelta, has_address: bool) -> Interrupted {
    let log = chorus.log().await.unwrap();
    let user = UserId::new(Uuid::from_u128(rand::random()));
    let (username, email) = (log.keys().claim_hash(name), log.keys().claim_hash(&address(name)));
    log.append(draft(UsernameClaimed { username, user }.into(), age), Position::START).await.unwrap();
    if has_address {
        log.append(draft(EmailClaimed { email, user }.into(), age), Position::START).await.unwrap();
    }
    Interrupted { user, username, email }
}

fn address(name: &str) -> String {
    format!("{name}@example.org")
}

fn sign_up_body(name: &str) -> Value {
    json!({ "username": name, "email": address(name), "password": PASSWORD })
}

/// The last step of the sign-up, as a slow process would do it: it has seen no event of its account.
async fn late_last_step(
    chorus: &Chorus,
    name: &str,
    interrupted: &Interrupted,
) -> Result<Position, AppendError> {
    let Interrupted { user, username, email } = *interrupted;
    let person = NewPerson {
        username: name.to_owned(),
        email: address(name),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
        firstname: String::new(),
        lastname: String::new(),
    };
    let event = SignedUp { user, username, email, app: App::Chorus, person: Personal::Open(person) };
    chorus.log().await.unwrap().append(draft(event.into(), TimeDelta::zero()), Position::START).await
}

async fn abandoned_claims_are_released_after_ten_minutes(chorus: &Chorus) {
    let api = chorus.api();
    for has_address in [false, true] {
        let name = fresh("left");
        let abandoned = interrupt(chorus, &name, TimeDelta::minutes(11), has_address).await;
        let signed_up = api.post("/v1/accounts", &sign_up_body(&name)).await.expect(201).json();
        let token = signed_up["token"].as_str().unwrap();
        let me =
            api.send(api.request(reqwest::Method::GET, "/v1/me").bearer_auth(token)).await.expect(200).json();
        assert_eq!((&me["id"], &me["username"]), (&signed_up["user"], &json!(name)));
        assert_ne!(signed_up["user"], abandoned.user.to_string());

        // The account of the interrupted sign-up has the released claims, and its last step fails.
        let log = chorus.log().await.unwrap();
        let released = log.read(Subject::Account(abandoned.user), Position::START).await.unwrap();
        let released: Vec<Event> = released.into_iter().map(|recorded| recorded.event).collect();
        let of = |claim| Event::from(ClaimAbandoned { user: abandoned.user, claim });
        let all = if has_address {
            vec![of(abandoned.username), of(abandoned.email)]
        } else {
            vec![of(abandoned.username)]
        };
        assert_eq!(released, all);
        let late = late_last_step(chorus, &name, &abandoned).await;
        assert!(matches!(late, Err(AppendError::Conflict)), "{late:?}");

        // The name belongs to the new account.
        let login = json!({ "login": name, "password": PASSWORD });
        assert_eq!(api.post("/v1/sessions", &login).await.expect(201).json()["user"], signed_up["user"]);
        api.post("/v1/accounts", &sign_up_body(&name)).await.problem(409, "username-and-email-taken");
    }
}

async fn recent_claims_are_not_released(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("slow");
    let slow = interrupt(chorus, &name, TimeDelta::minutes(8), true).await;
    api.post("/v1/accounts", &sign_up_body(&name)).await.problem(409, "username-taken");
    let mut same_address = sign_up_body(&name);
    same_address["username"] = json!(fresh("other"));
    api.post("/v1/accounts", &same_address).await.problem(409, "email-taken");
    // The slow sign-up completes and keeps the name.
    late_last_step(chorus, &name, &slow).await.unwrap();
    chorus.settle().await.unwrap();
    let found = api.get(&format!("/v1/users/by-username/{name}")).await.expect(200).json();
    assert_eq!(found["id"], slow.user.to_string());
}

async fn exactly_one_of_concurrent_sign_ups_gets_an_abandoned_claim(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("many");
    let abandoned = interrupt(chorus, &name, TimeDelta::hours(1), true).await;
    let requests = (0..12).map(|_| {
        let (api, sign_up_body) = (api.clone(), sign_up_body(&name));
        async move { api.post("/v1/accounts", &sign_up_body).await.status.as_u16() }
    });
    let (statuses, late) =
        tokio::join!(futures::future::join_all(requests), late_last_step(chorus, &name, &abandoned));
    let won = statuses.iter().filter(|status| **status == 201).count() + usize::from(late.is_ok());
    assert_eq!(won, 1, "{statuses:?}, and the interrupted sign-up: {late:?}");
    assert!(statuses.iter().all(|status| [201, 409, 503].contains(status)), "{statuses:?}");
}

async fn internationalised_address_is_unique_across_its_forms(chorus: &Chorus) {
    let api = chorus.api();
    let (name, other) = (fresh("ann"), fresh("bob"));
    let forms = [
        format!("{name}@EXÄMPLE.org"),
        format!("{name}@xn--exmple-cua.org"),
        format!("{name}@exa\u{308}mple.org"),
    ];
    let sign_up = async |username: &str, email: &str| {
        api.post("/v1/accounts", &json!({ "username": username, "email": email, "password": PASSWORD })).await
    };
    let ann = sign_up(&name, &forms[0]).await.expect(201).json();
    for form in &forms {
        sign_up(&other, form).await.problem(409, "email-taken");
        let login = json!({ "login": form, "password": PASSWORD });
        assert_eq!(api.post("/v1/sessions", &login).await.expect(201).json()["user"], ann["user"], "{form}");
    }
    chorus.settle().await.unwrap();
    assert!(!chorus.mails_to(&forms[1]).await.unwrap().is_empty(), "the mail goes to the ASCII form");
    for bad in
        [".ann@b.org", "ann.@b.org", "ann..lee@b.org", "änn@b.org", &format!("ann@{}.org", "b".repeat(64))]
    {
        assert_eq!(sign_up(&other, bad).await.problem(422, "invalid"), ["email"], "{bad}");
        let bob = json!({ "email": bad, "current_password": PASSWORD });
        let token = ann["token"].as_str().unwrap();
        let change = api.request(reqwest::Method::POST, "/v1/me/email-change").bearer_auth(token).json(&bob);
        assert_eq!(api.send(change).await.problem(422, "invalid"), ["email"], "{bad}");
    }
}

async fn unicode_address_claim_of_an_earlier_version_is_kept(chorus: &Chorus) {
    let (api, log) = (chorus.api(), chorus.log().await.unwrap());
    let (name, user) = (fresh("old"), UserId::new(Uuid::from_u128(rand::random())));
    let address = format!("{name}@exämple.org");
    let (username, email) = (log.keys().claim_hash(&name), log.keys().claim_hash(&address));
    let person = NewPerson {
        username: name.clone(),
        email: address.clone(),
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0$aGFzaGhhc2hoYXNoaGFzaA".to_owned(),
        firstname: String::new(),
        lastname: String::new(),
    };
    let signed_up = SignedUp { user, username, email, app: App::Chorus, person: Personal::Open(person) };
    let events: [Event; 3] =
        [UsernameClaimed { username, user }.into(), EmailClaimed { email, user }.into(), signed_up.into()];
    for event in events {
        log.append(draft(event, TimeDelta::hours(1)), Position::START).await.unwrap();
    }
    let ascii = format!("{name}@xn--exmple-cua.org");
    for form in [&address, &ascii] {
        let sign_up_body = json!({ "username": fresh("other"), "email": form, "password": PASSWORD });
        api.post("/v1/accounts", &sign_up_body).await.problem(409, "email-taken");
    }
    // Both forms find the owner, who gets the mail.
    api.post("/v1/password-resets", &json!({ "email": ascii })).await.expect(202);
    let asked = log.read(Subject::Account(user), Position::START).await.unwrap();
    assert!(asked.len() == 2, "{asked:?}");
    chorus.settle().await.unwrap();
    assert!(!chorus.mails_to(&ascii).await.unwrap().is_empty());
}
