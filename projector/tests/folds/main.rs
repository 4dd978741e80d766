//! Views are folds of the log. A view that was built live, in batches of any length, equals a rebuild from the same
//! log, document by document, although the rebuild cannot read the texts of users erased later. The fast fold into a
//! scratch file and the copy of it into MongoDB are the same again. Both engines hold the same documents.
//!
//! `FOLD_CASES` is the number of histories, for longer runs than in CI.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

mod erasure;
mod histories;
mod scratch;

use std::collections::BTreeMap;
use std::sync::Arc;

use events::{AccountEvent, AccountsEvent, Event, Recorded, UserId};
use projector::fold::FoldOptions;
use projector::social::Feeds;
use projector::{COMMIT_WEIGHT, Projection, batch_length, preload};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};
use service::config::FeedSettings;
use tests::servers::MongoServer;
use views::counts::COUNTS;
use views::{Commit, MongoViews, SqliteViews, ViewStore};

use self::histories::Histories;
use self::scratch::Scratch;

/// All documents by view and key.
type Documents = BTreeMap<(&'static str, String), Value>;

/// Number of events per history; the last one is longer than the longest batches.
const LENGTH: usize = 160;
const LONG: usize = 700;
/// Number of consecutive histories per set of stores.
const TOGETHER: u64 = 10;
/// Maximum batch length of the live view.
const LIVE_BATCH: usize = 25;
/// Page size of a scan.
const SCAN: usize = 1000;

/// The fan-out limit of all compared views.
const FAN_OUT_LIMIT: u32 = 2;

fn projections() -> Vec<Arc<dyn Projection>> {
    let feeds = Feeds::new(FAN_OUT_LIMIT).backfilling(2);
    let mut projections = projector::projections(&FeedSettings { fan_out_limit: FAN_OUT_LIMIT });
    projections.retain(|projection| projection.name() != feeds.name());
    projections.push(Arc::new(feeds));
    projections
}

/// Projects one batch like the runner, in as many commits as necessary.
async fn project_batch(
    store: &dyn ViewStore,
    projection: &dyn Projection,
    batch: &[Recorded],
    expected: &mut u64,
) {
    let mut left = batch;
    while !left.is_empty() {
        let together = &left[..batch_length(projection, left.iter().map(Some))];
        let mut writes = preload(projection, store, together.iter()).await.unwrap();
        let mut taken = 0;
        for recorded in together {
            if writes.weight() >= COMMIT_WEIGHT {
                break;
            }
            projection.project(recorded, &mut writes).unwrap();
            taken += 1;
        }
        let reached = left[taken - 1].position.0;
        let commit = Commit {
            projection: projection.name(),
            writes: Arc::new(writes.into_list()),
            parked: Vec::new(),
            expected: *expected,
            checkpoint: reached,
        };
        store.commit(commit).await.unwrap();
        (*expected, left) = (reached, &left[taken..]);
    }
}

/// Builds all views from the part of a history that the store has not processed yet.
async fn build(
    store: &dyn ViewStore,
    mut history_of: impl FnMut(&dyn Projection) -> Vec<Recorded>,
    mut batch: impl FnMut() -> usize,
) {
    for projection in projections() {
        let mut history = history_of(&*projection);
        history.retain(|recorded| projection.kinds().contains(&recorded.event.subject().kind()));
        let mut expected = store.checkpoint(projection.name()).await.unwrap();
        let mut left = &history[..];
        while !left.is_empty() {
            let (next, rest) = left.split_at(batch().min(left.len()));
            project_batch(store, &*projection, next, &mut expected).await;
            left = rest;
        }
    }
}

/// The position of each erasure.
fn erasures(history: &[Recorded]) -> BTreeMap<UserId, u64> {
    let erased = history.iter().filter_map(|recorded| match &recorded.event {
        Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
            Some((event.user, recorded.position.0))
        }
        _ => None,
    });
    erased.collect()
}

/// The history as read by a process that cannot decrypt the data of each erased user from some position on.
fn read_from(history: &[Recorded], known_from: &BTreeMap<UserId, u64>) -> Vec<Recorded> {
    let mut history = history.to_vec();
    for recorded in &mut history {
        let known = recorded.event.person().and_then(|person| known_from.get(&person));
        if known.is_some_and(|known| recorded.position.0 >= *known) {
            recorded.event.erase_personal();
        }
    }
    history
}

/// All documents of all views.
async fn documents(store: &dyn ViewStore) -> Documents {
    let mut all = BTreeMap::new();
    for view in views::all() {
        let mut after: Option<String> = None;
        loop {
            let found = store.scan(view, after.as_deref(), SCAN).await.unwrap();
            let Some(last) = found.last() else { break };
            after = Some(last.key.clone());
            for document in found {
                let mut fields: Map<String, Value> = document.read().unwrap();
                // Engines may store the key as a field and omit null fields.
                fields.retain(|name, value| name != "_id" && !value.is_null());
                all.insert((view.name, document.key), fields.into());
            }
        }
    }
    all
}

fn assert_same(one: &Documents, other: &Documents, what: &str) {
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    let apart: Vec<String> = keys
        .filter(|key| one.get(*key) != other.get(*key))
        .take(5)
        .map(|key| format!("{key:?}:\n  {:?}\n  {:?}", one.get(key), other.get(key)))
        .collect();
    assert!(apart.is_empty(), "{what}:\n{}", apart.join("\n"));
}

/// Stores that must hold the same documents.
struct Stores {
    live: Arc<dyn ViewStore>,
    rebuilt: Vec<(usize, Arc<dyn ViewStore>)>,
    scratch: Option<Scratch>,
    position: u64,
}

impl Stores {
    /// Appends one history, builds it live and as rebuilds, and compares all stores. Returns the documents.
    async fn compare(&mut self, seed: u64, length: usize) -> Documents {
        let history = Histories::new(seed, self.position).history(length);
        self.position = history.last().unwrap().position.0;
        let erasures = erasures(&history);
        let mut rng = StdRng::seed_from_u64(seed);
        let mut knowing = StdRng::seed_from_u64(!seed);
        let (first, last) = (history[0].position.0, self.position);
        // Each projection reads at its own pace, so another one may have read the erasure long before. A process that
        // restarts behind an erasure learns of it only when the key is destroyed.
        let live = |_: &dyn Projection| {
            let mut known = erasures.clone();
            for at in known.values_mut() {
                if knowing.random() {
                    *at = knowing.random_range(first..=last);
                }
            }
            read_from(&history, &known)
        };
        build(&*self.live, live, || rng.random_range(1..=LIVE_BATCH)).await;
        let expected = documents(&*self.live).await;
        let nothing_readable: BTreeMap<UserId, u64> = erasures.keys().map(|&user| (user, 0)).collect();
        let in_the_log = read_from(&history, &nothing_readable);
        for (batch, store) in &self.rebuilt {
            build(&**store, |_| in_the_log.clone(), || *batch).await;
            let what = format!("seed {seed}: live, and folded in batches of {batch}");
            assert_same(&expected, &documents(&**store).await, &what);
        }
        if let Some(scratch) = &self.scratch {
            scratch.append(&history, erasures.keys()).await;
            for (batch, found) in scratch.fold().await {
                assert_same(&expected, &found, &format!("seed {seed}: live, and the fast fold by {batch}"));
            }
        }
        assert_counts_equal_lists(&expected, seed);
        for count in COUNTS {
            assert_eq!(count.wrong(&*self.live, 5).await.unwrap(), [], "seed {seed}");
        }
        for user in erasures.keys() {
            let written = histories::text(*user);
            let left = expected.iter().find(|(_, document)| document.to_string().contains(&written));
            assert!(left.is_none(), "seed {seed}: text of an erased user: {left:?}");
        }
        expected
    }
}

/// Checks that counts of likes, comments and replies equal the lists of active users.
fn assert_counts_equal_lists(documents: &Documents, seed: u64) {
    let of = |view: &'static str| {
        documents
            .iter()
            .filter(move |((name, _), _)| *name == view)
            .map(|((_, key), document)| (key, document))
    };
    let is_active = |user: &Value| {
        let profile = documents.get(&("profiles", user.as_str().unwrap_or_default().to_owned()));
        profile.is_some_and(|profile| profile["standing"] == "active")
    };
    let listed = |view, field: &str, of_this: &Value, shown: (&str, Value), author: &str| {
        let shown = of(view).filter(|(_, item)| item[field] == *of_this && item[shown.0] == shown.1);
        let authors: Vec<&Value> = shown.map(|(_, item)| &item[author]).collect();
        assert!(authors.iter().all(|author| is_active(author)), "seed {seed}: {view} of {of_this}");
        Value::from(authors.len())
    };
    for (key, post) in of("posts") {
        let likes = listed("likes", "post", &post["post"], ("role", "act".into()), "user");
        assert_eq!(post["likes"], likes, "seed {seed}: likes of {key}");
    }
    for (key, document) in of("comments") {
        if let Some(post) = document.get("tally_of") {
            let comments = listed("comments", "post", post, ("shown", true.into()), "author");
            assert_eq!(document["comments"], comments, "seed {seed}: {key}");
        }
        if let Some(comment) = document.get("comment") {
            let replies = listed("comments", "reply_to", comment, ("shown", true.into()), "author");
            assert_eq!(document["replies"], replies, "seed {seed}: replies to {key}");
        }
    }
    for (key, tally) in of("library").filter(|(_, document)| document.get("tally_of").is_some()) {
        let users = listed("library", "item", &tally["tally_of"], ("shown", true.into()), "user");
        assert_eq!(tally["users"], users, "seed {seed}: users of {key}");
    }
    for (key, total) in of("play_totals").filter(|(_, total)| total["period"] == "all") {
        let plays = of("plays").filter(|(_, play)| play["user"] == total["user"]).count();
        assert_eq!(total["plays"], plays, "seed {seed}: plays of {key}");
    }
    for (key, count) in of("song_plays").filter(|(_, count)| count["period"] == "all") {
        let same = |play: &Value| play["user"] == count["user"] && play["song"] == count["song"];
        let plays = of("plays").filter(|(_, play)| same(play)).count();
        assert_eq!(count["plays"], plays, "seed {seed}: plays of {key}");
    }
    for (key, view) in of("story_views").filter(|(_, view)| view["active"] == true) {
        assert!(is_active(&view["viewer"]), "seed {seed}: {key}");
    }
    for (key, act) in of("notifications").filter(|(_, act)| act["role"] == "act") {
        assert!(is_active(&act["actor"]), "seed {seed}: {key}");
    }
}

#[expect(clippy::disallowed_methods, reason = "tests have no settings")]
fn cases(usual: u64) -> u64 {
    std::env::var("FOLD_CASES").map_or(usual, |cases| cases.parse().unwrap())
}

async fn on_sqlite(folder: &tempfile::TempDir, name: &str) -> Arc<dyn ViewStore> {
    let path = folder.path().join(format!("{name}.db"));
    Arc::new(SqliteViews::open(&path, views::all()).await.unwrap())
}

#[tokio::test]
async fn sqlite_views_are_folds_of_the_log() {
    for first in (0..cases(10)).step_by(usize::try_from(TOGETHER).unwrap()) {
        let folder = tempfile::tempdir().unwrap();
        let mut rebuilt = Vec::new();
        for batch in [1, 7, 500, usize::MAX] {
            rebuilt.push((batch, on_sqlite(&folder, &format!("rebuilt{batch}")).await));
        }
        let scratch = Some(Scratch::new(&[1, 7, 500, usize::MAX]).await);
        let mut stores = Stores { live: on_sqlite(&folder, "live").await, rebuilt, scratch, position: 0 };
        let mut expected = Documents::new();
        for seed in first..cases(10).min(first + TOGETHER) {
            expected = stores.compare(seed, if seed + 1 == cases(10) { LONG } else { LENGTH }).await;
        }
        let (_folder, finished) = stores.scratch.unwrap().finish().await;
        for (batch, store) in finished {
            assert_same(&expected, &documents(&store).await, &format!("the finished file, by {batch}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_views_are_folds_of_the_log_and_equal_sqlite_views() {
    let server = MongoServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str| {
        let store = MongoViews::open(&server.url(name), views::all()).await.unwrap();
        Arc::new(store) as Arc<dyn ViewStore>
    };
    let mut rebuilt = Vec::new();
    for batch in [1, 7, usize::MAX] {
        rebuilt.push((batch, open(&format!("rebuilt{batch}")).await));
    }
    let mut on_mongo = Stores { live: open("live").await, rebuilt, scratch: None, position: 0 };
    let scratch = Some(Scratch::new(&[FoldOptions::default().batch]).await);
    let live = on_sqlite(&folder, "live").await;
    let mut sqlite = Stores { live, rebuilt: Vec::new(), scratch, position: 0 };
    let mut expected = Documents::new();
    for seed in 1000..1000 + cases(2) {
        expected = on_mongo.compare(seed, LENGTH).await;
        assert_same(&expected, &sqlite.compare(seed, LENGTH).await, &format!("seed {seed}: on both engines"));
    }
    let loaded = MongoViews::open(&server.url("loaded"), views::all()).await.unwrap();
    sqlite.scratch.unwrap().load_into(&loaded).await;
    assert_same(&expected, &documents(&loaded).await, "the copy of the fast fold");
}
