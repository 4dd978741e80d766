use serde_json::json;
use tests::chorus::Chorus;
use tests::client::{PASSWORD, fresh};

crate::journeys! {
    somebody_signs_up_and_sees_themselves,
    a_name_and_an_address_belong_to_one_account,
    of_many_who_want_one_name_at_once_exactly_one_gets_it,
    somebody_takes_another_name_and_the_old_one_is_free,
}

async fn somebody_signs_up_and_sees_themselves(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    // No waiting: who has signed up reads what they have written.
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!(me["id"], ann.id);
    assert_eq!(me["username"], ann.username);
    assert_eq!(me["email"], format!("{}@example.org", ann.username));
    assert_eq!((&me["firstname"], &me["lastname"], &me["bio"]), (&json!("Ann"), &json!("Lee"), &json!("")));
    assert_eq!((&me["posts"], &me["followers"], &me["followings"]), (&json!(0), &json!(0), &json!(0)));
    // The address is for nobody else.
    let seen = api.get(&format!("/v1/users/{}", ann.id)).await.expect(200);
    assert!(!seen.text().contains("example.org"), "{}", seen.text());
    assert!(seen.text().contains(&ann.username));
}

async fn a_name_and_an_address_belong_to_one_account(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let other = fresh("other");
    let wish =
        |username: &str, email: &str| json!({ "username": username, "email": email, "password": PASSWORD });
    let shouted = ann.username.to_uppercase();
    for name in [&ann.username, &shouted] {
        api.post("/v1/accounts", &wish(name, &format!("{other}@example.org")))
            .await
            .problem(409, "username-taken");
    }
    let address = format!("{}@EXAMPLE.org", ann.username.to_uppercase());
    api.post("/v1/accounts", &wish(&other, &address)).await.problem(409, "email-taken");
    // A sign-up that was refused leaves nothing claimed.
    api.post("/v1/accounts", &wish(&other, &format!("{other}@example.org"))).await.expect(201);
}

async fn of_many_who_want_one_name_at_once_exactly_one_gets_it(chorus: &Chorus) {
    let api = chorus.api();
    for same_address in [false, true] {
        let name = fresh("race");
        let wishes = (0..24).map(|n| {
            let (username, email) = if same_address {
                (format!("{name}.{n}"), format!("{name}@example.org"))
            } else {
                (name.clone(), format!("{name}.{n}@example.org"))
            };
            let (api, body) =
                (api.clone(), json!({ "username": username, "email": email, "password": PASSWORD }));
            async move { api.post("/v1/accounts", &body).await }
        });
        let answers = futures::future::join_all(wishes).await;
        let won = answers.iter().filter(|answer| answer.status == 201).count();
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        assert_eq!(won, 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    }
}

async fn somebody_takes_another_name_and_the_old_one_is_free(chorus: &Chorus) {
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
    // The old name logs in nobody, the new one does, and somebody else may have the old one.
    let log_in =
        async |login: &str| api.post("/v1/sessions", &json!({ "login": login, "password": PASSWORD })).await;
    log_in(&ann.username).await.problem(401, "unauthenticated");
    assert_eq!(log_in(&new).await.expect(201).json()["user"], ann.id);
    rename(&bob.token, &ann.username).await.expect(200);
    assert_eq!(by_name(&ann.username).await.expect(200).json()["id"], bob.id);
    // Another spelling of one's own name is no other name.
    rename(&ann.token, &new.to_uppercase()).await.expect(200);
    assert_eq!(by_name(&new).await.expect(200).json()["username"], new.to_uppercase());
}
