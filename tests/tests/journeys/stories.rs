use std::io::Cursor;

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    Draft, Event, EventId, FollowAccepted, FollowRequested, Image, MediaId, Personal, Position,
    PrivacyChanged, SocialEvent, StoryEvent, StoryId, StoryPublished, StoryText, StoryViewed, Subject,
    time_ordered_id,
};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, PASSWORD, User, png};
use uuid::Uuid;
use views::ViewStoreExt;

crate::journeys! {
    story_is_published_viewed_and_deleted,
    story_image_is_resized_and_stripped_of_metadata,
    invalid_story_names_the_field_and_changes_nothing,
    repeated_request_publishes_one_story,
    unviewed_story_groups_come_first,
    viewers_are_counted_once_and_visible_to_the_author_only,
    story_expires_after_24_hours,
    view_of_an_ended_story_is_not_shown,
    private_stories_are_shown_to_accepted_followers_only,
    stories_of_suspended_users_are_hidden_until_reinstated,
    stories_are_paginated,
}

fn form(picture: Vec<u8>) -> Form {
    Form::new().part("image", Part::bytes(picture).file_name("a.png"))
}

fn path(author: &User, story: &str) -> String {
    format!("/v1/users/{}/stories/{story}", author.id)
}

async fn view(api: &Api, viewer: &User, author: &User, story: &str) -> Answer {
    api.put_as(viewer, &format!("{}/view", path(author, story))).await
}

/// Each group's author, whether all stories are viewed, and the stories.
async fn groups(api: &Api, viewer: &User) -> Vec<(Value, Value, Vec<Value>)> {
    let groups = api.get_as(viewer, "/v1/stories").await.expect(200).json();
    let group = |group: &Value| {
        let stories = group["stories"].as_array().unwrap().iter().map(|story| story["id"].clone()).collect();
        (group["author"]["id"].clone(), group["viewed"].clone(), stories)
    };
    groups["items"].as_array().unwrap().iter().map(group).collect()
}

async fn ids_of(api: &Api, path: &str) -> Vec<Value> {
    api.all_pages(path).await.iter().map(|story| story["id"].clone()).collect()
}

/// All current stories, as visitors without a login see them.
async fn newest(api: &Api) -> Vec<Value> {
    ids_of(api, "/v1/stories/newest?limit=100").await
}

async fn append(chorus: &Chorus, event: impl Into<Event>, age: TimeDelta, expected: Position) -> Position {
    let time = SystemClock.now() - age;
    let draft = Draft {
        id: EventId::new(time_ordered_id(time)),
        time,
        actor: None,
        correlation: Uuid::from_u128(rand::random()),
        causation: None,
        traceparent: None,
        event: event.into(),
    };
    chorus.log().await.unwrap().append(draft, expected).await.unwrap()
}

/// A story that was published some time ago.
async fn published_ago(chorus: &Chorus, author: &User, age: TimeDelta, image: Image) -> StoryId {
    let story = StoryId::new(Uuid::from_u128(rand::random()));
    let text = Personal::Open(StoryText::default());
    let event = StoryPublished { author: author.id.parse().unwrap(), story, image, text };
    append(chorus, event, age, Position::START).await;
    story
}

/// The image of a story.
async fn image_of(chorus: &Chorus, author: &User, story: &str) -> Image {
    let subject = Subject::Story(author.id.parse().unwrap(), story.parse().unwrap());
    let events = chorus.log().await.unwrap().read(subject, Position::START).await.unwrap();
    match &events[0].event {
        Event::Social(SocialEvent::Story(StoryEvent::StoryPublished(published))) => published.image,
        other => panic!("{}", other.wire_name()),
    }
}

async fn history(chorus: &Chorus, author: &User, story: StoryId) -> Vec<&'static str> {
    let subject = Subject::Story(author.id.parse().unwrap(), story);
    let events = chorus.log().await.unwrap().read(subject, Position::START).await.unwrap();
    events.iter().map(|recorded| recorded.event.wire_name()).collect()
}

async fn story_is_published_viewed_and_deleted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let sent = form(png(40, 30)).text("alt", " A lake at dawn ");
    let published = api.publish_story_form(&ann, sent).await.expect(201);
    let story = published.id();
    let path = path(&ann, &story);
    assert_eq!(published.header("location"), Some(path.as_str()));

    let page = api.get(&path).await.expect(200).json();
    assert_eq!((&page["id"], &page["author"]["id"]), (&json!(story), &json!(ann.id)));
    assert_eq!((&page["views"], &page["viewer"]), (&Value::Null, &Value::Null));
    let image = &page["image"];
    assert_eq!((&image["width"], &image["height"]), (&json!(40), &json!(30)));
    assert_eq!(image["alt"], "A lake at dawn");
    assert_eq!(image["blurhash"].as_str().unwrap().len(), 28);
    let time = |field: &str| page[field].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(time("expires_at") - time("published_at"), TimeDelta::hours(24));
    assert!(newest(&api).await.contains(&json!(story)));
    assert_eq!(ids_of(&api, &format!("/v1/users/{}/stories", ann.id)).await, [json!(story)]);
    // It does not exist under another author.
    api.get(&self::path(&bob, &story)).await.problem(404, "not-found");

    api.delete_as(&bob, &path).await.problem(403, "forbidden");
    assert_eq!(api.delete_as(&ann, &path).await.expect(200).json()["changed"], true);
    assert_eq!(api.delete_as(&ann, &path).await.expect(200).json()["changed"], false);
    api.get(&path).await.problem(404, "not-found");
    assert!(!newest(&api).await.contains(&json!(story)));
    view(&api, &bob, &ann, &story).await.problem(404, "not-found");
    api.get_as(&ann, &format!("{path}/viewers")).await.problem(404, "not-found");
    api.delete_as(&ann, &self::path(&ann, &"0".repeat(32))).await.problem(404, "not-found");
}

async fn story_image_is_resized_and_stripped_of_metadata(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let picture =
        image::RgbImage::from_fn(3000, 1500, |x, y| image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 90]));
    let mut plain = Cursor::new(Vec::new());
    picture.write_to(&mut plain, image::ImageFormat::Jpeg).unwrap();
    let plain = plain.into_inner();
    // An EXIF block with a rotation by 90 degrees and a location.
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    exif.extend(b" 48.8584N 2.2945E");
    let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
    let sent = [&plain[..2], &[0xff, 0xe1], &length, &exif, &plain[2..]].concat();
    let story = api.publish_story_form(&ann, form(sent)).await.expect(201).id();
    let image = api.get(&path(&ann, &story)).await.expect(200).json()["image"].clone();
    assert_eq!((&image["width"], &image["height"]), (&json!(960), &json!(1920)));
    for (size, width, height) in [("story", 960, 1920), ("thumb", 320, 320)] {
        let file = api.get(image[size].as_str().unwrap()).await.expect(200);
        assert_eq!(file.header("content-type"), Some("image/jpeg"));
        let shown = image::load_from_memory(&file.body).unwrap();
        assert_eq!((shown.width(), shown.height()), (width, height), "{size}");
        for trace in [&b"48.8584"[..], b"Exif"] {
            assert!(!file.body.windows(trace.len()).any(|window| window == trace), "{size}");
        }
    }
}

async fn invalid_story_names_the_field_and_changes_nothing(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let send = async |form: Form| api.publish_story_form(&ann, form).await;
    assert_eq!(send(Form::new().text("alt", "x")).await.problem(400, "malformed"), ["image"]);
    let twice = form(png(4, 4)).part("image", Part::bytes(png(4, 4)).file_name("b.png"));
    assert_eq!(send(twice).await.problem(400, "malformed"), ["image"]);
    let twice = Api::with_empty_file(form(png(4, 4)), "image").text("alt", "a").text("alt", "b");
    assert_eq!(send(twice).await.problem(400, "malformed"), ["alt"]);
    assert_eq!(send(form(png(4, 4)).text("caption", "a")).await.problem(400, "malformed"), ["caption"]);
    for alt in ["x".repeat(501), "two\nlines".to_owned(), "a\u{202e}b".to_owned()] {
        let answer = send(form(png(4, 4)).text("alt", alt.clone())).await;
        assert_eq!(answer.problem(422, "invalid"), ["alt"], "{alt}");
    }
    assert_eq!(send(form(b"hello".to_vec())).await.problem(422, "not-an-image"), ["image"]);
    send(form(vec![0; 21 << 20])).await.problem(413, "too-large");
    let request = api.request(Method::POST, "/v1/stories").bearer_auth(&ann.token).json(&json!({}));
    api.send(request).await.problem(415, "not-multipart");
    api.send(api.request(Method::POST, "/v1/stories").multipart(form(png(4, 4))))
        .await
        .problem(401, "unauthenticated");
    assert_eq!(groups(&api, &ann).await, []);
}

async fn repeated_request_publishes_one_story(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let send = async |alt: &str| {
        let request = api.request(Method::POST, "/v1/stories").bearer_auth(&ann.token);
        let form = form(png(40, 30)).text("alt", alt.to_owned());
        api.send(request.header("Idempotency-Key", "once").multipart(form)).await
    };
    let story = send("a lake").await.expect(201).id();
    assert_eq!(send("a lake").await.expect(201).id(), story);
    send("a sea").await.problem(422, "idempotency-key-reused");
    assert_eq!(ids_of(&api, &format!("/v1/users/{}/stories", ann.id)).await, [json!(story)]);
}

async fn unviewed_story_groups_come_first(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, cat) = (api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let (eve, stranger) = (api.sign_up("eve").await, api.sign_up("stranger").await);
    for followed in [&bob, &cat, &eve] {
        api.follow(&ann, followed).await.expect(200);
    }
    assert_eq!(groups(&api, &ann).await, []);
    let of_bob = [api.publish_story(&bob).await, api.publish_story(&bob).await];
    let of_cat = api.publish_story(&cat).await;
    let of_ann = api.publish_story(&ann).await;
    api.publish_story(&stranger).await;
    let group = |author: &User, viewed: bool, stories: &[&String]| {
        (json!(author.id), json!(viewed), stories.iter().map(|story| json!(story)).collect::<Vec<_>>())
    };
    let own = group(&ann, true, &[&of_ann]);
    let (bobs, cats) =
        (|viewed| group(&bob, viewed, &[&of_bob[0], &of_bob[1]]), |viewed| group(&cat, viewed, &[&of_cat]));
    // Newest first; users without stories have no group.
    assert_eq!(groups(&api, &ann).await, [own.clone(), cats(false), bobs(false)]);

    view(&api, &ann, &cat, &of_cat).await.expect(200);
    assert_eq!(groups(&api, &ann).await, [own.clone(), bobs(false), cats(true)]);
    view(&api, &ann, &bob, &of_bob[0]).await.expect(200);
    assert_eq!(groups(&api, &ann).await, [own.clone(), bobs(false), cats(true)]);
    let stories = api.get_as(&ann, "/v1/stories").await.json()["items"][1]["stories"].clone();
    assert_eq!(stories[0]["viewer"], json!({ "viewed": true }));
    assert_eq!(stories[1]["viewer"], json!({ "viewed": false }));
    view(&api, &ann, &bob, &of_bob[1]).await.expect(200);
    assert_eq!(groups(&api, &ann).await, [own.clone(), cats(true), bobs(true)]);

    // A new story moves a group to the front; an unfollow removes it.
    let newer = api.publish_story(&bob).await;
    let bobs = group(&bob, false, &[&of_bob[0], &of_bob[1], &newer]);
    assert_eq!(groups(&api, &ann).await, [own.clone(), bobs, cats(true)]);
    api.delete_as(&ann, &format!("/v1/users/{}/follow", bob.id)).await.expect(200);
    assert_eq!(groups(&api, &ann).await, [own, cats(true)]);
    // Deleting the newest story keeps the others.
    let later = api.publish_story(&cat).await;
    api.delete_as(&cat, &path(&cat, &later)).await.expect(200);
    assert_eq!(groups(&api, &cat).await, [group(&cat, true, &[&of_cat])]);
    api.get("/v1/stories").await.problem(401, "unauthenticated");
}

async fn viewers_are_counted_once_and_visible_to_the_author_only(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let story = api.publish_story(&ann).await;
    let path = path(&ann, &story);
    assert_eq!(view(&api, &ann, &ann, &story).await.expect(200).json()["changed"], false);
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let fan = api.sign_up("fan").await;
        assert_eq!(view(&api, &fan, &ann, &story).await.expect(200).json()["changed"], true);
        assert_eq!(view(&api, &fan, &ann, &story).await.expect(200).json()["changed"], false);
        viewers.insert(0, fan);
    }
    let mut listed = Vec::new();
    let mut next = Some(format!("{path}/viewers?limit=2"));
    while let Some(path) = next {
        let page = api.get_as(&ann, &path).await.expect(200).json();
        listed.extend(page["items"].as_array().unwrap().clone());
        next = page["next"].as_str().map(str::to_owned);
    }
    let ids = |viewers: &[User]| viewers.iter().map(|viewer| json!(viewer.id)).collect::<Vec<_>>();
    assert_eq!(listed.iter().map(|viewer| viewer["id"].clone()).collect::<Vec<_>>(), ids(&viewers));
    assert!(listed.iter().all(|viewer| viewer["viewed_at"].is_string()), "{listed:?}");

    let own = api.get_as(&ann, &path).await.expect(200).json();
    assert_eq!((&own["views"], &own["viewer"]), (&json!(3), &json!({ "viewed": true })));
    let others = api.get_as(&viewers[0], &path).await.expect(200).json();
    assert_eq!((&others["views"], &others["viewer"]), (&Value::Null, &json!({ "viewed": true })));
    for (viewer, status, code) in [(None, 401, "unauthenticated"), (Some(&viewers[0]), 403, "forbidden")] {
        let mut request = api.request(Method::GET, &format!("{path}/viewers"));
        if let Some(viewer) = viewer {
            request = request.bearer_auth(&viewer.token);
        }
        api.send(request).await.problem(status, code);
    }
    // Another user's story does not exist under one's own name.
    let own_name = format!("{}/viewers", self::path(&viewers[0], &story));
    api.get_as(&viewers[0], &own_name).await.problem(404, "not-found");
}

async fn story_expires_after_24_hours(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    api.follow(&bob, &ann).await.expect(200);
    // It uses an image of another story that stays, so that no file is missing.
    let cat = api.sign_up("cat").await;
    let image = image_of(chorus, &cat, &api.publish_story(&cat).await).await;
    let young = published_ago(chorus, &ann, TimeDelta::hours(23), image).await;
    let image = Image { media: MediaId::new(Uuid::from_u128(rand::random())), width: 1, height: 1 };
    let over = published_ago(chorus, &ann, TimeDelta::hours(24), image).await;
    // Hidden even before the expiry event is in the log.
    view(&api, &bob, &ann, &over.to_string()).await.problem(404, "not-found");
    chorus.settle().await.unwrap();
    assert_eq!(history(chorus, &ann, over).await, ["story.published.v1", "story.expired.v1"]);
    assert_eq!(history(chorus, &ann, young).await, ["story.published.v1"]);

    let store = chorus.views().await.unwrap();
    let kept: Vec<Option<views::social::stories::Story>> =
        store.get_all(&[over.to_string(), young.to_string()]).await.unwrap();
    assert_eq!(kept.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert_eq!(groups(&api, &bob).await, [(json!(ann.id), json!(false), vec![json!(young.to_string())])]);
    api.get(&path(&ann, &over.to_string())).await.problem(404, "not-found");
    // Deleting an expired story has no effect.
    let gone = api.delete_as(&ann, &path(&ann, &over.to_string())).await.expect(200).json();
    assert_eq!(gone["changed"], false);
}

/// The view is decided at the same time as the end of the story and appended after it.
async fn view_of_an_ended_story_is_not_shown(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let story = api.publish_story(&ann).await;
    api.delete_as(&ann, &path(&ann, &story)).await.expect(200);
    let [author, viewer] = [&ann, &bob].map(|user| user.id.parse().unwrap());
    let late = StoryViewed { story: story.parse().unwrap(), viewer, author };
    append(chorus, late, TimeDelta::zero(), Position::START).await;
    chorus.settle().await.unwrap();
    api.get_as(&ann, &path(&ann, &story)).await.problem(404, "not-found");
    api.get_as(&ann, &format!("{}/viewers", path(&ann, &story))).await.problem(404, "not-found");
    assert_eq!(groups(&api, &ann).await, []);
}

async fn private_stories_are_shown_to_accepted_followers_only(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let [user, follower] = [&ann, &bob].map(|user| user.id.parse().unwrap());
    append(chorus, PrivacyChanged { user, private: true }, TimeDelta::zero(), Position::START).await;
    let requested = FollowRequested { follower, followee: user };
    let asked = append(chorus, requested, TimeDelta::zero(), Position::START).await;
    chorus.settle().await.unwrap();
    let story = api.publish_story(&ann).await;
    let path = path(&ann, &story);
    api.get_as(&bob, &path).await.problem(404, "not-found");
    api.get(&path).await.problem(404, "not-found");
    view(&api, &bob, &ann, &story).await.problem(404, "not-found");
    assert_eq!(groups(&api, &bob).await, []);
    assert!(!newest(&api).await.contains(&json!(story)));
    api.get_as(&ann, &path).await.expect(200);

    append(chorus, FollowAccepted { follower, followee: user }, TimeDelta::zero(), asked).await;
    chorus.settle().await.unwrap();
    api.get_as(&bob, &path).await.expect(200);
    assert_eq!(groups(&api, &bob).await, [(json!(ann.id), json!(false), vec![json!(story)])]);
    assert_eq!(view(&api, &bob, &ann, &story).await.expect(200).json()["changed"], true);
    api.get(&path).await.problem(404, "not-found");
}

async fn stories_of_suspended_users_are_hidden_until_reinstated(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let moderator = api.sign_up("moderator").await;
    chorus.run_cli(&["grant", &moderator.username, "moderator"]).unwrap();
    api.wait_until_logged_out(&moderator).await;
    let moderator = api.log_in(&moderator, PASSWORD).await;
    api.follow(&bob, &ann).await.expect(200);
    let story = api.publish_story(&ann).await;
    let shown = [(json!(ann.id), json!(false), vec![json!(story)])];
    assert_eq!(groups(&api, &bob).await, shown);

    let suspension = format!("/v1/users/{}/suspension", ann.id);
    api.put_json_as(&moderator, &suspension, &json!({ "reason": "spam" })).await.expect(200);
    assert_eq!(groups(&api, &bob).await, []);
    api.get_as(&bob, &path(&ann, &story)).await.problem(404, "not-found");
    assert_eq!(ids_of(&api, &format!("/v1/users/{}/stories", ann.id)).await, [] as [Value; 0]);
    assert!(!newest(&api).await.contains(&json!(story)));
    view(&api, &bob, &ann, &story).await.problem(404, "not-found");

    api.delete_as(&moderator, &suspension).await.expect(200);
    assert_eq!(groups(&api, &bob).await, shown);
}

async fn stories_are_paginated(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.insert(0, json!(api.publish_story(&ann).await));
    }
    for limit in [1, 2, 5, 100] {
        let path = format!("/v1/users/{}/stories?limit={limit}", ann.id);
        assert_eq!(ids_of(&api, &path).await, expected, "pages of {limit}");
    }
    let all = ids_of(&api, "/v1/stories/newest?limit=3").await;
    let of_ann: Vec<Value> = all.into_iter().filter(|story| expected.contains(story)).collect();
    assert_eq!(of_ann, expected);
}
