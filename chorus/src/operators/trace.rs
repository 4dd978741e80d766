//! The tree of causes of one request: its events, and what they caused.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use events::{Attributes, EventId, EventLog, Position, RawEvent};
use uuid::Uuid;

use super::search::{self, End, Pages};

/// Maximum number of events in a trace.
const LIMIT: usize = 10_000;

/// A request, named by one of its events or by its correlation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Position(Position),
    Correlation(Uuid),
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position(position)));
        }
        Uuid::try_parse(text)
            .map(Self::Correlation)
            .map_err(|_| "expected the position of an event, or a correlation (a UUID)".to_owned())
    }
}

/// The events of one request, and where they were searched.
#[derive(Debug)]
pub(super) struct Trace {
    pub events: Vec<RawEvent>,
    pub after: Position,
    pub last: Position,
    pub until: DateTime<Utc>,
}

/// The correlation of a target, and about when the request began.
pub(super) async fn request(log: &dyn EventLog, target: Target) -> Result<(Uuid, DateTime<Utc>)> {
    match target {
        Target::Position(position) => {
            let event = super::event_verbs::at(log, position).await?;
            let Attributes { correlation, time, .. } = event
                .attributes
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("the event at {position} has no readable correlation"))?;
            Ok((correlation, start_of(correlation).unwrap_or(time)))
        }
        Target::Correlation(correlation) => {
            let time = start_of(correlation).with_context(|| {
                format!("{correlation} is not a UUIDv7, so it has no time: give a position")
            })?;
            Ok((correlation, time))
        }
    }
}

/// The time in a UUIDv7.
fn start_of(correlation: Uuid) -> Option<DateTime<Utc>> {
    if correlation.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanoseconds) = correlation.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
}

/// Finds the events of a request from its beginning until the end of a window.
pub(super) async fn find(
    log: &dyn EventLog,
    correlation: Uuid,
    begin: DateTime<Utc>,
    window: TimeDelta,
) -> Result<Trace> {
    let after = search::before(log, begin).await?;
    let until = begin.checked_add_signed(window).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let mut end = End::at(Some(until));
    let mut pages = Pages::new(log, after, log.head().await?);
    let mut events: Vec<RawEvent> = Vec::new();
    let mut found: HashSet<EventId> = HashSet::new();
    'pages: while let Some(page) = pages.next().await? {
        for event in page {
            if end.is_passed(&event) {
                break 'pages;
            }
            let Ok(Attributes { id, correlation: own, causation, .. }) = &event.attributes else { continue };
            // A reaction may act later, under a correlation of its own.
            if *own == correlation || causation.is_some_and(|cause| found.contains(&cause)) {
                found.insert(*id);
                events.push(event);
                if events.len() > LIMIT {
                    bail!("the request has more than {LIMIT} events: give a smaller --window");
                }
            }
        }
    }
    Ok(Trace { events, after, last: pages.reached(), until })
}

impl Trace {
    /// Each event with its depth in the tree: below its cause, in the order of the log.
    pub(super) fn tree(&self) -> Vec<(usize, &RawEvent)> {
        let id = |event: &RawEvent| event.attributes.as_ref().ok().map(|attributes| attributes.id);
        let mut seen: HashSet<EventId> = HashSet::new();
        let mut below: BTreeMap<Option<EventId>, Vec<&RawEvent>> = BTreeMap::new();
        for event in &self.events {
            let cause = event.attributes.as_ref().ok().and_then(|attributes| attributes.causation);
            // A cause is always earlier.
            below.entry(cause.filter(|cause| seen.contains(cause))).or_default().push(event);
            seen.extend(id(event));
        }
        let mut tree = Vec::with_capacity(self.events.len());
        let mut waiting: Vec<(usize, &RawEvent)> =
            below.remove(&None).into_iter().flatten().rev().map(|event| (0, event)).collect();
        while let Some((depth, event)) = waiting.pop() {
            tree.push((depth, event));
            let children = below.remove(&id(event)).into_iter().flatten();
            waiting.extend(children.rev().map(|child| (depth + 1, child)));
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64, cause: Option<u64>) -> RawEvent {
        let id = |n: u64| EventId::new(Uuid::from_u128(n.into()));
        RawEvent {
            position: Position(n),
            subject: String::new(),
            event_type: String::new(),
            body: "".into(),
            attributes: Ok(Attributes {
                id: id(n),
                source: String::new(),
                time: DateTime::UNIX_EPOCH,
                actor: None,
                correlation: Uuid::nil(),
                causation: cause.map(id),
                traceparent: None,
            }),
        }
    }

    #[test]
    fn events_are_below_their_causes_in_order() {
        let causes =
            [(1, None), (2, Some(1)), (3, Some(1)), (4, Some(2)), (5, Some(99)), (6, Some(1)), (7, Some(7))];
        let trace = Trace {
            events: causes.map(|(n, cause)| event(n, cause)).into(),
            after: Position(0),
            last: Position(7),
            until: DateTime::UNIX_EPOCH,
        };
        let tree: Vec<(usize, u64)> =
            trace.tree().iter().map(|(depth, event)| (*depth, event.position.0)).collect();
        assert_eq!(tree, [(0, 1), (1, 2), (2, 4), (1, 3), (1, 6), (0, 5), (0, 7)]);
    }

    #[test]
    fn target_is_a_position_or_a_correlation() {
        assert_eq!("7".parse(), Ok(Target::Position(Position(7))));
        let uuid = "0199a1b2-0000-7000-8000-000000000001";
        assert_eq!(uuid.parse(), Ok(Target::Correlation(uuid.parse().unwrap())));
        assert_eq!(uuid.replace('-', "").parse(), Ok(Target::Correlation(uuid.parse().unwrap())));
        assert!("post".parse::<Target>().is_err());
        assert_eq!(start_of(uuid.parse().unwrap()).unwrap().timestamp_millis(), 0x0199_a1b2_0000);
        assert_eq!(start_of(Uuid::nil()), None);
    }
}
