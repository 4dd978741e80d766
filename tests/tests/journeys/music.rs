use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use service::config::Secret;
use tests::chorus::Chorus;
use tests::client::{Answer, Api, User, fresh, sha256, wav};
use web::tokens::SigningKeys;

crate::journeys! {
    song_is_uploaded_in_parts_published_listed_and_searched,
    upload_refuses_wrong_offsets_checksums_and_files,
    refused_files_take_no_place_of_other_uploads,
    uploads_in_progress_are_listed,
    only_artists_publish_and_only_for_artists_that_they_manage,
    song_is_streamed_whole_and_in_ranges,
    private_song_is_played_by_its_publisher_only,
    removed_song_is_not_found_until_it_is_restored,
    published_song_is_analysed_in_the_background,
    stream_link_plays_one_song_until_it_is_removed,
    expired_stream_link_is_gone,
}

async fn append(api: &Api, user: &User, upload: &str, offset: usize, part: &[u8]) -> Answer {
    let request = api.request(Method::PATCH, &format!("/v1/uploads/{upload}")).bearer_auth(&user.token);
    let request = request.header("upload-offset", offset.to_string());
    api.send(request.header("content-type", "application/octet-stream").body(part.to_vec())).await
}

async fn create(api: &Api, user: &User, size: usize) -> String {
    api.post_as(user, "/v1/uploads", &json!({ "size": size })).await.expect(201).id()
}

async fn finish(api: &Api, user: &User, upload: &str, sha256: &str) -> Answer {
    api.post_as(user, &format!("/v1/uploads/{upload}/finish"), &json!({ "sha256": sha256 })).await
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

async fn song_is_uploaded_in_parts_published_listed_and_searched(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("singer").await;
    let (title, audio) = (fresh("Röyksopp"), wav(&fresh("parts"), 31));
    let upload = create(&api, &artist, audio.len()).await;
    let half = audio.len() / 2;
    append(&api, &artist, &upload, 0, &audio[..half]).await.expect(200);
    let state = api.get_as(&artist, &format!("/v1/uploads/{upload}")).await.expect(200).json();
    assert_eq!(state["offset"], half);
    append(&api, &artist, &upload, half, &audio[half..]).await.expect(200);
    let checked = finish(&api, &artist, &upload, &sha256(&audio)).await.expect(200).json();
    assert_eq!((&checked["format"], &checked["duration_ms"]), (&json!("wav"), &json!(31_000)), "{checked}");

    let song = json!({
        "upload": upload, "title": title, "artists": [{ "name": artist.username }],
        "album": { "title": format!("{title} album") }, "track": 1, "genres": ["Downtempo"],
    });
    let published = api.post_as(&artist, "/v1/songs", &song).await.expect(201);
    let id = published.id();
    assert_eq!(published.json()["pending"], false);
    // The same file again is the same song.
    let again = api.upload_audio(&artist, &audio).await;
    let repeated =
        json!({ "upload": again, "title": title, "artists": song["artists"], "album": song["album"] });
    let repeated = api.post_as(&artist, "/v1/songs", &repeated).await.expect(201).json();
    assert_eq!((&repeated["id"], &repeated["changed"]), (&json!(id), &json!(false)));

    let shown = api.get(&format!("/v1/songs/{id}")).await.expect(200).json();
    assert_eq!(
        (&shown["title"], &shown["track"], &shown["genres"]),
        (&json!(title), &json!(1), &json!(["Downtempo"]))
    );
    let (singer, album) =
        (shown["artists"][0]["id"].as_str().unwrap(), shown["album"]["id"].as_str().unwrap());
    for list in [
        "/v1/songs?limit=100".to_owned(),
        format!("/v1/artists/{singer}/songs"),
        format!("/v1/albums/{album}/songs"),
        "/v1/genres/downtempo/songs?limit=100".to_owned(),
    ] {
        let page = api.get(&list).await.expect(200).json();
        assert!(ids(&page["items"]).contains(&id.as_str()), "{list}: {page}");
    }
    assert!(
        ids(&api.get(&format!("/v1/artists/{singer}/albums")).await.expect(200).json()["items"])
            .contains(&album)
    );
    let genres = api.get("/v1/genres?limit=100").await.expect(200).json();
    assert!(genres["items"].as_array().unwrap().iter().any(|genre| genre["name"] == "Downtempo"), "{genres}");

    let plain = title.replace('ö', "o");
    let search = async |text: &str| {
        let request = api.request(Method::GET, "/v1/search").query(&[("q", text)]);
        api.send(request).await.expect(200).json()
    };
    for text in
        [plain.clone(), format!("{plain} {}", artist.username), format!("{} album", plain.to_uppercase())]
    {
        let found = search(&text).await;
        assert_eq!(ids(&found["songs"]), [id.as_str()], "{text}: {found}");
    }
    assert_eq!(ids(&search(&artist.username).await["artists"]), [singer]);
    assert_eq!(ids(&search(&format!("{plain} album")).await["albums"]), [album]);
}

async fn upload_refuses_wrong_offsets_checksums_and_files(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("singer").await;
    let audio = wav(&fresh("refused"), 31);
    let upload = create(&api, &artist, audio.len()).await;
    append(&api, &artist, &upload, 0, &audio[..1000]).await.expect(200);
    for offset in [0, 999, 1001] {
        let refused = append(&api, &artist, &upload, offset, b"x").await;
        refused.problem(409, "wrong-offset");
        assert_eq!(refused.header("upload-offset"), Some("1000"));
    }
    finish(&api, &artist, &upload, &sha256(&audio)).await.problem(409, "upload-incomplete");
    append(&api, &artist, &upload, 1000, &[&audio[1000..], b"too much"].concat())
        .await
        .problem(413, "too-large");
    let other = api.sign_up("bob").await;
    api.get_as(&other, &format!("/v1/uploads/{upload}")).await.problem(404, "not-found");

    let upload = create(&api, &artist, audio.len()).await;
    append(&api, &artist, &upload, 0, &audio).await.expect(200);
    for _ in 0..2 {
        let refused = finish(&api, &artist, &upload, &"0".repeat(64)).await;
        assert_eq!(refused.problem(422, "invalid"), ["sha256"]);
    }
    // The right checksum is accepted after a wrong one.
    finish(&api, &artist, &upload, &sha256(&audio)).await.expect(200);
    append(&api, &artist, &upload, audio.len(), b"").await.problem(409, "upload-finished");

    for bad in [&b"not audio at all, only text"[..], &audio[..audio.len() / 2]] {
        let upload = create(&api, &artist, bad.len()).await;
        append(&api, &artist, &upload, 0, bad).await.expect(200);
        finish(&api, &artist, &upload, &sha256(bad)).await.problem(422, "audio-refused");
        let song = json!({ "upload": upload, "title": "x", "artists": [{ "name": artist.username }] });
        assert!(api.post_as(&artist, "/v1/songs", &song).await.status.is_client_error());
    }
    assert!(
        api.post_as(&artist, "/v1/uploads", &json!({ "size": 524_288_001 })).await.status.is_client_error()
    );
}

async fn refused_files_take_no_place_of_other_uploads(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("singer").await;
    let bad = b"not audio at all, only text";
    let mut upload = String::new();
    // One more than an account may have in progress.
    for _ in 0..21 {
        upload = create(&api, &artist, bad.len()).await;
        append(&api, &artist, &upload, 0, bad).await.expect(200);
        finish(&api, &artist, &upload, &sha256(bad)).await.problem(422, "audio-refused");
    }
    // The answer to `finish` may have been lost.
    finish(&api, &artist, &upload, &sha256(bad)).await.problem(422, "audio-refused");
    api.get_as(&artist, &format!("/v1/uploads/{upload}")).await.problem(404, "not-found");
    append(&api, &artist, &upload, 0, bad).await.problem(404, "not-found");
    for _ in 0..20 {
        create(&api, &artist, bad.len()).await;
    }
    let refused = api.post_as(&artist, "/v1/uploads", &json!({ "size": bad.len() })).await;
    refused.problem(409, "too-many-uploads");
    assert!(refused.text().contains("GET /v1/uploads"), "{}", refused.text());
}

async fn uploads_in_progress_are_listed(chorus: &Chorus) {
    let api = chorus.api();
    let (artist, other) = (chorus.artist("singer").await, chorus.artist("rival").await);
    let started = create(&api, &artist, 1000).await;
    append(&api, &artist, &started, 0, &[0; 10]).await.expect(200);
    let finished = api.upload_audio(&artist, &wav(&fresh("listed"), 31)).await;
    // Its upload is no longer in progress.
    api.publish_song(&artist, &fresh("Listed")).await;
    let list = async |user: &User| api.get_as(user, "/v1/uploads").await.expect(200).json()["items"].clone();
    let mut expected = Vec::new();
    for upload in [&started, &finished] {
        expected.push(api.get_as(&artist, &format!("/v1/uploads/{upload}")).await.expect(200).json());
    }
    assert_eq!(list(&artist).await, json!(expected));
    assert_eq!((&expected[0]["offset"], &expected[0]["finished"]), (&json!(10), &json!(false)));
    assert_eq!(expected[1]["finished"], true);
    for upload in &expected {
        let expires_at = upload["expires_at"].as_str().unwrap();
        assert!(expires_at.len() <= "2026-11-28T12:00:00.000Z".len(), "{expires_at}");
    }
    assert_eq!(list(&other).await, json!([]));
    api.delete_as(&artist, &format!("/v1/uploads/{started}")).await.expect(204);
    assert_eq!(ids(&list(&artist).await), [finished.as_str()]);
}

async fn only_artists_publish_and_only_for_artists_that_they_manage(chorus: &Chorus) {
    let api = chorus.api();
    let (artist, other) = (chorus.artist("singer").await, chorus.artist("rival").await);
    api.publish_song(&artist, &fresh("Own")).await;
    let upload = api.upload_audio(&other, &wav(&fresh("rival"), 31)).await;
    let song = json!({ "upload": upload, "title": "Taken", "artists": [{ "name": artist.username.to_uppercase() }] });
    api.post_as(&other, "/v1/songs", &song).await.problem(403, "forbidden");
    let listener = api.sign_up("listener").await;
    let song = json!({ "upload": upload, "title": "Taken", "artists": [{ "name": "x" }] });
    assert!(api.post_as(&listener, "/v1/songs", &song).await.status.is_client_error());
}

async fn song_is_streamed_whole_and_in_ranges(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("singer").await;
    let title = fresh("Ranges");
    let (song, audio) = (api.publish_song(&artist, &title).await, wav(&title, 31));
    let path = format!("/v1/songs/{song}/stream");
    let size = audio.len();
    let whole = api.get(&path).await.expect(200);
    assert_eq!(whole.body, audio);
    assert_eq!(whole.header("content-type"), Some("audio/wav"));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("cross-origin-resource-policy"), Some("cross-origin"));
    assert_eq!(whole.header("content-encoding"), None);
    let (tag, modified) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    assert!(!tag.starts_with("W/"), "{tag}");
    let ask = async |method: Method, headers: &[(&str, &str)]| {
        let request =
            headers.iter().fold(api.request(method, &path), |r, (name, value)| r.header(*name, *value));
        api.send(request).await
    };
    for (range, from, to) in [
        ("bytes=0-1", 0, 1),
        ("bytes=1000-", 1000, size - 1),
        ("bytes=-10", size - 10, size - 1),
        ("bytes=5-99999999", 5, size - 1),
    ] {
        let part = ask(Method::GET, &[("range", range)]).await.expect(206);
        assert_eq!(part.body, audio[from..=to], "{range}");
        assert_eq!(part.header("content-range").unwrap(), format!("bytes {from}-{to}/{size}"));
    }
    for headers in [
        &[("range", "bytes=0-1,5-6")][..],
        &[("range", "bytes=9-1")],
        &[("range", "bytes=0-1"), ("if-range", "\"another\"")],
        &[("range", "bytes=0-1"), ("if-range", "Thu, 01 Jan 1970 00:00:00 GMT")],
    ] {
        assert_eq!(ask(Method::GET, headers).await.expect(200).body.len(), size, "{headers:?}");
    }
    for version in [tag, modified] {
        ask(Method::GET, &[("range", "bytes=0-1"), ("if-range", version)]).await.expect(206);
    }
    let beyond = ask(Method::GET, &[("range", &format!("bytes={size}-"))]).await.expect(416);
    assert_eq!(beyond.header("content-range").unwrap(), format!("bytes */{size}"));
    assert_eq!(ask(Method::GET, &[("if-none-match", tag)]).await.expect(304).body.len(), 0);
    let head = ask(Method::HEAD, &[]).await.expect(200);
    assert_eq!(head.header("content-length").unwrap(), size.to_string());
}

async fn private_song_is_played_by_its_publisher_only(chorus: &Chorus) {
    let api = chorus.api();
    let (artist, other) = (chorus.artist("singer").await, api.sign_up("bob").await);
    let title = fresh("Secret");
    let upload = api.upload_audio(&artist, &wav(&title, 31)).await;
    let song = json!({
        "upload": upload, "title": title, "artists": [{ "name": artist.username }], "visibility": "private",
    });
    let song = api.post_as(&artist, "/v1/songs", &song).await.expect(201).id();
    for path in [format!("/v1/songs/{song}"), format!("/v1/songs/{song}/stream")] {
        api.get(&path).await.problem(404, "not-found");
        api.get_as(&other, &path).await.problem(404, "not-found");
        api.get_as(&artist, &path).await.expect(200);
    }
    let found =
        api.send(api.request(Method::GET, "/v1/search").query(&[("q", &title)])).await.expect(200).json();
    assert_eq!(found["songs"], json!([]));
}

async fn removed_song_is_not_found_until_it_is_restored(chorus: &Chorus) {
    let api = chorus.api();
    let (artist, other) = (chorus.artist("singer").await, chorus.artist("rival").await);
    let song = api.publish_song(&artist, &fresh("Gone")).await;
    let path = format!("/v1/songs/{song}");
    api.delete_as(&other, &path).await.problem(403, "forbidden");
    api.delete_as(&artist, &path).await.expect(200);
    for path in [path.clone(), format!("{path}/stream")] {
        api.get_as(&artist, &path).await.problem(404, "not-found");
    }
    api.post_as(&artist, &format!("{path}/restore"), &json!({})).await.expect(200);
    api.get(&path).await.expect(200);
    api.get(&format!("{path}/stream")).await.expect(200);
}

async fn published_song_is_analysed_in_the_background(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("singer").await;
    let song = api.publish_song(&artist, &fresh("Measured")).await;
    chorus.settle().await.unwrap();
    let shown = api.get(&format!("/v1/songs/{song}")).await.expect(200).json();
    // Noise at full scale.
    let (loudness, peak) = (shown["loudness"].as_f64().unwrap(), shown["peak"].as_f64().unwrap());
    assert!((-15.0..0.0).contains(&loudness) && (-1.0..6.0).contains(&peak), "{loudness} LUFS, {peak} dB");
    let waveform = shown["waveform"].as_array().unwrap();
    assert_eq!(waveform.len(), 200);
    assert!(waveform.iter().all(|peak| peak.as_u64().unwrap() > 200), "{waveform:?}");
}

async fn stream_link_plays_one_song_until_it_is_removed(chorus: &Chorus) {
    let api = chorus.api();
    let (artist, other) = (chorus.artist("singer").await, api.sign_up("bob").await);
    let title = fresh("Linked");
    let audio = wav(&title, 31);
    let upload = api.upload_audio(&artist, &audio).await;
    let song = json!({
        "upload": upload, "title": title, "artists": [{ "name": artist.username }], "visibility": "private",
    });
    let song = api.post_as(&artist, "/v1/songs", &song).await.expect(201).id();
    let links = format!("/v1/songs/{song}/stream-links");
    api.post(&links, &json!({})).await.problem(401, "unauthenticated");
    api.post_as(&other, &links, &json!({})).await.problem(404, "not-found");
    let created = api.post_as(&artist, &links, &json!({})).await.expect(201);
    assert_eq!(created.header("cache-control"), Some("no-store"));
    let link = created.json()["url"].as_str().unwrap().to_owned();
    let played = api.get_with(&link, "range", "bytes=0-99").await.expect(206);
    assert_eq!(played.body, audio[..100]);
    // A link carries no session.
    let (path, token) = link.split_once("?link=").unwrap();
    api.send(api.request(Method::GET, "/v1/me").bearer_auth(token)).await.problem(401, "invalid-token");
    api.get(&format!("{path}?link={}", artist.token)).await.problem(403, "link-invalid");
    for altered in [&token[1..], &token[..token.len() - 2], "", "x"] {
        api.get(&format!("{path}?link={altered}")).await.problem(403, "link-invalid");
    }
    let second = api.publish_song(&artist, &fresh("Not linked")).await;
    let of_second = format!("/v1/songs/{second}/stream?link={token}");
    api.get(&of_second).await.problem(403, "link-invalid");
    api.delete_as(&artist, &format!("/v1/songs/{song}")).await.expect(200);
    api.get(&link).await.problem(404, "not-found");
    api.post_as(&artist, &links, &json!({})).await.problem(404, "not-found");
}

async fn expired_stream_link_is_gone(chorus: &Chorus) {
    let api = chorus.api();
    let artist = chorus.artist("singer").await;
    let song = api.publish_song(&artist, &fresh("Late")).await;
    // With the keys of the server, as it would have signed the link itself.
    let keys = std::fs::read_to_string(chorus.folder().join("data/signing-keys.pem")).unwrap();
    let keys = SigningKeys::parse(&Secret::new(keys)).unwrap();
    let now = SystemClock.now();
    for (ended, status) in [(TimeDelta::minutes(-5), 206), (TimeDelta::minutes(5), 410)] {
        let link = keys.sign_link(artist.id.parse().unwrap(), song.parse().unwrap(), now - ended).unwrap();
        let stream = format!("/v1/songs/{song}/stream?link={link}");
        let played = api.get_with(&stream, "range", "bytes=0-99").await;
        if status == 410 {
            played.problem(410, "link-expired");
        } else {
            played.expect(status);
        }
    }
}
