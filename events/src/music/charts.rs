use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{Day, SongId, Subject, UserId};

event_enum! {
    /// `chartday.<day>.<part>`: the plays of a day as counts, without people, so that a rebuild after an erasure agrees.
    ChartDayEvent {
        ChartDayClosed = "chartday.closed.v1",
    }
}

/// Appended 48 hours after the end of the day, in parts that each fit into one message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChartDayClosed {
    pub day: Day,
    /// From 0.
    pub part: u32,
    /// The number of parts of the day.
    pub parts: u32,
    pub songs: Vec<SongCount>,
    pub pairs: Vec<PairCount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SongCount {
    pub song: SongId,
    pub plays: u32,
    pub listeners: u32,
}

/// How many people played both songs on the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairCount {
    pub first: SongId,
    pub second: SongId,
    pub listeners: u32,
}

impl ChartDayEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::ChartDayClosed(event) => Subject::ChartDay(event.day, event.part),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::ChartDayClosed(_) => None,
        }
    }
}
