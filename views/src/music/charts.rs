//! Charts of days and weeks, and which songs are played together, from closed days: plain counts without people.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View { name: "charts", indexes: &[&TOP], layout: Layout::Clustered, personal: &[] };
pub const NEIGHBOURS: View =
    View { name: "song_neighbours", indexes: &[&OF_SONG], layout: Layout::Clustered, personal: &[] };
pub const LISTENERS: View =
    View { name: "song_listeners", indexes: &[], layout: Layout::Clustered, personal: &[] };

/// Songs of one period, most plays first.
pub const TOP: Index =
    Index { name: "top", equals: &["period"], order: "plays", direction: Direction::Descending };
/// Neighbours of one song, those that most listeners played on the same day first.
pub const OF_SONG: Index =
    Index { name: "of_song", equals: &["song"], order: "together", direction: Direction::Descending };

/// A song in the chart of a day or a week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartSong {
    /// See [`day_period`] and [`week_period`].
    pub period: String,
    pub song: String,
    pub plays: i64,
    /// Of a week: the sum of the listeners of its days.
    pub listeners: i64,
}

/// A song that is played together with another one. Each pair has two of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    pub song: String,
    pub neighbour: String,
    /// The sum over days of the listeners who played both on the day.
    pub together: i64,
}

/// How often a song is played by anyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SongListeners {
    pub song: String,
    /// The sum over days of the listeners of the day.
    pub listeners: i64,
}

/// The period of a day, `YYYY-MM-DD`.
pub fn day_period(day: &str) -> String {
    format!("day.{day}")
}

/// The period of the week that starts with this Monday, `YYYY-MM-DD`.
pub fn week_period(monday: &str) -> String {
    format!("week.{monday}")
}

pub fn chart_key(period: &str, song: &str) -> String {
    format!("{period}.{song}")
}

pub fn neighbour_key(song: &str, neighbour: &str) -> String {
    format!("{song}.{neighbour}")
}

impl Document for ChartSong {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        chart_key(&self.period, &self.song)
    }
}

impl Document for Neighbour {
    const VIEW: &'static View = &NEIGHBOURS;

    fn key(&self) -> String {
        neighbour_key(&self.song, &self.neighbour)
    }
}

impl Document for SongListeners {
    const VIEW: &'static View = &LISTENERS;

    fn key(&self) -> String {
        self.song.clone()
    }
}
