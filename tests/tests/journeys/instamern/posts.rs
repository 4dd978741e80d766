use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::Api;

use super::{App, fails, names, picture, says, text};

crate::journeys! {
    post_is_uploaded_and_shown,
    feed_is_ordered_newest_first,
    like_is_toggled,
    comment_is_added_and_deleted,
    only_the_owner_edits_and_deletes_a_post,
}

async fn post_is_uploaded_and_shown(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    let upload = async |form: Form| app.upload_as(&ann, "/posts/upload", form).await;
    let answer = upload(picture("post").text("caption", " Dawn <3 ")).await.expect(201).json();
    assert_eq!(names(&answer), ["data", "message", "status"]);
    assert_eq!(answer["message"], "Your post has been uploaded successfully.");
    let post = &answer["data"]["post"];
    assert_eq!(names(post), ["_id", "caption", "id", "likes", "photo", "postedAt", "postedBy"]);
    // Form fields are not sanitised.
    assert_eq!(
        (&post["caption"], &post["likes"], &post["postedBy"]),
        (&json!("Dawn <3"), &json!([]), &json!(ann.id))
    );
    let shown = app.api.get(&text(&post["photo"])).await.expect(200);
    assert_eq!(shown.header("content-type"), Some("image/jpeg"));
    assert_eq!(shown.header("cross-origin-resource-policy"), Some("cross-origin"));
    let shown = image::load_from_memory(&shown.body).unwrap();
    assert_eq!((shown.width(), shown.height()), (1080, 1350));

    let id = text(&post["_id"]);
    let page = app.post_page(&id).await;
    let mut expected = post.clone();
    expected["comments"] = json!([]);
    assert_eq!(page, expected);
    let at = text(&page["postedAt"]);
    assert!(at.len() == 24 && at.ends_with('Z') && at.as_bytes()[19] == b'.', "{at}");

    // An empty caption differs from no caption.
    let empty = upload(picture("post").text("caption", "")).await.expect(201).json();
    assert_eq!(empty["data"]["post"]["caption"], "");
    let none = upload(picture("post")).await.expect(201).json();
    assert!(!names(&none["data"]["post"]).contains(&"caption"));
    let of_profile = app.user(&ann.username).await["posts"].clone();
    let ids: Vec<&Value> = of_profile.as_array().unwrap().iter().map(|post| &post["id"]).collect();
    assert_eq!(ids, [&post["_id"], &empty["data"]["post"]["_id"], &none["data"]["post"]["_id"]]);
    assert_eq!(names(&of_profile[0]), ["_id", "caption", "id", "likes", "photo", "postedAt", "postedBy"]);

    fails(&upload(Form::new().text("caption", "x")).await, 403, "No post photo found to upload.");
    fails(&app.press(&ann, "/posts/upload").await, 403, "No post photo found to upload.");
    let long = picture("post").text("caption", "x".repeat(257));
    fails(&upload(long).await, 403, "The caption text must be 256 characters the most.");
    upload(picture("post").text("caption", "x".repeat(256))).await.expect(201);
    upload(picture("photo")).await.expect(400);
    for empty in ["post", "photo"] {
        upload(Api::with_empty_file(picture("post"), empty)).await.expect(201);
    }
    let no_picture = Part::bytes(b"hello".to_vec()).file_name("a.png");
    let refused = upload(Form::new().part("post", no_picture)).await.expect(422).json();
    assert_eq!(refused["status"], "fail");
    for id in ["x", "0".repeat(32).as_str(), "507f1f77bcf86cd799439011"] {
        fails(&app.get(&format!("/posts/{id}")).await, 404, "The post no longer active.");
    }
}

async fn feed_is_ordered_newest_first(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let mut own = Vec::new();
    for number in 0..3 {
        own.insert(0, app.publish(&ann, &number.to_string()).await);
    }
    app.press(&bob, &format!("/posts/like/{}", own[0])).await.expect(200);
    app.post_as(&bob, &format!("/posts/comments/{}", own[0]), &json!({ "comment": "Lovely!" }))
        .await
        .expect(201);
    let limited = async |limit: Value| {
        let request = app.request(Method::GET, "/posts").json(&json!({ "limit": limit }));
        app.send(request).await.expect(200).json()
    };
    let feed = limited(json!(100)).await;
    let posts = feed["data"]["posts"].as_array().unwrap().clone();
    assert_eq!(feed["results"], posts.len());
    let of_ann: Vec<&Value> = posts.iter().filter(|post| post["postedBy"] == ann.id).collect();
    assert_eq!(of_ann.iter().map(|post| text(&post["_id"])).collect::<Vec<_>>(), own);
    let first = of_ann[0];
    assert_eq!(names(first), ["_id", "caption", "comment", "like", "likes", "photo", "postedAt", "postedBy"]);
    assert_eq!(
        (&first["like"], &first["comment"], &first["likes"]),
        (&json!(1), &json!(1), &json!([bob.id]))
    );
    assert_eq!((&of_ann[1]["like"], &of_ann[1]["likes"]), (&json!(0), &json!([])));
    for _ in 0..14 {
        app.publish(&ann, "more").await;
    }
    // The default is 15, also for an invalid limit.
    for request in [
        app.request(Method::GET, "/posts"),
        app.request(Method::GET, "/posts?limit=3"),
        app.request(Method::GET, "/posts").header("content-type", "application/json"),
        app.request(Method::GET, "/posts").json(&json!({ "limit": "3" })),
        app.request(Method::GET, "/posts").json(&json!({ "limit": 0 })),
        app.request(Method::GET, "/posts").json(&json!({ "limit": -3 })),
    ] {
        assert_eq!(app.send(request).await.expect(200).json()["results"], 15);
    }
    assert_eq!(limited(json!(2)).await["results"], 2);
    assert!(limited(json!(1_000_000)).await["results"].as_u64().unwrap() <= 100);
}

async fn like_is_toggled(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let post = app.publish(&ann, "Dawn").await;
    let like = format!("/posts/like/{post}");
    for _ in 0..2 {
        says(&app.press(&bob, &like).await, 200, "Liked!");
        assert_eq!(app.post_page(&post).await["likes"], json!([bob.id]));
        says(&app.press(&bob, &like).await, 200, "Unliked.");
        assert_eq!(app.post_page(&post).await["likes"], json!([]));
    }
    says(&app.press(&bob, &like).await, 200, "Liked!");
    says(&app.press(&ann, &like).await, 200, "Liked!");
    assert_eq!(app.post_page(&post).await["likes"], json!([ann.id, bob.id]), "the newest first");
    for id in ["x", "0".repeat(32).as_str()] {
        fails(&app.press(&bob, &format!("/posts/like/{id}")).await, 404, "Not found posts to like.");
    }
    app.delete_as(&ann, &format!("/posts/delete/{post}"), &json!({})).await.expect(204);
    fails(&app.press(&bob, &like).await, 404, "Not found posts to like.");
}

async fn comment_is_added_and_deleted(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let post = app.publish(&ann, "Dawn").await;
    let path = format!("/posts/comments/{post}");
    let comment = async |text: &str| app.post_as(&bob, &path, &json!({ "comment": text })).await;
    says(&comment("Lovely! <3").await, 201, "Commented!");
    // The path of the public documentation.
    let documented = format!("/posts/comment/{post}");
    says(&app.post_as(&bob, &documented, &json!({ "comment": "Again" })).await, 201, "Commented!");
    let shown = |texts: &[&str]| -> Value {
        let comments =
            texts.iter().map(|text| json!({ "comment": text, "commentedBy": bob.id, "commentedPost": post }));
        comments.collect()
    };
    assert_eq!(app.post_page(&post).await["comments"], shown(&["Lovely! <3", "Again"]));
    for body in [json!({}), json!({ "comment": "" }), json!({ "comment": { "$gt": "" } })] {
        fails(&app.post_as(&bob, &path, &body).await, 403, "Comment cannot be blank.");
    }
    fails(&app.press(&bob, &path).await, 403, "Comment cannot be blank.");
    let missing = format!("/posts/comments/{}", "0".repeat(32));
    let any = json!({ "comment": "x" });
    fails(&app.post_as(&bob, &missing, &any).await, 404, "Not found any posts to comment.");

    let gone = "Not found any posts to delete.";
    // Only own comments can be deleted.
    fails(&app.delete_as(&ann, &path, &json!({})).await, 404, gone);
    app.delete_as(&bob, &path, &json!({})).await.expect(204);
    assert_eq!(app.post_page(&post).await["comments"], shown(&["Again"]));
    app.delete_as(&bob, &path, &json!({})).await.expect(204);
    fails(&app.delete_as(&bob, &path, &json!({})).await, 404, gone);
    fails(&app.delete_as(&bob, &missing, &json!({})).await, 404, gone);
    assert_eq!(app.post_page(&post).await["comments"], json!([]));
}

async fn only_the_owner_edits_and_deletes_a_post(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let post = app.publish(&ann, "Dawn").await;
    let path = format!("/posts/update/{post}");
    for (field, message) in [
        ("photo", "You cannot change the post photo."),
        ("postedBy", "You cannot change post owner."),
        ("postedAt", "You cannot change post's date."),
    ] {
        let body = json!({ field: "x", "caption": "Dusk" });
        fails(&app.post_as(&bob, &path, &body).await, 403, message);
    }
    let caption = json!({ "caption": "Dusk" });
    let nowhere = format!("/posts/update/{}", "0".repeat(32));
    fails(&app.post_as(&ann, &nowhere, &caption).await, 404, "Not faound post to update.");
    fails(&app.post_as(&bob, &path, &json!({})).await, 403, "You cannot update some else's post.");
    for body in [json!({}), json!({ "caption": "" })] {
        fails(&app.post_as(&ann, &path, &body).await, 403, "Please set a new caption for the post.");
    }
    let long = json!({ "caption": "x".repeat(257) });
    fails(&app.post_as(&ann, &path, &long).await, 403, "The caption text must be 256 characters the most.");
    for _ in 0..2 {
        let answer = app.post_as(&ann, &path, &caption).await.expect(200).json();
        let message = "Your post has been updated successfully.";
        assert_eq!(answer, json!({ "status": "success", "message": message, "data": null }));
    }
    assert_eq!(app.post_page(&post).await["caption"], "Dusk");

    let delete = format!("/posts/delete/{post}");
    fails(&app.delete_as(&bob, &delete, &json!({})).await, 403, "You cannot delete someone else's post.");
    assert!(app.delete_as(&ann, &delete, &json!({})).await.expect(204).body.is_empty());
    let missing = "Not found post to delete.";
    fails(&app.delete_as(&ann, &delete, &json!({})).await, 404, missing);
    fails(&app.delete_as(&ann, &format!("/posts/delete/{}", "0".repeat(32)), &json!({})).await, 404, missing);
    fails(&app.get(&format!("/posts/{post}")).await, 404, "The post no longer active.");
    assert_eq!(app.user(&ann.username).await["posts"], json!([]));
}
