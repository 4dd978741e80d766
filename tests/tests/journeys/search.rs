use reqwest::Method;
use serde_json::json;
use tests::chorus::Chorus;
use tests::client::fresh;

crate::journeys! {
    people_are_found_by_the_beginnings_of_their_names,
    what_is_searched_for_is_text_and_nothing_else,
}

async fn people_are_found_by_the_beginnings_of_their_names(chorus: &Chorus) {
    let api = chorus.api();
    let word = fresh("q");
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let name = |first: &str, last: &str| json!({ "firstname": first, "lastname": last });
    api.patch_as(&ann, "/v1/me/profile", &name(&format!("Él{word}"), "Lindström")).await.expect(200);
    api.patch_as(&bob, "/v1/me/profile", &name(&format!("el{word}"), "Berg")).await.expect(200);
    let search = async |q: &str| {
        let request = api.request(Method::GET, "/v1/users").query(&[("q", q)]);
        let found = api.send(request).await.expect(200).json();
        let mut ids: Vec<String> =
            found["items"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let mut both = vec![ann.id.clone(), bob.id.clone()];
    both.sort();
    assert_eq!(search(&format!("EL{}", word.to_uppercase())).await, both);
    assert_eq!(search(&format!("él{word} lindstrom")).await, std::slice::from_ref(&ann.id));
    assert_eq!(search(&format!("el{word} b")).await, std::slice::from_ref(&bob.id));
    assert_eq!(search(&ann.username).await, std::slice::from_ref(&ann.id));
    // Who changes their name is found by the new one only.
    api.patch_as(&ann, "/v1/me/profile", &name("Zoe", "")).await.expect(200);
    assert_eq!(search(&format!("el{word}")).await, [bob.id]);
}

async fn what_is_searched_for_is_text_and_nothing_else(chorus: &Chorus) {
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
        let request = api.request(Method::GET, "/v1/users").query(&[("q", q)]);
        let found = api.send(request).await.expect(200).json();
        assert_eq!(found["items"], json!([]), "{q}");
    }
    for (query, field) in
        [("", "query"), ("q=", "q"), ("q=a&q=b", "q"), ("q=a&limit=0", "limit"), ("q=a&x=1", "x")]
    {
        let answer = api.get(&format!("/v1/users?{query}")).await;
        assert_eq!(answer.problem(400, "malformed"), [field], "{query}");
    }
    let long = "x".repeat(101);
    assert_eq!(api.get(&format!("/v1/users?q={long}")).await.problem(400, "malformed"), ["q"]);
}
