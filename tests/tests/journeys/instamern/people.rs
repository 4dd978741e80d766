use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::fresh;

use super::{App, fails, names, newcomer, picture, says, text};

crate::journeys! {
    user_follows_and_unfollows,
    profile_update_changes_only_sent_fields,
    photo_is_cropped_to_a_square_and_removed,
    other_users_see_neither_email_nor_notifications,
    users_are_found_by_username,
    random_active_users_are_distinct,
}

async fn user_follows_and_unfollows(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let follow = format!("/users/follow/{}", ann.username);
    let unfollow = format!("/users/unfollow/{}", ann.username);
    for _ in 0..2 {
        says(&app.press(&bob, &follow).await, 200, &format!("Now, you are following {}", ann.username));
        assert_eq!(app.user(&ann.username).await["followers"], json!([bob.id]));
        assert_eq!(app.current(&bob).await["followings"], json!([ann.id]));
    }
    for _ in 0..2 {
        says(&app.press(&bob, &unfollow).await, 200, &format!("Now, you aren't following {}", ann.username));
        assert_eq!(app.user(&ann.username).await["followers"], json!([]));
        assert_eq!(app.current(&bob).await["followings"], json!([]));
    }
    fails(&app.press(&ann, &follow).await, 403, "You cannot follow yourself.");
    fails(&app.press(&ann, &unfollow).await, 403, "You cannot follow yourself.");
    for path in ["/users/follow/nobody", "/users/unfollow/nobody"] {
        fails(&app.press(&ann, path).await, 404, "User not found.");
    }
    fails(&app.press(&bob, &follow.to_uppercase()).await, 404, "User not found.");
}

async fn profile_update_changes_only_sent_fields(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    let update = async |body: Value| app.patch_as(&ann, "/users/update", &body).await;
    let done = "Your profile has been updated successfully.";
    let name = fresh("eve");
    let whole = json!({ "firstname": " Eve ", "lastname": "Ng", "username": name, "bio": "a < b" });
    says(&update(whole).await, 200, done);
    let user = app.user(&name).await;
    let shown = ["firstname", "lastname", "username", "bio"].map(|field| text(&user[field]));
    assert_eq!(shown, ["Eve", "Ng", &name, "a < b"]);
    assert_eq!(user["_id"], ann.id);
    // Fields that are not sent stay unchanged, and an empty update is valid.
    says(&update(json!({ "bio": "" })).await, 200, done);
    says(&update(json!({})).await, 200, done);
    says(
        &update(json!({ "color": "red", "$set": { "bio": "x" }, "active": false, "email": "" })).await,
        200,
        done,
    );
    let user = app.user(&name).await;
    assert_eq!(
        (&user["firstname"], &user["bio"], &user["active"]),
        (&json!("Eve"), &json!(""), &json!(true))
    );
    for (field, value) in [
        ("email", json!("a@b.org")),
        ("password", json!("another horse")),
        ("passwordConfirm", json!("another horse")),
        ("photo", json!("https://a.example/b.png")),
        ("active", json!(true)),
    ] {
        fails(&update(json!({ field: value })).await, 403, "You cannot update these fields.");
    }
    let both =
        "Firstname cannot be shorter than 2 characters. @username cannot be shorter than 3 characters.";
    fails(&update(json!({ "firstname": "E", "username": "e" })).await, 403, both);
    fails(&update(json!({ "username": bob.username })).await, 409, "This user already exists.");
    let reserved = "@username is reserved: choose another one.";
    fails(&update(json!({ "username": "Mod-erator" })).await, 403, reserved);
    fails(&app.post("/users/signup", &newcomer("instamern")).await, 403, reserved);
    assert_eq!(app.user(&name).await["firstname"], "Eve");
}

async fn photo_is_cropped_to_a_square_and_removed(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    let upload = async |form: Form| app.upload_as(&ann, "/users/upload", form).await;
    assert!(!names(&app.user(&ann.username).await).contains(&"photo"));
    let answer = upload(picture("photo")).await.expect(200).json();
    assert_eq!(answer["message"], "Profile photo has been updated successfully.");
    let first = text(&answer["data"]["url"]);
    assert_eq!(app.user(&ann.username).await["photo"], first);
    // An image element loads it cross-origin, without a token.
    let shown = app.api.get(&first).await.expect(200);
    assert_eq!(shown.header("content-type"), Some("image/png"));
    assert_eq!(shown.header("cross-origin-resource-policy"), Some("cross-origin"));
    let shown = image::load_from_memory(&shown.body).unwrap();
    assert_eq!((shown.width(), shown.height()), (320, 320));
    let second = text(&upload(picture("photo")).await.expect(200).json()["data"]["url"]);
    assert_ne!(first, second, "a new photo has a new address");

    fails(&upload(Form::new()).await, 403, "No photo found to upload.");
    fails(&app.press(&ann, "/users/upload").await, 403, "No photo found to upload.");
    upload(picture("post")).await.expect(400);
    let no_picture = Part::bytes(b"hello".to_vec()).file_name("a.png");
    upload(Form::new().part("photo", no_picture)).await.expect(422);
    let huge = Part::bytes(vec![0; 21 << 20]).file_name("a.png");
    let refused = upload(Form::new().part("photo", huge)).await.expect(413);
    assert_eq!(refused.json()["status"], "fail");
    assert_eq!(app.user(&ann.username).await["photo"], second);

    // The request has no content type.
    let remove =
        async || app.send(app.request(reqwest::Method::POST, "/users/remove").bearer_auth(&ann.token)).await;
    for message in [
        "Your profile picture has been removed successfully.",
        "No profile picture found. Nothing to delete.",
    ] {
        let answer = remove().await.expect(200).json();
        assert_eq!(answer, json!({ "status": "success", "message": message, "data": null }));
    }
    assert!(!names(&app.user(&ann.username).await).contains(&"photo"));
}

async fn other_users_see_neither_email_nor_notifications(chorus: &Chorus) {
    let app = App::of(chorus);
    let (ann, bob) = (app.sign_up("ann").await, app.sign_up("bob").await);
    app.press(&bob, &format!("/users/follow/{}", ann.username)).await.expect(200);
    let whole = [
        "_id",
        "active",
        "bio",
        "firstname",
        "followers",
        "followings",
        "id",
        "lastname",
        "notifications",
        "posts",
        "stories",
        "username",
    ];
    for path in [format!("/users/username/{}", ann.username), format!("/users/id/{}", ann.id)] {
        // The page sends this header also without a login.
        let request = app.request(reqwest::Method::GET, &path).header("authorization", "Bearer null");
        let user = app.send(request).await.expect(200).json()["data"]["user"].clone();
        assert_eq!(names(&user), whole);
        assert_eq!(user["notifications"], json!([]));
    }
    let found = app.get(&format!("/users/search/{}", ann.username)).await.expect(200).json();
    let listed = ["_id", "bio", "firstname", "id", "lastname", "notifications", "stories", "username"];
    assert_eq!(names(&found["data"]["users"][0]), listed);
    fails(&app.get("/users/username/nobody").await, 404, "User not found.");
    fails(
        &app.get(&format!("/users/username/{}", ann.username.to_uppercase())).await,
        404,
        "User not found.",
    );
    for id in ["x", "0".repeat(32).as_str(), "%00", "507f1f77bcf86cd799439011"] {
        fails(&app.get(&format!("/users/id/{id}")).await, 404, "User not found.");
    }
}

async fn random_active_users_are_distinct(chorus: &Chorus) {
    let app = App::of(chorus);
    for _ in 0..6 {
        let member = app.sign_up("ann").await;
        app.publish(&member, "Dawn").await;
    }
    let drawn = app.get("/users/").await.expect(200).json();
    assert_eq!(drawn["results"], 5);
    let mut ids: Vec<String> =
        drawn["data"]["users"].as_array().unwrap().iter().map(|user| text(&user["_id"])).collect();
    for user in drawn["data"]["users"].as_array().unwrap() {
        assert!(!names(user).contains(&"id") && !names(user).contains(&"email"), "{user}");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

async fn users_are_found_by_username(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("Ann").await;
    for part in [ann.username.clone(), ann.username.to_uppercase(), ann.username[..8].to_owned()] {
        let found = app.get(&format!("/users/search/{part}")).await.expect(200).json();
        assert_eq!((&found["status"], &found["results"]), (&json!("success"), &json!(1)), "{part}");
        assert_eq!(found["data"]["users"][0]["_id"], ann.id);
    }
}
