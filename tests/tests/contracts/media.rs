use std::path::Path;
use std::time::Duration;

use media::{FileMedia, MediaKey, MediaStore, open};
use tests::contracts::media as contract;
use tests::fault_proxy::FaultProxy;
use tests::servers::MotoServer;
use tokio::sync::OnceCell;

/// One server for all tests; it ends with the test process.
async fn shared() -> &'static MotoServer {
    static SERVER: OnceCell<MotoServer> = OnceCell::const_new();
    SERVER.get_or_init(async || MotoServer::start().await.unwrap()).await
}

mod in_a_folder {
    use super::*;

    /// No temporary files are left.
    fn assert_clean(folder: &Path) {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                assert!(!entry.file_name().to_string_lossy().starts_with('.'), "{entry:?}");
                folders.extend(entry.path().is_dir().then(|| entry.path()));
            }
        }
    }

    macro_rules! in_a_folder {
        ($($promise:ident,)+) => {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                let folder = tempfile::tempdir().unwrap();
                contract::$promise(&FileMedia::open(folder.path()).unwrap()).await;
                assert_clean(folder.path());
            }
        )+};
    }
    tests::media_promises!(in_a_folder);

    #[tokio::test(flavor = "multi_thread")]
    async fn put_fails_when_the_folder_has_become_a_file() {
        let around = tempfile::tempdir().unwrap();
        let path = around.path().join("media");
        let store = FileMedia::open(&path).unwrap();
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(store.put(&MediaKey::parse("a/b.jpg").unwrap(), bytes::Bytes::new()).await.is_err());
    }
}

/// A bucket with a prefix, and presigned links, against a server with the S3 API.
mod in_a_bucket {
    use super::*;

    macro_rules! in_a_bucket {
        ($($promise:ident,)+) => {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                // Names of buckets have no underscores and a limited length, so the test's name is the prefix.
                let prefix = concat!("s3://media/some/prefix/", stringify!($promise), "?");
                let url = shared().await.media_url("media").replace("s3://media?", prefix);
                contract::$promise(&*open(&url).await.unwrap()).await;
            }
        )+};
    }
    tests::media_promises!(in_a_bucket);

    #[tokio::test(flavor = "multi_thread")]
    async fn link_is_presigned_for_the_public_endpoint() {
        let server = shared().await;
        let (url, endpoint) = (server.media_url("linked"), server.endpoint());
        let key = MediaKey::parse("a.jpg").unwrap();
        let store = open(&url).await.unwrap();
        assert_eq!(store.link(&key, Duration::from_mins(1)).await.unwrap(), None, "no public endpoint");
        let linked = open(&format!("{url}&public_endpoint={endpoint}")).await.unwrap();
        linked.put(&key, bytes::Bytes::from_static(b"picture")).await.unwrap();
        let link = linked.link(&key, Duration::from_mins(1)).await.unwrap().unwrap();
        assert!(link.contains("X-Amz-Signature") && link.contains("X-Amz-Expires=60"), "{link}");
        // The response sets the cache lifetime, whatever was stored with the object.
        assert!(link.contains("response-cache-control=public%2C%20max-age%3D300"), "{link}");
        let answer = reqwest_get(&link).await;
        assert_eq!(answer, ("image/jpeg".to_owned(), b"picture".to_vec()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn unreachable_bucket_is_reported() {
        let server = shared().await;
        let proxy = FaultProxy::to(server.port()).await.unwrap();
        let through = format!("http://127.0.0.1:{}", proxy.port());
        let url = server.media_url("unreachable").replace(&server.endpoint(), &through);
        let store = open(&url).await.unwrap();
        store.check().await.unwrap();
        proxy.cut();
        contract::outage_is_reported_by_every_call(&*store).await;
    }
}

async fn reqwest_get(url: &str) -> (String, Vec<u8>) {
    let api = tests::client::Api::plain();
    let answer = api.get(url).await.expect(200);
    (answer.header("content-type").unwrap().to_owned(), answer.body)
}
