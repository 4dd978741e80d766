//! The contract of [`MediaStore`].

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use chrono::TimeDelta;
use futures::TryStreamExt;
use media::{Listed, MediaError, MediaKey, MediaObject, MediaStore, Part};
use service::clock::{Clock, SystemClock};

/// Passes the name of every promise of a media store to a macro that makes a test of each.
#[macro_export]
macro_rules! media_promises {
    ($test:ident) => {
        $test! {
            stored_object_is_read_back_whole,
            file_is_stored_whole_and_stays_where_it_is,
            second_put_replaces_and_delete_removes_the_object,
            range_read_returns_the_requested_part,
            list_returns_every_object_once_with_its_time,
            delete_below_removes_only_objects_below_the_key,
        }
    };
}

fn key(name: &str) -> MediaKey {
    MediaKey::parse(&format!("contract/{:016x}/{name}", rand::random::<u64>())).unwrap()
}

async fn bytes(object: MediaObject) -> Bytes {
    let whole: BytesMut = object.body.try_collect().await.unwrap();
    whole.freeze()
}

fn content(length: usize) -> Bytes {
    (0..length).map(|n| n.to_le_bytes()[0]).collect()
}

pub async fn stored_object_is_read_back_whole(store: &dyn MediaStore) {
    for length in [1, 1000, 3_000_000] {
        let (key, content) = (key("a.jpg"), content(length));
        store.put(&key, content.clone()).await.unwrap();
        let found = store.get(&key, None).await.unwrap().unwrap();
        assert_eq!((found.size, found.range.clone()), (length as u64, 0..=length as u64 - 1));
        assert_eq!(bytes(found).await, content);
        assert_eq!(store.size(&key).await.unwrap(), Some(length as u64));
        // An object is not a folder.
        let below = MediaKey::parse(&format!("{key}/b.jpg")).unwrap();
        assert!(store.get(&below, None).await.unwrap().is_none());
        assert_eq!(store.size(&below).await.unwrap(), None);
        store.delete(&below).await.unwrap();
    }
    assert!(store.get(&key("none.jpg"), None).await.unwrap().is_none());
    store.check().await.unwrap();
}

pub async fn file_is_stored_whole_and_stays_where_it_is(store: &dyn MediaStore) {
    let folder = tempfile::tempdir().unwrap();
    // One request, and several parts with a rest.
    for length in [1, 1000, 40_000_001] {
        let (key, content, file) = (key("a.flac"), content(length), folder.path().join("a"));
        std::fs::write(&file, &content).unwrap();
        store.put_file(&key, &file).await.unwrap();
        assert_eq!(std::fs::read(&file).unwrap().len(), length, "the file stays");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(store.size(&key).await.unwrap(), Some(length as u64));
        assert!(bytes(store.get(&key, None).await.unwrap().unwrap()).await == content, "{length} bytes");
        std::fs::write(&file, b"new").unwrap();
        store.put_file(&key, &file).await.unwrap();
        assert_eq!(bytes(store.get(&key, None).await.unwrap().unwrap()).await, &b"new"[..]);
        store.delete(&key).await.unwrap();
    }
    let missing = folder.path().join("missing");
    assert!(matches!(store.put_file(&key("b.flac"), &missing).await, Err(MediaError::Unavailable(_))));
}

pub async fn second_put_replaces_and_delete_removes_the_object(store: &dyn MediaStore) {
    let key = key("a.png");
    store.put(&key, content(10)).await.unwrap();
    store.put(&key, content(5)).await.unwrap();
    assert_eq!(bytes(store.get(&key, None).await.unwrap().unwrap()).await, content(5));
    for _ in 0..2 {
        store.delete(&key).await.unwrap();
        assert!(store.get(&key, None).await.unwrap().is_none());
        assert_eq!(store.size(&key).await.unwrap(), None);
    }
}

pub async fn range_read_returns_the_requested_part(store: &dyn MediaStore) {
    let (key, whole) = (key("a.mp3"), content(100));
    store.put(&key, whole.clone()).await.unwrap();
    for (part, range) in [
        (Part::From(0, Some(9)), 0..=9),
        (Part::From(90, None), 90..=99),
        (Part::From(90, Some(5000)), 90..=99),
        (Part::Last(7), 93..=99),
        (Part::Last(5000), 0..=99),
    ] {
        let found = store.get(&key, Some(part)).await.unwrap().unwrap();
        assert_eq!((found.size, found.range.clone()), (100, range.clone()), "{part:?}");
        let range = usize::try_from(*range.start()).unwrap()..=usize::try_from(*range.end()).unwrap();
        assert_eq!(bytes(found).await, whole.slice(range), "{part:?}");
    }
    let beyond = store.get(&key, Some(Part::From(100, None))).await;
    assert!(matches!(beyond, Err(MediaError::BeyondEnd(100))), "{beyond:?}");
}

/// More objects than S3 lists in one response.
pub async fn list_returns_every_object_once_with_its_time(store: &dyn MediaStore) {
    const MORE_THAN_A_PAGE: usize = 1001;
    let folder = key("list");
    let keys: BTreeSet<MediaKey> = (0..MORE_THAN_A_PAGE)
        .map(|n| MediaKey::parse(&format!("{folder}/{}/{n:04}.jpg", n / 100)).unwrap())
        .collect();
    for key in &keys {
        store.put(key, content(1)).await.unwrap();
    }
    let listed: Vec<Listed> = store.list().try_collect().await.unwrap();
    let mine: Vec<&Listed> = listed.iter().filter(|one| one.name.starts_with(folder.as_str())).collect();
    assert_eq!(mine.len(), keys.len());
    assert_eq!(mine.iter().filter_map(|one| MediaKey::parse(&one.name)).collect::<BTreeSet<_>>(), keys);
    for one in &mine {
        let now = SystemClock.now();
        // Stores report whole seconds, and disks may be slow.
        assert!((now - one.modified).abs() < TimeDelta::minutes(5), "{one:?} at {now}");
    }
    let folders: Vec<&str> =
        mine.iter().filter_map(|one| one.name.rsplit_once('/')).map(|two| two.0).collect();
    let together = folders.chunk_by(|a, b| a == b).count();
    assert_eq!(together, folders.iter().collect::<BTreeSet<_>>().len(), "a folder is listed together");
}

pub async fn delete_below_removes_only_objects_below_the_key(store: &dyn MediaStore) {
    let folder = key("a");
    let under = |name: &str| MediaKey::parse(&format!("{folder}{name}")).unwrap();
    let (below, beside) =
        ([under("/1.jpg"), under("/2.jpg"), under("/b/3.jpg")], [under(".jpg"), under("b/1.jpg")]);
    for key in below.iter().chain(&beside) {
        store.put(key, content(3)).await.unwrap();
    }
    for _ in 0..2 {
        store.delete_below(&folder).await.unwrap();
        for key in &below {
            assert!(store.get(key, None).await.unwrap().is_none(), "{key}");
        }
    }
    for key in &beside {
        assert!(store.get(key, None).await.unwrap().is_some(), "{key}");
    }
    let listed: Vec<Listed> = store.list().try_collect().await.unwrap();
    let left = listed.iter().filter(|one| one.name.starts_with(folder.as_str())).count();
    assert_eq!(left, beside.len());
}

/// During an outage every call fails as unavailable.
pub async fn outage_is_reported_by_every_call(store: &dyn MediaStore) {
    let key = key("a.jpg");
    let unavailable = |outcome: Result<(), MediaError>| matches!(outcome, Err(MediaError::Unavailable(_)));
    assert!(unavailable(store.put(&key, content(10)).await));
    assert!(unavailable(store.get(&key, None).await.map(drop)));
    assert!(unavailable(store.size(&key).await.map(drop)));
    assert!(unavailable(store.delete(&key).await));
    assert!(unavailable(store.delete_below(&key).await));
    assert!(unavailable(store.list().try_collect::<Vec<Listed>>().await.map(drop)));
    assert!(unavailable(store.check().await));
}
