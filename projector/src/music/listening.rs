//! Plays of songs, their counts per user, song and year, and private sessions.

use std::collections::BTreeMap;

use chrono::{Datelike, TimeDelta};
use events::{
    AccountEvent, AccountsEvent, Event, Kind, ListenEvent, ListeningEvent, MusicEvent, PlayDeleted, Played,
    PlaysDeleted, Recorded, SongPlayed, UserId,
};
use serde_json::json;
use views::markers::Marker;
use views::music::listening::{
    ALL_TIME, MOST_PLAYED, OF_PERIODS, OF_USER, OF_YEAR, PRIVATE_SESSIONS, Play, PlayTotal, PrivateSession,
    SONGS, SongPlays, TOTALS, VIEW, play_key, song_key, total_key,
};
use views::{Patch, StoreError, View, Writes};

use crate::accounts::markers;
use crate::accounts::profiles::VisibilityChange;
use crate::engine::projection::{Search, position};
use crate::{OnFailure, Projection};

/// Plays of earlier years are refused.
const FIRST_YEAR: i32 = 2002;
/// No play is recorded longer than this before its start.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

#[derive(Debug, Clone, Copy)]
pub struct Listening;

impl Projection for Listening {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn views(&self) -> Vec<&'static str> {
        vec![VIEW.name, SONGS.name, TOTALS.name, PRIVATE_SESSIONS.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Listen, Kind::Listening, Kind::Account]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Music(MusicEvent::Listen(event)) => match event {
                ListenEvent::SongPlayed(event) => reads_of_play(event),
                ListenEvent::PlayDeleted(event) => {
                    let user = event.user.to_string();
                    let play = (&VIEW, play_key(&user, &event.play.to_string()));
                    let totals = periods(event.day.date().year());
                    let totals = totals.iter().map(|period| (&TOTALS, total_key(&user, period)));
                    [play].into_iter().chain(totals).collect()
                }
            },
            Event::Music(MusicEvent::Listening(event)) => match event {
                ListeningEvent::PlaysDeleted(deleted) if deletes_all(deleted, recorded) => Vec::new(),
                ListeningEvent::PlaysDeleted(deleted) => {
                    let user = deleted.user.to_string();
                    let years = years_of(deleted).map(|year| year.to_string());
                    let periods = years.chain([ALL_TIME.to_owned()]);
                    periods.map(|period| (&TOTALS, total_key(&user, &period))).collect()
                }
                ListeningEvent::PrivateSessionStarted(event) => vec![markers::account_key(&VIEW, event.user)],
                ListeningEvent::PrivateSessionEnded(_) => Vec::new(),
            },
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    /// The counts that a deletion changes, and the plays that it may delete. Deletions are rare: an index only for them
    /// would cost more.
    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        let counts = |user: UserId, period: &str| Search {
            view: &SONGS,
            index: &MOST_PLAYED,
            equals: vec![json!(user), json!(period)],
        };
        match &recorded.event {
            Event::Music(MusicEvent::Listen(ListenEvent::PlayDeleted(event))) => {
                periods(event.day.date().year()).iter().map(|period| counts(event.user, period)).collect()
            }
            Event::Music(MusicEvent::Listening(ListeningEvent::PlaysDeleted(event)))
                if deletes_all(event, recorded) =>
            {
                vec![periods_of(event.user)]
            }
            Event::Music(MusicEvent::Listening(ListeningEvent::PlaysDeleted(event))) => {
                let user = event.user;
                let of_year = |year: i32| {
                    let plays =
                        Search { view: &VIEW, index: &OF_YEAR, equals: vec![json!(user), json!(year)] };
                    [plays, counts(user, &year.to_string())]
                };
                years_of(event).flat_map(of_year).chain([counts(user, ALL_TIME)]).collect()
            }
            Event::Accounts(AccountsEvent::Account(AccountEvent::Erased(event))) => {
                vec![periods_of(event.user)]
            }
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Music(MusicEvent::Listen(event)) => match event {
                // Plays of erased users are unreadable.
                ListenEvent::SongPlayed(event) => match event.played.open() {
                    Some(played) => play(event, played, recorded, writes),
                    None => Ok(()),
                },
                ListenEvent::PlayDeleted(event) => delete_play(event, writes),
            },
            Event::Music(MusicEvent::Listening(event)) => match event {
                ListeningEvent::PlaysDeleted(event) if deletes_all(event, recorded) => {
                    delete_all(event.user, writes)
                }
                ListeningEvent::PlaysDeleted(event) => delete_span(event, writes),
                ListeningEvent::PrivateSessionStarted(event) => {
                    if markers::account(&VIEW, event.user, writes)? == Some(Marker::Erased) {
                        return Ok(());
                    }
                    let until = event.until.timestamp_millis();
                    writes.put(&PrivateSession { user: event.user.to_string(), until })
                }
                ListeningEvent::PrivateSessionEnded(event) => {
                    writes.delete::<PrivateSession>(event.user.to_string());
                    Ok(())
                }
            },
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Ok(()),
        }
    }
}

/// Whether the span of a deletion contains every play that can be recorded before it.
fn deletes_all(event: &PlaysDeleted, recorded: &Recorded) -> bool {
    event.from.year() < FIRST_YEAR && event.until > recorded.envelope.time + CLOCK_TOLERANCE
}

/// The totals of a user: each period of counts has one.
fn periods_of(user: UserId) -> Search {
    Search { view: &TOTALS, index: &OF_PERIODS, equals: vec![json!(user)] }
}

/// The periods that a play of a year counts in.
fn periods(year: i32) -> [String; 2] {
    [ALL_TIME.to_owned(), year.to_string()]
}

fn reads_of_play(event: &SongPlayed) -> Vec<(&'static View, String)> {
    let Some(played) = event.played.open() else { return Vec::new() };
    let (user, song) = (event.user.to_string(), played.song.to_string());
    let play = (&VIEW, play_key(&user, &event.play.to_string()));
    let mut reads = vec![markers::account_key(&VIEW, event.user), play];
    for period in periods(event.day.date().year()) {
        reads.push((&SONGS, song_key(&user, &period, &song)));
        reads.push((&TOTALS, total_key(&user, &period)));
    }
    reads
}

/// Ignores a play that is appended after the erasure of its user.
fn play(
    event: &SongPlayed,
    played: &Played,
    recorded: &Recorded,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let (user, play, song) = (event.user.to_string(), event.play.to_string(), played.song.to_string());
    let is_void = markers::account(&VIEW, event.user, writes)? == Some(Marker::Erased)
        || writes.get::<Play>(&play_key(&user, &play))?.is_some();
    if is_void {
        return Ok(());
    }
    let year = event.day.date().year();
    let listened = i64::try_from(played.listened).unwrap_or(i64::MAX);
    for period in periods(year) {
        let more = || Patch::default().inc("plays", 1).inc("listened", listened);
        let key = song_key(&user, &period, &song);
        if writes.get::<SongPlays>(&key)?.is_some() {
            writes.patch::<SongPlays>(key, more());
        } else {
            let (user, period, song) = (user.clone(), period.clone(), song.clone());
            writes.put(&SongPlays { user, period, song, plays: 1, listened })?;
        }
        let key = total_key(&user, &period);
        if writes.get::<PlayTotal>(&key)?.is_some() {
            writes.patch::<PlayTotal>(key, more());
        } else {
            writes.put(&PlayTotal { user: user.clone(), period, plays: 1, listened })?;
        }
    }
    writes.put(&Play {
        user,
        play,
        song,
        day: event.day.to_string(),
        year,
        started: played.started,
        listened,
        position: position(recorded),
    })
}

fn delete_play(event: &PlayDeleted, writes: &mut Writes) -> Result<(), StoreError> {
    let key = play_key(&event.user.to_string(), &event.play.to_string());
    let Some(play) = writes.get::<Play>(&key)? else { return Ok(()) };
    delete(&[play], writes)
}

fn delete_span(event: &PlaysDeleted, writes: &mut Writes) -> Result<(), StoreError> {
    let span = event.from.timestamp_millis()..event.until.timestamp_millis();
    let mut plays: Vec<Play> = writes.found()?;
    plays.retain(|play| span.contains(&play.started));
    delete(&plays, writes)
}

/// Deletes plays and takes them off the counts, which are preloaded. Counts of nothing are deleted: they name songs.
fn delete(plays: &[Play], writes: &mut Writes) -> Result<(), StoreError> {
    let mut songs: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let mut totals: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for play in plays {
        for period in periods(play.year) {
            for (counts, key) in [
                (&mut songs, song_key(&play.user, &period, &play.song)),
                (&mut totals, total_key(&play.user, &period)),
            ] {
                let count = counts.entry(key).or_default();
                *count = (count.0 + 1, count.1.saturating_add(play.listened));
            }
        }
        writes.delete::<Play>(play_key(&play.user, &play.play));
    }
    let less =
        |(plays, listened): (i64, i64)| Patch::default().inc("plays", -plays).inc("listened", -listened);
    for count in writes.found::<SongPlays>()? {
        let key = song_key(&count.user, &count.period, &count.song);
        match songs.get(&key) {
            Some(&(deleted, _)) if deleted >= count.plays => writes.delete::<SongPlays>(key),
            Some(&deleted) => writes.patch::<SongPlays>(key, less(deleted)),
            None => {}
        }
    }
    for (key, deleted) in totals {
        match writes.get::<PlayTotal>(&key)? {
            Some(total) if deleted.0 >= total.plays => writes.delete::<PlayTotal>(key),
            Some(_) => writes.patch::<PlayTotal>(key, less(deleted)),
            None => {}
        }
    }
    writes.add_weight(plays.len().saturating_mul(3));
    Ok(())
}

/// The years in which plays in the span of a deletion can have started.
fn years_of(event: &PlaysDeleted) -> std::ops::RangeInclusive<i32> {
    event.from.year().max(FIRST_YEAR)..=event.until.year()
}

/// Only their user sees plays, and hidden users see nothing.
fn account(event: &AccountEvent, writes: &mut Writes) -> Result<(), StoreError> {
    if markers::mark_account(&VIEW, event, writes) != Some(VisibilityChange::Erased) {
        return Ok(());
    }
    let user = event.user();
    writes.delete::<PrivateSession>(user.to_string());
    delete_all(user, writes)
}

/// Deletes all plays and counts without reading them. The totals are preloaded.
fn delete_all(user: UserId, writes: &mut Writes) -> Result<(), StoreError> {
    writes.delete_where::<Play>(&OF_USER, vec![json!(user)]);
    writes.delete_where::<PlayTotal>(&OF_PERIODS, vec![json!(user)]);
    for PlayTotal { period, .. } in writes.found::<PlayTotal>()? {
        writes.delete_where::<SongPlays>(&MOST_PLAYED, vec![json!(user), json!(period)]);
    }
    writes.add_unknown_weight();
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use events::{Day, Erased, Personal, PlayId, PrivateSessionEnded, PrivateSessionStarted, SongId};
    use uuid::Uuid;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, START, built, built_in_batches};

    const DAWN: SongId = SongId::new(Uuid::from_u128(0x50));
    const DUSK: SongId = SongId::new(Uuid::from_u128(0x51));
    const HOUR: i64 = 3_600_000;

    fn at(started: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(started).unwrap()
    }

    fn played_by(user: UserId, song: SongId, started: i64) -> Event {
        let day = Day::of(at(started));
        let play = PlayId::new(Uuid::from_u64_pair(song.uuid().as_u64_pair().1, started.cast_unsigned()));
        let played = Personal::Open(Played { song, started, listened: 60_000 });
        SongPlayed { user, day, play, played }.into()
    }

    fn played(song: SongId, started: i64) -> Event {
        played_by(ANN, song, started)
    }

    fn deleted(song: SongId, started: i64) -> Event {
        let Event::Music(MusicEvent::Listen(ListenEvent::SongPlayed(event))) = played(song, started) else {
            unreachable!()
        };
        PlayDeleted { user: ANN, day: event.day, play: event.play }.into()
    }

    /// Songs with their plays and minutes in a period.
    async fn songs(built: &Built, period: &str) -> Vec<(String, i64, i64)> {
        let query = Query::new(&SONGS, &MOST_PLAYED, vec![json!(ANN), json!(period)], 10);
        let page = built.store.page_of::<SongPlays>(query).await.unwrap();
        page.documents.into_iter().map(|of| (of.song, of.plays, of.listened / 60_000)).collect()
    }

    async fn plays(built: &Built) -> Vec<i64> {
        let query = Query::new(&VIEW, &OF_USER, vec![json!(ANN)], 10);
        let page = built.store.page_of::<Play>(query).await.unwrap();
        let total: Option<PlayTotal> = built.store.get(&total_key(&ANN.to_string(), ALL_TIME)).await.unwrap();
        assert_eq!(total.map_or(0, |total| total.plays), i64::try_from(page.documents.len()).unwrap());
        page.documents.into_iter().map(|play| play.started).collect()
    }

    const NOW: i64 = START * 1000;
    /// In another year.
    const EARLIER: i64 = NOW - 500 * 24 * HOUR;

    fn history() -> Vec<Event> {
        vec![
            played(DAWN, NOW - HOUR),
            played(DUSK, NOW - 2 * HOUR),
            played(DAWN, EARLIER),
            played_by(BOB, DUSK, NOW),
            played(DAWN, NOW - 3 * HOUR),
        ]
    }

    #[tokio::test]
    async fn plays_are_listed_by_start_and_counted_by_song_and_year() {
        let view = built(&Listening, history()).await;
        assert_eq!(plays(&view).await, [NOW - HOUR, NOW - 2 * HOUR, NOW - 3 * HOUR, EARLIER]);
        let (dawn, dusk) = (DAWN.to_string(), DUSK.to_string());
        assert_eq!(songs(&view, ALL_TIME).await, [(dawn.clone(), 3, 3), (dusk.clone(), 1, 1)]);
        let (now, earlier) = (at(NOW).year().to_string(), at(EARLIER).year().to_string());
        assert_eq!(songs(&view, &now).await, [(dawn.clone(), 2, 2), (dusk, 1, 1)]);
        assert_eq!(songs(&view, &earlier).await, [(dawn, 1, 1)]);
    }

    #[tokio::test]
    async fn deleted_plays_are_in_no_list_and_no_count() {
        let one = history().into_iter().chain([deleted(DUSK, NOW - 2 * HOUR), deleted(DUSK, NOW)]);
        let view = built(&Listening, one).await;
        assert_eq!(plays(&view).await, [NOW - HOUR, NOW - 3 * HOUR, EARLIER]);
        assert_eq!(songs(&view, ALL_TIME).await, [(DAWN.to_string(), 3, 3)]);

        let span = |from, until| Event::from(PlaysDeleted { user: ANN, from: at(from), until: at(until) });
        let some = history().into_iter().chain([span(NOW - 3 * HOUR, NOW - HOUR)]);
        let view = built(&Listening, some).await;
        assert_eq!(plays(&view).await, [NOW - HOUR, EARLIER]);
        assert_eq!(songs(&view, ALL_TIME).await, [(DAWN.to_string(), 2, 2)]);

        let all = history().into_iter().chain([span(0, NOW + 24 * HOUR)]);
        let view = built(&Listening, all.chain([played(DUSK, NOW)])).await;
        assert_eq!(plays(&view).await, [NOW]);
        assert_eq!(songs(&view, ALL_TIME).await, [(DUSK.to_string(), 1, 1)]);
        assert_eq!((view.count(&TOTALS).await, view.count(&SONGS).await), (4, 4), "two are of Bob");
    }

    #[tokio::test]
    async fn everything_of_an_erased_user_is_deleted_and_late_plays_are_ignored() {
        let started = PrivateSessionStarted { user: ANN, until: at(NOW) + TimeDelta::hours(1) };
        let mut history = history();
        history.push(started.clone().into());
        history.push(Erased { user: ANN }.into());
        history.push(played(DAWN, NOW));
        history.push(started.into());
        for batch in [1, 3, history.len()] {
            let view = built_in_batches(&Listening, &history, batch).await;
            assert_eq!(view.count(&VIEW).await, 1, "the play of Bob");
            let counts = (view.count(&SONGS).await, view.count(&TOTALS).await);
            assert_eq!((counts, view.count(&PRIVATE_SESSIONS).await), ((2, 2), 0));
        }
    }

    #[tokio::test]
    async fn private_session_is_shown_until_it_is_ended() {
        let until = |hours| PrivateSessionStarted { user: ANN, until: at(NOW) + TimeDelta::hours(hours) };
        let mut history: Vec<Event> = vec![until(1).into(), until(2).into()];
        let view = built(&Listening, history.clone()).await;
        let session: PrivateSession = view.store.get(&ANN.to_string()).await.unwrap().unwrap();
        assert_eq!(session.until, NOW + 2 * HOUR);
        history.push(PrivateSessionEnded { user: ANN }.into());
        assert_eq!(built(&Listening, history).await.count(&PRIVATE_SESSIONS).await, 0);
    }
}
