use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};

crate::journeys! {
    home_feed_shows_own_and_followed_posts,
    feed_pagination_is_stable_while_posts_arrive,
    feed_is_the_same_below_and_above_the_fan_out_limit,
    posts_of_suspended_users_are_hidden_until_reinstated,
}

async fn feed(api: &Api, user: &User) -> Vec<String> {
    pages(api, user, "/v1/feed?limit=2").await
}

/// The ids of all posts of a list, as this user sees it.
async fn pages(api: &Api, user: &User, path: &str) -> Vec<String> {
    let (mut ids, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = api.get_as(user, &path).await.expect(200).json();
        ids.extend(ids_of(&page));
        next = page["next"].as_str().map(str::to_owned);
    }
    ids
}

fn ids_of(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|post| post["id"].as_str().unwrap().to_owned()).collect()
}

async fn home_feed_shows_own_and_followed_posts(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    assert_eq!(feed(&api, &ann).await, Vec::<String>::new());
    let before = api.publish(&bob, "before").await;
    let own = api.publish(&ann, "own").await;
    api.publish(&cat, "of nobody I follow").await;
    assert_eq!(feed(&api, &ann).await, [&own].map(String::clone));

    api.follow(&ann, &bob).await.expect(200);
    let after = api.publish(&bob, "after").await;
    assert_eq!(feed(&api, &ann).await, [&after, &own, &before].map(String::clone));
    api.like(&ann, &after).await.expect(200);
    let page = api.get_as(&ann, "/v1/feed").await.expect(200).json();
    assert_eq!((&page["items"][0]["caption"], &page["items"][0]["likes"]), (&json!("after"), &json!(1)));
    assert_eq!(page["items"][0]["viewer"], json!({ "liked": true, "saved": false }));
    assert_eq!(page["items"][0]["author"]["id"], json!(bob.id));

    api.delete_as(&bob, &format!("/v1/posts/{before}")).await.expect(200);
    assert_eq!(feed(&api, &ann).await, [&after, &own].map(String::clone));
    api.delete_as(&ann, &format!("/v1/users/{}/follow", bob.id)).await.expect(200);
    assert_eq!(feed(&api, &ann).await, [&own].map(String::clone));
    api.send(api.request(Method::GET, "/v1/feed")).await.problem(401, "unauthenticated");
}

async fn feed_pagination_is_stable_while_posts_arrive(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    api.follow(&ann, &bob).await.expect(200);
    let mut expected = Vec::new();
    for n in 0..5 {
        let author = if n % 2 == 0 { &bob } else { &ann };
        expected.insert(0, api.publish(author, &n.to_string()).await);
    }
    let (mut seen, mut next) = (Vec::new(), Some("/v1/feed?limit=2".to_owned()));
    while let Some(path) = next {
        let page = api.get_as(&ann, &path).await.expect(200).json();
        seen.extend(ids_of(&page));
        api.publish(&bob, "newer").await;
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, expected);
    // A cursor is valid for its list only.
    let page = api.get_as(&ann, "/v1/feed?limit=2").await.expect(200).json();
    let cursor = page["next"].as_str().unwrap().split("cursor=").nth(1).unwrap().to_owned();
    assert_eq!(api.get(&format!("/v1/posts?cursor={cursor}")).await.problem(400, "malformed"), ["cursor"]);
}

/// The deployment fans out to at most three followers.
async fn feed_is_the_same_below_and_above_the_fan_out_limit(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, star) = (api.sign_up("ann").await, api.sign_up("star").await);
    api.follow(&ann, &star).await.expect(200);
    let mut expected = vec![api.publish(&star, "few").await];
    let mut fans = Vec::new();
    for _ in 0..4 {
        let fan = api.sign_up("fan").await;
        api.follow(&fan, &star).await.expect(200);
        expected.insert(0, api.publish(&star, "more").await);
        assert_eq!(feed(&api, &ann).await, expected);
        assert_eq!(feed(&api, &fan).await, expected);
        fans.push(fan);
    }
    while let Some(fan) = fans.pop() {
        api.delete_as(&fan, &format!("/v1/users/{}/follow", star.id)).await.expect(200);
        expected.insert(0, api.publish(&star, "fewer").await);
        assert_eq!(feed(&api, &ann).await, expected);
        assert_eq!(feed(&api, &fan).await, Vec::<String>::new());
    }
}

async fn posts_of_suspended_users_are_hidden_until_reinstated(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;
    api.follow(&ann, &bob).await.expect(200);
    let own = [api.publish(&ann, "1").await, api.publish(&ann, "2").await];
    let posts = [api.publish(&bob, "3").await, api.publish(&bob, "4").await];
    let post = format!("/v1/posts/{}", posts[0]);
    let of_bob = format!("/v1/users/{}/posts", bob.id);
    assert_eq!(feed(&api, &ann).await, [&posts[1], &posts[0], &own[1], &own[0]].map(String::clone));

    let suspension = format!("/v1/users/{}/suspension", bob.id);
    api.put_json_as(&moderator, &suspension, &json!({ "reason": "spam" })).await.expect(200);
    for path in [post.clone(), format!("{post}/likes"), format!("{post}/comments")] {
        api.get(&path).await.problem(404, "not-found");
    }
    assert_eq!(pages(&api, &ann, &of_bob).await, Vec::<String>::new());
    // The page is still full, and is the last one.
    let page = api.get_as(&ann, "/v1/feed?limit=2").await.expect(200).json();
    assert_eq!((ids_of(&page), &page["next"]), (vec![own[1].clone(), own[0].clone()], &Value::Null));
    let newest = api.get("/v1/posts?limit=100").await.expect(200).json();
    assert!(ids_of(&newest).iter().all(|id| !posts.contains(id)));

    api.delete_as(&moderator, &suspension).await.expect(200);
    assert_eq!(feed(&api, &ann).await, [&posts[1], &posts[0], &own[1], &own[0]].map(String::clone));
    assert_eq!(pages(&api, &ann, &of_bob).await, [&posts[1], &posts[0]].map(String::clone));
    for path in [post.clone(), format!("{post}/likes"), format!("{post}/comments")] {
        api.get(&path).await.expect(200);
    }
}
