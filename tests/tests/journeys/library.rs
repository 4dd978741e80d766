use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, PASSWORD, User, fresh, wav};

crate::journeys! {
    songs_albums_and_artists_are_liked_and_counted,
    likes_of_deactivated_users_are_not_counted,
    items_are_rated_by_their_user_only,
    bookmarks_and_the_play_queue_are_shared_by_devices,
    invisible_items_cannot_be_added,
}

/// A song with its artist and album.
pub(crate) struct Song {
    pub(crate) id: String,
    pub(crate) artist: String,
    pub(crate) album: String,
}

/// Publishes a song of this length, by an artist and on an album of its own.
pub(crate) async fn publish(api: &Api, publisher: &User, visibility: &str, seconds: u32) -> Song {
    let title = fresh("Dawn");
    let upload = api.upload_audio(publisher, &wav(&title, seconds)).await;
    let song = json!({
        "upload": upload, "title": title, "artists": [{ "name": fresh("The Lakes") }],
        "album": { "title": fresh("Still Water") }, "visibility": visibility,
    });
    let id = api.post_as(publisher, "/v1/songs", &song).await.expect(201).id();
    let shown = api.get_as(publisher, &format!("/v1/songs/{id}")).await.expect(200).json();
    let id_of = |thing: &Value| thing["id"].as_str().unwrap().to_owned();
    Song { artist: id_of(&shown["artists"][0]), album: id_of(&shown["album"]), id }
}

async fn public_song(api: &Api, publisher: &User) -> Song {
    publish(api, publisher, "public", 31).await
}

async fn put(api: &Api, user: &User, path: &str) -> Value {
    api.put_as(user, path).await.expect(200).json()["changed"].clone()
}

async fn delete(api: &Api, user: &User, path: &str) -> Value {
    api.delete_as(user, path).await.expect(200).json()["changed"].clone()
}

/// Ids of the items of a list.
async fn ids(api: &Api, user: &User, path: &str, kind: &str) -> Vec<String> {
    let page = api.get_as(user, path).await.expect(200).json();
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item[kind]["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn songs_albums_and_artists_are_liked_and_counted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let (first, second) = (public_song(&api, &ann).await, public_song(&api, &ann).await);
    for (kind, of, list, count) in [
        ("song", [&first.id, &second.id], "/v1/me/songs", "like"),
        ("album", [&first.album, &second.album], "/v1/me/albums", "like"),
        ("artist", [&first.artist, &second.artist], "/v1/me/artists", "follow"),
    ] {
        let path = |id: &str, what: &str| format!("/v1/{kind}s/{id}/{what}");
        let (counted, flag) = if count == "like" { ("likes", "liked") } else { ("followers", "followed") };
        let shown = async |viewer: Option<&User>| {
            let path = format!("/v1/{kind}s/{}", of[0]);
            let answer = match viewer {
                Some(viewer) => api.get_as(viewer, &path).await,
                None => api.get(&path).await,
            };
            let item = answer.expect(200).json();
            (item[counted].clone(), item["viewer"].clone())
        };
        assert_eq!(shown(None).await, (json!(0), Value::Null));
        for id in of {
            assert_eq!(put(&api, &bob, &path(id, count)).await, true);
            assert_eq!(put(&api, &bob, &path(id, count)).await, false);
        }
        assert_eq!(put(&api, &ann, &path(of[0], count)).await, true);
        assert_eq!(ids(&api, &bob, list, kind).await, [of[1].clone(), of[0].clone()]);
        assert_eq!(ids(&api, &ann, list, kind).await, [of[0].clone()]);
        let first_page = api.get_as(&bob, &format!("{list}?limit=1")).await.expect(200).json();
        assert_eq!(first_page["items"].as_array().unwrap().len(), 1);
        let next = first_page["next"].as_str().unwrap();
        assert_eq!(ids(&api, &bob, next, kind).await, [of[0].clone()]);
        assert_eq!(shown(Some(&bob)).await, (json!(2), json!({ flag: true, "stars": null })));
        assert_eq!(delete(&api, &bob, &path(of[0], count)).await, true);
        assert_eq!(delete(&api, &bob, &path(of[0], count)).await, false);
        assert_eq!(ids(&api, &bob, list, kind).await, [of[1].clone()]);
        assert_eq!(shown(Some(&bob)).await, (json!(1), json!({ flag: false, "stars": null })));
        api.get(list).await.problem(401, "unauthenticated");
    }
}

async fn likes_of_deactivated_users_are_not_counted(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let song = public_song(&api, &ann).await;
    let path = format!("/v1/songs/{}/like", song.id);
    put(&api, &ann, &path).await;
    put(&api, &bob, &path).await;
    let users = async || {
        chorus.settle().await.unwrap();
        api.get(&format!("/v1/songs/{}", song.id)).await.expect(200).json()["likes"].clone()
    };
    assert_eq!(users().await, 2);
    let password = json!({ "current_password": PASSWORD });
    api.post_as(&bob, "/v1/me/deactivation", &password).await.expect(200);
    assert_eq!(users().await, 1);
    let bob = api.log_in(&bob, PASSWORD).await;
    assert_eq!(users().await, 2);
    assert_eq!(ids(&api, &bob, "/v1/me/songs", "song").await, std::slice::from_ref(&song.id));
}

async fn items_are_rated_by_their_user_only(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let song = public_song(&api, &ann).await;
    let rate = async |path: &str, stars: i32| {
        api.put_json_as(&bob, &format!("{path}/rating"), &json!({ "stars": stars })).await
    };
    let [of_song, of_album, of_artist] = [
        format!("/v1/songs/{}", song.id),
        format!("/v1/albums/{}", song.album),
        format!("/v1/artists/{}", song.artist),
    ];
    for (path, stars) in [(&of_song, 2), (&of_album, 4), (&of_artist, 5), (&of_song, 3)] {
        assert_eq!(rate(path, stars).await.expect(200).json()["changed"], true);
    }
    assert_eq!(rate(&of_song, 3).await.expect(200).json()["changed"], false);
    for bad in [0, 6] {
        assert_eq!(rate(&of_song, bad).await.problem(422, "invalid"), ["stars"]);
    }
    assert_eq!(rate(&of_song, 300).await.problem(400, "malformed"), ["stars"]);
    let ratings = async |user: &User| -> Vec<(Value, Value, Value)> {
        let page = api.get_as(user, "/v1/me/ratings").await.expect(200).json();
        let shown = |rating: &Value| {
            let kind = rating["kind"].as_str().unwrap();
            assert_eq!(rating[kind]["id"], rating["id"]);
            (rating["kind"].clone(), rating["id"].clone(), rating["stars"].clone())
        };
        page["items"].as_array().unwrap().iter().map(shown).collect()
    };
    let of = |kind: &str, id: &str, stars: i32| (json!(kind), json!(id), json!(stars));
    let artist = of("artist", &song.artist, 5);
    let (song_rated, album) = (of("song", &song.id, 3), of("album", &song.album, 4));
    assert_eq!(ratings(&bob).await, [song_rated, artist.clone(), album.clone()]);
    assert_eq!(ratings(&ann).await, []);
    for (path, stars) in [(&of_song, 3), (&of_album, 4), (&of_artist, 5)] {
        let stars_of =
            async |user: &User| api.get_as(user, path).await.expect(200).json()["viewer"]["stars"].clone();
        assert_eq!((stars_of(&bob).await, stars_of(&ann).await), (json!(stars), Value::Null));
    }
    assert_eq!(delete(&api, &bob, &format!("{of_song}/rating")).await, true);
    assert_eq!(delete(&api, &bob, &format!("{of_song}/rating")).await, false);
    assert_eq!(ratings(&bob).await, [artist, album]);
}

async fn bookmarks_and_the_play_queue_are_shared_by_devices(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let song = public_song(&api, &ann).await;
    let path = format!("/v1/songs/{}/bookmark", song.id);
    let set = async |body: Value| -> Answer { api.put_json_as(&ann, &path, &body).await };
    set(json!({ "position_ms": 5 })).await.expect(200);
    set(json!({ "position_ms": 21_000, "comment": "The solo" })).await.expect(200);
    assert_eq!(set(json!({ "position_ms": 31_001 })).await.problem(422, "invalid"), ["position_ms"]);
    let long = json!({ "position_ms": 1, "comment": "x".repeat(501) });
    assert_eq!(set(long).await.problem(422, "invalid"), ["comment"]);
    let bookmarks = api.get_as(&ann, "/v1/me/bookmarks").await.expect(200).json();
    let bookmark = &bookmarks["items"][0];
    assert_eq!((&bookmark["position_ms"], &bookmark["comment"]), (&json!(21_000), &json!("The solo")));
    assert_eq!(bookmark["song"]["id"], song.id.as_str());
    assert_eq!(delete(&api, &ann, &path).await, true);
    assert_eq!(ids(&api, &ann, "/v1/me/bookmarks", "song").await, Vec::<String>::new());

    let queue = async || api.get_as(&ann, "/v1/me/queue").await.expect(200).json();
    assert_eq!(queue().await["songs"], json!([]));
    let unknown = tests::routes::NOTHING;
    let body =
        json!({ "songs": [song.id, unknown, song.id], "current": 2, "position_ms": 7, "device": "Phone" });
    api.put_json_as(&ann, "/v1/me/queue", &body).await.expect(200);
    let saved = queue().await;
    assert_eq!(
        (&saved["current"], &saved["position_ms"], &saved["device"]),
        (&json!(2), &json!(7), &json!("Phone"))
    );
    let shown: Vec<(&Value, bool)> = saved["songs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queued| (&queued["id"], queued["song"].is_object()))
        .collect();
    let (id, unknown) = (json!(song.id), json!(unknown));
    assert_eq!(shown, [(&id, true), (&unknown, false), (&id, true)]);
    for (field, value) in [
        ("current", json!(3)),
        ("songs", json!(vec![song.id.clone(); 1001])),
        ("device", json!("x".repeat(101))),
        ("position_ms", json!(u64::MAX)),
    ] {
        let mut bad = body.clone();
        bad[field] = value;
        let answer = api.put_json_as(&ann, "/v1/me/queue", &bad).await;
        assert_eq!(answer.problem(422, "invalid"), [field]);
    }
}

async fn invisible_items_cannot_be_added(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let nothing = tests::routes::NOTHING;
    let private = publish(&api, &ann, "private", 31).await;
    for path in [
        format!("/v1/songs/{nothing}/like"),
        format!("/v1/albums/{nothing}/like"),
        format!("/v1/artists/{nothing}/follow"),
        format!("/v1/songs/{}/like", private.id),
    ] {
        api.put_as(&bob, &path).await.problem(404, "not-found");
    }
    assert_eq!(put(&api, &ann, &format!("/v1/songs/{}/like", private.id)).await, true);
    // A song that is removed later is left out of the list.
    let song = public_song(&api, &ann).await;
    let path = format!("/v1/songs/{}/like", song.id);
    put(&api, &bob, &path).await;
    api.delete_as(&ann, &format!("/v1/songs/{}", song.id)).await.expect(200);
    assert_eq!(ids(&api, &bob, "/v1/me/songs", "song").await, Vec::<String>::new());
    let answer = api.send(api.request(Method::DELETE, &path).bearer_auth(&bob.token)).await;
    assert_eq!(answer.expect(200).json()["changed"], true);
}
