//! Closes the chart of each day: 48 hours after the end of a day (UTC), appends its plays as plain counts, in one event
//! per part. Each append expects that its subject has no event. So a day is closed once, also if another worker or this
//! process before a crash closes it. The checkpoint in the view store never passes a play of a day that is not closed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use events::{
    AccountEvent, AccountsEvent, Batch, ChartDayClosed, ChartDayEvent, Day, Draft, Event, Filter, Kind,
    ListenEvent, ListeningEvent, LogError, MusicEvent, PairCount, PlayId, Position, Recorded, SealedLog,
    SongCount, SongId, SongPlayed, UserId,
};
use service::clock::Clock;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use views::{Parked, ViewStore};

use super::ticks;
use crate::engine::checkpoint::{Checkpoint, Pause};
use crate::engine::log::{append_at, head};
use crate::{ProjectionState, Statuses};

/// The name of its checkpoint; no view has this name.
pub const NAME: &str = "charts-reaction";
/// The kinds of events that it follows.
const KINDS: &[Kind] = &[Kind::Listen, Kind::Listening, Kind::Account, Kind::ChartDay];
/// Maximum number of events per batch.
const BATCH: usize = 500;
/// Days are closed this long after their end, so that offline clients can report their plays.
const CLOSES_AFTER: TimeDelta = TimeDelta::hours(48);
/// Maximum number of plays in memory, those of about three days. Each takes about 60 bytes. Further plays are left out of
/// the charts.
const TRACKED_PLAYS: usize = 2_000_000;
/// Plays of a song by one listener on a day that count.
const PLAYS_PER_LISTENER: u32 = 4;
/// The last distinct songs of a listener on a day that make pairs: their number grows with the square of it.
const PAIRED_SONGS: usize = 30;
/// Pairs of fewer listeners, and of songs with fewer listeners, are left out: they could describe one person.
const PAIR_LISTENERS: u32 = 3;
/// Maximum numbers of songs and pairs of a day; the least frequent ones are left out.
const SONGS_LIMIT: usize = 10_000;
const PAIRS_LIMIT: usize = 20_000;
/// Songs, and pairs, per part. A part has less than half of the 1 MiB that a message may have.
const PART_SONGS: usize = 2000;
const PART_PAIRS: usize = 2000;
/// How often to look for days to close.
const DUE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the checkpoint is moved. After a crash, later events are read again.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// The dependencies of the reaction.
#[derive(Debug)]
pub struct Parts {
    pub log: SealedLog,
    pub store: Arc<dyn ViewStore>,
    pub clock: Arc<dyn Clock>,
}

struct Charts {
    parts: Parts,
    statuses: Statuses,
}

/// Starts the reaction. Any number of processes can run it concurrently.
pub fn run(parts: Parts, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    statuses.set(NAME, ProjectionState::Starting);
    let charts = Charts { parts, statuses: statuses.clone() };
    tasks.spawn_until_stopping(NAME, async move {
        if let Err(why) = charts.follow().await {
            tracing::error!(why, "the charts have stopped");
            charts.statuses.set(NAME, ProjectionState::Stopped(why));
        }
    });
    statuses
}

impl Charts {
    fn checkpoint(&self) -> Checkpoint<'_> {
        Checkpoint { store: &*self.parts.store, of: NAME }
    }

    /// Follows the log until the process shuts down.
    ///
    /// # Errors
    /// A permanent error.
    async fn follow(&self) -> Result<(), String> {
        let mut checkpoint = self.checkpoint().read().await.map_err(|error| with_causes(&error))?;
        let mut open = OpenDays { passed: checkpoint, ..OpenDays::default() };
        let mut follow = self.parts.log.raw().follow(Filter::kinds(KINDS), Position(checkpoint));
        let (mut look, mut move_on) = (ticks(DUE_INTERVAL), ticks(CHECKPOINT_INTERVAL));
        loop {
            self.close_due(&mut open).await?;
            self.report(&open);
            tokio::select! {
                read = follow.next_batch(BATCH) => match read {
                    None => return Ok(()),
                    Some(batch) => {
                        let added = async { self.add_batch(batch?, &mut open).await };
                        added.await.map_err(|error: LogError| with_causes(&error))?;
                    }
                },
                _ = look.tick() => {}
                _ = move_on.tick(), if open.is_beyond(checkpoint) => {
                    let (to, parked) = (open.closed_up_to(), std::mem::take(&mut open.parked));
                    let moved = self.checkpoint().advance(checkpoint, to, &parked).await;
                    checkpoint = moved.map_err(|error| with_causes(&error))?;
                }
            }
        }
    }

    /// Unseals the plays of a batch and adds them.
    ///
    /// # Errors
    /// For an event of a newer version of the program: it may delete plays.
    async fn add_batch(&self, batch: Batch, open: &mut OpenDays) -> Result<(), LogError> {
        for events::Unreadable { position, event_type, error, .. } in batch.unreadable {
            if error.is_from_newer_version() {
                return Err(error);
            }
            open.park(position, event_type, with_causes(&error));
        }
        let mut events = Vec::with_capacity(batch.events.len());
        for stored in batch.events {
            let (position, event_type) = (stored.position, stored.message.envelope.event_type.to_string());
            match Recorded::sealed(stored) {
                Ok(recorded) => events.push(recorded),
                Err(error) if error.is_from_newer_version() => return Err(error),
                Err(error) => open.park(position, event_type, with_causes(&error)),
            }
        }
        let mut pause = Pause::default();
        let failed = loop {
            match self.parts.log.unseal(&mut events).await {
                Ok(failed) => break failed,
                Err(error @ LogError::Unavailable(_)) => pause.wait_out(NAME, &error).await,
                Err(error @ LogError::Corrupt { .. }) => return Err(error),
            }
        };
        for (place, error) in failed {
            if let Some(recorded) = events.get(place) {
                open.park(recorded.position, recorded.envelope.event_type.to_string(), with_causes(&error));
            }
        }
        for recorded in &events {
            open.apply(recorded);
        }
        open.passed = open.passed.max(batch.passed.0);
        Ok(())
    }

    /// Closes all due days once everything that was recorded before they were due has been read.
    async fn close_due(&self, open: &mut OpenDays) -> Result<(), String> {
        let now = self.parts.clock.now();
        let due = open.due(now);
        if due.is_empty() {
            return Ok(());
        }
        let horizon = match open.horizon {
            Some(horizon) => horizon,
            None => head(&**self.parts.log.raw()).await.map_err(|error| with_causes(&error))?.0,
        };
        open.horizon = Some(horizon);
        if open.passed < horizon {
            return Ok(());
        }
        for day in due {
            let Some(plays) = open.days.get(&day) else { continue };
            for part in chart(day, plays.of_users.values()) {
                self.append(part, now).await.map_err(|error| with_causes(&error))?;
            }
            open.remove(day);
            metrics::counter!("chorus_chart_days_closed_total").increment(1);
        }
        open.horizon = None;
        Ok(())
    }

    /// Appends a part of a closed day unless it is there. Retries during outages of the log.
    async fn append(&self, part: ChartDayClosed, now: DateTime<Utc>) -> Result<(), LogError> {
        let draft = Draft::without_cause(now, part);
        append_at(&self.parts.log, NAME, &draft, Position::START).await?;
        Ok(())
    }

    fn report(&self, open: &OpenDays) {
        let is_due = !open.due(self.parts.clock.now()).is_empty();
        let passed = if is_due { open.closed_up_to() } else { open.passed };
        self.statuses.set(NAME, ProjectionState::Following(passed));
        #[expect(clippy::cast_precision_loss, reason = "numbers for a chart")]
        {
            metrics::gauge!("chorus_reaction_passed", "reaction" => NAME).set(passed as f64);
            metrics::gauge!("chorus_chart_plays_tracked").set(open.tracked as f64);
        }
    }
}

/// When a day is closed; plays that are recorded later are in no chart.
fn closes_at(day: Day) -> DateTime<Utc> {
    day.date().and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1) + CLOSES_AFTER
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TrackedPlay {
    play: PlayId,
    song: SongId,
    /// Milliseconds since 1970.
    started: i64,
}

/// The plays of a day that is not closed.
#[derive(Debug)]
struct OpenDay {
    /// The position of its first play.
    first: Position,
    of_users: BTreeMap<UserId, Vec<TrackedPlay>>,
    /// Parts that are appended.
    parts: BTreeSet<u32>,
}

/// What has been read, and the plays of open days in it.
#[derive(Debug, Default)]
struct OpenDays {
    passed: u64,
    days: BTreeMap<Day, OpenDay>,
    /// Number of plays in all days.
    tracked: usize,
    /// The head of the log when days were found due.
    horizon: Option<u64>,
    /// Events to park with their errors.
    parked: Vec<Parked>,
}

impl OpenDays {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Music(MusicEvent::Listen(event)) => match event {
                ListenEvent::SongPlayed(event) => self.add(event, recorded),
                ListenEvent::PlayDeleted(event) => {
                    if let Some(day) = self.days.get_mut(&event.day) {
                        self.tracked -= day.retain(event.user, |play| play.play != event.play);
                    }
                }
            },
            Event::Music(MusicEvent::Listening(ListeningEvent::PlaysDeleted(event))) => {
                let span = event.from.timestamp_millis()..event.until.timestamp_millis();
                self.retain(event.user, |play| !span.contains(&play.started));
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                self.retain(event.user, |_| false);
            }
            Event::Music(MusicEvent::ChartDay(ChartDayEvent::ChartDayClosed(event))) => {
                let Some(day) = self.days.get_mut(&event.day) else { return };
                day.parts.insert(event.part);
                if (0..event.parts).all(|part| day.parts.contains(&part)) {
                    self.remove(event.day);
                }
            }
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }

    fn add(&mut self, event: &SongPlayed, recorded: &Recorded) {
        // Plays of erased users are unreadable.
        let Some(played) = event.played.open() else { return };
        if recorded.envelope.time >= closes_at(event.day) {
            return;
        }
        if self.tracked >= TRACKED_PLAYS {
            metrics::counter!("chorus_chart_plays_left_out_total").increment(1);
            return;
        }
        let first = recorded.position;
        let new = || OpenDay { first, of_users: BTreeMap::new(), parts: BTreeSet::new() };
        let day = self.days.entry(event.day).or_insert_with(new);
        let play = TrackedPlay { play: event.play, song: played.song, started: played.started };
        day.of_users.entry(event.user).or_default().push(play);
        self.tracked += 1;
    }

    fn retain(&mut self, user: UserId, keep: impl Fn(&TrackedPlay) -> bool) {
        for day in self.days.values_mut() {
            self.tracked -= day.retain(user, &keep);
        }
    }

    fn remove(&mut self, day: Day) {
        if let Some(day) = self.days.remove(&day) {
            self.tracked -= day.of_users.values().map(Vec::len).sum::<usize>();
        }
    }

    fn due(&self, now: DateTime<Utc>) -> Vec<Day> {
        self.days.keys().copied().filter(|day| closes_at(*day) <= now).collect()
    }

    /// All plays up to this position are of closed days.
    fn closed_up_to(&self) -> u64 {
        let first = self.days.values().map(|day| day.first.0 - 1).min();
        first.map_or(self.passed, |first| first.min(self.passed))
    }

    fn is_beyond(&self, checkpoint: u64) -> bool {
        !self.parked.is_empty() || self.closed_up_to() > checkpoint
    }

    fn park(&mut self, position: Position, event_type: String, error: String) {
        tracing::error!(%position, event_type, error, "an event of the charts is parked");
        metrics::counter!("chorus_reaction_parked_total", "reaction" => NAME).increment(1);
        self.parked.push(Parked { position: position.0, event_type, subject: None, error });
    }
}

impl OpenDay {
    /// Returns the number of removed plays.
    fn retain(&mut self, user: UserId, keep: impl Fn(&TrackedPlay) -> bool) -> usize {
        let Some(plays) = self.of_users.get_mut(&user) else { return 0 };
        let before = plays.len();
        plays.retain(keep);
        before - plays.len()
    }
}

/// The chart of a day in parts, from the plays of each listener; none if nobody played anything.
fn chart<'a>(day: Day, listeners: impl Iterator<Item = &'a Vec<TrackedPlay>> + Clone) -> Vec<ChartDayClosed> {
    let songs = song_counts(listeners.clone());
    let pairs = pair_counts(listeners, &songs);
    let (songs, pairs): (Vec<_>, Vec<_>) =
        (songs.chunks(PART_SONGS).collect(), pairs.chunks(PART_PAIRS).collect());
    let parts = u32::try_from(songs.len().max(pairs.len())).unwrap_or(u32::MAX);
    let part = |(part, place): (u32, usize)| ChartDayClosed {
        day,
        part,
        parts,
        songs: songs.get(place).map_or_else(Vec::new, |songs| songs.to_vec()),
        pairs: pairs.get(place).map_or_else(Vec::new, |pairs| pairs.to_vec()),
    };
    (0..parts).zip(0..).map(part).collect()
}

/// The songs with the most listeners, most plays first among equals.
fn song_counts<'a>(listeners: impl Iterator<Item = &'a Vec<TrackedPlay>>) -> Vec<SongCount> {
    let mut counts: HashMap<SongId, SongCount> = HashMap::new();
    for plays in listeners {
        let mut own: HashMap<SongId, u32> = HashMap::new();
        for play in plays {
            *own.entry(play.song).or_default() += 1;
        }
        for (song, plays) in own {
            let count = counts.entry(song).or_insert(SongCount { song, plays: 0, listeners: 0 });
            count.plays += plays.min(PLAYS_PER_LISTENER);
            count.listeners += 1;
        }
    }
    let mut counts: Vec<SongCount> = counts.into_values().collect();
    counts.sort_unstable_by_key(|count| (std::cmp::Reverse((count.listeners, count.plays)), count.song));
    counts.truncate(SONGS_LIMIT);
    counts
}

/// The pairs of songs that most listeners played both.
fn pair_counts<'a>(
    listeners: impl Iterator<Item = &'a Vec<TrackedPlay>>,
    songs: &[SongCount],
) -> Vec<PairCount> {
    let enough = songs.iter().filter(|count| count.listeners >= PAIR_LISTENERS);
    let enough: HashSet<SongId> = enough.map(|count| count.song).collect();
    let mut counts: HashMap<(SongId, SongId), u32> = HashMap::new();
    for plays in listeners {
        let mut plays = plays.clone();
        plays.sort_unstable_by_key(|play| (std::cmp::Reverse(play.started), play.play));
        let mut seen = HashSet::new();
        let distinct = plays.iter().map(|play| play.song).filter(|song| seen.insert(*song));
        let mut last: Vec<SongId> =
            distinct.take(PAIRED_SONGS).filter(|song| enough.contains(song)).collect();
        last.sort_unstable();
        for (place, first) in last.iter().enumerate() {
            for second in last.iter().skip(place + 1) {
                *counts.entry((*first, *second)).or_default() += 1;
            }
        }
    }
    counts.retain(|_, listeners| *listeners >= PAIR_LISTENERS);
    let pair = |((first, second), listeners)| PairCount { first, second, listeners };
    let mut counts: Vec<PairCount> = counts.into_iter().map(pair).collect();
    counts.sort_unstable_by_key(|pair| (std::cmp::Reverse(pair.listeners), pair.first, pair.second));
    counts.truncate(PAIRS_LIMIT);
    counts
}

#[cfg(test)]
mod tests {
    use events::{Erased, Personal, PlayDeleted, Played, PlaysDeleted};
    use uuid::Uuid;

    use super::*;
    use crate::testing;

    const DAWN: SongId = SongId::new(Uuid::from_u128(0x50));
    const DUSK: SongId = SongId::new(Uuid::from_u128(0x51));

    fn user(number: u128) -> UserId {
        UserId::new(Uuid::from_u128(number))
    }

    fn today() -> Day {
        Day::of(DateTime::from_timestamp_secs(testing::START).unwrap())
    }

    fn played(number: u128, song: SongId, minute: i64) -> SongPlayed {
        let started = today().date().and_time(NaiveTime::MIN).and_utc() + TimeDelta::minutes(minute);
        let play = PlayId::new(Uuid::from_u128(number << 64 | u128::from(minute.unsigned_abs())));
        let started = started.timestamp_millis();
        let played = Personal::Open(Played { song, started, listened: 60_000 });
        SongPlayed { user: user(number), day: today(), play, played }
    }

    fn folded(history: impl IntoIterator<Item = Event>) -> OpenDays {
        let mut open = OpenDays::default();
        for (event, position) in history.into_iter().zip(1..) {
            open.apply(&testing::recorded(event, position));
        }
        open
    }

    fn chart_of(history: impl IntoIterator<Item = Event>) -> Vec<ChartDayClosed> {
        let open = folded(history);
        open.days.get(&today()).map_or_else(Vec::new, |day| chart(today(), day.of_users.values()))
    }

    /// Three listeners of both songs, one of them of `DAWN` six times.
    fn history() -> Vec<Event> {
        let both = (1..=3).flat_map(|user| [played(user, DAWN, 1), played(user, DUSK, 2)]);
        let again = (10..15).map(|minute| played(1, DAWN, minute));
        both.chain(again).map(Event::from).collect()
    }

    #[test]
    fn listener_counts_a_few_plays_of_a_song() {
        let [part] = &chart_of(history())[..] else { panic!("one part") };
        let count = |song, plays| SongCount { song, plays, listeners: 3 };
        assert_eq!((part.part, part.parts), (0, 1));
        assert_eq!(part.songs, [count(DAWN, 6), count(DUSK, 3)]);
        assert_eq!(part.pairs, [PairCount { first: DAWN, second: DUSK, listeners: 3 }]);
    }

    #[test]
    fn deleted_plays_and_erased_users_are_left_out() {
        let play = played(2, DAWN, 1);
        let (day, start) = (today(), today().date().and_time(NaiveTime::MIN).and_utc());
        let until = start + TimeDelta::days(1);
        for gone in [
            Event::from(PlayDeleted { user: user(2), day, play: play.play }),
            PlaysDeleted { user: user(2), from: start, until }.into(),
            Erased { user: user(2) }.into(),
        ] {
            let chart = chart_of(history().into_iter().chain([gone.clone()]));
            assert_eq!(
                chart[0].songs.iter().find(|count| count.song == DAWN).unwrap().listeners,
                2,
                "{gone:?}"
            );
            assert_eq!(chart[0].pairs, [], "fewer than three people: {gone:?}");
        }
        let all = (1..=3).map(|number| Event::from(Erased { user: user(number) }));
        assert_eq!(chart_of(history().into_iter().chain(all)), []);
    }

    #[test]
    fn only_the_last_distinct_songs_of_a_day_make_pairs() {
        let song = |n: i64| SongId::new(Uuid::from_u128(0x100 + u128::from(n.unsigned_abs())));
        let many = (1..=3).flat_map(|user| (0..40).map(move |n| Event::from(played(user, song(n), n))));
        let [part] = &chart_of(many)[..] else { panic!("one part") };
        assert_eq!((part.songs.len(), part.pairs.len()), (40, 30 * 29 / 2));
        assert!(part.pairs.iter().all(|pair| pair.first >= song(10)));
    }

    #[test]
    fn parts_are_small_and_the_least_frequent_are_left_out() {
        let song = |n: u64| SongId::new(Uuid::from_u128(0x1000 + u128::from(n)));
        let plays = |songs: std::ops::Range<u64>| -> Vec<TrackedPlay> {
            let play = |n: u64| TrackedPlay {
                play: PlayId::new(Uuid::from_u128(n.into())),
                song: song(n),
                started: 1,
            };
            songs.map(play).collect()
        };
        let most = u64::try_from(SONGS_LIMIT).unwrap();
        let listeners = [plays(0..most + 5), plays(5..most + 5)];
        let parts = chart(today(), listeners.iter());
        assert_eq!(parts.len(), SONGS_LIMIT / PART_SONGS);
        assert_eq!(parts.iter().map(|part| part.songs.len()).sum::<usize>(), SONGS_LIMIT);
        assert!(parts.iter().flat_map(|part| &part.songs).all(|count| count.listeners == 2));
        let pair = PairCount { first: DAWN, second: DUSK, listeners: u32::MAX };
        let count = SongCount { song: DAWN, plays: u32::MAX, listeners: u32::MAX };
        let (songs, pairs) = (vec![count; PART_SONGS], vec![pair; PART_PAIRS]);
        let largest = ChartDayClosed { day: today(), part: 9, parts: 10, songs, pairs };
        assert!(serde_json::to_vec(&largest).unwrap().len() < 512 * 1024);
    }

    #[test]
    fn day_is_open_until_it_closes_or_all_its_parts_are_there() {
        let mut open = folded(history());
        open.passed = 20;
        let close = closes_at(today());
        assert_eq!(open.due(close - TimeDelta::seconds(1)), []);
        assert_eq!((open.due(close), open.closed_up_to()), (vec![today()], 0));
        let closed = |part| ChartDayClosed { day: today(), part, parts: 2, songs: vec![], pairs: vec![] };
        open.apply(&testing::recorded(closed(0).into(), 21));
        assert_eq!(open.due(close), [today()]);
        open.apply(&testing::recorded(closed(1).into(), 22));
        assert_eq!((open.due(close), open.closed_up_to(), open.tracked), (vec![], 20, 0));
        // Recorded after the day has closed.
        let seconds = (close - DateTime::from_timestamp_secs(testing::START).unwrap()).num_seconds();
        open.apply(&testing::recorded(played(1, DAWN, 1).into(), seconds.unsigned_abs()));
        assert_eq!(open.tracked, 0);
    }
}
