//! Changes of the catalogue: artists with their managers, albums, songs, and covers.

use reqwest::Method;
use serde_json::{Value, json};
use tests::chorus::Chorus;
use tests::client::{Answer, Api, PASSWORD, User, fresh, png, wav};

crate::journeys! {
    artist_is_added_once_and_edited_by_its_manager,
    admins_link_accounts_to_artists,
    merged_artist_answers_as_the_other_with_its_songs,
    followers_of_a_merged_artist_follow_the_one_that_remains,
    song_is_published_only_on_albums_of_its_publisher,
    erased_manager_leaves_the_artist_and_its_songs,
    album_is_added_edited_removed_and_restored,
    song_is_edited_by_its_publisher_and_its_artists_manager,
    private_song_reveals_neither_its_album_nor_its_artist,
    only_publishers_create_uploads,
    cover_is_shown_while_what_it_belongs_to_is_visible,
    cover_of_a_file_becomes_that_of_its_album,
    only_editors_change_covers_and_bad_pictures_are_refused,
    replayed_cover_is_the_same_picture,
}

async fn admin(chorus: &Chorus) -> User {
    let api = chorus.api();
    let user = api.sign_up("admin").await;
    chorus.run_cli(&["grant", &user.username, "admin"]).unwrap();
    api.log_in(&user, PASSWORD).await
}

async fn put_picture(api: &Api, user: &User, path: &str, picture: Vec<u8>) -> Answer {
    let request = api.request(Method::PUT, path).bearer_auth(&user.token);
    api.send(request.header("content-type", "application/octet-stream").body(picture)).await
}

async fn add_artist(api: &Api, user: &User, name: &str) -> String {
    api.post_as(user, "/v1/artists", &json!({ "name": name })).await.expect(201).id()
}

async fn page(api: &Api, path: &str) -> Value {
    api.get(path).await.expect(200).json()
}

async fn artist_of(api: &Api, song: &str) -> String {
    page(api, &format!("/v1/songs/{song}")).await["artists"][0]["id"].as_str().unwrap().to_owned()
}

fn ids(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

async fn private_song_reveals_neither_its_album_nor_its_artist(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, api.sign_up("bob").await);
    let (artist, album) = (fresh("Secret Project "), fresh("Unannounced "));
    let upload = api.upload_audio(&ann, &wav(&album, 31)).await;
    let song = json!({
        "upload": upload, "title": "Hush", "artists": [{ "name": artist }], "album": { "title": album },
        "visibility": "private", "lyrics": "Not a word",
    });
    let song = api.post_as(&ann, "/v1/songs", &song).await.expect(201).id();
    let path = format!("/v1/songs/{song}");
    let shown = api.get_as(&ann, &path).await.expect(200).json();
    assert_eq!(shown["lyrics"], "Not a word");
    let album_path = format!("/v1/albums/{}", shown["album"]["id"].as_str().unwrap());
    let artist_path = format!("/v1/artists/{}", shown["artists"][0]["id"].as_str().unwrap());
    let found = async || {
        let search = async |text: &str| {
            let request = api.request(Method::GET, "/v1/search").query(&[("q", text)]);
            let found = api.send(request.bearer_auth(&bob.token)).await.expect(200).json();
            ["songs", "artists", "albums"].map(|kind| found[kind].as_array().unwrap().len())
        };
        let listed = async |list: &str, path: &str| {
            let id = path.rsplit('/').next().unwrap();
            api.all_pages(list).await.iter().any(|item| item["id"] == *id)
        };
        let listed = [listed("/v1/albums", &album_path).await, listed("/v1/artists", &artist_path).await];
        (search(&album).await, search(&artist).await, listed)
    };
    assert_eq!(found().await, ([0; 3], [0; 3], [false; 2]));
    let published = api.get_as(&ann, "/v1/me/published-songs").await.expect(200).json();
    assert_eq!(ids(&published), [song.as_str()]);
    let lists =
        [format!("{album_path}/songs"), format!("{artist_path}/albums"), format!("{artist_path}/songs")];
    for path in [&album_path, &artist_path].into_iter().chain(&lists) {
        api.get(path).await.problem(404, "not-found");
        api.get_as(&bob, path).await.problem(404, "not-found");
        api.get_as(&ann, path).await.expect(200);
    }
    api.patch_as(&ann, &path, &json!({ "visibility": "public" })).await.expect(200);
    assert_eq!(found().await, ([1, 0, 1], [1; 3], [true; 2]));
    for path in [&album_path, &artist_path].into_iter().chain(&lists) {
        api.get(path).await.expect(200);
    }
}

async fn artist_is_added_once_and_edited_by_its_manager(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, admin) = (chorus.artist("ann").await, chorus.artist("bob").await, admin(chorus).await);
    let name = fresh("The Lakes ");
    let artist = add_artist(&api, &ann, &name).await;
    let path = format!("/v1/artists/{artist}");
    let again = json!({ "name": name.to_uppercase() });
    for user in [&ann, &admin] {
        let again = api.post_as(user, "/v1/artists", &again).await.expect(201).json();
        assert_eq!((&again["id"], &again["changed"]), (&json!(artist), &json!(false)));
    }
    api.post_as(&bob, "/v1/artists", &again).await.problem(403, "forbidden");
    let listener = api.sign_up("listener").await;
    api.post_as(&listener, "/v1/artists", &json!({ "name": fresh("x") })).await.problem(403, "forbidden");

    let change = json!({ "sort_name": "Lakes", "musicbrainz": "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d" });
    api.patch_as(&ann, &path, &change).await.expect(200);
    let shown = page(&api, &path).await;
    assert_eq!((&shown["name"], &shown["sort_name"]), (&json!(name), &change["sort_name"]));
    assert_eq!(shown["musicbrainz"], change["musicbrainz"]);
    let renamed = fresh("The Ponds ");
    api.patch_as(&admin, &path, &json!({ "name": renamed, "sort_name": null })).await.expect(200);
    let shown = page(&api, &path).await;
    assert_eq!((&shown["name"], &shown["sort_name"]), (&json!(renamed), &Value::Null));
    let found = api.send(api.request(Method::GET, "/v1/search").query(&[("q", &renamed)])).await.expect(200);
    assert_eq!(found.json()["artists"][0]["id"], json!(artist));
    let unchanged = api.patch_as(&ann, &path, &json!({ "name": renamed })).await.expect(200).json();
    assert_eq!(unchanged["changed"], false);

    api.patch_as(&bob, &path, &json!({ "name": "Mine" })).await.problem(403, "forbidden");
    let fields = api.patch_as(&ann, &path, &json!({ "name": " ", "sort_name": "a\nb" })).await;
    assert_eq!(fields.problem(422, "invalid"), ["name", "sort_name"]);
    api.patch_as(&ann, "/v1/artists/00000000000070008000000000000000", &change)
        .await
        .problem(404, "not-found");
}

async fn admins_link_accounts_to_artists(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, admin) = (chorus.artist("ann").await, chorus.artist("bob").await, admin(chorus).await);
    let artist = add_artist(&api, &ann, &fresh("Shared ")).await;
    let (path, link) = (format!("/v1/artists/{artist}"), format!("/v1/artists/{artist}/managers/{}", bob.id));
    let change = json!({ "sort_name": "By Bob" });
    for user in [&ann, &bob] {
        api.put_as(user, &link).await.problem(403, "forbidden");
    }
    api.put_as(&admin, &link).await.expect(200);
    assert_eq!(api.put_as(&admin, &link).await.expect(200).json()["changed"], false);
    api.patch_as(&bob, &path, &change).await.expect(200);
    api.delete_as(&admin, &link).await.expect(200);
    api.patch_as(&bob, &path, &json!({ "sort_name": "Again" })).await.problem(403, "forbidden");

    // A link without the role has no effect.
    let listener = api.sign_up("listener").await;
    api.put_as(&admin, &format!("{path}/managers/{}", listener.id)).await.expect(200);
    api.patch_as(&listener, &path, &change).await.problem(403, "forbidden");
    let nothing = "00000000000070008000000000000000";
    api.put_as(&admin, &format!("{path}/managers/{nothing}")).await.problem(404, "not-found");
    let unknown = format!("/v1/artists/{nothing}/managers/{}", bob.id);
    api.put_as(&admin, &unknown).await.problem(404, "not-found");
}

async fn merged_artist_answers_as_the_other_with_its_songs(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, admin) = (chorus.artist("ann").await, chorus.artist("bob").await, admin(chorus).await);
    let (one, two) =
        (api.publish_song(&ann, &fresh("One")).await, api.publish_song(&bob, &fresh("Two")).await);
    let (from, into) = (artist_of(&api, &one).await, artist_of(&api, &two).await);
    let (path, body) = (format!("/v1/artists/{from}/merge"), json!({ "into": into }));
    put_picture(&api, &ann, &format!("/v1/artists/{from}/image"), png(50, 50)).await.expect(200);
    let image =
        page(&api, &format!("/v1/artists/{from}")).await["image"]["large"].as_str().unwrap().to_owned();
    api.get(&image).await.expect(200);
    api.post_as(&ann, &path, &body).await.problem(403, "forbidden");
    for bad in [from.as_str(), "00000000000070008000000000000000"] {
        let refused = api.post_as(&admin, &path, &json!({ "into": bad })).await;
        assert_eq!(refused.problem(422, "invalid"), ["into"]);
    }
    api.post_as(&admin, &path, &body).await.expect(200);
    assert_eq!(api.post_as(&admin, &path, &body).await.expect(200).json()["changed"], false);
    let back = api.post_as(&admin, &format!("/v1/artists/{into}/merge"), &json!({ "into": from })).await;
    assert_eq!(back.problem(422, "invalid"), ["into"]);

    assert_eq!(page(&api, &format!("/v1/artists/{from}")).await["id"], json!(into));
    for list in [format!("/v1/artists/{from}/songs"), format!("/v1/artists/{into}/songs")] {
        let listed = page(&api, &list).await;
        assert!([&one, &two].iter().all(|song| ids(&listed).contains(&song.as_str())), "{list}: {listed}");
    }
    assert_eq!(artist_of(&api, &one).await, into);
    api.get(&image).await.problem(404, "not-found");
    // The other artist's manager edits it under both ids; the merged one's does not.
    let change = json!({ "sort_name": "Both" });
    api.patch_as(&ann, &format!("/v1/artists/{from}"), &change).await.problem(403, "forbidden");
    api.patch_as(&bob, &format!("/v1/artists/{from}"), &change).await.expect(200);
    assert_eq!(page(&api, &format!("/v1/artists/{into}")).await["sort_name"], "Both");
}

async fn followers_of_a_merged_artist_follow_the_one_that_remains(chorus: &Chorus) {
    let api = chorus.api();
    let (admin, ann, bob, cat) =
        (admin(chorus).await, api.sign_up("ann").await, api.sign_up("bob").await, api.sign_up("cat").await);
    let (from, into) =
        (add_artist(&api, &admin, &fresh("Lake ")).await, add_artist(&api, &admin, &fresh("Lakes ")).await);
    let follow = |artist: &str| format!("/v1/artists/{artist}/follow");
    for (user, artist) in [(&ann, &from), (&bob, &from), (&bob, &into)] {
        api.put_as(user, &follow(artist)).await.expect(200);
    }
    let merge = json!({ "into": into });
    api.post_as(&admin, &format!("/v1/artists/{from}/merge"), &merge).await.expect(200);
    let shown = async |user: &User| {
        chorus.settle().await.unwrap();
        let artist = api.get_as(user, &format!("/v1/artists/{from}")).await.expect(200).json();
        let list = api.get_as(user, "/v1/me/artists").await.expect(200).json();
        for item in list["items"].as_array().unwrap() {
            assert_eq!((&item["id"], &item["artist"]["id"]), (&json!(into), &json!(into)));
        }
        (artist["followers"].clone(), artist["viewer"]["followed"].clone(), ids(&list).len())
    };
    assert_eq!(shown(&ann).await, (json!(2), json!(true), 1));
    assert_eq!(shown(&bob).await, (json!(2), json!(true), 1));
    assert_eq!(shown(&cat).await, (json!(2), json!(false), 0));
    // A second follow of the same artist counts once, and either id ends it.
    api.put_as(&ann, &follow(&into)).await.expect(200);
    assert_eq!(shown(&ann).await, (json!(2), json!(true), 1));
    api.delete_as(&ann, &follow(&from)).await.expect(200);
    assert_eq!(shown(&ann).await, (json!(1), json!(false), 0));
    api.delete_as(&bob, &follow(&into)).await.expect(200);
    assert_eq!(shown(&bob).await, (json!(0), json!(false), 0));
    assert_eq!(api.delete_as(&bob, &follow(&into)).await.expect(200).json()["changed"], false);
    api.put_as(&ann, &follow(&into)).await.expect(200);
    assert_eq!(shown(&ann).await, (json!(1), json!(true), 1));
}

async fn song_is_published_only_on_albums_of_its_publisher(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, admin) = (chorus.artist("ann").await, chorus.artist("bob").await, admin(chorus).await);
    let (title, other) = (fresh("Still Water "), fresh("Open Sea "));
    let publish = async |user: &User, album: Value| {
        let upload = api.upload_audio(user, &wav(&fresh("song"), 31)).await;
        let artists = json!([{ "name": user.username }]);
        let song = json!({ "upload": upload, "title": fresh("Song"), "artists": artists, "album": album });
        api.post_as(user, "/v1/songs", &song).await
    };
    let of_ann = |title: &str| json!({ "title": title, "artists": [{ "name": ann.username }] });
    publish(&ann, of_ann(&title)).await.expect(201);
    // Neither on an album of another artist, nor on a new one in the name of another artist.
    for album in [&title, &other] {
        publish(&bob, of_ann(album)).await.problem(403, "forbidden");
    }
    let singer = page(&api, &format!("/v1/search?q={}", ann.username)).await["artists"][0]["id"].clone();
    let albums = page(&api, &format!("/v1/artists/{}/albums", singer.as_str().unwrap())).await;
    let album = albums["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(albums["items"].as_array().unwrap().len(), 1, "{albums}");
    publish(&bob, json!({ "title": other })).await.expect(201);
    let both =
        json!({ "title": fresh("Both "), "artists": [{ "name": ann.username }, { "name": bob.username }] });
    publish(&bob, both).await.expect(201);
    publish(&admin, of_ann(&title)).await.expect(201);

    api.delete_as(&ann, &format!("/v1/albums/{album}")).await.expect(200);
    publish(&ann, of_ann(&title)).await.problem(409, "album-removed");
}

async fn erased_manager_leaves_the_artist_and_its_songs(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, admin) = (chorus.artist("ann").await, admin(chorus).await);
    let song = api.publish_song(&ann, &fresh("Stays")).await;
    let artist = artist_of(&api, &song).await;
    put_picture(&api, &ann, &format!("/v1/artists/{artist}/image"), png(40, 40)).await.expect(200);
    put_picture(&api, &ann, &format!("/v1/songs/{song}/cover"), png(40, 40)).await.expect(200);
    let erase = api.request(Method::DELETE, "/instamern/users/delete").bearer_auth(&ann.token);
    api.send(erase.json(&json!({ "currentPassword": PASSWORD }))).await.expect(204);
    chorus.settle().await.unwrap();
    let shown = page(&api, &format!("/v1/artists/{artist}")).await;
    api.get(shown["image"]["small"].as_str().unwrap()).await.expect(200);
    let shown = page(&api, &format!("/v1/songs/{song}")).await;
    api.get(shown["cover"]["small"].as_str().unwrap()).await.expect(200);
    api.get(&format!("/v1/songs/{song}/stream")).await.expect(200);
    let bob = chorus.artist("bob").await;
    api.put_as(&admin, &format!("/v1/artists/{artist}/managers/{}", bob.id)).await.expect(200);
    api.patch_as(&bob, &format!("/v1/songs/{song}"), &json!({ "track": 7 })).await.expect(200);
    api.delete_as(&admin, &format!("/v1/artists/{artist}/managers/{}", ann.id)).await.expect(200);
}

async fn album_is_added_edited_removed_and_restored(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, chorus.artist("bob").await);
    let names = [fresh("The Lakes "), fresh("Ann Lee ")];
    let (artist, guest) = (add_artist(&api, &ann, &names[0]).await, add_artist(&api, &bob, &names[1]).await);
    let title = fresh("Still Water ");
    let new = json!({
        "title": title, "kind": "ep", "year": 1998, "version": "Deluxe Edition",
        "artists": [{ "id": artist }, { "id": guest, "role": "featured" }],
    });
    api.post_as(&bob, "/v1/albums", &new).await.problem(403, "forbidden");
    let album = api.post_as(&ann, "/v1/albums", &new).await.expect(201).id();
    let again = api.post_as(&ann, "/v1/albums", &new).await.expect(201).json();
    assert_eq!((&again["id"], &again["changed"]), (&json!(album), &json!(false)));
    let path = format!("/v1/albums/{album}");
    let shown = page(&api, &path).await;
    assert_eq!(
        (&shown["title"], &shown["kind"], &shown["year"]),
        (&json!(title), &json!("ep"), &json!(1998))
    );
    assert_eq!(shown["display_artist"], json!(names.join(", ")));
    assert_eq!(shown["artists"][1]["role"], "featured");
    assert!(ids(&page(&api, &format!("/v1/artists/{guest}/albums")).await).contains(&album.as_str()));

    let song = json!({
        "upload": api.upload_audio(&ann, &wav(&title, 31)).await, "title": "Dawn",
        "artists": [{ "name": names[0] }],
    });
    let song = api.post_as(&ann, "/v1/songs", &song).await.expect(201).id();
    let song_path = format!("/v1/songs/{song}");
    api.patch_as(&ann, &song_path, &json!({ "album": album, "track": 2 })).await.expect(200);
    assert_eq!(ids(&page(&api, &format!("{path}/songs")).await), [song.as_str()]);

    let change =
        json!({ "year": null, "version": null, "kind": "album", "display_artist": "The Lakes & Ann" });
    api.patch_as(&ann, &path, &change).await.expect(200);
    let shown = page(&api, &path).await;
    assert_eq!((&shown["year"], &shown["version"]), (&Value::Null, &Value::Null));
    assert_eq!((&shown["kind"], &shown["display_artist"]), (&json!("album"), &change["display_artist"]));
    // Ann does not give her album to Bob's artist.
    let given = json!({ "artists": [{ "id": guest }] });
    api.patch_as(&ann, &path, &given).await.problem(403, "forbidden");
    for user in [&bob, &api.sign_up("listener").await] {
        api.patch_as(user, &path, &change).await.problem(403, "forbidden");
        api.delete_as(user, &path).await.problem(403, "forbidden");
    }
    for (bad, field) in [
        (json!({ "year": 99 }), "year"),
        (json!({ "title": "" }), "title"),
        (json!({ "artists": [] }), "artists"),
        (json!({ "artists": [{ "id": artist, "role": "producer" }] }), "artists"),
        (json!({ "artists": [{ "id": artist }, { "id": artist }] }), "artists[1].id"),
        (json!({ "artists": [{ "id": album }] }), "artists[0].id"),
    ] {
        assert_eq!(api.patch_as(&ann, &path, &bad).await.problem(422, "invalid"), [field], "{bad}");
    }

    api.delete_as(&ann, &path).await.expect(200);
    for path in [&path, &song_path, &format!("{song_path}/stream")] {
        api.get(path).await.problem(404, "not-found");
    }
    api.post_as(&ann, "/v1/albums", &new).await.problem(409, "album-removed");
    api.post_as(&bob, &format!("{path}/restore"), &json!({})).await.problem(403, "forbidden");
    api.post_as(&ann, &format!("{path}/restore"), &json!({})).await.expect(200);
    assert_eq!(ids(&page(&api, &format!("{path}/songs")).await), [song.as_str()]);
}

async fn song_is_edited_by_its_publisher_and_its_artists_manager(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob, admin) = (chorus.artist("ann").await, chorus.artist("bob").await, admin(chorus).await);
    let song = api.publish_song(&ann, &fresh("Draft")).await;
    let (path, artist) = (format!("/v1/songs/{song}"), artist_of(&api, &song).await);
    let title = fresh("Final ");
    let change = json!({
        "title": title, "track": 3, "disc": 2, "year": 2001, "genres": ["Folk", "Sea shanty"], "explicit": true,
        "lyrics": "La la", "display_artist": "Ann & friends",
    });
    api.patch_as(&bob, &path, &change).await.problem(403, "forbidden");
    api.patch_as(&ann, &path, &change).await.expect(200);
    let shown = page(&api, &path).await;
    for field in ["title", "track", "disc", "year", "genres", "explicit", "display_artist"] {
        assert_eq!(shown[field], change[field], "{field}");
    }
    let found = api.send(api.request(Method::GET, "/v1/search").query(&[("q", &title)])).await.expect(200);
    assert_eq!(found.json()["songs"][0]["id"], json!(song));
    let listed = page(&api, "/v1/genres/folk/songs?limit=100").await;
    assert!(ids(&listed).contains(&song.as_str()), "{listed}");
    api.patch_as(&ann, &path, &json!({ "track": null, "genres": [] })).await.expect(200);
    let shown = page(&api, &path).await;
    assert_eq!((&shown["track"], &shown["disc"], &shown["genres"]), (&Value::Null, &json!(2), &json!([])));

    // A manager edits what the artist shows, and nothing that is private to another manager.
    api.put_as(&admin, &format!("/v1/artists/{artist}/managers/{}", bob.id)).await.expect(200);
    api.patch_as(&bob, &path, &json!({ "track": 4 })).await.expect(200);
    api.patch_as(&ann, &path, &json!({ "visibility": "private" })).await.expect(200);
    api.get(&path).await.problem(404, "not-found");
    api.patch_as(&bob, &path, &json!({ "track": 5 })).await.problem(404, "not-found");
    api.patch_as(&admin, &path, &json!({ "visibility": "public" })).await.expect(200);

    let own = add_artist(&api, &bob, &fresh("Bob ")).await;
    let credited = json!({ "artists": [{ "id": own }] });
    api.patch_as(&ann, &path, &credited).await.problem(403, "forbidden");
    api.patch_as(&bob, &path, &credited).await.expect(200);
    assert_eq!(artist_of(&api, &song).await, own);
    let album = json!({ "title": fresh("Bob's "), "artists": [{ "id": own }] });
    let album = api.post_as(&bob, "/v1/albums", &album).await.expect(201).id();
    let other = json!({ "title": fresh("Ann's "), "artists": [{ "id": artist }] });
    let other = api.post_as(&ann, "/v1/albums", &other).await.expect(201).id();
    api.patch_as(&bob, &path, &json!({ "album": album })).await.expect(200);
    api.patch_as(&ann, &path, &json!({ "album": other })).await.expect(200);
    api.patch_as(&ann, &path, &json!({ "album": album })).await.problem(403, "forbidden");
    for (bad, field) in [
        (json!({ "album": own }), "album"),
        (json!({ "track": 0 }), "track"),
        (json!({ "year": 3000 }), "year"),
        (json!({ "lyrics": "" }), "lyrics"),
        (json!({ "genres": ["x", "a\nb"] }), "genres[1]"),
    ] {
        assert_eq!(api.patch_as(&ann, &path, &bad).await.problem(422, "invalid"), [field], "{bad}");
    }
}

async fn only_publishers_create_uploads(chorus: &Chorus) {
    let api = chorus.api();
    let listener = api.sign_up("listener").await;
    api.post_as(&listener, "/v1/uploads", &json!({ "size": 1000 })).await.problem(403, "forbidden");
    let artist = chorus.artist("ann").await;
    let upload = api.post_as(&artist, "/v1/uploads", &json!({ "size": 1000 })).await.expect(201).id();
    api.delete_as(&artist, &format!("/v1/uploads/{upload}")).await.expect(204);
    let admin = admin(chorus).await;
    api.post_as(&admin, "/v1/uploads", &json!({ "size": 1000 })).await.expect(201);
}

async fn cover_is_shown_while_what_it_belongs_to_is_visible(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let song = json!({
        "upload": api.upload_audio(&ann, &wav(&fresh("Covered"), 31)).await, "title": "Covered",
        "artists": [{ "name": ann.username }], "album": { "title": fresh("Album ") },
    });
    let song = format!("/v1/songs/{}", api.post_as(&ann, "/v1/songs", &song).await.expect(201).id());
    let album = page(&api, &song).await["album"]["id"].as_str().unwrap().to_owned();
    let album = format!("/v1/albums/{album}");
    let url = async |path: &str| page(&api, path).await["cover"]["large"].as_str().map(str::to_owned);
    assert_eq!((url(&song).await, url(&album).await), (None, None));

    let set = put_picture(&api, &ann, &format!("{album}/cover"), png(1200, 900)).await.expect(200).json();
    let of_album = url(&album).await.unwrap();
    assert_eq!(set["cover"], page(&api, &album).await["cover"]);
    assert_eq!(url(&song).await.as_ref(), Some(&of_album), "songs show the cover of their album");
    let picture = api.get(&of_album).await.expect(200);
    assert_eq!(picture.header("content-type"), Some("image/jpeg"));
    let picture = image::load_from_memory(&picture.body).unwrap();
    assert_eq!((picture.width(), picture.height()), (1000, 1000));

    put_picture(&api, &ann, &format!("{song}/cover"), png(300, 300)).await.expect(200);
    let own = url(&song).await.unwrap();
    assert_ne!(own, of_album);
    let compat = page(&api, "/spotifymern/musics/all").await;
    assert!(compat.to_string().contains(&own), "{compat}");
    api.delete_as(&ann, &song).await.expect(200);
    api.get(&own).await.problem(404, "not-found");
    api.post_as(&ann, &format!("{song}/restore"), &json!({})).await.expect(200);
    api.get(&own).await.expect(200);
    api.delete_as(&ann, &album).await.expect(200);
    for picture in [&own, &of_album] {
        api.get(picture).await.problem(404, "not-found");
    }
    api.post_as(&ann, &format!("{album}/restore"), &json!({})).await.expect(200);
    for picture in [&own, &of_album] {
        api.get(picture).await.expect(200);
    }

    api.delete_as(&ann, &format!("{song}/cover")).await.expect(200);
    api.get(&own).await.problem(404, "not-found");
    assert_eq!(url(&song).await.as_ref(), Some(&of_album));
    let again = api.delete_as(&ann, &format!("{song}/cover")).await.expect(200).json();
    assert_eq!(again["changed"], false);
    api.delete_as(&ann, &format!("{album}/cover")).await.expect(200);
    assert_eq!((url(&song).await, url(&album).await), (None, None));
    api.get(&of_album).await.problem(404, "not-found");
}

/// A WAV file with an ID3v2.3 tag that has a picture.
fn with_cover(audio: Vec<u8>, picture: &[u8]) -> Vec<u8> {
    // Encoding, media type, the type of a front cover, and no description.
    let content = [&b"\0image/png\0\x03\0"[..], picture].concat();
    let size = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    let frame = [&b"APIC"[..], &size(content.len()), &[0, 0], &content].concat();
    let length = u32::try_from(frame.len()).unwrap();
    // Seven bits a byte.
    let length = [21, 14, 7, 0].map(|bits| (length >> bits).to_le_bytes()[0] & 0x7f);
    let mut tag = [&b"ID3\x03\0\0"[..], &length, &frame].concat();
    if tag.len() % 2 == 1 {
        tag.push(0);
    }
    let mut file = audio;
    file.extend([&b"ID3 "[..], &u32::try_from(tag.len()).unwrap().to_le_bytes(), &tag].concat());
    let riff = u32::try_from(file.len() - 8).unwrap().to_le_bytes();
    file[4..8].copy_from_slice(&riff);
    file
}

async fn cover_of_a_file_becomes_that_of_its_album(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let album = fresh("Tagged ");
    let publish = async |audio: Vec<u8>, album: Option<&str>| {
        let mut song = json!({
            "upload": api.upload_audio(&ann, &audio).await, "title": fresh("Song "),
            "artists": [{ "name": ann.username }],
        });
        if let Some(album) = album {
            song["album"] = json!({ "title": album });
        }
        let song = api.post_as(&ann, "/v1/songs", &song).await.expect(201).id();
        page(&api, &format!("/v1/songs/{song}")).await
    };
    let tagged = |seed: &str, side| with_cover(wav(&fresh(seed), 31), &png(side, side));
    let first = publish(tagged("first", 400), Some(&album)).await;
    let cover = first["cover"]["large"].as_str().unwrap_or_else(|| panic!("{first}"));
    api.get(cover).await.expect(200);
    let shown = page(&api, &format!("/v1/albums/{}", first["album"]["id"].as_str().unwrap())).await;
    assert_eq!(shown["cover"]["large"], json!(cover));
    // The second song of the album has no cover of its own.
    assert_eq!(publish(tagged("second", 200), Some(&album)).await["cover"], first["cover"]);
    let single = publish(tagged("single", 300), None).await;
    assert_ne!(single["cover"], first["cover"]);
    api.get(single["cover"]["small"].as_str().unwrap()).await.expect(200);
    // A bad cover refuses no song.
    for bad in [&b"hello"[..], &png(64, 64)[..60], b""] {
        assert_eq!(publish(with_cover(wav(&fresh("bad"), 31), bad), None).await["cover"], Value::Null);
    }
}

async fn only_editors_change_covers_and_bad_pictures_are_refused(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (chorus.artist("ann").await, chorus.artist("bob").await);
    let song = json!({
        "upload": api.upload_audio(&ann, &wav(&fresh("Own"), 31)).await, "title": "Own",
        "artists": [{ "name": ann.username }], "album": { "title": fresh("Own ") },
    });
    let song = api.post_as(&ann, "/v1/songs", &song).await.expect(201).id();
    let album = page(&api, &format!("/v1/songs/{song}")).await["album"]["id"].as_str().unwrap().to_owned();
    let artist = artist_of(&api, &song).await;
    let nothing = "00000000000070008000000000000000";
    let paths = |artist: &str, album: &str, song: &str| {
        [
            format!("/v1/artists/{artist}/image"),
            format!("/v1/albums/{album}/cover"),
            format!("/v1/songs/{song}/cover"),
        ]
    };
    let listener = api.sign_up("listener").await;
    for path in paths(&artist, &album, &song) {
        for user in [&bob, &listener] {
            put_picture(&api, user, &path, png(40, 40)).await.problem(403, "forbidden");
            api.delete_as(user, &path).await.problem(403, "forbidden");
        }
        put_picture(&api, &ann, &path, b"hello".to_vec()).await.problem(422, "not-an-image");
        put_picture(&api, &ann, &path, vec![0; 20 * 1024 * 1024 + 1]).await.problem(413, "too-large");
        put_picture(&api, &ann, &path, png(40, 40)).await.expect(200);
    }
    for path in paths(nothing, nothing, nothing) {
        put_picture(&api, &ann, &path, png(40, 40)).await.problem(404, "not-found");
        api.delete_as(&ann, &path).await.problem(404, "not-found");
    }
}

async fn replayed_cover_is_the_same_picture(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let song = api.publish_song(&ann, &fresh("Replayed")).await;
    let path = format!("/v1/songs/{song}/cover");
    let send = async |side: u32| {
        let request = api.request(Method::PUT, &path).bearer_auth(&ann.token);
        api.send(request.header("Idempotency-Key", "cover").body(png(side, side))).await
    };
    let first = send(40).await.expect(200).json();
    put_picture(&api, &ann, &path, png(60, 60)).await.expect(200);
    assert_eq!(send(40).await.expect(200).json(), first);
    send(50).await.problem(422, "idempotency-key-reused");
}
