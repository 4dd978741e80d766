//! Ownership: every route requested by another user, and with malformed ids.

use reqwest::Method;
use serde_json::json;
use tests::chorus::Chorus;
use tests::client::{Api, User, wav};
use tests::routes::{self, Access};

crate::journeys! {
    other_users_resources_cannot_be_changed_or_deleted,
    malformed_id_is_refused_on_every_route,
}

/// Resources of a user, by the names of path parameters.
async fn resources_of(api: &Api, ann: &User) -> Vec<(&'static str, String)> {
    let post = api.publish(ann, "Dawn").await;
    let comment = api.comment(ann, &post, "Mine").await;
    let collection =
        api.post_as(ann, "/v1/me/collections", &json!({ "name": "Lakes" })).await.expect(201).id();
    let login = json!({ "login": ann.username, "password": tests::client::PASSWORD });
    let session =
        api.post("/v1/sessions", &login).await.expect(201).json()["session"].as_str().unwrap().to_owned();
    let picture = api.post_page(&post).await["images"][0]["feed"]
        .as_str()
        .unwrap()
        .split('/')
        .rev()
        .nth(1)
        .unwrap()
        .to_owned();
    let story = api.publish_story(ann).await;
    let song = api.publish_song(ann, "Dawn").await;
    let upload = api.upload_audio(ann, &wav("Dusk", 31)).await;
    let artist = api.get(&format!("/v1/songs/{song}")).await.expect(200).json()["artists"][0]["id"].clone();
    let artist = artist.as_str().unwrap().to_owned();
    let album = json!({ "title": "Dawn", "artists": [{ "id": artist }] });
    let album = api.post_as(ann, "/v1/albums", &album).await.expect(201).id();
    let playlist = api.post_as(ann, "/v1/playlists", &json!({ "name": "Road" })).await.expect(201).id();
    vec![
        ("artist", artist),
        ("album", album),
        ("post", post),
        ("story", story),
        ("song", song),
        ("upload", upload),
        ("playlist", playlist),
        ("comment", comment),
        ("collection", collection),
        ("session", session),
        ("user", ann.id.clone()),
        ("username", ann.username.clone()),
        ("picture", picture),
        ("file", "feed.jpg".to_owned()),
        ("role", "artist".to_owned()),
        // Plays are found among those of the caller only.
        ("play", routes::NOTHING.to_owned()),
        // The token of a link that was never mailed.
        ("token", format!("{}{}", ann.id, "0".repeat(32))),
    ]
}

/// A path that ends with an id is the resource itself, which only its owner changes or deletes. Other paths, such as of likes
/// and comments, are the visitor's own resources.
async fn other_users_resources_cannot_be_changed_or_deleted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let there = resources_of(&api, &ann).await;
    let value = |of: &str| there.iter().find(|(name, _)| *name == of).map(|(_, value)| value).unwrap();
    let values: Vec<(&str, &str)> = there.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (post, me) = (value("post"), api.get_as(&ann, "/v1/me").await.expect(200).json());
    let before = (api.post_page(post).await, me);
    let changing = [Method::PATCH, Method::PUT, Method::DELETE];
    let routes = routes::all(&api).await.into_iter();
    let of_things: Vec<_> =
        routes.filter(|route| changing.contains(&route.method) && route.path.ends_with('}')).collect();
    assert!(of_things.len() >= 3, "{of_things:?}");
    for route in of_things {
        for variable in route.variables() {
            assert!(values.iter().any(|(name, _)| *name == variable), "add {variable} to `resources_of`");
        }
        let answer =
            api.send(route.request_to(&api, &route.path_with(&values)).bearer_auth(&bob.token)).await;
        assert!(
            [403, 404].contains(&answer.status.as_u16()),
            "{}: {} {}",
            route.name(),
            answer.status,
            answer.text()
        );
    }
    let after = (api.post_page(post).await, api.get_as(&ann, "/v1/me").await.expect(200).json());
    assert_eq!(before, after);
    assert_eq!(api.all_pages(&format!("/v1/posts/{post}/comments")).await.len(), 1);
}

async fn malformed_id_is_refused_on_every_route(chorus: &Chorus) {
    let api = chorus.api();
    let ann = api.sign_up("ann").await;
    let long = "a".repeat(2000);
    let bad = [
        "x",
        "0",
        "-1",
        "null",
        "undefined",
        "ABCDEF00000000000000000000000000",
        "0191e2a4-0000-7000-8000-000000000001",
        "0000000000007000800000000000000",
        "000000000000700080000000000000000",
        "%00",
        "%ff%fe",
        "a%2fb",
        "%25",
        "'",
        "%0a",
        "%F0%9F%8C%85",
        "*",
        "%3E",
        "$",
        "{}",
        &long,
    ];
    for route in routes::all(&api).await {
        for variable in route.variables() {
            for id in bad {
                let path = route.path_with(&[(variable, id)]);
                let request = route.request_to(&api, &path);
                let request =
                    if route.access == Access::Public { request } else { request.bearer_auth(&ann.token) };
                let answer = api.send(request).await;
                assert!(
                    answer.status.is_client_error(),
                    "{} {path}: {} {}",
                    route.method,
                    answer.status,
                    answer.text()
                );
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/problem+json"),
                    "{} {path}",
                    route.method
                );
            }
        }
    }
    let me = api.get_as(&ann, "/v1/me").await.expect(200).json();
    assert_eq!((&me["posts"], &me["followings"]), (&json!(0), &json!(0)));
}
