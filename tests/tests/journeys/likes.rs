use serde_json::json;
use tests::chorus::Chorus;

crate::journeys! {
    like_counts_once_and_sets_the_viewer_flag,
    concurrent_likes_are_counted_exactly,
    likes_are_removed_with_their_post,
}

async fn like_counts_once_and_sets_the_viewer_flag(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    let path = format!("/v1/posts/{post}");
    assert_eq!(api.like(&bob, &post).await.expect(200).json()["changed"], true);
    assert_eq!(api.like(&bob, &post).await.expect(200).json()["changed"], false);
    assert_eq!(api.post_page(&post).await["likes"], 1);
    let seen_by = async |user| api.get_as(user, &path).await.expect(200).json()["viewer"].clone();
    assert_eq!(
        (seen_by(&bob).await, seen_by(&ann).await),
        (json!({ "liked": true, "saved": false }), json!({ "liked": false, "saved": false }))
    );
    let in_list = api.get_as(&bob, &format!("/v1/users/{}/posts", ann.id)).await.expect(200).json();
    assert_eq!(in_list["items"][0]["viewer"]["liked"], true);

    api.like(&ann, &post).await.expect(200);
    let likers = api.all_pages(&format!("{path}/likes?limit=1")).await;
    assert_eq!(
        likers.iter().map(|person| person["id"].as_str().unwrap()).collect::<Vec<_>>(),
        [&ann.id, &bob.id]
    );

    let unlike =
        async || api.delete_as(&bob, &format!("{path}/like")).await.expect(200).json()["changed"].clone();
    assert_eq!((unlike().await, unlike().await), (json!(true), json!(false)));
    assert_eq!(api.post_page(&post).await["likes"], 1);
    api.like(&bob, &post).await.expect(200);
    assert_eq!(api.post_page(&post).await["likes"], 2);
}

async fn concurrent_likes_are_counted_exactly(chorus: &Chorus) {
    const PEOPLE: usize = 12;
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let post = api.publish(&ann, "Dawn").await;
    let people = futures::future::join_all((0..PEOPLE).map(|_| api.sign_up("fan"))).await;
    // Every user likes three times concurrently; each counts once.
    let likes = people.iter().flat_map(|user| std::iter::repeat_n(user, 3)).map(|user| api.like(user, &post));
    let answers = futures::future::join_all(likes).await;
    let changed = answers.iter().filter(|answer| answer.json()["changed"] == true).count();
    assert_eq!(changed, PEOPLE);
    assert_eq!(api.post_page(&post).await["likes"], PEOPLE);
    assert_eq!(api.all_pages(&format!("/v1/posts/{post}/likes?limit=5")).await.len(), PEOPLE);
}

async fn likes_are_removed_with_their_post(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    api.like(&bob, &post).await.expect(200);
    api.delete_as(&ann, &format!("/v1/posts/{post}")).await.expect(200);
    api.get(&format!("/v1/posts/{post}/likes")).await.problem(404, "not-found");
    // Unliking a deleted or unknown post is harmless.
    api.delete_as(&bob, &format!("/v1/posts/{post}/like")).await.expect(200);
    api.delete_as(&bob, &format!("/v1/posts/{}/like", "0".repeat(32))).await.expect(200);
}
