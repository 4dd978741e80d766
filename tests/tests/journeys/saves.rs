use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, PASSWORD, User};

crate::journeys! {
    posts_are_saved_moved_between_collections_and_unsaved,
    collections_are_created_renamed_and_deleted,
    saves_are_private_to_their_owner,
    hidden_posts_are_neither_listed_nor_counted,
    number_of_collections_is_limited,
}

const SAVED: &str = "/v1/me/saved";
const COLLECTIONS: &str = "/v1/me/collections";

async fn all_pages(api: &Api, user: &User, path: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut next = Some(format!("{path}?limit=2"));
    while let Some(path) = next {
        let page = api.get_as(user, &path).await.expect(200).json();
        items.extend(page["items"].as_array().unwrap().clone());
        next = page["next"].as_str().map(str::to_owned);
    }
    items
}

async fn posts(api: &Api, user: &User, path: &str) -> Vec<String> {
    let saved = all_pages(api, user, path).await;
    saved.iter().map(|saved| saved["post"]["id"].as_str().unwrap().to_owned()).collect()
}

async fn create_collection(api: &Api, user: &User, name: &str) -> String {
    api.post_as(user, COLLECTIONS, &json!({ "name": name })).await.expect(201).id()
}

/// Names and counts; asserts that each count equals the length of its list.
async fn collections(api: &Api, user: &User) -> Vec<(String, usize)> {
    let mut shown = Vec::new();
    for collection in all_pages(api, user, COLLECTIONS).await {
        let path = format!("{COLLECTIONS}/{}", collection["id"].as_str().unwrap());
        let listed = posts(api, user, &format!("{path}/posts")).await.len();
        assert_eq!(collection["posts"], listed, "{collection}");
        assert_eq!(api.get_as(user, &path).await.expect(200).json(), collection);
        shown.push((collection["name"].as_str().unwrap().to_owned(), listed));
    }
    shown
}

async fn posts_are_saved_moved_between_collections_and_unsaved(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(api.publish(&ann, &n.to_string()).await);
    }
    let save = async |post: &str| {
        let answer = api.put_as(&bob, &format!("/v1/posts/{post}/save")).await.expect(200).json();
        (answer["changed"].clone(), answer["pending"].clone())
    };
    for id in &ids {
        assert_eq!(save(id).await, (json!(true), json!(false)));
    }
    assert_eq!(save(&ids[2]).await, (json!(false), json!(false)));
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    assert_eq!(posts(&api, &bob, SAVED).await, newest_first);
    let saved = all_pages(&api, &bob, SAVED).await.remove(0);
    assert_eq!((&saved["post"]["caption"], &saved["collection"]), (&json!("4"), &Value::Null));

    let lakes = create_collection(&api, &bob, "Lakes").await;
    let hills = create_collection(&api, &bob, "Hills").await;
    let into = async |method: Method, collection: &str, post: &str| {
        let path = format!("{COLLECTIONS}/{collection}/posts/{post}");
        api.send(api.request(method, &path).bearer_auth(&bob.token)).await.expect(200).json()["changed"]
            .clone()
    };
    for id in &ids[..3] {
        assert_eq!(into(Method::PUT, &lakes, id).await, true);
    }
    assert_eq!(into(Method::PUT, &lakes, &ids[0]).await, false);
    assert_eq!(into(Method::PUT, &hills, &ids[0]).await, true, "moved");
    let in_collection = async |id: &str| posts(&api, &bob, &format!("{COLLECTIONS}/{id}/posts")).await;
    assert_eq!(in_collection(&lakes).await, [ids[2].clone(), ids[1].clone()]);
    assert_eq!(in_collection(&hills).await, [ids[0].clone()]);
    assert_eq!(collections(&api, &bob).await, [("Hills".to_owned(), 1), ("Lakes".to_owned(), 2)]);
    // Saving again does not move a post; removed from a collection, it stays saved.
    assert_eq!(save(&ids[1]).await.0, false);
    assert_eq!(into(Method::DELETE, &lakes, &ids[1]).await, true);
    assert_eq!(into(Method::DELETE, &lakes, &ids[1]).await, false);
    assert_eq!(in_collection(&lakes).await, [ids[2].clone()]);
    assert_eq!(posts(&api, &bob, SAVED).await.len(), 5);
    let unsave = async |post: &str| {
        let path = format!("/v1/posts/{post}/save");
        api.delete_as(&bob, &path).await.expect(200).json()["changed"].clone()
    };
    assert_eq!((unsave(&ids[2]).await, unsave(&ids[2]).await), (json!(true), json!(false)));
    assert_eq!((in_collection(&lakes).await.len(), posts(&api, &bob, SAVED).await.len()), (0, 4));
    // Saved directly into a collection.
    assert_eq!(into(Method::PUT, &lakes, &ids[2]).await, true);
    assert_eq!(posts(&api, &bob, SAVED).await[0], ids[2]);
}

async fn collections_are_created_renamed_and_deleted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    let lakes = create_collection(&api, &bob, " Lakes <b> 🌄 ").await;
    let path = format!("{COLLECTIONS}/{lakes}");
    api.put_as(&bob, &format!("{path}/posts/{post}")).await.expect(200);
    assert_eq!(collections(&api, &bob).await, [("Lakes <b> 🌄".to_owned(), 1)]);
    let rename = async |name: &str| api.patch_as(&bob, &path, &json!({ "name": name })).await;
    assert_eq!(rename("Water").await.expect(200).json()["changed"], true);
    assert_eq!(rename(" Water ").await.expect(200).json()["changed"], false);
    for bad in ["", " ", "two\nlines", "a\u{202e}b", &"x".repeat(101)] {
        assert_eq!(rename(bad).await.problem(422, "invalid"), ["name"], "{bad:?}");
        let answer = api.post_as(&bob, COLLECTIONS, &json!({ "name": bad })).await;
        assert_eq!(answer.problem(422, "invalid"), ["name"], "{bad:?}");
    }
    assert_eq!(collections(&api, &bob).await, [("Water".to_owned(), 1)]);
    // A replayed request creates no second collection.
    let again = async || {
        let request = api.request(Method::POST, COLLECTIONS).bearer_auth(&bob.token);
        api.send(request.header("Idempotency-Key", "k1").json(&json!({ "name": "Hills" }))).await.expect(201)
    };
    assert_eq!(again().await.id(), again().await.id());
    assert_eq!(collections(&api, &bob).await.len(), 2);
    let delete = async || api.delete_as(&bob, &path).await.expect(200).json()["changed"].clone();
    assert_eq!((delete().await, delete().await), (json!(true), json!(false)));
    api.get_as(&bob, &path).await.problem(404, "not-found");
    api.get_as(&bob, &format!("{path}/posts")).await.problem(404, "not-found");
    rename("Lakes").await.problem(404, "not-found");
    api.put_as(&bob, &format!("{path}/posts/{post}")).await.problem(404, "not-found");
    // Its posts stay saved.
    let saved = all_pages(&api, &bob, SAVED).await;
    assert_eq!(
        (saved.len(), &saved[0]["post"]["id"], &saved[0]["collection"]),
        (1, &json!(post), &Value::Null)
    );
}

async fn saves_are_private_to_their_owner(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&bob, "Dawn").await;
    let lakes = create_collection(&api, &ann, "Lakes").await;
    let path = format!("{COLLECTIONS}/{lakes}");
    api.put_as(&ann, &format!("{path}/posts/{post}")).await.expect(200);
    // Other users who know the id get the same response as for an unknown id.
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/posts")),
        (Method::DELETE, path.clone()),
        (Method::PUT, format!("{path}/posts/{post}")),
        (Method::DELETE, format!("{path}/posts/{post}")),
    ] {
        let answer = api.send(api.request(method.clone(), &path).bearer_auth(&bob.token)).await;
        let nowhere = path.replace(&lakes, &"0".repeat(32));
        let nothing = api.send(api.request(method.clone(), &nowhere).bearer_auth(&bob.token)).await;
        answer.problem(404, "not-found");
        assert_eq!(answer.json()["detail"], nothing.json()["detail"], "{method} {path}");
        api.send(api.request(method, &path)).await.problem(401, "unauthenticated");
    }
    api.patch_as(&bob, &path, &json!({ "name": "Mine" })).await.problem(404, "not-found");
    assert_eq!((posts(&api, &bob, SAVED).await.len(), collections(&api, &bob).await.len()), (0, 0));
    assert_eq!(collections(&api, &ann).await, [("Lakes".to_owned(), 1)]);
    // The author of the post is not notified.
    let notifications = api.get_as(&bob, "/v1/me/notifications").await.expect(200).json();
    assert_eq!(notifications["items"], json!([]));
    assert_eq!(api.post_page(&post).await["likes"], 0);
}

async fn hidden_posts_are_neither_listed_nor_counted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;
    let lakes = create_collection(&api, &bob, "Lakes").await;
    let mut ids = Vec::new();
    for author in [&ann, &cat, &ann, &cat, &ann, &cat] {
        let post = api.publish(author, "Dawn").await;
        api.put_as(&bob, &format!("{COLLECTIONS}/{lakes}/posts/{post}")).await.expect(200);
        ids.insert(0, post);
    }
    assert_eq!(posts(&api, &bob, SAVED).await, ids);
    api.delete_as(&cat, &format!("/v1/posts/{}", ids[0])).await.expect(200);
    assert_eq!(collections(&api, &bob).await, [("Lakes".to_owned(), 5)]);
    let suspension = format!("/v1/users/{}/suspension", ann.id);
    api.put_json_as(&moderator, &suspension, &json!({ "reason": "spam" })).await.expect(200);
    assert_eq!(collections(&api, &bob).await, [("Lakes".to_owned(), 2)]);
    let first = api.get_as(&bob, &format!("{SAVED}?limit=2")).await.expect(200).json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2, "a full page");
    api.put_as(&bob, &format!("/v1/posts/{}/save", ids[1])).await.problem(404, "not-found");
    let take_out =
        async |post: &str| api.delete_as(&bob, &format!("{COLLECTIONS}/{lakes}/posts/{post}")).await;
    for hidden in [&ids[0], &ids[1]] {
        take_out(hidden).await.problem(404, "not-found");
    }
    assert_eq!(collections(&api, &bob).await, [("Lakes".to_owned(), 2)]);
    assert_eq!(posts(&api, &bob, SAVED).await.len(), 2);
    api.delete_as(&moderator, &suspension).await.expect(200);
    assert_eq!(posts(&api, &bob, SAVED).await, ids[1..]);
    assert_eq!(collections(&api, &bob).await, [("Lakes".to_owned(), 5)]);
    api.put_as(&bob, &format!("/v1/posts/{}/save", "0".repeat(32))).await.problem(404, "not-found");
    // A deleted post can be unsaved.
    api.delete_as(&bob, &format!("/v1/posts/{}/save", ids[0])).await.expect(200);
}

async fn number_of_collections_is_limited(chorus: &Chorus) {
    const LIMIT: usize = 100;
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let mut made = Vec::new();
    for n in 0..LIMIT {
        made.push(create_collection(&api, &ann, &n.to_string()).await);
    }
    let one_more = json!({ "name": "one more" });
    api.post_as(&ann, COLLECTIONS, &one_more).await.problem(409, "too-many-collections");
    api.delete_as(&ann, &format!("{COLLECTIONS}/{}", made[50])).await.expect(200);
    api.post_as(&ann, COLLECTIONS, &one_more).await.expect(201);
    assert_eq!(all_pages(&api, &ann, COLLECTIONS).await.len(), LIMIT);
}
