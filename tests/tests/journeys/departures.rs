//! Going for a while, and coming back.

use serde_json::json;
use tests::chorus::Chorus;
use tests::client::PASSWORD;

crate::journeys! {
    whoever_goes_is_shown_nowhere_and_logged_out_until_they_log_in_again,
}

async fn whoever_goes_is_shown_nowhere_and_logged_out_until_they_log_in_again(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let elsewhere = api.log_in(&ann, PASSWORD).await;
    let post = api.publish(&ann, "Dawn").await;
    api.follow(&bob, &ann).await.expect(200);
    api.like(&bob, &post).await.expect(200);
    let in_feed = async || {
        let feed = api.get_as(&bob, "/v1/feed").await.expect(200).json();
        feed["items"].as_array().unwrap().iter().any(|item| item["id"] == json!(post))
    };
    let user = format!("/v1/users/{}", ann.id);
    assert!(in_feed().await);

    let go = async |password: &str| {
        api.post_as(&ann, "/v1/me/deactivation", &json!({ "current_password": password })).await
    };
    assert_eq!(go("not the password").await.problem(422, "invalid"), ["current_password"]);
    api.get(&user).await.expect(200);
    assert_eq!(go(PASSWORD).await.expect(200).json()["changed"], true);
    api.get(&user).await.problem(404, "not-found");
    api.get(&format!("/v1/posts/{post}")).await.problem(404, "not-found");
    // What cannot be seen cannot be done anything about, but what was done can be taken back.
    api.like(&bob, &post).await.problem(404, "not-found");
    let comment = json!({ "text": "Where are you?" });
    api.post_as(&bob, &format!("/v1/posts/{post}/comments"), &comment).await.problem(404, "not-found");
    api.put_as(&bob, &format!("/v1/posts/{post}/save")).await.problem(404, "not-found");
    api.delete_as(&bob, &format!("/v1/posts/{post}/like")).await.expect(200);
    assert!(!in_feed().await);
    for gone in [&ann, &elsewhere] {
        api.is_logged_out(gone).await;
    }
    go(PASSWORD).await.problem(401, "unauthenticated");

    let back = api.log_in(&ann, PASSWORD).await;
    api.get_as(&back, "/v1/me").await.expect(200);
    api.get(&user).await.expect(200);
    assert!(in_feed().await);
    let post = api.post_page(&post).await;
    assert_eq!((&post["likes"], &post["comments"]), (&json!(0), &json!(0)));
    api.is_logged_out(&elsewhere).await;
}
