//! After an erasure no view contains readable data of the user.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;
use events::samples::marked_samples;
use events::{Envelope, Erased, Event, EventId, Position, Recorded, UserId};
use serde_json::Value;
use tests::servers::MongoServer;
use uuid::Uuid;
use views::{MongoViews, SqliteViews, ViewStore};

use super::{build, documents};

/// Part of every text in personal data; valid as username and as a word of a name, so that search keeps it whole.
/// Also a valid id, since some personal values are ids.
const MARKER: &str = "feedfacefeedfacefeedfacefeedface";

/// Events of every kind with personal data, and the erasures of all their users.
fn history() -> (Vec<Recorded>, Vec<Recorded>) {
    let mut personal = marked_samples(MARKER).unwrap();
    let people: BTreeSet<UserId> = personal.iter_mut().filter_map(Event::person).collect();
    let erasures = people.into_iter().map(|user| Event::from(Erased { user }));
    let wrote = personal.len();
    let mut recorded: Vec<Recorded> =
        personal.into_iter().chain(erasures).zip(1..).map(|(event, position)| at(event, position)).collect();
    let erased = recorded.split_off(wrote);
    (recorded, erased)
}

fn at(event: Event, position: u64) -> Recorded {
    let envelope = Envelope {
        id: EventId::new(Uuid::from_u128(u128::from(position))),
        event_type: event.wire_name().into(),
        source: "test".into(),
        time: DateTime::UNIX_EPOCH,
        subject: event.subject(),
        actor: None,
        correlation: Uuid::nil(),
        causation: None,
        traceparent: None,
    };
    Recorded { position: Position(position), envelope, event }
}

/// The views that contain the marker, with the number of documents.
async fn marked(store: &dyn ViewStore) -> BTreeMap<&'static str, usize> {
    let mut marked = BTreeMap::new();
    for ((view, _), document) in documents(store).await {
        if document.to_string().contains(MARKER) {
            *marked.entry(view).or_default() += 1;
        }
    }
    marked
}

async fn nothing_stays_readable(store: &dyn ViewStore) {
    let (wrote, erased) = history();
    build(store, |_| wrote.clone(), || 5).await;
    let before: Vec<&str> = marked(store).await.into_keys().collect();
    let expected = [
        "accounts",
        "bookmarks",
        "captions",
        "collections",
        "comments",
        "music_search",
        "notifications",
        "play_queues",
        "playlists",
        "plays",
        "posts",
        "profiles",
        "search",
        "sessions",
        "song_plays",
        "stories",
    ];
    assert_eq!(before, expected, "every view with user texts contains the marker");
    for ((name, key), document) in documents(store).await {
        let Value::Object(mut document) = document else { panic!("{name}: {document}") };
        let view = views::all().iter().find(|view| view.name == name).unwrap();
        let key = view.masked_key(&key, &document, "#");
        view.mask(&mut document, "#");
        let shown = format!("{key} {}", Value::Object(document));
        assert!(!shown.contains(MARKER), "operators see unmasked texts in {name}: {shown}");
    }
    build(store, |_| erased.clone(), || 5).await;
    assert_eq!(marked(store).await, BTreeMap::new());
}

#[tokio::test]
async fn sqlite_keeps_no_text_of_an_erased_user() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap();
    nothing_stays_readable(&store).await;
    // Like the projector after all views have processed the erasure.
    store.purge().await.unwrap();
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.iter().any(|file| file.ends_with("views.db")), "{files:?}");
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let holds = bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
        assert!(!holds, "{} holds texts of an erased user", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_keeps_no_text_of_an_erased_user() {
    let server = MongoServer::start().await.unwrap();
    let store: Arc<dyn ViewStore> =
        Arc::new(MongoViews::open(&server.url("chorus"), views::all()).await.unwrap());
    nothing_stays_readable(&*store).await;
}
