use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Api, png};

crate::journeys! {
    post_is_published_edited_and_deleted,
    caption_history_is_readable,
    post_has_up_to_ten_images_in_order,
    other_users_cannot_change_a_post,
    user_posts_are_paginated_newest_first,
    newest_posts_pagination_is_stable_while_posts_arrive,
}

async fn post_is_published_edited_and_deleted(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let published = api.publish_form(&ann, Api::post_form("Dawn")).await.expect(201);
    let post = published.id();
    assert_eq!(published.header("location"), Some(format!("/v1/posts/{post}").as_str()));

    let page = api.post_page(&post).await;
    assert_eq!((&page["caption"], &page["edited"]), (&json!("Dawn"), &json!(false)));
    assert_eq!((&page["likes"], &page["comments"], &page["viewer"]), (&json!(0), &json!(0), &Value::Null));
    assert_eq!((&page["author"]["id"], &page["author"]["username"]), (&json!(ann.id), &json!(ann.username)));
    let image = &page["images"][0];
    assert_eq!((&image["width"], &image["height"]), (&json!(40), &json!(30)));
    // The image has one colour, so the AC components of the BlurHash are flat.
    let placeholder = image["blurhash"].as_str().unwrap();
    assert!(placeholder.starts_with('L') && placeholder.len() == 28, "{placeholder}");

    let path = format!("/v1/posts/{post}");
    api.patch_as(&ann, &path, &json!({ "caption": "Dusk" })).await.expect(200);
    let page = api.post_page(&post).await;
    assert_eq!((&page["caption"], &page["edited"]), (&json!("Dusk"), &json!(true)));
    assert_eq!(api.get_as(&ann, "/v1/me").await.json()["posts"], 1);

    api.delete_as(&ann, &path).await.expect(200);
    api.get(&path).await.problem(404, "not-found");
    assert_eq!(api.get_as(&ann, "/v1/me").await.json()["posts"], 0);
    assert_eq!(api.delete_as(&ann, &path).await.expect(200).json()["changed"], false);
    api.patch_as(&ann, &path, &json!({ "caption": "x" })).await.problem(404, "not-found");
    api.like(&ann, &post).await.problem(404, "not-found");
}

async fn caption_history_is_readable(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let (post, path) = {
        let post = api.publish(&ann, "Dawn").await;
        (post.clone(), format!("/v1/posts/{post}"))
    };
    for caption in ["Dusk", "Dusk", "Night"] {
        api.patch_as(&ann, &path, &json!({ "caption": caption })).await.expect(200);
    }
    let captions = api.all_pages(&format!("{path}/captions?limit=2")).await;
    let written: Vec<&str> = captions.iter().map(|caption| caption["caption"].as_str().unwrap()).collect();
    assert_eq!(written, ["Night", "Dusk", "Dawn"], "an unchanged caption is not an edit");
    assert!(captions.iter().all(|caption| caption["written_at"].is_string()), "{captions:?}");
    assert_eq!(api.post_page(&post).await["caption"], "Night");
    api.delete_as(&ann, &path).await.expect(200);
    api.get(&format!("{path}/captions")).await.problem(404, "not-found");
}

async fn post_has_up_to_ten_images_in_order(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let form = |count: u32| {
        (1..=count)
            .fold(Form::new(), |form, n| form.part("image", Part::bytes(png(10 * n, 10)).file_name("a.png")))
    };
    let with_words = form(10).text("alt", "one").text("alt", "two");
    let post = api.publish_form(&ann, Api::with_empty_file(with_words, "image")).await.expect(201).id();
    let page = api.post_page(&post).await;
    assert_eq!(page["caption"], Value::Null);
    let images = page["images"].as_array().unwrap();
    let widths: Vec<u64> = images.iter().map(|image| image["width"].as_u64().unwrap()).collect();
    assert_eq!(widths, (1..=10).map(|n| 10 * n).collect::<Vec<_>>());
    let alts: Vec<&str> = images.iter().map(|image| image["alt"].as_str().unwrap()).collect();
    assert_eq!(alts[..3], ["one", "two", ""]);
    assert_eq!(api.publish_form(&ann, form(11)).await.problem(400, "malformed"), ["image[10]"]);
    assert_eq!(
        api.publish_form(&ann, form(1).text("alt", "a").text("alt", "b")).await.problem(422, "invalid"),
        ["alt"]
    );
}

async fn other_users_cannot_change_a_post(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let path = format!("/v1/posts/{}", api.publish(&ann, "Dawn").await);
    api.patch_as(&bob, &path, &json!({ "caption": "mine" })).await.problem(403, "forbidden");
    api.delete_as(&bob, &path).await.problem(403, "forbidden");
    assert_eq!(api.get(&path).await.expect(200).json()["caption"], "Dawn");
}

async fn user_posts_are_paginated_newest_first(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    for n in 0..7 {
        api.publish(&ann, &n.to_string()).await;
    }
    let captions = |posts: &[Value]| posts.iter().map(|post| post["caption"].clone()).collect::<Vec<_>>();
    let expected: Vec<Value> = (0..7).rev().map(|n| json!(n.to_string())).collect();
    let path = format!("/v1/users/{}/posts", ann.id);
    for limit in [1, 3, 7, 100] {
        let posts = api.all_pages(&format!("{path}?limit={limit}")).await;
        assert_eq!(captions(&posts), expected, "pages of {limit}");
    }
    let first = api.get(&format!("{path}?limit=3")).await.expect(200).json();
    assert_eq!(first["items"].as_array().unwrap().len(), 3);
    // A cursor is valid for its list only.
    let cursor = first["next"].as_str().unwrap().split("cursor=").nth(1).unwrap().to_owned();
    assert_eq!(api.get(&format!("/v1/posts?cursor={cursor}")).await.problem(400, "malformed"), ["cursor"]);
}

async fn newest_posts_pagination_is_stable_while_posts_arrive(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let mut mine = Vec::new();
    for n in 0..6 {
        mine.insert(0, api.publish(&ann, &n.to_string()).await);
    }
    // Others publish as well; each of my posts must appear exactly once while more arrive between the pages.
    let mut seen = Vec::new();
    let mut next = Some("/v1/posts?limit=2".to_owned());
    while let Some(path) = next {
        let page = api.get(&path).await.expect(200).json();
        seen.extend(
            page["items"].as_array().unwrap().iter().map(|post| post["id"].as_str().unwrap().to_owned()),
        );
        if mine.iter().all(|post| seen.contains(post)) {
            break;
        }
        api.publish(&ann, "newer").await;
        next = page["next"].as_str().map(str::to_owned);
    }
    let of_mine: Vec<&String> = seen.iter().filter(|post| mine.contains(post)).collect();
    assert_eq!(of_mine, mine.iter().collect::<Vec<_>>());
    seen.sort();
    let all = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), all, "a post came twice");
}
