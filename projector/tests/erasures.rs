//! The reactions to erasures on a real log, vault and view store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::sync::Arc;
use std::time::Duration;

use events::{
    CaptionEdited, Draft, Erased, Event, EventId, MasterKeys, Personal, Position, PostEvent, PostId,
    ProgressTracker, SealedLog, SocialEvent, Subject, UserId, open_sealed,
};
use projector::reactions::{erasures, purges};
use projector::{ProjectionState, Projector};
use service::clock::{Clock, SystemClock};
use service::config::FeedSettings;
use service::shutdown::Tasks;
use tests::waiting::found;
use uuid::Uuid;
use views::{Commit, SqliteViews, ViewStore, Write};

/// Timeout of waiting for a state.
const LIMIT: Duration = Duration::from_mins(1);

const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

fn post_of(author: UserId) -> PostId {
    PostId::new(Uuid::from_u128(author.uuid().as_u128() + 0x100))
}

async fn append(log: &SealedLog, event: impl Into<Event>) {
    let draft = Draft {
        id: EventId::new(Uuid::from_u128(rand::random())),
        time: SystemClock.now(),
        actor: None,
        correlation: Uuid::from_u128(rand::random()),
        causation: None,
        traceparent: None,
        event: event.into(),
    };
    log.append(draft, Position::default()).await.unwrap();
}

async fn write(log: &SealedLog, author: UserId) {
    let caption = Personal::Open("Dawn".to_owned());
    append(log, CaptionEdited { post: post_of(author), author, caption }).await;
}

/// The caption as read by a process without cached keys.
async fn caption(log: &SealedLog, author: UserId) -> Option<String> {
    let recorded =
        log.read(Subject::Post(post_of(author)), Position::default()).await.unwrap().pop().unwrap();
    let Event::Social(SocialEvent::Post(PostEvent::CaptionEdited(event))) = recorded.event else {
        panic!("{recorded:?}")
    };
    event.caption.open().cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_user_is_unreadable_even_if_the_command_crashed() {
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKeys::parse(&MasterKeys::generate()).unwrap();
    let setting = format!("sqlite:{}", folder.path().join("events.db").display());
    let open = async || open_sealed(&setting, None, &master).await.unwrap();
    let log = open().await;
    for author in [ANN, BOB] {
        write(&log, author).await;
    }
    // The state after a crash between the append and the destruction of the key.
    append(&log, Erased { user: ANN }).await;
    assert_eq!(caption(&open().await, ANN).await.as_deref(), Some("Dawn"));

    let views = folder.path().join("views.db");
    let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&views, views::all()).await.unwrap());
    let tasks = Tasks::default();
    let reading = open().await;
    assert_eq!(caption(&reading, ANN).await.as_deref(), Some("Dawn"));
    let statuses = erasures::run(&reading, Arc::clone(&store), &tasks);
    let head = log.raw().head().await.unwrap();
    found(LIMIT, "the checkpoint passes", async || {
        (store.checkpoint(erasures::NAME).await.unwrap() >= head.0).then_some(())
    })
    .await;
    assert!(matches!(statuses.all()[erasures::NAME], ProjectionState::Following(_)));
    for log in [&reading, &open().await] {
        assert_eq!(caption(log, ANN).await, None);
        assert_eq!(caption(log, BOB).await.as_deref(), Some("Dawn"));
    }
    assert_eq!(store.parked(erasures::NAME, 10).await.unwrap(), []);
    assert!(tasks.stop().await, "a task did not end");
}

/// Commits writes of a projection that does not run here.
async fn commit(store: &dyn ViewStore, writes: Vec<Write>, expected: u64) {
    let writes = Arc::new(writes);
    let commit =
        Commit { projection: "test", writes, parked: Vec::new(), expected, checkpoint: expected + 1 };
    store.commit(commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn view_files_hold_no_deleted_data_after_an_erasure() {
    const MARKER: &str = "deleted but readable";
    let folder = tempfile::tempdir().unwrap();
    let master = MasterKeys::parse(&MasterKeys::generate()).unwrap();
    let setting = format!("sqlite:{}", folder.path().join("events.db").display());
    let log = open_sealed(&setting, None, &master).await.unwrap();
    let views = folder.path().join("views.db");
    let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&views, views::all()).await.unwrap());
    let (view, key) = (&views::social::captions::VIEW, "a".to_owned());
    let document = serde_json::json!({ "text": MARKER }).as_object().unwrap().clone();
    commit(&*store, vec![Write::Put { view, key: key.clone(), document, is_new: true }], 0).await;
    commit(&*store, vec![Write::Delete { view, key }], 1).await;
    let holds = |file: &str| {
        let bytes = std::fs::read(folder.path().join(file)).unwrap();
        bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    };
    assert!(holds("views.db-wal"));

    append(&log, Erased { user: ANN }).await;
    let tasks = Tasks::default();
    let (tracker, update_tracker) = ProgressTracker::follow(&**log.raw());
    tasks.spawn_until_stopping("progress tracker", update_tracker);
    let all = projector::projections(&FeedSettings::default());
    let statuses = purges::run(&log, Arc::clone(&store), tracker, &all, &tasks);
    projector::run(&Projector { log: log.clone(), store: Arc::clone(&store) }, all, &tasks);
    let head = log.raw().head().await.unwrap();
    found(LIMIT, "the checkpoint passes", async || {
        (store.checkpoint(purges::NAME).await.unwrap() >= head.0).then_some(())
    })
    .await;
    assert!(!holds("views.db") && !holds("views.db-wal"));
    assert!(matches!(statuses.all()[purges::NAME], ProjectionState::Following(_)));
    assert!(tasks.stop().await, "a task did not end");
}
