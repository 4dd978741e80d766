//! Feeds after random histories, compared with a naive model: real projections write to real stores, and real queries
//! read. A failure reports its seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::DateTime;
use events::{
    App, Deactivated, Envelope, Erased, Event, EventId, FollowAccepted, FollowRequested, Followed, NewPerson,
    Personal, Position, PostDeleted, PostId, PostPublished, PostText, Reactivated, Recorded, Reinstated,
    SignedUp, Suspended, Unfollowed, UserId,
};
use projector::accounts::Profiles;
use projector::social::{Feeds, Posts};
use projector::{Projection, preload};
use query_api::{Timeline, TimelinePage};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tests::servers::MongoServer;
use uuid::Uuid;
use views::{Commit, MongoViews, SqliteViews, ViewStore};

const PEOPLE: usize = 6;
const EVENTS: usize = 60;
const SQLITE_HISTORIES: u64 = 400;
const MONGO_HISTORIES: u64 = 30;

// -------------------------------------------------------------------- model

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AccountStatus {
    Active,
    Deactivated,
    Suspended,
    Erased,
}

/// The state after the events, kept as simple as possible.
#[derive(Clone)]
struct Model {
    people: Vec<UserId>,
    status: BTreeMap<UserId, AccountStatus>,
    /// Follower and followee; false for a request.
    follows: BTreeMap<(UserId, UserId), bool>,
    /// By position.
    posts: BTreeMap<i64, (PostId, UserId)>,
}

impl Model {
    fn is_shown(&self, author: UserId) -> bool {
        self.status[&author] == AccountStatus::Active
    }

    fn timeline(&self, timeline: List) -> Vec<PostId> {
        let listed = |author: UserId| match timeline {
            List::Newest => true,
            List::Of(user) => author == user,
            List::Home(owner) => author == owner || self.follows.get(&(owner, author)) == Some(&true),
        };
        let shown = self.posts.values().rev().filter(|(_, author)| listed(*author) && self.is_shown(*author));
        shown.map(|(post, _)| *post).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum List {
    Newest,
    Of(UserId),
    Home(UserId),
}

// ------------------------------------------------------------------ history

/// Generates a valid sequence of events.
struct History {
    rng: StdRng,
    model: Model,
    position: u64,
    /// The positions above this belong to this history.
    began: i64,
    events: Vec<Recorded>,
    /// How many of these have been projected in small batches.
    projected: usize,
}

impl History {
    fn new(seed: u64, position: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let people: Vec<UserId> = (0..PEOPLE).map(|_| UserId::new(Uuid::from_u128(rng.random()))).collect();
        let model = Model {
            status: people.iter().map(|user| (*user, AccountStatus::Active)).collect(),
            people: people.clone(),
            follows: BTreeMap::new(),
            posts: BTreeMap::new(),
        };
        let began = i64::try_from(position).unwrap();
        let mut history = Self { rng, model, position, began, events: Vec::new(), projected: 0 };
        for user in people {
            history.record(signed_up(user));
        }
        history
    }

    fn record(&mut self, event: impl Into<Event>) -> i64 {
        // Other events in the log.
        self.position += self.rng.random_range(1..3);
        self.events.push(recorded(event.into(), self.position));
        i64::try_from(self.position).unwrap()
    }

    fn publish(&mut self, author: UserId) {
        let post = PostId::new(Uuid::from_u128(self.rng.random()));
        let text = Personal::Open(PostText::default());
        let at = self.record(PostPublished { post, author, images: Vec::new(), text });
        self.model.posts.insert(at, (post, author));
    }

    fn anybody(&mut self) -> UserId {
        // The first user has more followers and posts than the others: they cross the fan-out limit.
        if self.rng.random_bool(0.4) { self.model.people[0] } else { self.one_of_all() }
    }

    fn one_of_all(&mut self) -> UserId {
        *self.model.people.choose(&mut self.rng).unwrap()
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..38 => {
                let author = self.anybody();
                if self.model.is_shown(author) {
                    self.publish(author);
                }
            }
            38..46 => self.delete(),
            46..88 => {
                let (follower, followee) = (self.one_of_all(), self.anybody());
                if follower != followee && self.model.status[&follower] != AccountStatus::Erased {
                    self.follow_or_not(follower, followee);
                }
            }
            _ => {
                let user = self.one_of_all();
                self.change_standing(user);
            }
        }
    }

    fn delete(&mut self) {
        let posts: Vec<i64> = self.model.posts.keys().copied().collect();
        if let Some(at) = posts.choose(&mut self.rng) {
            let (post, author) = self.model.posts.remove(at).unwrap();
            self.record(PostDeleted { post, author });
        }
    }

    fn follow_or_not(&mut self, follower: UserId, followee: UserId) {
        let pair = (follower, followee);
        match self.model.follows.get(&pair).copied() {
            None if !self.model.is_shown(followee) => {}
            None if self.rng.random_bool(0.3) => {
                self.model.follows.insert(pair, false);
                self.record(FollowRequested { follower, followee });
            }
            None => {
                self.model.follows.insert(pair, true);
                self.record(Followed { follower, followee });
            }
            Some(false) if self.rng.random_bool(0.7) => {
                self.model.follows.insert(pair, true);
                self.record(FollowAccepted { follower, followee });
            }
            Some(accepted) => {
                self.model.follows.remove(&pair);
                self.record(Unfollowed { follower, followee, only_requested: !accepted });
            }
        }
    }

    fn change_standing(&mut self, user: UserId) {
        let back = self.rng.random_bool(0.7);
        // Some users must stay active.
        let erased = self.model.status.values().filter(|of| **of == AccountStatus::Erased).count();
        let may_go = erased < PEOPLE / 3;
        let (status, event): (_, Event) = match self.model.status[&user] {
            AccountStatus::Active if may_go && self.rng.random_bool(0.15) => {
                (AccountStatus::Erased, Erased { user }.into())
            }
            AccountStatus::Active if self.rng.random_bool(0.5) => {
                (AccountStatus::Deactivated, Deactivated { user }.into())
            }
            AccountStatus::Active => {
                (AccountStatus::Suspended, Suspended { user, reason: Personal::Open("spam".into()) }.into())
            }
            AccountStatus::Deactivated if back => (AccountStatus::Active, Reactivated { user }.into()),
            AccountStatus::Suspended if back => (AccountStatus::Active, Reinstated { user }.into()),
            AccountStatus::Deactivated | AccountStatus::Suspended | AccountStatus::Erased => return,
        };
        if status == AccountStatus::Erased {
            // Erased users follow nobody and read nothing.
            self.model.follows.retain(|(follower, _), _| *follower != user);
        }
        self.model.status.insert(user, status);
        self.record(event);
    }
}

fn signed_up(user: UserId) -> Event {
    let claim = |n: u128| Uuid::from_u128(n).simple().to_string().parse().unwrap();
    let person = NewPerson {
        username: user.to_string(),
        email: format!("{user}@example.org"),
        password_hash: String::new(),
        firstname: "Ann".into(),
        lastname: "Lee".into(),
    };
    SignedUp { user, username: claim(1), email: claim(2), app: App::Chorus, person: Personal::Open(person) }
        .into()
}

fn recorded(event: Event, position: u64) -> Recorded {
    let envelope = Envelope {
        id: EventId::new(Uuid::from_u128(u128::from(position))),
        event_type: event.wire_name().into(),
        source: "test".into(),
        time: DateTime::from_timestamp_secs(1_800_000_000 + i64::try_from(position).unwrap()).unwrap(),
        subject: event.subject(),
        actor: None,
        correlation: Uuid::nil(),
        causation: None,
        traceparent: None,
    };
    Recorded { position: Position(position), envelope, event }
}

// -------------------------------------------------------------------- views

/// The projections of the feeds, on one store.
struct Views {
    store: Arc<dyn ViewStore>,
    projections: Vec<(Box<dyn Projection>, u64)>,
}

impl Views {
    fn on(store: Arc<dyn ViewStore>, feeds: Feeds) -> Self {
        let projections: Vec<(Box<dyn Projection>, u64)> =
            vec![(Box::new(feeds), 0), (Box::new(Posts), 0), (Box::new(Profiles), 0)];
        Self { store, projections }
    }

    async fn take_in(&mut self, events: &[Recorded]) {
        for place in 0..self.projections.len() {
            self.take_in_by(place, events).await;
        }
    }

    /// One batch of one projection, like the runner.
    async fn take_in_by(&mut self, place: usize, events: &[Recorded]) {
        let (projection, checkpoint) = &mut self.projections[place];
        let mine = || {
            events.iter().filter(|recorded| projection.kinds().contains(&recorded.envelope.subject.kind()))
        };
        let Some(last) = events.last() else { return };
        let mut writes = preload(&**projection, &*self.store, mine()).await.unwrap();
        mine().for_each(|recorded| projection.project(recorded, &mut writes).unwrap());
        let commit = Commit {
            projection: projection.name(),
            writes: Arc::new(writes.into_list()),
            parked: Vec::new(),
            expected: *checkpoint,
            checkpoint: last.position.0,
        };
        self.store.commit(commit).await.unwrap();
        *checkpoint = last.position.0;
    }

    async fn page(&self, list: List, below: Option<i64>, limit: usize) -> TimelinePage {
        let (List::Of(user) | List::Home(user)) = list else {
            return Timeline::Newest.page(&*self.store, below, limit).await.unwrap();
        };
        let user = user.to_string();
        let timeline = if matches!(list, List::Of(_)) { Timeline::Of(&user) } else { Timeline::Home(&user) };
        timeline.page(&*self.store, below, limit).await.unwrap()
    }
}

/// Reads a list page by page. `between` may cause events after each page.
struct Reading {
    list: List,
    limit: usize,
    /// Lower positions do not belong to this history.
    floor: i64,
    below: Option<i64>,
    posts: Vec<PostId>,
    positions: Vec<i64>,
}

impl Reading {
    fn new(list: List, limit: usize, floor: i64) -> Self {
        Self { list, limit, floor, below: None, posts: Vec::new(), positions: Vec::new() }
    }

    /// True if there is another page.
    async fn turn(&mut self, views: &Views) -> bool {
        let page = views.page(self.list, self.below, self.limit).await;
        assert!(page.posts.len() <= self.limit);
        assert!(page.next.is_none() || page.posts.len() == self.limit, "a page is not full");
        let of_history = page.posts.iter().filter(|post| post.position > self.floor);
        for post in of_history {
            assert_eq!(page.authors[&post.author].user, post.author);
            assert!(self.positions.last().is_none_or(|last| *last > post.position), "not in order");
            self.positions.push(post.position);
            self.posts.push(post.post.parse().unwrap());
        }
        self.below = page.next;
        self.below.is_some_and(|next| next > self.floor)
    }

    async fn read_to_the_end(mut self, views: &Views) -> Vec<PostId> {
        while self.turn(views).await {}
        self.posts
    }
}

// ------------------------------------------------------------------- checks

/// All feeds, lists of posts and the newest posts equal the model.
async fn lists_are_exact(views: &Views, history: &mut History, what: &str) {
    let mut lists = vec![List::Newest];
    for user in history.model.people.clone() {
        lists.extend([List::Home(user), List::Of(user)]);
    }
    for list in lists {
        let limit = history.rng.random_range(1..8);
        let read = Reading::new(list, limit, history.began).read_to_the_end(views).await;
        assert_eq!(read, history.model.timeline(list), "{what}: {list:?} in pages of {limit}");
    }
}

/// Posts that arrive while a feed is read do not appear in it.
async fn pages_are_stable_while_posts_arrive(views: &mut Views, history: &mut History) {
    let list = List::Home(history.one_of_all());
    let expected = history.model.timeline(list);
    let mut reading = Reading::new(list, history.rng.random_range(1..4), history.began);
    while reading.turn(views).await {
        for _ in 0..history.rng.random_range(0..3) {
            let author = history.anybody();
            if history.model.is_shown(author) {
                history.publish(author);
            }
        }
        views.take_in(&history.events[history.projected..]).await;
        history.projected = history.events.len();
    }
    assert_eq!(reading.posts, expected, "{list:?} while posts arrived");
}

/// With arbitrary events while a feed is read, there are no duplicates, permanent posts are not missing, and posts
/// that never existed are not shown.
async fn pages_are_complete_during_arbitrary_events(views: &mut Views, history: &mut History) {
    let list = List::Home(history.one_of_all());
    let of = |model: &Model| model.timeline(list).into_iter().collect::<BTreeSet<PostId>>();
    let (mut always, mut ever) = (of(&history.model), of(&history.model));
    let mut reading = Reading::new(list, history.rng.random_range(1..4), history.began);
    while reading.turn(views).await {
        for _ in 0..history.rng.random_range(0..3) {
            history.step();
            let now = of(&history.model);
            always.retain(|post| now.contains(post));
            ever.extend(now);
        }
        views.take_in(&history.events[history.projected..]).await;
        history.projected = history.events.len();
    }
    let read: BTreeSet<PostId> = reading.posts.iter().copied().collect();
    assert!(always.is_subset(&read), "{list:?} misses {:?}", always.difference(&read));
    assert!(read.is_subset(&ever), "{list:?} shows {:?}", read.difference(&ever));
}

/// Views are built independently. A feed shows the posts that all of them contain, without a gap.
async fn lagging_view_leaves_no_gap(views: &mut Views, history: &mut History) {
    let mut known = history.model.clone();
    let more = history.rng.random_range(1..5);
    let slowest = history.rng.random_range(0..=more);
    let start = history.events.len();
    while history.events.len() < start + more {
        let author = history.anybody();
        history.publish(author);
        if history.events.len() == start + slowest {
            known = history.model.clone();
        }
    }
    let lagging = history.rng.random_range(0..views.projections.len());
    for place in 0..views.projections.len() {
        let upto = if place == lagging { start + slowest } else { start + more };
        views.take_in_by(place, &history.events[start..upto]).await;
    }
    let list = List::Home(history.one_of_all());
    let read = Reading::new(list, 3, history.began).read_to_the_end(views).await;
    assert_eq!(read, known.timeline(list), "{list:?} while a view lagged");
    views.take_in_by(lagging, &history.events[start + slowest..]).await;
    history.projected = history.events.len();
}

/// Projects one history in small batches and, in another store, as one batch.
async fn live_through(seed: u64, views: &mut Views, at_once: &mut Views, position: u64) -> u64 {
    let mut history = History::new(seed, position);
    let mut next_check = history.rng.random_range(5..25);
    while history.events.len() < EVENTS {
        for _ in 0..history.rng.random_range(1..6) {
            history.step();
        }
        views.take_in(&history.events[history.projected..]).await;
        history.projected = history.events.len();
        if history.events.len() >= next_check {
            lists_are_exact(views, &mut history, "on the way").await;
            next_check += 20;
        }
    }
    pages_are_stable_while_posts_arrive(views, &mut history).await;
    pages_are_complete_during_arbitrary_events(views, &mut history).await;
    lagging_view_leaves_no_gap(views, &mut history).await;
    lists_are_exact(views, &mut history, "at the end").await;
    at_once.take_in(&history.events).await;
    lists_are_exact(at_once, &mut history, "built at once").await;
    history.position
}

async fn feeds_are_exact_after_random_histories(
    histories: u64,
    mut stores: impl AsyncFnMut(u32) -> [Arc<dyn ViewStore>; 2],
) {
    let first_seed: u64 = rand::random();
    for limit in [2, 3] {
        let feeds = Feeds::new(limit).backfilling(2);
        let [store, other] = stores(limit).await;
        let (mut views, mut at_once) = (Views::on(store, feeds), Views::on(other, feeds));
        let mut position = 0;
        for n in 0..histories / 2 {
            let seed = first_seed.wrapping_add(n);
            #[expect(clippy::print_stderr, reason = "shown with a failure")]
            {
                eprintln!("history {n} with a limit of {limit}: seed {seed}");
            }
            position = live_through(seed, &mut views, &mut at_once, position).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_in_sqlite_are_exact_after_random_histories() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: String| {
        let store: Arc<dyn ViewStore> =
            Arc::new(SqliteViews::open(&folder.path().join(name), views::all()).await.unwrap());
        store
    };
    let stores = async |limit| [open(format!("{limit}.db")).await, open(format!("{limit}-at-once.db")).await];
    feeds_are_exact_after_random_histories(SQLITE_HISTORIES, stores).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn feeds_in_mongodb_are_exact_after_random_histories() {
    let server = MongoServer::start().await.unwrap();
    let open = async |name: String| {
        let store: Arc<dyn ViewStore> =
            Arc::new(MongoViews::open(&server.url(&name), views::all()).await.unwrap());
        store
    };
    let stores = async |limit| [open(format!("feeds{limit}")).await, open(format!("feeds{limit}once")).await];
    feeds_are_exact_after_random_histories(MONGO_HISTORIES, stores).await;
}
