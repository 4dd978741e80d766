//! Follower lists and counts against a naive fold of random histories: in any order of events, lists contain active
//! users and counts equal the lists. On SQLite and on a real mongod.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use events::{
    App, Deactivated, Envelope, Erased, Event, EventId, FollowAccepted, FollowRequested, Followed, NewPerson,
    Personal, Position, Reactivated, Recorded, Reinstated, SignedUp, Suspended, Unfollowed, UserId,
};
use projector::Projection;
use projector::accounts::Profiles;
use projector::social::Follows;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tests::model::World;
use tests::servers::MongoServer;
use uuid::Uuid;
use views::{Commit, MongoViews, SqliteViews, ViewStore};

const PEOPLE: usize = 5;
const EVENTS: usize = 60;
/// Maximum number of events per commit.
const BATCH: usize = 25;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Step {
    #[default]
    None,
    Requested,
    Follows,
}

/// Generates histories that the commands allow: the events of each follow are consistent, independent of the status
/// of its users.
struct Histories {
    rng: StdRng,
    users: Vec<UserId>,
    steps: BTreeMap<(UserId, UserId), Step>,
    erased: Vec<UserId>,
}

impl Histories {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let users = (0..PEOPLE).map(|_| UserId::new(Uuid::from_u128(rng.random()))).collect();
        Self { rng, users, steps: BTreeMap::new(), erased: Vec::new() }
    }

    fn history(&mut self) -> Vec<Event> {
        let mut history: Vec<Event> = self.users.iter().map(|&user| signed_up(user)).collect();
        while history.len() < EVENTS {
            let event = if self.rng.random_ratio(3, 10) { self.account() } else { Some(self.follow()) };
            history.extend(event);
        }
        history
    }

    /// An erased user stays erased; any other event may repeat.
    fn account(&mut self) -> Option<Event> {
        let user = *self.users.choose(&mut self.rng)?;
        if self.erased.contains(&user) {
            return None;
        }
        Some(match self.rng.random_range(0..17) {
            0..=4 => Deactivated { user }.into(),
            5..=8 => Suspended { user, reason: Personal::Erased }.into(),
            9..=12 => Reactivated { user }.into(),
            13..=15 => Reinstated { user }.into(),
            _ => {
                self.erased.push(user);
                Erased { user }.into()
            }
        })
    }

    fn follow(&mut self) -> Event {
        let pair = self.users.sample(&mut self.rng, 2).copied().collect::<Vec<_>>();
        let (follower, followee) = (pair[0], pair[1]);
        let asks = self.rng.random_ratio(1, 3);
        let takes_back = self.rng.random_ratio(1, 3);
        let step = self.steps.entry((follower, followee)).or_default();
        let (next, event) = match *step {
            Step::None if asks => (Step::Requested, FollowRequested { follower, followee }.into()),
            Step::None => (Step::Follows, Followed { follower, followee }.into()),
            Step::Requested if takes_back => {
                (Step::None, Unfollowed { follower, followee, only_requested: true }.into())
            }
            Step::Requested => (Step::Follows, FollowAccepted { follower, followee }.into()),
            Step::Follows => (Step::None, Unfollowed { follower, followee, only_requested: false }.into()),
        };
        *step = next;
        event
    }
}

fn signed_up(user: UserId) -> Event {
    let claim = || user.to_string().parse().unwrap();
    let person = NewPerson {
        username: format!("u{user}"),
        email: String::new(),
        password_hash: String::new(),
        firstname: String::new(),
        lastname: String::new(),
    };
    SignedUp { user, username: claim(), email: claim(), app: App::Chorus, person: Personal::Open(person) }
        .into()
}

fn recorded(event: Event, position: u64) -> Recorded {
    let envelope = Envelope {
        id: EventId::new(Uuid::from_u128(u128::from(position))),
        event_type: event.wire_name().into(),
        source: "test".into(),
        time: DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(position).unwrap()),
        subject: event.subject(),
        actor: None,
        correlation: Uuid::nil(),
        causation: None,
        traceparent: None,
    };
    Recorded { position: Position(position), envelope, event }
}

/// Projects a history in batches of random length, like the runner.
async fn project(store: &dyn ViewStore, projection: &dyn Projection, history: &[Recorded], rng: &mut StdRng) {
    let mut left = history;
    while !left.is_empty() {
        let (batch, rest) = left.split_at(rng.random_range(1..=BATCH.min(left.len())));
        let mut writes = projector::preload(projection, store, batch.iter()).await.unwrap();
        for recorded in batch {
            projection.project(recorded, &mut writes).unwrap();
        }
        let commit = Commit {
            projection: projection.name(),
            writes: Arc::new(writes.into_list()),
            parked: Vec::new(),
            expected: batch[0].position.0 - 1,
            checkpoint: batch[batch.len() - 1].position.0,
        };
        store.commit(commit).await.unwrap();
        left = rest;
    }
}

async fn counts_equal_lists(store: &dyn ViewStore, seeds: std::ops::Range<u64>) {
    let mut position = 1;
    for seed in seeds.clone() {
        let history: Vec<Recorded> = Histories::new(seed)
            .history()
            .into_iter()
            .map(|event| {
                position += 1;
                recorded(event, position - 1)
            })
            .collect();
        let mut rng = StdRng::seed_from_u64(seed);
        project(store, &Profiles, &history, &mut rng).await;
        project(store, &Follows, &history, &mut rng).await;
        let expected = World::of_log(&history);
        let shown = World::of_views(store, &expected).await.unwrap();
        let of = |world: World| (world.people, world.follows);
        assert_eq!(of(shown), of(expected), "after the history of seed {seed}");
    }
    #[expect(clippy::print_stdout, reason = "a randomised test reports its coverage")]
    {
        println!("{} histories of {EVENTS} events", seeds.count());
    }
}

#[tokio::test]
async fn on_sqlite_counts_equal_lists_after_any_history() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap();
    counts_equal_lists(&store, 0..400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mongodb_counts_equal_lists_after_any_history() {
    let server = MongoServer::start().await.unwrap();
    let store = MongoViews::open(&server.url("chorus"), views::all()).await.unwrap();
    counts_equal_lists(&store, 1000..1060).await;
}
