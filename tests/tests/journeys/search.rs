use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User, fresh};

crate::journeys! {
    users_are_found_by_name_prefixes,
    search_text_is_matched_literally,
    best_match_is_ranked_first,
    users_are_found_by_any_part_of_the_username,
    suspended_user_is_not_found_until_reinstated,
    discover_returns_random_distinct_users,
    suggestions_are_users_followed_by_ones_followings,
}

fn ids(found: &Value) -> Vec<String> {
    let people = found["items"].as_array().unwrap();
    people.iter().map(|person| person["id"].as_str().unwrap().to_owned()).collect()
}

async fn search(api: &Api, q: &str) -> Vec<String> {
    let request = api.request(Method::GET, "/v1/users").query(&[("q", q)]);
    ids(&api.send(request).await.expect(200).json())
}

async fn with_part(api: &Api, part: &str) -> Vec<String> {
    let request = api.request(Method::GET, "/v1/users/by-username").query(&[("part", part)]);
    let found = api.send(request).await.expect(200).json();
    assert_eq!(found["complete"], true);
    ids(&found)
}

async fn users_are_found_by_name_prefixes(chorus: &Chorus) {
    let api = chorus.api();
    let word = fresh("q");
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let name = |first: &str, last: &str| json!({ "firstname": first, "lastname": last });
    api.patch_as(&ann, "/v1/me/profile", &name(&format!("Él{word}"), "Lindström")).await.expect(200);
    api.patch_as(&bob, "/v1/me/profile", &name(&format!("el{word}"), "Berg")).await.expect(200);
    let search = async |q: &str| {
        let mut ids = search(&api, q).await;
        ids.sort();
        ids
    };
    let mut both = vec![ann.id.clone(), bob.id.clone()];
    both.sort();
    assert_eq!(search(&format!("EL{}", word.to_uppercase())).await, both);
    assert_eq!(search(&format!("él{word} lindstrom")).await, std::slice::from_ref(&ann.id));
    assert_eq!(search(&format!("el{word} b")).await, std::slice::from_ref(&bob.id));
    assert_eq!(search(&ann.username).await, std::slice::from_ref(&ann.id));
    // After a change only the new name is found.
    api.patch_as(&ann, "/v1/me/profile", &name("Zoe", "")).await.expect(200);
    assert_eq!(search(&format!("el{word}")).await, [bob.id]);
}

async fn search_text_is_matched_literally(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    for q in [
        "(",
        ".*",
        "%",
        "_",
        "$",
        "{\"$gt\":\"\"}",
        "a' OR '1'='1",
        "\\",
        "\u{0}",
        "[",
        &format!(".*{}", ann.username),
    ] {
        assert_eq!(search(&api, q).await, Vec::<String>::new(), "{q}");
    }
    for part in ["(", ".*", "%", "$", "{\"$gt\":\"\"}", "a' OR '1'='1", "\\", "\u{0}", "[", "^a", "\u{301}"] {
        assert_eq!(with_part(&api, part).await, Vec::<String>::new(), "{part}");
    }
    for (query, field) in
        [("", "q"), ("q=", "q"), ("q=a&q=b", "q"), ("q=a&limit=0", "limit"), ("q=a&x=1", "x")]
    {
        let answer = api.get(&format!("/v1/users?{query}")).await;
        assert_eq!(answer.problem(400, "malformed"), [field], "{query}");
    }
    let long = "x".repeat(101);
    assert_eq!(api.get(&format!("/v1/users?q={long}")).await.problem(400, "malformed"), ["q"]);
}

/// Signs up a user under this name.
async fn sign_up(api: &Api, username: &str, firstname: &str) -> User {
    let body = json!({
        "username": username, "email": format!("{username}@example.org"), "password": PASSWORD,
        "firstname": firstname, "lastname": "Lee",
    });
    let answer = api.post("/v1/accounts", &body).await.expect(201).json();
    let text = |field: &str| answer[field].as_str().unwrap().to_owned();
    User { id: text("user"), username: username.to_owned(), token: text("token") }
}

async fn best_match_is_ranked_first(chorus: &Chorus) {
    let api = chorus.api();
    let name = fresh("Q");
    let beginning = sign_up(&api, &format!("{name}.2"), "Ann").await;
    let word = sign_up(&api, &fresh("ann"), &name).await;
    let begun = sign_up(&api, &fresh("ann"), &format!("{name}ette")).await;
    let known = sign_up(&api, &fresh("ann"), &format!("{name}ina")).await;
    let very = sign_up(&api, &name, "Ann").await;
    api.follow(&very, &known).await.expect(200);
    let expected: Vec<String> = [&very, &beginning, &word, &known, &begun].map(|user| user.id.clone()).into();
    assert_eq!(search(&api, &name.to_lowercase()).await, expected);
    let request = api.request(Method::GET, "/v1/users").query(&[("q", name.as_str()), ("limit", "2")]);
    assert_eq!(ids(&api.send(request).await.expect(200).json()), expected[..2]);
    // Two words match all of them by name, none by username.
    let expected: Vec<String> = [&word, &very, &beginning, &known, &begun].map(|user| user.id.clone()).into();
    assert_eq!(search(&api, &format!("{name} lee")).await, expected);
    assert_eq!(search(&api, &format!("{name} leer")).await, Vec::<String>::new());
}

async fn users_are_found_by_any_part_of_the_username(chorus: &Chorus) {
    let api = chorus.api();
    let part = fresh("Xy");
    let mut expected = Vec::new();
    for username in [format!("a_{part}"), format!("b{part}.c"), format!("c{part}{part}"), part.to_uppercase()]
    {
        expected.push(sign_up(&api, &username, "Ann").await.id);
    }
    assert_eq!(with_part(&api, &part).await, expected, "each once, by username");
    assert_eq!(with_part(&api, &part[1..].to_uppercase()).await, expected);
    assert_eq!(with_part(&api, &format!("{part}.")).await, [expected[1].clone()]);
    assert_eq!(with_part(&api, &format!("_{part}")).await, [expected[0].clone()]);
    assert_eq!(with_part(&api, &part.replace('y', ".")).await, Vec::<String>::new(), "a dot is a dot");
    for (query, field) in [("", "part"), ("part=", "part"), ("part=a&part=b", "part"), ("part=a&x=1", "x")] {
        let answer = api.get(&format!("/v1/users/by-username?{query}")).await;
        assert_eq!(answer.problem(400, "malformed"), [field], "{query}");
    }
}

async fn suspended_user_is_not_found_until_reinstated(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let moderator = crate::follows::moderator(chorus).await;
    let found = async || (search(&api, &ann.username).await, with_part(&api, &ann.username[1..]).await);
    let there = (vec![ann.id.clone()], vec![ann.id.clone()]);
    assert_eq!(found().await, there);
    crate::follows::suspend(&api, &moderator, &ann).await;
    assert_eq!(found().await, (Vec::new(), Vec::new()));
    assert_eq!(search(&api, &bob.username).await, [bob.id]);
    api.delete_as(&moderator, &format!("/v1/users/{}/suspension", ann.id)).await.expect(200);
    assert_eq!(found().await, there);
}

async fn discover_returns_random_distinct_users(chorus: &Chorus) {
    let api = chorus.api();
    for _ in 0..6 {
        api.sign_up("drawn").await;
    }
    let mut drawn = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let found = ids(&api.get("/v1/users/discover?limit=5").await.expect(200).json());
        let different: std::collections::BTreeSet<_> = found.iter().cloned().collect();
        assert_eq!((found.len(), different.len()), (5, 5));
        drawn.extend(found);
    }
    assert!(drawn.len() > 5, "always the same");
    for (query, field) in [("limit=0", "limit"), ("limit=51", "limit"), ("limit=x", "limit"), ("x=1", "x")] {
        let answer = api.get(&format!("/v1/users/discover?{query}")).await;
        assert_eq!(answer.problem(400, "malformed"), [field], "{query}");
    }
}

async fn suggestions_are_users_followed_by_ones_followings(chorus: &Chorus) {
    let api = chorus.api();
    let me = api.sign_up("me").await;
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let (cat, dan, eve) = (api.sign_up("cat").await, api.sign_up("dan").await, api.sign_up("eve").await);
    let may_know = async || {
        let found = api.get_as(&me, "/v1/me/people-you-may-know").await.expect(200).json();
        let in_common = |person: &Value| person["friends_in_common"].as_u64().unwrap();
        let common: Vec<u64> = found["items"].as_array().unwrap().iter().map(in_common).collect();
        (ids(&found), common)
    };
    assert_eq!(may_know().await, (vec![], vec![]));
    for (who, whom) in [(&me, &ann), (&me, &bob), (&ann, &cat), (&bob, &cat), (&bob, &dan), (&cat, &eve)] {
        api.follow(who, whom).await.expect(200);
    }
    // Neither oneself nor users that one follows already.
    api.follow(&ann, &me).await.expect(200);
    api.follow(&ann, &bob).await.expect(200);
    assert_eq!(may_know().await, (vec![cat.id.clone(), dan.id.clone()], vec![2, 1]));
    let moderator = crate::follows::moderator(chorus).await;
    crate::follows::suspend(&api, &moderator, &cat).await;
    assert_eq!(may_know().await, (vec![dan.id.clone()], vec![1]));
    api.follow(&me, &dan).await.expect(200);
    assert_eq!(may_know().await, (vec![], vec![]));
    api.get("/v1/me/people-you-may-know").await.problem(401, "unauthenticated");
}
