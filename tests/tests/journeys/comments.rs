use serde_json::{Value, json};
use tests::chorus::Chorus;

crate::journeys! {
    comments_and_replies_are_listed_under_their_post,
    only_author_and_post_owner_delete_a_comment,
    replies_survive_the_deletion_of_their_parent,
}

async fn comments_and_replies_are_listed_under_their_post(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    let path = format!("/v1/posts/{post}/comments");
    let first = api.comment(&bob, &post, " Where is this? ").await;
    let answer = json!({ "text": "<script>alert(1)</script> 🌄", "reply_to": first });
    let reply = api.post_as(&ann, &path, &answer).await.expect(201).id();
    api.comment(&bob, &post, "Thanks").await;

    let comments = api.all_pages(&format!("{path}?limit=2")).await;
    let shown = |comment: &Value| {
        (comment["text"].clone(), comment["author"]["id"].clone(), comment["reply_to"].clone())
    };
    let expected = [
        (json!("Where is this?"), json!(bob.id), Value::Null),
        // Unchanged: escaping markup is up to the frontend.
        (json!("<script>alert(1)</script> 🌄"), json!(ann.id), json!(first)),
        (json!("Thanks"), json!(bob.id), Value::Null),
    ];
    assert_eq!(comments.iter().map(shown).collect::<Vec<_>>(), expected);
    assert_eq!(api.post_page(&post).await["comments"], 3);

    let nested = json!({ "text": "no", "reply_to": reply });
    api.post_as(&bob, &path, &nested).await.problem(409, "nested-reply");
    let lost = json!({ "text": "no", "reply_to": "0".repeat(32) });
    api.post_as(&bob, &path, &lost).await.problem(404, "not-found");
    let nowhere = format!("/v1/posts/{}/comments", "0".repeat(32));
    api.post_as(&bob, &nowhere, &json!({ "text": "no" })).await.problem(404, "not-found");
}

async fn only_author_and_post_owner_delete_a_comment(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let post = api.publish(&ann, "Dawn").await;
    let of_comment = |comment: &str| format!("/v1/posts/{post}/comments/{comment}");
    let (one, two) = (api.comment(&bob, &post, "one").await, api.comment(&bob, &post, "two").await);
    api.delete_as(&cat, &of_comment(&one)).await.problem(403, "forbidden");
    api.delete_as(&bob, &of_comment(&one)).await.expect(200);
    api.delete_as(&ann, &of_comment(&two)).await.expect(200);
    assert_eq!(api.delete_as(&bob, &of_comment(&two)).await.expect(200).json()["changed"], false);
    api.delete_as(&bob, &of_comment(&"0".repeat(32))).await.problem(404, "not-found");
    assert_eq!(api.post_page(&post).await["comments"], 0);
    assert_eq!(api.all_pages(&format!("/v1/posts/{post}/comments")).await.len(), 0);
}

async fn replies_survive_the_deletion_of_their_parent(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    let path = format!("/v1/posts/{post}/comments");
    let (first, second) = (api.comment(&bob, &post, "first").await, api.comment(&bob, &post, "second").await);
    let reply = async |parent: &str, text: &str| {
        let said = json!({ "text": text, "reply_to": parent });
        api.post_as(&ann, &path, &said).await.expect(201).id()
    };
    for n in 0..5 {
        reply(&first, &n.to_string()).await;
        reply(&second, "other").await;
    }
    let texts = |comments: &[Value]| comments.iter().map(|one| one["text"].clone()).collect::<Vec<_>>();
    let replies = api.all_pages(&format!("{path}/{first}/replies?limit=2")).await;
    assert_eq!(texts(&replies), (0..5).map(|n| json!(n.to_string())).collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| reply["reply_to"] == json!(first)), "{replies:?}");

    let counted = async || {
        let listed = api.all_pages(&path).await;
        let first_two = listed.iter().filter(|comment| comment["reply_to"].is_null());
        first_two.map(|comment| comment["replies"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(counted().await, [5, 5]);
    let deleted_reply = replies[4]["id"].as_str().unwrap();
    api.delete_as(&ann, &format!("{path}/{deleted_reply}")).await.expect(200);
    assert_eq!(counted().await, [4, 5]);

    // Replies of others survive and stay readable.
    api.delete_as(&bob, &format!("{path}/{first}")).await.expect(200);
    assert_eq!(texts(&api.all_pages(&format!("{path}/{first}/replies")).await), ["0", "1", "2", "3"]);
    let listed = api.all_pages(&path).await;
    assert_eq!((listed.len(), &api.post_page(&post).await["comments"]), (10, &json!(10)));
    let late = json!({ "text": "late", "reply_to": first });
    api.post_as(&ann, &path, &late).await.problem(404, "not-found");
    // Without replies the deleted comment is gone.
    for reply in &replies[..4] {
        let reply = reply["id"].as_str().unwrap();
        api.delete_as(&ann, &format!("{path}/{reply}")).await.expect(200);
    }
    api.get(&format!("{path}/{first}/replies")).await.problem(404, "not-found");
    // The comment belongs to another post.
    let other = api.publish(&ann, "Dusk").await;
    api.get(&format!("/v1/posts/{other}/comments/{second}/replies")).await.problem(404, "not-found");
}
