use reqwest::multipart::Form;
use serde_json::{Value, json};
use tests::chorus::Chorus;

use super::{App, Member, fails, names, picture, text};

crate::journeys! {
    story_is_uploaded_and_grouped_by_author,
}

/// The member's group on the page of all stories.
async fn group_of(app: &App, member: &Member) -> Option<Value> {
    let answer = app.get("/stories/").await.expect(200).json();
    let groups = answer["data"]["stories"].as_array().unwrap().clone();
    assert_eq!(answer["results"], groups.len());
    groups.into_iter().find(|group| group["_id"] == member.id)
}

async fn story_is_uploaded_and_grouped_by_author(chorus: &Chorus) {
    let app = App::of(chorus);
    let ann = app.sign_up("ann").await;
    let upload = async |form: Form| app.upload_as(&ann, "/stories/upload", form).await;
    assert_eq!(group_of(&app, &ann).await, None);
    let mut stories = Vec::new();
    for _ in 0..2 {
        let answer = upload(picture("story")).await.expect(201).json();
        assert_eq!(answer["message"], "Story has been uploaded.");
        let story = answer["data"]["story"].clone();
        assert_eq!(names(&story), ["_id", "photo", "storiedBy"]);
        assert_eq!(story["storiedBy"], ann.id);
        stories.push(story);
    }
    let shown = app.api.get(&text(&stories[0]["photo"])).await.expect(200);
    assert_eq!(shown.header("cross-origin-resource-policy"), Some("cross-origin"));
    assert_eq!(shown.header("content-type"), Some("image/jpeg"));
    // The app's story window has the size of the image.
    let shown = image::load_from_memory(&shown.body).unwrap();
    assert_eq!((shown.width(), shown.height()), (1080, 1920));
    let group = group_of(&app, &ann).await.unwrap();
    let grouped: Vec<Value> =
        stories.iter().map(|story| json!({ "photo": story["photo"], "storyId": story["_id"] })).collect();
    assert_eq!(group, json!({ "_id": ann.id, "stories": grouped }), "the oldest first");
    assert_eq!(app.user(&ann.username).await["stories"], json!(stories));
    assert_eq!(app.current(&ann).await["stories"], json!(stories));
    let found = app.get(&format!("/users/search/{}", ann.username)).await.expect(200).json();
    assert_eq!(found["data"]["users"][0]["stories"], json!(stories));

    fails(&upload(Form::new()).await, 403, "Couldn't any story to share.");
    fails(&app.press(&ann, "/stories/upload").await, 403, "Couldn't any story to share.");
    upload(picture("post")).await.expect(400);
}
