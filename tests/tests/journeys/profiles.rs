use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::png;

crate::journeys! {
    profile_fields_are_edited_individually,
    photo_is_changed_and_removed,
    unknown_user_has_no_profile,
}

async fn profile_fields_are_edited_individually(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let bio = "Light & <b>water</b>\n🌄 \u{5e9}\u{5dc}\u{5d5}\u{5dd}";
    let receipt = api.patch_as(&ann, "/v1/me/profile", &json!({ "bio": bio })).await.expect(200).json();
    assert_eq!((&receipt["changed"], &receipt["pending"]), (&json!(true), &json!(false)));
    api.patch_as(&ann, "/v1/me/profile", &json!({ "firstname": "Änn", "lastname": "" })).await.expect(200);
    let profile = api.get(&format!("/v1/users/{}", ann.id)).await.expect(200).json();
    assert_eq!(
        (&profile["bio"], &profile["firstname"], &profile["lastname"]),
        (&json!(bio), &json!("Änn"), &json!(""))
    );
    // An identical edit changes nothing.
    let again = api.patch_as(&ann, "/v1/me/profile", &json!({ "firstname": "Änn" })).await.expect(200).json();
    assert_eq!(again["changed"], false);
}

async fn photo_is_changed_and_removed(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let change = async |picture: Vec<u8>| {
        let request = api.request(Method::PUT, "/v1/me/photo").bearer_auth(&ann.token);
        api.send(request.body(picture)).await
    };
    let photo = async || api.get_as(&ann, "/v1/me").await.expect(200).json()["photo"].clone();
    assert_eq!(photo().await, Value::Null);
    change(png(500, 300)).await.expect(200);
    let first = photo().await;
    let picture = api.get(first.as_str().unwrap()).await.expect(200);
    assert_eq!(picture.header("content-type"), Some("image/png"));
    let picture = image::load_from_memory(&picture.body).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 320));
    // A new photo has a new URL, since the content of a URL never changes.
    change(png(300, 300)).await.expect(200);
    assert_ne!(photo().await, first);
    change(b"not a picture".to_vec()).await.problem(422, "not-an-image");
    api.delete_as(&ann, "/v1/me/photo").await.expect(200);
    assert_eq!(photo().await, Value::Null);
    assert_eq!(api.delete_as(&ann, "/v1/me/photo").await.expect(200).json()["changed"], false);
}

async fn unknown_user_has_no_profile(chorus: &Chorus) {
    let api = chorus.api();
    let nobody = "0".repeat(32);
    api.get(&format!("/v1/users/{nobody}")).await.problem(404, "not-found");
    api.get("/v1/users/by-username/nobody.has.this").await.problem(404, "not-found");
    for path in ["posts", "followers", "followings"] {
        let page = api.get(&format!("/v1/users/{nobody}/{path}")).await.expect(200).json();
        assert_eq!(page, json!({ "items": [], "next": null, "next_cursor": null }));
    }
}
