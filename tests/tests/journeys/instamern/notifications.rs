use serde_json::{Value, json};
use tests::chorus::Chorus;

use super::{App, names};

crate::journeys! {
    follows_likes_and_comments_notify_once_oldest_first,
}

async fn follows_likes_and_comments_notify_once_oldest_first(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let post = app.publish(&ann, "Dawn").await;
    app.press(&bob, &format!("/users/follow/{}", ann.username)).await.expect(200);
    app.press(&bob, &format!("/posts/like/{post}")).await.expect(200);
    let comment = json!({ "comment": "Lovely!" });
    app.post_as(&bob, &format!("/posts/comments/{post}"), &comment).await.expect(201);
    // Own activity does not notify.
    app.press(&ann, &format!("/posts/like/{post}")).await.expect(200);
    app.post_as(&ann, &format!("/posts/comments/{post}"), &comment).await.expect(201);
    let listed = app.current(&ann).await["notifications"].as_array().unwrap().clone();
    let texts: Vec<&Value> = listed.iter().map(|one| &one["notification"]).collect();
    assert_eq!(texts, ["followed you.", "liked your photo.", "commented your photo."]);
    for one in &listed {
        assert_eq!(names(one), ["_id", "id", "new", "notification", "notifiedBy", "notifiedTo"]);
        assert_eq!((&one["notifiedBy"], &one["notifiedTo"]), (&json!(bob.id), &json!(ann.id)));
        assert_eq!((&one["new"], &one["_id"]), (&json!(true), &one["id"]));
    }
    assert_eq!(app.user(&ann.username).await["notifications"], json!([]), "for its owner only");
    assert_eq!(app.current(&bob).await["notifications"], json!([]));
    // A retracted like is removed.
    app.press(&bob, &format!("/posts/like/{post}")).await.expect(200);
    assert_eq!(app.current(&ann).await["notifications"].as_array().unwrap().len(), 2);
}
