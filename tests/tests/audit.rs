//! `chorus media audit` on both deployments: it finds nothing after regular use, and it finds manual changes of the store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

use bytes::Bytes;
use futures::TryStreamExt;
use media::{Listed, MediaKey};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use tests::chorus::Chorus;
use tests::client::{Api, User, png};

const AUDIT: [&str; 4] = ["media", "audit", "--grace", "0"];

#[tokio::test(flavor = "multi_thread")]
async fn media_audit_reports_exactly_the_differences_standalone() {
    media_audit_reports_exactly_the_differences(&Chorus::standalone().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_audit_reports_exactly_the_differences_distributed() {
    media_audit_reports_exactly_the_differences(&Chorus::distributed().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_audit_knows_covers_standalone() {
    media_audit_knows_covers(&Chorus::standalone().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_audit_knows_covers_distributed() {
    media_audit_knows_covers(&Chorus::distributed().await.unwrap()).await;
}

/// One audio file; an artist's picture and a song's cover, each in two sizes, after one of each was replaced.
async fn media_audit_knows_covers(chorus: &Chorus) {
    let api = chorus.api();
    let ann = chorus.artist("ann").await;
    let song = api.publish_song(&ann, "Dawn").await;
    let page = api.get(&format!("/v1/songs/{song}")).await.expect(200).json();
    let artist = page["artists"][0]["id"].as_str().unwrap().to_owned();
    for path in [format!("/v1/artists/{artist}/image"), format!("/v1/songs/{song}/cover")] {
        for side in [30, 40] {
            let request = api.request(Method::PUT, &path).bearer_auth(&ann.token);
            api.send(request.body(png(side, side))).await.expect(200);
        }
    }
    chorus.settle().await.unwrap();
    let printed = chorus.run_cli(&AUDIT).unwrap();
    assert!(printed.contains("2 pictures are referenced, 5 files are stored"), "{printed}");
    assert!(printed.contains("nothing is missing, nothing is unreferenced"), "{printed}");
    // A removed song keeps its files.
    api.delete_as(&ann, &format!("/v1/songs/{song}")).await.expect(200);
    let printed = chorus.run_cli(&AUDIT).unwrap();
    assert!(printed.contains("2 pictures are referenced, 5 files are stored"), "{printed}");
}

async fn change_photo(api: &Api, user: &User, side: u32) {
    let request = api.request(Method::PUT, "/v1/me/photo").bearer_auth(&user.token);
    let request = request.header("content-type", "application/octet-stream").body(png(side, side));
    api.send(request).await.expect(200);
}

async fn media_audit_reports_exactly_the_differences(chorus: &Chorus) {
    let api = chorus.api();
    let (ann, bob) = (api.sign_up("ann").await, api.sign_up("bob").await);
    let kept = api.publish(&ann, "Dawn").await;
    let two = Form::new().part("image", Part::bytes(png(30, 40))).part("image", Part::bytes(png(40, 30)));
    let gone = api.publish_form(&ann, two).await.expect(201).id();
    change_photo(&api, &ann, 50).await;
    change_photo(&api, &ann, 60).await;
    change_photo(&api, &bob, 70).await;
    // One of the two images is invalid: nothing of the post is stored.
    let half = Form::new().part("image", Part::bytes(png(9, 9))).part("image", Part::bytes(&b"hello"[..]));
    api.publish_form(&bob, half).await.problem(422, "not-an-image");
    let picture = api.post_page(&gone).await["images"][1]["feed"].as_str().unwrap().to_owned();
    api.get(&picture).await.expect(200);
    api.delete_as(&ann, &format!("/v1/posts/{gone}")).await.expect(200);
    api.delete_as(&bob, "/v1/me/photo").await.expect(200);
    chorus.settle().await.unwrap();
    api.get(&picture).await.problem(404, "not-found");
    let printed = chorus.run_cli(&AUDIT).unwrap();
    assert!(printed.contains("2 pictures are referenced, 5 files are stored"), "{printed}");
    assert!(printed.contains("nothing is missing, nothing is unreferenced"), "{printed}");

    let store = chorus.media().await.unwrap();
    let url = api.post_page(&kept).await["images"][0]["thumb"].as_str().unwrap().to_owned();
    let lost = MediaKey::parse(url.split("/media/").nth(1).unwrap()).unwrap();
    store.delete(&lost).await.unwrap();
    for extra in [&format!("images/{}/feed.jpg", "0".repeat(32)), "notes.txt"] {
        store.put(&MediaKey::parse(extra).unwrap(), Bytes::from_static(b"x")).await.unwrap();
    }
    let printed = chorus.run_cli(&AUDIT).unwrap_err().to_string();
    assert!(printed.contains(&format!("missing       {lost}  (of post.{kept})")), "{printed}");
    assert!(printed.contains(&format!("unreferenced  images/{}/feed.jpg\n", "0".repeat(32))), "{printed}");
    assert!(printed.contains("unreferenced  notes.txt\n"), "{printed}");
    assert!(printed.contains("1 files are missing, 2 are unreferenced"), "{printed}");
    // New files may be uploads in progress; missing files are always reported.
    let printed = chorus.run_cli(&["media", "audit"]).unwrap_err().to_string();
    assert!(printed.contains("1 files are missing, 0 are unreferenced"), "{printed}");
    let all: Vec<Listed> = store.list().try_collect().await.unwrap();
    assert_eq!(all.len(), 6, "an audit changes nothing: {all:?}");
}
