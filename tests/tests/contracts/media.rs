use std::time::Duration;

use media::{FileMedia, MediaKey, MediaStore, open};
use service::clock::{Clock, SystemClock};
use tests::contracts::media as contract;
use tests::servers::MotoServer;

async fn keeps_the_contract(store: &dyn MediaStore) {
    contract::what_is_put_is_got_whole(store).await;
    contract::what_is_put_again_replaces_and_what_is_deleted_is_gone(store).await;
    contract::a_part_is_got_alone(store).await;
    contract::everything_is_listed_once_with_its_time(store, SystemClock.now()).await;
    contract::what_lies_below_a_key_is_deleted_and_nothing_else(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_contract_of_the_media_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileMedia::open(folder.path()).unwrap();
    keeps_the_contract(&store).await;
    // Nothing half-written stays behind.
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            assert!(!entry.file_name().to_string_lossy().starts_with('.'), "{entry:?}");
            folders.extend(entry.path().is_dir().then(|| entry.path()));
        }
    }
    // A folder that has become a file takes nothing more.
    let path = folder_that_is_gone();
    let store = FileMedia::open(&path).unwrap();
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    assert!(store.put(&MediaKey::parse("a/b.jpg").unwrap(), bytes::Bytes::new()).await.is_err());
    std::fs::remove_file(&path).unwrap();
}

fn folder_that_is_gone() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("chorus-media-{:016x}", rand::random::<u64>()))
}

/// A bucket, its prefix, and links to it: over HTTP, against a server that speaks S3.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_the_contract_of_the_media_store() {
    let mut server = MotoServer::start().await.unwrap();
    let (url, endpoint) = (server.media_url("media"), server.endpoint());
    let store = open(&url.replace("s3://media?", "s3://media/some/prefix?")).await.unwrap();
    keeps_the_contract(&*store).await;
    let key = MediaKey::parse("a.jpg").unwrap();
    assert_eq!(store.link(&key, Duration::from_mins(1)).await.unwrap(), None, "browsers cannot reach it");

    let linked = open(&format!("{url}&public_endpoint={endpoint}")).await.unwrap();
    linked.put(&key, bytes::Bytes::from_static(b"picture")).await.unwrap();
    let link = linked.link(&key, Duration::from_mins(1)).await.unwrap().unwrap();
    assert!(link.contains("X-Amz-Signature") && link.contains("X-Amz-Expires=60"), "{link}");
    // Whatever was stored with the object before, the answer says how long it may be kept.
    assert!(link.contains("response-cache-control=public%2C%20max-age%3D300"), "{link}");
    let answer = reqwest_get(&link).await;
    assert_eq!(answer, ("image/jpeg".to_owned(), b"picture".to_vec()));

    server.kill().unwrap();
    contract::an_outage_is_told(&*store).await;
}

async fn reqwest_get(url: &str) -> (String, Vec<u8>) {
    let api = tests::client::Api::plain();
    let answer = api.get(url).await.expect(200);
    (answer.header("content-type").unwrap().to_owned(), answer.body)
}
