//! What users listened to: their plays, the songs that they play most, totals per year, and private sessions. Visible to
//! their user only.

use serde::{Deserialize, Serialize};

use crate::{Direction, Document, Index, Layout, View};

pub const VIEW: View = View {
    name: "plays",
    indexes: &[&OF_USER, &OF_YEAR, &OF_SONG],
    layout: Layout::Clustered,
    personal: &["song", "started", "listened"],
};
pub const SONGS: View =
    View { name: "song_plays", indexes: &[&MOST_PLAYED], layout: Layout::Clustered, personal: &["song"] };
pub const TOTALS: View =
    View { name: "play_totals", indexes: &[&OF_PERIODS], layout: Layout::Clustered, personal: &[] };
pub const PRIVATE_SESSIONS: View =
    View { name: "private_sessions", indexes: &[], layout: Layout::Clustered, personal: &[] };

/// The period of counts over all time; other periods are years.
pub const ALL_TIME: &str = "all";

/// Plays of one user, latest start first.
pub const OF_USER: Index =
    Index { name: "of_user", equals: &["user"], order: "started", direction: Direction::Descending };
/// Plays of one user in one year (UTC), in the order of their starts.
pub const OF_YEAR: Index =
    Index { name: "of_year", equals: &["user", "year"], order: "started", direction: Direction::Ascending };
/// Plays of one song by one user, latest start first.
pub const OF_SONG: Index =
    Index { name: "of_song", equals: &["user", "song"], order: "started", direction: Direction::Descending };
/// Songs that one user played in one period, most plays first.
pub const MOST_PLAYED: Index = Index {
    name: "most_played",
    equals: &["user", "period"],
    order: "plays",
    direction: Direction::Descending,
};
/// Totals of one user by period.
pub const OF_PERIODS: Index =
    Index { name: "of_periods", equals: &["user"], order: "period", direction: Direction::Ascending };

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Play {
    pub user: String,
    pub play: String,
    pub song: String,
    /// `YYYY-MM-DD`, in UTC.
    pub day: String,
    pub year: i32,
    /// Milliseconds since 1970.
    pub started: i64,
    /// Milliseconds.
    pub listened: i64,
    pub position: i64,
}

/// The plays of a song by a user in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SongPlays {
    pub user: String,
    /// A year, or [`ALL_TIME`].
    pub period: String,
    pub song: String,
    /// At least 1.
    pub plays: i64,
    /// Milliseconds.
    pub listened: i64,
}

/// The plays of all songs by a user in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayTotal {
    pub user: String,
    /// A year, or [`ALL_TIME`].
    pub period: String,
    /// At least 1.
    pub plays: i64,
    /// Milliseconds.
    pub listened: i64,
}

/// The user's last private session, unless it was ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateSession {
    pub user: String,
    /// Milliseconds since 1970.
    pub until: i64,
}

pub fn play_key(user: &str, play: &str) -> String {
    format!("{user}.{play}")
}

pub fn song_key(user: &str, period: &str, song: &str) -> String {
    format!("{user}.{period}.{song}")
}

pub fn total_key(user: &str, period: &str) -> String {
    format!("{user}.{period}")
}

impl Document for Play {
    const VIEW: &'static View = &VIEW;

    fn key(&self) -> String {
        play_key(&self.user, &self.play)
    }
}

impl Document for SongPlays {
    const VIEW: &'static View = &SONGS;

    fn key(&self) -> String {
        song_key(&self.user, &self.period, &self.song)
    }
}

impl Document for PlayTotal {
    const VIEW: &'static View = &TOTALS;

    fn key(&self) -> String {
        total_key(&self.user, &self.period)
    }
}

impl Document for PrivateSession {
    const VIEW: &'static View = &PRIVATE_SESSIONS;

    fn key(&self) -> String {
        self.user.clone()
    }
}
