//! Data that frontends show without a request per row: viewer flags, counts, texts, image sources.

use serde_json::{Value, json};
use tests::chorus::Chorus;

crate::journeys! {
    post_has_like_and_save_flags_of_the_viewer,
    listed_users_have_follow_flags,
    comments_are_read_singly_and_by_level,
    comment_notification_has_the_text_and_follow_flags,
    page_has_the_cursor_of_the_next_page,
    image_sources_have_their_sizes,
}

async fn post_has_like_and_save_flags_of_the_viewer(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let (liked, saved) = (api.publish(&ann, "Dawn").await, api.publish(&ann, "Dusk").await);
    api.like(&bob, &liked).await.expect(200);
    api.put_as(&bob, &format!("/v1/posts/{saved}/save")).await.expect(200);
    for (post, viewer) in [
        (&liked, json!({ "liked": true, "saved": false })),
        (&saved, json!({ "liked": false, "saved": true })),
    ] {
        assert_eq!(api.get_as(&bob, &format!("/v1/posts/{post}")).await.expect(200).json()["viewer"], viewer);
        assert_eq!(api.post_page(post).await["viewer"], Value::Null);
    }
    let list = api.get_as(&bob, &format!("/v1/users/{}/posts", ann.id)).await.expect(200).json();
    let flags: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|post| &post["viewer"]).collect();
    assert_eq!(flags, [&json!({ "liked": false, "saved": true }), &json!({ "liked": true, "saved": false })]);
}

async fn listed_users_have_follow_flags(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cleo) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cleo").await);
    api.follow(&ann, &bob).await.expect(200);
    api.follow(&cleo, &ann).await.expect(200);
    api.follow(&bob, &cleo).await.expect(200);
    let post = api.publish(&ann, "Dawn").await;
    api.like(&bob, &post).await.expect(200);
    let lists = [
        (format!("/v1/users/{}/followings", ann.id), &bob.id, (true, false)),
        (format!("/v1/users/{}/followers", ann.id), &cleo.id, (false, true)),
        (format!("/v1/posts/{post}/likes"), &bob.id, (true, false)),
        (format!("/v1/users?q={}", cleo.username), &cleo.id, (false, true)),
        (format!("/v1/users/by-username?part={}", cleo.username), &cleo.id, (false, true)),
        ("/v1/me/people-you-may-know".to_owned(), &cleo.id, (false, true)),
    ];
    for (path, person, (follows, followed_by)) in lists {
        let items = api.get_as(&ann, &path).await.expect(200).json()["items"].clone();
        let listed = items.as_array().unwrap().iter().find(|item| item["id"] == **person);
        let viewer = &listed.unwrap_or_else(|| panic!("{path}: {items}"))["viewer"];
        assert_eq!(
            *viewer,
            json!({ "follows": follows, "requested": false, "followed_by": followed_by }),
            "{path}"
        );
        if path != "/v1/me/people-you-may-know" {
            let items = api.get(&path).await.expect(200).json()["items"].clone();
            assert!(items.as_array().unwrap().iter().all(|item| item["viewer"].is_null()), "{path}: {items}");
        }
    }
}

async fn comments_are_read_singly_and_by_level(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let (post, other) = (api.publish(&ann, "Dawn").await, api.publish(&ann, "Dusk").await);
    let first = api.comment(&bob, &post, "Lovely").await;
    let reply = json!({ "text": "Thank you", "reply_to": first });
    let comments = format!("/v1/posts/{post}/comments");
    let reply = api.post_as(&ann, &comments, &reply).await.expect(201).id();
    let second = api.comment(&bob, &post, "So early").await;

    let ids = async |path: &str| {
        let items = api.all_pages(path).await;
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&format!("{comments}?limit=2")).await, [first.clone(), reply.clone(), second.clone()]);
    assert_eq!(ids(&format!("{comments}?level=top&limit=1")).await, [first.clone(), second]);
    assert_eq!(api.get(&format!("{comments}?level=some")).await.problem(400, "malformed"), ["level"]);

    let one = api.get(&format!("{comments}/{first}")).await.expect(200).json();
    assert_eq!((&one["text"], &one["replies"]), (&json!("Lovely"), &json!(1)));
    let one = api.get(&format!("{comments}/{reply}")).await.expect(200).json();
    assert_eq!(one["reply_to"], json!(first));
    api.get(&format!("/v1/posts/{other}/comments/{first}")).await.problem(404, "not-found");
    api.get(&format!("{comments}/{}", "0".repeat(32))).await.problem(404, "not-found");
    api.delete_as(&bob, &format!("{comments}/{first}")).await.expect(200);
    api.get(&format!("{comments}/{first}")).await.problem(404, "not-found");
}

async fn comment_notification_has_the_text_and_follow_flags(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let post = api.publish(&ann, "Dawn").await;
    api.follow(&ann, &bob).await.expect(200);
    api.like(&bob, &post).await.expect(200);
    api.comment(&bob, &post, "Lovely").await;
    let items = api.get_as(&ann, "/v1/me/notifications").await.expect(200).json()["items"].clone();
    let texts: Vec<(&Value, &Value)> =
        items.as_array().unwrap().iter().map(|item| (&item["kind"], &item["text"])).collect();
    assert_eq!(texts, [(&json!("comment"), &json!("Lovely")), (&json!("like"), &Value::Null)]);
    let viewer = json!({ "follows": true, "requested": false, "followed_by": false });
    assert_eq!((&items[0]["people"][0]["id"], &items[0]["people"][0]["viewer"]), (&json!(bob.id), &viewer));
}

async fn page_has_the_cursor_of_the_next_page(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let (older, newer) = (api.publish(&ann, "Dawn").await, api.publish(&ann, "Dusk").await);
    let path = format!("/v1/users/{}/posts?limit=1", ann.id);
    let first = api.get(&path).await.expect(200).json();
    assert_eq!(first["items"][0]["id"], json!(newer));
    let cursor = first["next_cursor"].as_str().unwrap();
    assert!(first["next"].as_str().unwrap().ends_with(&format!("cursor={cursor}")), "{first}");
    let last = api.get(&format!("{path}&cursor={cursor}")).await.expect(200).json();
    assert_eq!((&last["items"][0]["id"], &last["next_cursor"]), (&json!(older), &Value::Null));
}

async fn image_sources_have_their_sizes(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let form = reqwest::multipart::Form::new()
        .part("image", reqwest::multipart::Part::bytes(tests::client::png(3000, 1000)).file_name("wide.png"));
    let post = api.publish_form(&ann, form).await.expect(201).id();
    let sources = api.post_page(&post).await["images"][0]["sources"].clone();
    let sizes: Vec<(u64, u64)> = sources
        .as_array()
        .unwrap()
        .iter()
        .map(|source| (source["width"].as_u64().unwrap(), source["height"].as_u64().unwrap()))
        .collect();
    assert_eq!(sizes, [(2048, 683), (1080, 360)]);
    // A small picture has one width.
    let small = api.publish(&ann, "Dusk").await;
    assert_eq!(api.post_page(&small).await["images"][0]["sources"].as_array().unwrap().len(), 1);
    for (source, (width, height)) in sources.as_array().unwrap().iter().zip(sizes) {
        let picture = api.get(source["url"].as_str().unwrap()).await.expect(200);
        let picture = image::load_from_memory(&picture.body).unwrap();
        assert_eq!((u64::from(picture.width()), u64::from(picture.height())), (width, height));
    }
}
