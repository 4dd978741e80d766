//! The storage quota of accounts on both deployments: songs take it, removed songs give it back.

#![allow(clippy::unwrap_used, reason = "tests say what went wrong by failing")]

use serde_json::json;
use tests::chorus::Chorus;
use tests::client::{Answer, User, fresh, wav};

/// A song of the test has 248,044 bytes: two fit.
const SETTINGS: [(&str, &str); 1] = [("CHORUS_STORAGE_QUOTA", "600000")];

#[tokio::test(flavor = "multi_thread")]
async fn removed_songs_give_the_quota_back_standalone() {
    removed_songs_give_the_quota_back(&Chorus::standalone_with(&SETTINGS).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_songs_give_the_quota_back_distributed() {
    removed_songs_give_the_quota_back(&Chorus::distributed_with(&SETTINGS).await.unwrap()).await;
}

async fn removed_songs_give_the_quota_back(chorus: &Chorus) {
    let api = chorus.api();
    let (artist, other) = (chorus.artist("singer").await, chorus.artist("rival").await);
    let create = async |user: &User| -> Answer {
        api.post_as(user, "/v1/uploads", &json!({ "size": wav("x", 31).len() })).await
    };
    let remove = async |song: &str| api.delete_as(&artist, &format!("/v1/songs/{song}")).await.expect(200);
    let restore =
        async |song: &str| api.post_as(&artist, &format!("/v1/songs/{song}/restore"), &json!({})).await;
    let first = api.publish_song(&artist, &fresh("First")).await;
    let second = api.publish_song(&artist, &fresh("Second")).await;
    create(&artist).await.problem(507, "quota-exceeded");
    create(&other).await.expect(201);

    for _ in 0..2 {
        remove(&first).await;
    }
    // Another account's request gives nothing back.
    api.delete_as(&other, &format!("/v1/songs/{second}")).await.problem(403, "forbidden");
    let third = api.publish_song(&artist, &fresh("Third")).await;
    create(&artist).await.problem(507, "quota-exceeded");
    restore(&first).await.problem(507, "quota-exceeded");
    api.get(&format!("/v1/songs/{first}")).await.problem(404, "not-found");

    remove(&third).await;
    assert_eq!(restore(&first).await.expect(200).json()["changed"], true);
    assert_eq!(restore(&first).await.expect(200).json()["changed"], false);
    restore(&third).await.problem(507, "quota-exceeded");
    api.get(&format!("/v1/songs/{first}/stream")).await.expect(200);
    // An upload in progress takes it as well.
    remove(&second).await;
    let upload = create(&artist).await.expect(201).id();
    restore(&second).await.problem(507, "quota-exceeded");
    api.delete_as(&artist, &format!("/v1/uploads/{upload}")).await.expect(204);
    restore(&second).await.expect(200);
}
