//! Reads the log in pages, and finds positions by time.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use events::{EventLog, LogError, Position, RAW_LIMIT, RawEvent};
use futures::stream::{self, Stream, StreamExt};

/// How much earlier than its predecessors an event may claim to be: it carries the time of its decision, by the clock
/// of its process.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);
/// Events examined together, since one of another program may carry any time.
const PROBES: usize = 10;
/// Pages that are read at the same time.
const READS: usize = 4;

/// The events of a range of positions, in pages.
pub(super) struct Pages<'a> {
    log: &'a dyn EventLog,
    reached: Position,
    last: Position,
}

impl<'a> Pages<'a> {
    /// The events after a position, up to and including another.
    pub(super) const fn new(log: &'a dyn EventLog, after: Position, last: Position) -> Self {
        Self { log, reached: after, last }
    }

    /// The next events; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<RawEvent>>> {
        let rest = usize::try_from(self.last.0.saturating_sub(self.reached.0)).unwrap_or(usize::MAX);
        if rest == 0 {
            return Ok(None);
        }
        let page = self.log.raw(self.reached, rest.min(RAW_LIMIT)).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.reached = last.position;
        Ok(Some(page))
    }

    pub(super) const fn reached(&self) -> Position {
        self.reached
    }
}

/// All events up to and including a position, in pages that are read ahead.
pub(super) fn pages_up_to(
    log: &dyn EventLog,
    last: Position,
) -> impl Stream<Item = Result<Vec<RawEvent>, LogError>> + '_ {
    stream::iter((0..last.0).step_by(RAW_LIMIT))
        .map(move |after| async move {
            let end = last.0.min(after.saturating_add(RAW_LIMIT as u64));
            let mut page = log.raw(Position(after), RAW_LIMIT).await?;
            page.retain(|event| event.position.0 <= end);
            Ok(page)
        })
        .buffered(READS)
}

/// A position before which all events are older than a time, up to differences between clocks.
pub(super) async fn before(log: &dyn EventLog, time: DateTime<Utc>) -> Result<Position> {
    let time = time.checked_sub_signed(CLOCK_TOLERANCE).unwrap_or(time);
    let (mut low, mut high) = (0, log.head().await?.0);
    while low < high {
        let middle = low + (high - low) / 2;
        let around = Position(middle.saturating_sub(PROBES as u64));
        let events = log.raw(around, 2 * PROBES).await?;
        let latest = events.iter().filter_map(|event| Some(event.attributes.as_ref().ok()?.time)).max();
        if latest.is_some_and(|latest| latest < time) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(Position(low))
}

/// Notices when a scan has passed a time.
#[derive(Debug)]
pub(super) struct End {
    time: Option<DateTime<Utc>>,
    /// Number of later events in a row.
    later: usize,
}

impl End {
    pub(super) fn at(time: Option<DateTime<Utc>>) -> Self {
        Self { time: time.and_then(|time| time.checked_add_signed(CLOCK_TOLERANCE)), later: 0 }
    }

    /// Whether this event and those before it are later.
    pub(super) fn is_passed(&mut self, event: &RawEvent) -> bool {
        if let (Ok(attributes), Some(end)) = (&event.attributes, self.time) {
            self.later = if attributes.time > end { self.later + 1 } else { 0 };
        }
        self.later > PROBES
    }
}
