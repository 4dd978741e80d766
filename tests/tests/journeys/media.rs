use std::io::Cursor;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, PASSWORD, User, png};

crate::journeys! {
    parallel_uploads_of_one_account_leave_room_for_others,
    image_is_served_in_all_sizes_cross_origin,
    image_metadata_is_stripped,
    invalid_image_is_refused_and_stores_nothing,
    unknown_image_returns_404,
    images_of_deactivated_and_suspended_users_are_refused,
    images_of_deleted_content_are_refused_at_once,
}

async fn parallel_uploads_of_one_account_leave_room_for_others(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let pictures = || {
        let part = || Part::bytes(tests::client::png(600, 400)).file_name("a.png");
        Form::new().part("image", part()).part("image", part()).part("image", part())
    };
    // 36 pictures at once: more uploads than one account may have in progress.
    let flood = futures::future::join_all((0..12).map(|_| api.publish_form(&ann, pictures())));
    let other = async {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(api.publish_form(&bob, Api::post_form("beside")).await.status.as_u16());
        }
        statuses
    };
    let (flood, other) = futures::join!(flood, other);
    assert_eq!(other, [201, 201, 201]);
    for answer in &flood {
        if answer.status != 201 {
            answer.problem(429, "too-many-requests");
            assert!(answer.header("retry-after").is_some());
        }
    }
    assert!(flood.iter().filter(|answer| answer.status == 201).count() >= 8);
}

async fn published(api: &Api, user: &User, picture: Vec<u8>) -> Value {
    let form = Form::new().part("image", Part::bytes(picture).file_name("a.jpg"));
    let post = api.publish_form(user, form).await.expect(201).id();
    api.post_page(&post).await["images"][0].clone()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 90])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

async fn image_is_served_in_all_sizes_cross_origin(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let image = published(&api, &ann, jpeg(2400, 1200)).await;
    for (size, width, height) in
        [("large", 2048, 1024), ("feed", 1080, 540), ("cover", 1080, 1350), ("thumb", 320, 320)]
    {
        let url = image[size].as_str().unwrap();
        assert!(url.starts_with(chorus.url()), "{url}");
        let answer = api.get(url).await.expect(200);
        assert_eq!(answer.header("content-type"), Some("image/jpeg"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
        let picture = image::load_from_memory(&answer.body).unwrap();
        assert_eq!((picture.width(), picture.height()), (width, height), "{size}");

        let tag = answer.header("etag").unwrap();
        api.get_with(url, "if-none-match", tag).await.expect(304);
        let length = answer.body.len();
        for (range, status, bytes, header) in [
            ("bytes=0-9", 206, &answer.body[..10], format!("bytes 0-9/{length}")),
            (
                "bytes=-5",
                206,
                &answer.body[length - 5..],
                format!("bytes {}-{}/{length}", length - 5, length - 1),
            ),
            ("bytes=10-", 206, &answer.body[10..], format!("bytes 10-{}/{length}", length - 1)),
        ] {
            let part = api.get_with(url, "range", range).await.expect(status);
            assert_eq!((part.body.as_slice(), part.header("content-range")), (bytes, Some(header.as_str())));
        }
        let beyond = api.get_with(url, "range", &format!("bytes={length}-")).await;
        beyond.problem(416, "range-not-satisfiable");
        assert_eq!(beyond.header("content-range"), Some(format!("bytes */{length}").as_str()));
    }
}

async fn image_metadata_is_stripped(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let plain = jpeg(60, 40);
    // An EXIF block and a comment with text that must be stripped.
    let segment = |marker: u8, content: &[u8]| {
        let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
        [&[0xff, marker], length.as_slice(), content].concat()
    };
    let exif = segment(0xe1, b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0 48.8584N 2.2945E");
    let comment = segment(0xfe, b"taken at home by Ann");
    let sent = [&plain[..2], &exif, &comment, &plain[2..]].concat();
    let image = published(&api, &ann, sent).await;
    for size in ["large", "feed", "cover", "thumb"] {
        let kept = api.get(image[size].as_str().unwrap()).await.expect(200).body;
        for trace in [&b"48.8584"[..], b"taken at home", b"Exif"] {
            assert!(!kept.windows(trace.len()).any(|window| window == trace), "{size}");
        }
    }
}

async fn invalid_image_is_refused_and_stores_nothing(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let publish = async |content: Vec<u8>| {
        api.publish_form(&ann, Form::new().part("image", Part::bytes(content).file_name("a.jpg"))).await
    };
    assert_eq!(publish(b"hello".to_vec()).await.problem(422, "not-an-image"), ["image[0]"]);
    assert_eq!(publish(Vec::new()).await.problem(422, "not-an-image"), ["image[0]"]);
    let cut = jpeg(800, 600);
    assert_eq!(publish(cut[..200].to_vec()).await.problem(422, "not-an-image"), ["image[0]"]);
    assert_eq!(
        publish(b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()).await.problem(422, "not-an-image"),
        ["image[0]"]
    );
    assert_eq!(api.get_as(&ann, "/v1/me").await.expect(200).json()["posts"], 0);
}

async fn unknown_image_returns_404(chorus: &Chorus) {
    let api = chorus.api();
    let id = "0".repeat(32);
    for path in [
        format!("/media/images/{id}/large.jpg"),
        format!("/media/images/{id}/..%2f..%2f..%2fmaster.key"),
        "/media/images/..%2f..%2fmaster.key/x".to_owned(),
        "/media/images/%2e%2e/master.key".to_owned(),
        format!("/media/images/{id}/%00"),
        format!("/media/images/{id}"),
    ] {
        api.get(&path).await.problem(404, "not-found");
    }
}

/// URLs of an image of a post, of a story and of the profile of this user.
async fn images_of(api: &Api, user: &User) -> [String; 3] {
    let photo = api.request(Method::PUT, "/v1/me/photo").bearer_auth(&user.token).body(png(30, 30));
    api.send(photo).await.expect(200);
    let profile = api.get(&format!("/v1/users/{}", user.id)).await.expect(200).json();
    let story = api.publish_story(user).await;
    let story = api.get(&format!("/v1/users/{}/stories/{story}", user.id)).await.expect(200).json();
    let post = published(api, user, jpeg(60, 40)).await;
    let url = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no URL: {value}")).to_owned();
    [url(&post["feed"]), url(&story["image"]["story"]), url(&profile["photo"])]
}

/// The responses to a full and to a conditional request.
async fn ask_both(api: &Api, url: &str) -> [Answer; 2] {
    let tag = format!("\"{}\"", url.split_once("/media/").unwrap().1);
    [api.get(url).await, api.get_with(url, "if-none-match", &tag).await]
}

async fn are_shown(api: &Api, urls: &[String]) {
    for url in urls {
        let [whole, changed] = ask_both(api, url).await;
        whole.expect(200);
        changed.expect(304);
    }
}

async fn are_refused(api: &Api, urls: &[String]) {
    for url in urls {
        for answer in ask_both(api, url).await {
            answer.problem(404, "not-found");
        }
    }
}

async fn images_of_deactivated_and_suspended_users_are_refused(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let (hers, his) = (images_of(&api, &ann).await, images_of(&api, &bob).await);
    are_shown(&api, &hers).await;
    let deactivation = json!({ "current_password": PASSWORD });
    api.post_as(&ann, "/v1/me/deactivation", &deactivation).await.expect(200);
    are_refused(&api, &hers).await;
    are_shown(&api, &his).await;
    api.log_in(&ann, PASSWORD).await;
    are_shown(&api, &hers).await;

    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;
    let suspension = format!("/v1/users/{}/suspension", bob.id);
    api.put_json_as(&moderator, &suspension, &json!({ "reason": "spam" })).await.expect(200);
    are_refused(&api, &his).await;
    are_shown(&api, &hers).await;
    api.delete_as(&moderator, &suspension).await.expect(200);
    are_shown(&api, &his).await;
}

async fn images_of_deleted_content_are_refused_at_once(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let photo = images_of(&api, &ann).await[2].clone();
    let post = api.publish(&ann, "Dawn").await;
    let picture = api.post_page(&post).await["images"][0]["feed"].as_str().unwrap().to_owned();
    api.delete_as(&ann, &format!("/v1/posts/{post}")).await.expect(200);
    api.delete_as(&ann, "/v1/me/photo").await.expect(200);
    are_refused(&api, &[picture, photo]).await;
}
