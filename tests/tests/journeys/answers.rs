//! Commands answer what they made or changed, and a replay answers the same.

use reqwest::Method;
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, PASSWORD, User};
use tests::waiting;

crate::journeys! {
    a_created_resource_is_answered_as_a_query_answers_it,
    a_replay_answers_the_same_body,
    concurrent_copies_of_a_request_answer_the_same,
    a_change_is_answered_with_its_new_state,
}

async fn a_created_resource_is_answered_as_a_query_answers_it(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let photo = api.request(Method::PUT, "/v1/me/photo").bearer_auth(&ann.token);
    let photo = api.send(photo.body(tests::client::png(400, 400))).await.expect(200).json();
    let profile = json!({ "firstname": "Ann", "lastname": "Lee" });
    api.patch_as(&ann, "/v1/me/profile", &profile).await.expect(200);

    let form = Api::post_form("Dawn over the lake").text("alt", "A lake");
    let created = api.publish_form(&ann, form).await.expect(201).json();
    let read = api.get_as(&ann, &format!("/v1/posts/{}", created["id"].as_str().unwrap())).await;
    assert_eq!(created["post"], read.expect(200).json());
    assert_eq!(created["post"]["author"]["photo"], photo["photo"]);
    assert_eq!(created["post"]["images"][0]["alt"], "A lake");

    let comments = format!("/v1/posts/{}/comments", created["id"].as_str().unwrap());
    let commented = api.post_as(&ann, &comments, &json!({ "text": " Lovely " })).await.expect(201);
    let location = commented.header("location").unwrap().to_owned();
    let commented = commented.json();
    assert_eq!(commented["comment"], api.get(&location).await.expect(200).json());

    let story = api.publish_story_form(&ann, Api::story_form("A harbour")).await.expect(201);
    let location = story.header("location").unwrap().to_owned();
    let mut read = api.get_as(&ann, &location).await.expect(200).json();
    read.as_object_mut().unwrap().remove("author");
    assert_eq!(story.json()["story"], read);
}

async fn a_replay_answers_the_same_body(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let publish = async || {
        let request = api.request(Method::POST, "/v1/posts").bearer_auth(&ann.token);
        let request = request.header("Idempotency-Key", "one").multipart(Api::post_form("Dawn"));
        api.send(request).await.expect(201).json()
    };
    let first = publish().await;
    let post = first["id"].as_str().unwrap().to_owned();
    api.like(&bob, &post).await.expect(200);
    let again = publish().await;
    assert_eq!(again, first);

    let comment = async || {
        let request = api.request(Method::POST, &format!("/v1/posts/{post}/comments"));
        let request = request.bearer_auth(&bob.token).header("Idempotency-Key", "two");
        api.send(request.json(&json!({ "text": "Lovely" }))).await.expect(201).json()
    };
    let (first, again) = (comment().await, comment().await);
    assert_eq!(again, first);

    let follow = async || {
        let request = api.request(Method::PUT, &format!("/v1/users/{}/follow", ann.id));
        api.send(request.bearer_auth(&bob.token).header("Idempotency-Key", "three")).await.expect(200).json()
    };
    let first = follow().await;
    api.delete_as(&bob, &format!("/v1/users/{}/follow", ann.id)).await.expect(200);
    assert_eq!((&first["follows"], follow().await), (&json!(true), first.clone()));

    let log_in = async || {
        let request = api.request(Method::POST, "/v1/sessions").header("Idempotency-Key", "four");
        let login = json!({ "login": ann.username, "password": PASSWORD });
        api.send(request.json(&login)).await.expect(201).json()
    };
    let first = log_in().await;
    // Tokens say in which second they were made.
    let second = || SystemClock.now().timestamp();
    let before = second();
    waiting::until("the next second", async || second() > before).await;
    assert_eq!(log_in().await, first);
}

async fn concurrent_copies_of_a_request_answer_the_same(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let send = async |path: &str, form| {
        let request = api.request(Method::POST, path).bearer_auth(&ann.token);
        let request = request.header("Idempotency-Key", "at-once").multipart(form);
        api.send(request).await.expect(201).json()
    };
    let posts = futures::future::join_all((0..4).map(|_| send("/v1/posts", Api::post_form("Dawn")))).await;
    let stories = futures::future::join_all((0..4).map(|_| send("/v1/stories", Api::story_form("")))).await;
    let path = format!("/v1/posts/{}/comments", posts[0]["id"].as_str().unwrap());
    let comment = async || {
        let request = api.request(Method::POST, &path).bearer_auth(&ann.token);
        let request = request.header("Idempotency-Key", "at-once").json(&json!({ "text": "Lovely" }));
        api.send(request).await.expect(201).json()
    };
    let comments = futures::future::join_all((0..4).map(|_| comment())).await;
    assert!(comments.iter().all(|answer| answer["comment"] == comments[0]["comment"]), "{comments:?}");
    for (answers, made, image) in
        [(posts, "post", "/post/images/0/thumb"), (stories, "story", "/story/image/thumb")]
    {
        assert!(answers.iter().all(|answer| answer[made] == answers[0][made]), "{answers:?}");
        api.get(answers[0].pointer(image).unwrap().as_str().unwrap()).await.expect(200);
    }
}

async fn a_change_is_answered_with_its_new_state(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    let field = |answer: Answer, name: &str| answer.expect(200).json()[name].clone();
    let like = format!("/v1/posts/{post}/like");
    assert_eq!(field(api.put_as(&bob, &like).await, "liked"), true);
    assert_eq!(field(api.put_as(&bob, &like).await, "liked"), true);
    assert_eq!(field(api.delete_as(&bob, &like).await, "liked"), false);
    let save = format!("/v1/posts/{post}/save");
    assert_eq!(field(api.put_as(&bob, &save).await, "saved"), true);
    assert_eq!(field(api.delete_as(&bob, &save).await, "saved"), false);
    let follow = format!("/v1/users/{}/follow", ann.id);
    assert_eq!(field(api.put_as(&bob, &follow).await, "follows"), true);
    assert_eq!(field(api.delete_as(&bob, &follow).await, "follows"), false);

    let patch = async |user: &User, path: &str, body: Value| api.patch_as(user, path, &body).await;
    let caption = patch(&ann, &format!("/v1/posts/{post}"), json!({ "caption": " Dusk " })).await;
    assert_eq!(field(caption, "caption"), "Dusk");
    let profile = patch(&ann, "/v1/me/profile", json!({ "firstname": " Ann " })).await;
    assert_eq!(field(profile, "firstname"), "Ann");
    let name = tests::client::fresh("other");
    let renamed = api.put_json_as(&ann, "/v1/me/username", &json!({ "username": name })).await;
    assert_eq!(field(renamed, "username"), name);
    let made = api.post_as(&bob, "/v1/me/collections", &json!({ "name": "Lakes" })).await.expect(201).json();
    assert_eq!(made["name"], "Lakes");
    let path = format!("/v1/me/collections/{}", made["id"].as_str().unwrap());
    assert_eq!(field(patch(&bob, &path, json!({ "name": "Harbours" })).await, "name"), "Harbours");
}
