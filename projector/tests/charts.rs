//! The closing of days on a real log and view store, with a manual clock: each day is closed once, after 48 hours, whichever
//! processes run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests report errors by failing")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    ChartDayClosed, ChartDayEvent, Day, Draft, Event, EventId, MasterKeys, MusicEvent, PairCount, Personal,
    PlayId, Played, PlaysDeleted, Position, SealedLog, SongCount, SongId, SongPlayed, Subject, UserId,
    open_sealed,
};
use projector::reactions::charts;
use projector::{ProjectionState, Statuses};
use service::clock::Clock;
use service::shutdown::Tasks;
use tests::waiting::found;
use uuid::Uuid;
use views::{SqliteViews, ViewStore};

/// Timeout of waiting for a state: many times the polling interval of the reaction.
const LIMIT: Duration = Duration::from_mins(1);
const DAWN: SongId = SongId::new(Uuid::from_u128(0x50));
const DUSK: SongId = SongId::new(Uuid::from_u128(0x51));

/// A manual clock.
#[derive(Debug)]
struct MovedClock(Mutex<DateTime<Utc>>);

impl Clock for MovedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

struct World {
    log: SealedLog,
    clock: Arc<MovedClock>,
    folder: tempfile::TempDir,
    /// The last position of each subject.
    last: Mutex<HashMap<Subject, Position>>,
}

struct Worker {
    tasks: Tasks,
    statuses: Statuses,
}

fn noon() -> DateTime<Utc> {
    "2026-02-03T12:00:00Z".parse().unwrap()
}

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

impl Worker {
    async fn stop(self) {
        assert!(self.tasks.stop().await, "a task did not end");
    }

    /// Waits until the reaction has passed the head and closed all due days.
    async fn settled(&self, world: &World) {
        let head = world.log.raw().head().await.unwrap().0;
        found(LIMIT, "the reaction has passed the head", async || match self.statuses.all()[charts::NAME] {
            ProjectionState::Following(passed) => (passed >= head).then_some(()),
            ProjectionState::Starting => None,
            ref other => panic!("{other:?}"),
        })
        .await;
    }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = MasterKeys::parse(&MasterKeys::generate()).unwrap();
        let setting = format!("sqlite:{}", folder.path().join("events.db").display());
        let clock = Arc::new(MovedClock(Mutex::new(noon())));
        let log = open_sealed(&setting, None, &keys).await.unwrap();
        Self { log, clock, folder, last: Mutex::default() }
    }

    fn advance_to(&self, time: &str) {
        *self.clock.0.lock().unwrap() = time.parse().unwrap();
    }

    /// A worker with a view store of this name.
    async fn worker(&self, views: &str) -> Worker {
        let path = self.folder.path().join(views);
        let store: Arc<dyn ViewStore> = Arc::new(SqliteViews::open(&path, views::all()).await.unwrap());
        let (tasks, clock) = (Tasks::default(), Arc::<MovedClock>::clone(&self.clock));
        let statuses = charts::run(charts::Parts { log: self.log.clone(), store, clock }, &tasks);
        Worker { tasks, statuses }
    }

    async fn append(&self, event: impl Into<Event>) {
        let event: Event = event.into();
        let subject = event.subject();
        let any = || Uuid::from_u128(rand::random());
        let draft = Draft {
            id: EventId::new(any()),
            time: self.clock.now(),
            actor: None,
            correlation: any(),
            causation: None,
            traceparent: None,
            event,
        };
        let expected = self.last.lock().unwrap().get(&subject).copied().unwrap_or_default();
        let position = self.log.append(draft, expected).await.unwrap();
        self.last.lock().unwrap().insert(subject, position);
    }

    async fn play(&self, by: UserId, song: SongId, started: DateTime<Utc>) {
        let played = Played { song, started: started.timestamp_millis(), listened: 60_000 };
        let (day, play) = (Day::of(started), PlayId::new(Uuid::from_u128(rand::random())));
        self.append(SongPlayed { user: by, day, play, played: Personal::Open(played) }).await;
    }

    /// The parts of a closed day.
    async fn closed(&self, day: Day) -> Option<ChartDayClosed> {
        let mut events = self.log.read(Subject::ChartDay(day, 0), Position::START).await.unwrap();
        assert!(events.len() <= 1, "{events:?}");
        assert!(self.log.read(Subject::ChartDay(day, 1), Position::START).await.unwrap().is_empty());
        match events.pop()?.event {
            Event::Music(MusicEvent::ChartDay(ChartDayEvent::ChartDayClosed(event))) => Some(event),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn day_is_closed_once_after_48_hours_from_all_plays_until_then() {
    let world = World::new().await;
    let day = Day::of(noon());
    for number in 1..=4 {
        world.play(user(number), DAWN, noon()).await;
        world.play(user(number), DUSK, noon()).await;
    }
    world.play(user(1), DAWN, noon() + TimeDelta::days(1)).await;
    let worker = world.worker("views.db").await;
    world.advance_to("2026-02-05T23:59:59Z");
    // Late plays count until the day is closed, and deleted ones do not.
    world.play(user(5), DUSK, noon() + TimeDelta::hours(1)).await;
    world.append(PlaysDeleted { user: user(4), from: noon(), until: noon() + TimeDelta::hours(1) }).await;
    worker.settled(&world).await;
    assert_eq!(world.closed(day).await, None);

    world.advance_to("2026-02-06T00:00:00Z");
    let closed = found(LIMIT, "the day is closed", async || world.closed(day).await).await;
    let count = |song, listeners| SongCount { song, plays: listeners, listeners };
    assert_eq!(closed.songs, [count(DUSK, 4), count(DAWN, 3)]);
    assert_eq!(closed.pairs, [PairCount { first: DAWN, second: DUSK, listeners: 3 }]);
    world.play(user(6), DAWN, noon()).await;
    worker.settled(&world).await;
    worker.stop().await;

    // Neither another start nor an empty view store closes it again.
    for views in ["views.db", "empty.db"] {
        let worker = world.worker(views).await;
        worker.settled(&world).await;
        worker.stop().await;
        assert_eq!(world.closed(day).await.as_ref(), Some(&closed), "{views}");
    }
    assert_eq!(world.closed(Day::of(noon() + TimeDelta::days(1))).await, None);
}

#[tokio::test]
async fn overdue_day_is_closed_at_the_next_start_by_one_of_several_workers() {
    let world = World::new().await;
    world.play(user(1), DAWN, noon()).await;
    let worker = world.worker("views.db").await;
    worker.settled(&world).await;
    worker.stop().await;
    world.play(user(2), DAWN, noon()).await;
    world.advance_to("2026-03-01T00:00:00Z");
    let workers = [world.worker("views.db").await, world.worker("views.db").await];
    let closed = found(LIMIT, "the day is closed", async || world.closed(Day::of(noon())).await).await;
    assert_eq!(closed.songs, [SongCount { song: DAWN, plays: 2, listeners: 2 }]);
    assert_eq!(closed.pairs, []);
    for worker in workers {
        worker.settled(&world).await;
        worker.stop().await;
    }
    assert_eq!(world.closed(Day::of(noon())).await, Some(closed));
}
