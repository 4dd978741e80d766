use chrono::TimeDelta;
use events::{
    Draft, Event, EventId, Freshness, Personal, UsernameChanged, UsernameClaimed, UsernameReleased,
    time_ordered_id,
};
use serde_json::json;
use service::clock::{Clock, SystemClock};
use tests::chorus::Chorus;
use tests::client::{PASSWORD, fresh};
use uuid::Uuid;

crate::journeys! {
    new_user_reads_their_own_profile,
    username_and_email_are_unique,
    exactly_one_of_concurrent_sign_ups_gets_the_name,
    former_username_is_reserved_for_its_last_owner,
    former_username_is_released_after_30_days,
    reserved_usernames_are_refused,
}

async fn new_user_reads_their_own_profile(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    // New users read their own data without waiting.
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!(me["id"], ann.id);
    assert_eq!(me["username"], ann.username);
    assert_eq!(me["email"], format!("{}@example.org", ann.username));
    assert_eq!((&me["firstname"], &me["lastname"], &me["bio"]), (&json!("Ann"), &json!("Lee"), &json!("")));
    assert_eq!((&me["posts"], &me["followers"], &me["followings"]), (&json!(0), &json!(0), &json!(0)));
    // The email address is not public.
    let seen = api.get(&format!("/v1/users/{}", ann.id)).await.expect(200);
    assert!(!seen.text().contains("example.org"), "{}", seen.text());
    assert!(seen.text().contains(&ann.username));
}

async fn username_and_email_are_unique(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let other = fresh("other");
    let sign_up =
        |username: &str, email: &str| json!({ "username": username, "email": email, "password": PASSWORD });
    let shouted = ann.username.to_uppercase();
    for name in [&ann.username, &shouted] {
        api.post("/v1/accounts", &sign_up(name, &format!("{other}@example.org")))
            .await
            .problem(409, "username-taken");
    }
    let address = format!("{}@EXAMPLE.org", ann.username.to_uppercase());
    api.post("/v1/accounts", &sign_up(&other, &address)).await.problem(409, "email-taken");
    // A refused sign-up claims nothing.
    api.post("/v1/accounts", &sign_up(&other, &format!("{other}@example.org"))).await.expect(201);
}

async fn exactly_one_of_concurrent_sign_ups_gets_the_name(chorus: &Chorus) {
    let api = chorus.api();
    for same_address in [false, true] {
        let name = fresh("race");
        let requests = (0..24).map(|n| {
            let (username, email) = if same_address {
                (format!("{name}.{n}"), format!("{name}@example.org"))
            } else {
                (name.clone(), format!("{name}.{n}@example.org"))
            };
            let (api, body) =
                (api.clone(), json!({ "username": username, "email": email, "password": PASSWORD }));
            async move { api.post("/v1/accounts", &body).await }
        });
        let answers = futures::future::join_all(requests).await;
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(won, 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    }
}

async fn former_username_is_reserved_for_its_last_owner(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let rename = async |user, username: &str| {
        let request = api.request(reqwest::Method::PUT, "/v1/me/username").bearer_auth(user);
        api.send(request.json(&json!({ "username": username }))).await
    };
    rename(&ann.token, &bob.username).await.problem(409, "username-taken");
    let new = fresh("annie");
    rename(&ann.token, &new).await.expect(200);
    let by_name = async |name: &str| api.get(&format!("/v1/users/by-username/{name}")).await;
    assert_eq!(by_name(&new).await.expect(200).json()["id"], ann.id);
    by_name(&ann.username).await.problem(404, "not-found");
    // Only the new name can log in.
    let log_in =
        async |login: &str| api.post("/v1/sessions", &json!({ "login": login, "password": PASSWORD })).await;
    log_in(&ann.username).await.problem(401, "wrong-login");
    assert_eq!(log_in(&new).await.expect(201).json()["user"], ann.id);
    // The old name is reserved for Ann, who can take it back.
    rename(&bob.token, &ann.username).await.problem(409, "username-taken");
    let sign_up = json!({
        "username": ann.username, "email": format!("{new}@example.net"), "password": PASSWORD,
    });
    api.post("/v1/accounts", &sign_up).await.problem(409, "username-taken");
    rename(&ann.token, &ann.username).await.expect(200);
    assert_eq!(by_name(&ann.username).await.expect(200).json()["id"], ann.id);
    rename(&bob.token, &new).await.problem(409, "username-taken");
    rename(&ann.token, &new).await.expect(200);
    // Another spelling of one's own name is accepted.
    rename(&ann.token, &new.to_uppercase()).await.expect(200);
    assert_eq!(by_name(&new).await.expect(200).json()["username"], new.to_uppercase());
}

/// Appends the events of a username change of this age.
async fn change_username_earlier(chorus: &Chorus, user: &str, old: &str, new: &str, age: TimeDelta) {
    let log = chorus.log().await.unwrap();
    let user = user.parse().unwrap();
    let (old, username) = (log.keys().claim_hash(old), log.keys().claim_hash(new));
    let spelling = Personal::Open(new.to_owned());
    let events: [Event; 3] = [
        UsernameClaimed { username, user }.into(),
        UsernameChanged { user, username, spelling }.into(),
        UsernameReleased { username: old, user }.into(),
    ];
    for event in events {
        let subject = event.subject();
        let last = log.last(&[subject], Freshness::Latest).await.unwrap().pop().flatten();
        let time = SystemClock.now() - age;
        let draft = Draft {
            id: EventId::new(time_ordered_id(time)),
            time,
            actor: Some(user),
            correlation: Uuid::from_u128(rand::random()),
            causation: None,
            traceparent: None,
            event,
        };
        log.append(draft, last.map(|last| last.position).unwrap_or_default()).await.unwrap();
    }
}

async fn former_username_is_released_after_30_days(chorus: &Chorus) {
    let api = chorus.api();
    for (age, status) in [(TimeDelta::days(30) - TimeDelta::minutes(5), 409), (TimeDelta::days(30), 201)] {
        let ann = api.sign_up("ann").await;
        change_username_earlier(chorus, &ann.id, &ann.username, &fresh("annie"), age).await;
        let sign_up = json!({
            "username": ann.username, "email": format!("{}@example.net", ann.username), "password": PASSWORD,
        });
        api.post("/v1/accounts", &sign_up).await.expect(status);
    }
}

async fn reserved_usernames_are_refused(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    for name in ["admin", "Ad_Min", "s.u.p.p.o.r.t", "Chorus"] {
        let sign_up =
            json!({ "username": name, "email": format!("{}@example.org", fresh("a")), "password": PASSWORD });
        assert_eq!(api.post("/v1/accounts", &sign_up).await.problem(422, "invalid"), ["username"]);
        let renamed = api.put_json_as(&ann, "/v1/me/username", &json!({ "username": name })).await;
        assert_eq!(renamed.problem(422, "invalid"), ["username"]);
    }
}
