//! Shared helpers for projection tests: users and posts, events without a log, a temporary store.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use events::{
    App, Envelope, Event, EventId, Image, MediaId, NewPerson, Personal, Position, PostId, PostPublished,
    PostText, Recorded, SignedUp, StoryId, StoryPublished, StoryText, StoryViewed, UserId,
};
use uuid::Uuid;
use views::{Commit, SqliteViews, View, ViewStore, Writes};

use crate::{COMMIT_WEIGHT, Projection, batch_length, preload};

pub(crate) const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
pub(crate) const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
pub(crate) const POST: PostId = PostId::new(Uuid::from_u128(0x90));
/// A story by [`ANN`].
pub(crate) const STORY: StoryId = StoryId::new(Uuid::from_u128(0x57));

/// Time of the first event minus one second; each event is one second later than the previous one.
pub(crate) const START: i64 = 1_800_000_000;

pub(crate) fn signed_up(user: UserId, username: &str) -> Event {
    let claim = |n: u128| Uuid::from_u128(n).simple().to_string().parse().unwrap();
    let person = NewPerson {
        username: username.into(),
        email: format!("{username}@example.org"),
        password_hash: String::new(),
        firstname: "Ann Marie".into(),
        lastname: "Élan".into(),
    };
    SignedUp { user, username: claim(1), email: claim(2), app: App::Chorus, person: Personal::Open(person) }
        .into()
}

pub(crate) fn post_published(post: PostId, author: UserId) -> Event {
    PostPublished { post, author, images: Vec::new(), text: Personal::Open(PostText::default()) }.into()
}

pub(crate) fn story_published(story: StoryId) -> Event {
    let image = Image { media: MediaId::new(Uuid::from_u128(7)), width: 1080, height: 1920 };
    let text = StoryText { alt: "A lake".into(), placeholder: String::new() };
    StoryPublished { author: ANN, story, image, text: Personal::Open(text) }.into()
}

pub(crate) fn story_viewed(viewer: UserId) -> Event {
    StoryViewed { story: STORY, viewer, author: ANN }.into()
}

/// The view store after a history of events.
pub(crate) struct Built {
    pub(crate) store: Arc<dyn ViewStore>,
    _folder: tempfile::TempDir,
}

/// Projects a history twice, in batches of one event and in one batch, and checks that both have as many documents.
pub(crate) async fn built(projection: &dyn Projection, history: impl IntoIterator<Item = Event>) -> Built {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ViewStore> =
        Arc::new(SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap());
    let history: Vec<Recorded> =
        history.into_iter().zip(1..).map(|(event, place)| recorded(event, place)).collect();
    take_in(&*store, projection, &history, 1).await;
    let whole = tempfile::tempdir().unwrap();
    let at_once = SqliteViews::open(&whole.path().join("views.db"), views::all()).await.unwrap();
    take_in(&at_once, projection, &history, history.len()).await;
    let (one_by_one, at_once) = (store.sizes().await.unwrap(), at_once.sizes().await.unwrap());
    let documents = |sizes: std::collections::BTreeMap<String, views::ViewSize>| {
        sizes.into_iter().map(|(name, size)| (name, size.documents)).collect::<Vec<_>>()
    };
    assert_eq!(documents(one_by_one), documents(at_once));
    Built { store, _folder: folder }
}

/// Projects a history in batches of this many events.
pub(crate) async fn built_in_batches(projection: &dyn Projection, history: &[Event], batch: usize) -> Built {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn ViewStore> =
        Arc::new(SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap());
    let history: Vec<Recorded> =
        history.iter().zip(1..).map(|(event, place)| recorded(event.clone(), place)).collect();
    take_in(&*store, projection, &history, batch).await;
    Built { store, _folder: folder }
}

/// Projects a history in batches of at most this many events, like the runner.
async fn take_in(store: &dyn ViewStore, projection: &dyn Projection, history: &[Recorded], batch: usize) {
    let mut left = history;
    let mut checkpoint = 0;
    while !left.is_empty() {
        let length = batch_length(projection, left.iter().take(batch).map(Some));
        let events = &left[..length];
        let mut writes = preload(projection, store, events.iter()).await.unwrap();
        let mut taken = 0;
        for recorded in events {
            if writes.weight() >= COMMIT_WEIGHT {
                break;
            }
            projection.project(recorded, &mut writes).unwrap();
            taken += 1;
        }
        let passed = checkpoint + taken as u64;
        commit(store, projection.name(), writes, checkpoint, passed).await;
        (checkpoint, left) = (passed, &left[taken..]);
    }
}

impl Built {
    /// The number of documents in a view, without markers.
    pub(crate) async fn count(&self, view: &View) -> usize {
        let is_note = |key: &str| key.starts_with("account.") || key.starts_with("post.");
        let all = self.store.scan(view, None, 1000).await.unwrap();
        all.iter().filter(|document| !is_note(&document.key)).count()
    }
}

async fn commit(store: &dyn ViewStore, projection: &str, writes: Writes, expected: u64, checkpoint: u64) {
    let commit =
        Commit { projection, writes: Arc::new(writes.into_list()), parked: Vec::new(), expected, checkpoint };
    store.commit(commit).await.unwrap();
}

pub(crate) fn recorded(event: Event, position: u64) -> Recorded {
    let time =
        DateTime::from_timestamp_secs(START).unwrap() + TimeDelta::seconds(i64::try_from(position).unwrap());
    let envelope = Envelope {
        id: EventId::new(Uuid::from_u128(u128::from(position))),
        event_type: event.wire_name().into(),
        source: "test".into(),
        time,
        subject: event.subject(),
        actor: None,
        correlation: Uuid::nil(),
        causation: None,
        traceparent: None,
    };
    Recorded { position: Position(position), envelope, event }
}
