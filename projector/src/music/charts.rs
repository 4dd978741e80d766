//! Charts of days and weeks, and songs that are played together, from closed days. Closed days contain plain counts, so
//! nothing here depends on accounts, and a rebuild after an erasure agrees.

use std::collections::BTreeMap;

use events::{ChartDayClosed, ChartDayEvent, Event, Kind, MusicEvent, Recorded};
use views::music::charts::{
    ChartSong, LISTENERS, NEIGHBOURS, Neighbour, SongListeners, VIEW, chart_key, day_period, neighbour_key,
    week_period,
};
use views::{Patch, StoreError, View, Writes};

use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Charts;

#[derive(Debug, Clone, Copy)]
pub struct SongNeighbours;

const KINDS: &[Kind] = &[Kind::ChartDay];

fn closed(recorded: &Recorded) -> Option<&ChartDayClosed> {
    match &recorded.event {
        Event::Music(MusicEvent::ChartDay(ChartDayEvent::ChartDayClosed(event))) => Some(event),
        Event::Music(_) | Event::Accounts(_) | Event::Social(_) | Event::Mail(_) | Event::Operations(_) => {
            None
        }
    }
}

/// The periods of a day's chart: the day, and its week from Monday to Sunday.
fn periods(event: &ChartDayClosed) -> [String; 2] {
    let monday = event.day.date().week(chrono::Weekday::Mon).first_day();
    [day_period(&event.day.to_string()), week_period(&events::Day::new(monday).to_string())]
}

impl Projection for Charts {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        KINDS
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let Some(event) = closed(recorded) else { return Vec::new() };
        let periods = periods(event);
        let keys = event.songs.iter().flat_map(|count| {
            let song = count.song.to_string();
            periods.each_ref().map(|period| (&VIEW, chart_key(period, &song)))
        });
        keys.collect()
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let Some(event) = closed(recorded) else { return Ok(()) };
        for period in periods(event) {
            for count in &event.songs {
                let (plays, listeners) = (i64::from(count.plays), i64::from(count.listeners));
                let song = count.song.to_string();
                let key = chart_key(&period, &song);
                if writes.get::<ChartSong>(&key)?.is_some() {
                    let more = Patch::default().inc("plays", plays).inc("listeners", listeners);
                    writes.patch::<ChartSong>(key, more);
                } else {
                    writes.put(&ChartSong { period: period.clone(), song, plays, listeners })?;
                }
            }
        }
        Ok(())
    }
}

impl Projection for SongNeighbours {
    fn name(&self) -> &'static str {
        NEIGHBOURS.name
    }

    fn views(&self) -> Vec<&'static str> {
        vec![NEIGHBOURS.name, LISTENERS.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        KINDS
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let Some(event) = closed(recorded) else { return Vec::new() };
        let pairs = directed(event).into_keys();
        let neighbours = pairs.map(|(song, other)| (&NEIGHBOURS, neighbour_key(&song, &other)));
        let songs = event.songs.iter().map(|count| (&LISTENERS, count.song.to_string()));
        neighbours.chain(songs).collect()
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        let Some(event) = closed(recorded) else { return Ok(()) };
        for ((song, neighbour), together) in directed(event) {
            let key = neighbour_key(&song, &neighbour);
            if writes.get::<Neighbour>(&key)?.is_some() {
                writes.patch::<Neighbour>(key, Patch::default().inc("together", together));
            } else {
                writes.put(&Neighbour { song, neighbour, together })?;
            }
        }
        for count in &event.songs {
            let (song, listeners) = (count.song.to_string(), i64::from(count.listeners));
            if writes.get::<SongListeners>(&song)?.is_some() {
                writes.patch::<SongListeners>(song, Patch::default().inc("listeners", listeners));
            } else {
                writes.put(&SongListeners { song, listeners })?;
            }
        }
        Ok(())
    }
}

/// Each pair in both directions.
fn directed(event: &ChartDayClosed) -> BTreeMap<(String, String), i64> {
    let pairs = event.pairs.iter().flat_map(|pair| {
        let (first, second) = (pair.first.to_string(), pair.second.to_string());
        let together = i64::from(pair.listeners);
        [((first.clone(), second.clone()), together), ((second, first), together)]
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use events::{Day, PairCount, SongCount, SongId};
    use serde_json::json;
    use uuid::Uuid;
    use views::music::charts::{OF_SONG, TOP};
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::built;

    const DAWN: SongId = SongId::new(Uuid::from_u128(0x50));
    const DUSK: SongId = SongId::new(Uuid::from_u128(0x51));

    fn day(day: &str, part: u32, songs: &[(SongId, u32, u32)], together: u32) -> Event {
        let day: Day = day.parse().unwrap();
        let count = |&(song, plays, listeners): &(SongId, u32, u32)| SongCount { song, plays, listeners };
        let pair = PairCount { first: DAWN, second: DUSK, listeners: together };
        let pairs = if together > 0 { vec![pair] } else { Vec::new() };
        ChartDayClosed { day, part, parts: part + 1, songs: songs.iter().map(count).collect(), pairs }.into()
    }

    /// From the Sunday of one week to the Monday of the next one.
    fn history() -> Vec<Event> {
        vec![
            day("2026-02-01", 0, &[(DAWN, 9, 5), (DUSK, 4, 4)], 3),
            day("2026-02-02", 0, &[(DAWN, 1, 1)], 0),
            day("2026-02-02", 1, &[(DUSK, 7, 6)], 4),
            day("2026-02-03", 0, &[(DAWN, 2, 2), (DUSK, 2, 2)], 0),
        ]
    }

    #[tokio::test]
    async fn charts_of_days_add_up_to_weeks() {
        let view = built(&Charts, history()).await;
        let top = async |period: String| -> Vec<(String, i64, i64)> {
            let query = Query::new(&VIEW, &TOP, vec![json!(period)], 10);
            let page = view.store.page_of::<ChartSong>(query).await.unwrap();
            page.documents.into_iter().map(|of| (of.song, of.plays, of.listeners)).collect()
        };
        let (dawn, dusk) = (DAWN.to_string(), DUSK.to_string());
        assert_eq!(top(day_period("2026-02-02")).await, [(dusk.clone(), 7, 6), (dawn.clone(), 1, 1)]);
        assert_eq!(top(week_period("2026-02-02")).await, [(dusk.clone(), 9, 8), (dawn.clone(), 3, 3)]);
        assert_eq!(top(week_period("2026-01-26")).await, [(dawn, 9, 5), (dusk, 4, 4)]);
        assert_eq!(top(week_period("2026-02-09")).await, []);
    }

    #[tokio::test]
    async fn neighbours_are_summed_in_both_directions() {
        let view = built(&SongNeighbours, history()).await;
        for (song, other) in [(DAWN, DUSK), (DUSK, DAWN)] {
            let query = Query::new(&NEIGHBOURS, &OF_SONG, vec![json!(song)], 10);
            let page = view.store.page_of::<Neighbour>(query).await.unwrap();
            let found: Vec<(String, i64)> =
                page.documents.into_iter().map(|of| (of.neighbour, of.together)).collect();
            assert_eq!(found, [(other.to_string(), 7)]);
        }
        let listeners: SongListeners = view.store.get(&DAWN.to_string()).await.unwrap().unwrap();
        assert_eq!(listeners.listeners, 8);
    }
}
