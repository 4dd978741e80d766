//! Songs that are published while the clean-up deletes the file of the same audio, on both deployments: whichever wins, the song
//! can be played.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests report errors by failing")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::media::{Listing, MediaError, MediaKey, MediaObject, MediaStore, Part};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use events::{
    Draft, Event, EventId, EventLog, MusicEvent, Position, Recorded, SongEvent, SongId, SongPublished,
    SongRemoved, Subject,
};
use futures::StreamExt;
use projector::reactions::media::{Limit, audit, collect};
use serde_json::json;
use service::clock::{Clock, SystemClock};
use tests::chorus::Chorus;
use tests::client::{User, fresh, wav};
use uuid::Uuid;

const ROUNDS: u64 = 10;
/// Files that a collection may delete.
const FILES: usize = 1000;

/// A store whose files are two days older than they are, so that the clean-up looks at them.
#[derive(Debug)]
struct Aged(Arc<dyn MediaStore>);

#[async_trait]
impl MediaStore for Aged {
    async fn put(&self, key: &MediaKey, content: Bytes) -> Result<(), MediaError> {
        self.0.put(key, content).await
    }

    async fn put_file(&self, key: &MediaKey, file: &Path) -> Result<(), MediaError> {
        self.0.put_file(key, file).await
    }

    async fn get(&self, key: &MediaKey, part: Option<Part>) -> Result<Option<MediaObject>, MediaError> {
        self.0.get(key, part).await
    }

    async fn size(&self, key: &MediaKey) -> Result<Option<u64>, MediaError> {
        self.0.size(key).await
    }

    async fn delete(&self, key: &MediaKey) -> Result<(), MediaError> {
        self.0.delete(key).await
    }

    async fn delete_below(&self, folder: &MediaKey) -> Result<(), MediaError> {
        self.0.delete_below(folder).await
    }

    fn list(&self) -> Listing {
        let aged = self.0.list().map(|listed| {
            listed.map(|one| ::media::Listed { modified: one.modified - TimeDelta::days(2), ..one })
        });
        aged.boxed()
    }

    async fn link(&self, key: &MediaKey, valid: Duration) -> Result<Option<String>, MediaError> {
        self.0.link(key, valid).await
    }

    async fn check(&self) -> Result<(), MediaError> {
        self.0.check().await
    }
}

fn any_id() -> Uuid {
    Uuid::from_u128(rand::random())
}

/// Appends the first or second event of a song, at an earlier time.
async fn append(log: &dyn EventLog, event: impl Into<Event>, age: TimeDelta, expected: Position) -> Position {
    let draft = Draft {
        id: EventId::new(any_id()),
        time: SystemClock.now() - age,
        actor: None,
        correlation: any_id(),
        causation: None,
        traceparent: None,
        event: event.into(),
    };
    log.append(&draft.message().unwrap(), expected).await.unwrap()
}

async fn published(log: &dyn EventLog, song: &str) -> SongPublished {
    let events = log.read(Subject::Song(song.parse().unwrap()), Position::START).await.unwrap();
    match Recorded::sealed(events.into_iter().next().unwrap()).unwrap().event {
        Event::Music(MusicEvent::Song(SongEvent::SongPublished(event))) => event,
        other => panic!("{other:?}"),
    }
}

async fn publish(chorus: &Chorus, artist: &User, upload: &str) -> String {
    let song = json!({ "upload": upload, "title": "Dawn", "artists": [{ "name": artist.username }] });
    chorus.api().post_as(artist, "/v1/songs", &song).await.expect(201).id()
}

/// Each round has audio of its own, which a song had that an earlier version published and that was removed long ago.
async fn song_can_be_played(chorus: &Chorus) {
    // What the audio is, without a claim of it on the log of the other.
    let template = Chorus::standalone().await.unwrap();
    let (there, here) = (template.artist("singer").await, chorus.artist("singer").await);
    let template_log = template.raw_log().await.unwrap();
    let (log, store) = (chorus.raw_log().await.unwrap(), chorus.media().await.unwrap());
    let aged = Aged(Arc::clone(&store));
    let mut deleted_first = 0;
    for round in 0..ROUNDS {
        let audio = wav(&fresh("race"), 31);
        let song = publish(&template, &there, &template.api().upload_audio(&there, &audio).await).await;
        let old = SongPublished { song: SongId::new(any_id()), ..published(&*template_log, &song).await };
        let key = MediaKey::parse(&old.file.key()).unwrap();
        store.put(&key, Bytes::from(audio.clone())).await.unwrap();
        let (song, media) = (old.song, old.file.media);
        let first = append(&*log, old, TimeDelta::days(40), Position::START).await;
        append(&*log, SongRemoved { song }, TimeDelta::days(32), first).await;

        let upload = chorus.api().upload_audio(&here, &audio).await;
        let ended = AtomicBool::new(false);
        let publishing = async {
            let song = publish(chorus, &here, &upload).await;
            ended.store(true, Ordering::Relaxed);
            song
        };
        let collecting = async {
            let mut deleted = Vec::new();
            // Later and later, so that each of them wins in some rounds.
            tokio::time::sleep(Duration::from_millis(3 * round)).await;
            while !ended.load(Ordering::Relaxed) {
                let collected = collect(&*log, &aged, SystemClock.now(), Limit::Files(FILES)).await.unwrap();
                deleted.extend(collected.deleted);
            }
            deleted
                .extend(collect(&*log, &aged, SystemClock.now(), Limit::Files(FILES)).await.unwrap().deleted);
            deleted
        };
        let (song, deleted) = tokio::join!(publishing, collecting);
        let file = published(&*log, &song).await.file;
        assert_eq!(deleted.contains(&media), file.media != media, "one of them wins: {deleted:?}");
        assert!(!deleted.contains(&file.media), "{deleted:?}");
        let streamed = chorus.api().get(&format!("/v1/songs/{song}/stream")).await.expect(200);
        assert_eq!(streamed.body, audio, "round {round}");
        deleted_first += u64::from(deleted.contains(&media));
    }
    let audited = audit(&*log, &aged, (SystemClock.now(), TimeDelta::hours(1)), &|_, _| ()).await.unwrap();
    assert!(audited.missing.is_empty(), "{audited:?}");
    println!("the clean-up won {deleted_first} of {ROUNDS} rounds");
}

#[tokio::test]
async fn song_can_be_played_that_is_published_while_its_file_is_deleted_standalone() {
    song_can_be_played(&Chorus::standalone().await.unwrap()).await;
}

#[tokio::test]
async fn song_can_be_played_that_is_published_while_its_file_is_deleted_distributed() {
    song_can_be_played(&Chorus::distributed().await.unwrap()).await;
}
