//! The newest events of a log in memory, so that the followers of a process need not each read them from the engine.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::log::Followed;
use crate::{Filter, LogError, Position, Stored};

/// Number of buffered events.
const CAPACITY: usize = 4096;

#[derive(Debug)]
pub(crate) struct TailBuffer {
    events: Mutex<BTreeMap<Position, Stored>>,
    /// No event up to this position is missing, so followers may read up to it. Appends are acknowledged in any
    /// order, so an earlier event may still be in flight, or another process has appended it and it is not found yet.
    complete: watch::Sender<Position>,
}

impl TailBuffer {
    pub(crate) fn starting_at(head: Position) -> Self {
        Self { events: Mutex::default(), complete: watch::channel(head).0 }
    }

    pub(crate) fn push(&self, stored: Stored) {
        let mut events = self.events();
        events.insert(stored.position, stored);
        if events.len() > CAPACITY {
            events.pop_first();
        }
        self.update(&events, Position::START);
    }

    /// The log has events up to this position; events that are not buffered must be read from the engine.
    pub(crate) fn advance_to(&self, position: Position) {
        self.update(&self.events(), position);
    }

    fn update(&self, events: &BTreeMap<Position, Stored>, found: Position) {
        self.complete.send_if_modified(|complete| {
            let before = *complete;
            *complete = before.max(found);
            while events.contains_key(&complete.next()) {
                *complete = complete.next();
            }
            *complete > before
        });
    }

    /// The position up to which no event is missing.
    pub(crate) fn complete(&self) -> watch::Receiver<Position> {
        self.complete.subscribe()
    }

    /// The consecutive events after a position that match the filter, and the position reached; examines at most
    /// `limit` events. None if the next event is not buffered.
    pub(crate) fn after(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Option<(Vec<Stored>, Position)> {
        let kept = self.events();
        let mut passed = after;
        let mut events = Vec::new();
        for (position, stored) in kept.range(after.next()..).take(limit) {
            if *position != passed.next() {
                break;
            }
            passed = *position;
            if filter.takes(stored.message.envelope.subject.kind()) {
                events.push(stored.clone());
            }
        }
        (passed > after).then_some((events, passed))
    }

    /// Whether the event after a position is buffered.
    #[cfg(any(test, feature = "nats"))]
    pub(crate) fn has_next(&self, position: Position) -> bool {
        self.events().contains_key(&position.next())
    }

    fn events(&self) -> MutexGuard<'_, BTreeMap<Position, Stored>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends events and the reached position to a follower. False if the follower is dropped.
pub(crate) async fn deliver(
    sender: &mpsc::Sender<Result<Followed, LogError>>,
    events: impl IntoIterator<Item = Followed>,
    passed: Position,
) -> bool {
    let mut reached = Position::START;
    for item in events {
        reached = item.position();
        if sender.send(Ok(item)).await.is_err() {
            return false;
        }
    }
    reached == passed || sender.send(Ok(Followed::Passed(passed))).await.is_ok()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bytes::Bytes;
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::{Envelope, EventId, Kind, Message, PostId, Subject, UserId};

    fn stored(position: u64, kind: Kind) -> Stored {
        let (post, user) = (PostId::new(Uuid::nil()), UserId::new(Uuid::nil()));
        let subject = if kind == Kind::Post { Subject::Post(post) } else { Subject::Like(post, user) };
        let envelope = Envelope {
            id: EventId::new(Uuid::nil()),
            event_type: Cow::Borrowed("test"),
            source: Cow::Borrowed("test"),
            time: DateTime::UNIX_EPOCH,
            subject,
            actor: None,
            correlation: Uuid::nil(),
            causation: None,
            traceparent: None,
        };
        Stored { position: Position(position), message: Message { envelope, body: Bytes::new() } }
    }

    #[test]
    fn follower_gets_matching_events_without_gaps() {
        let (tail, filter) = (TailBuffer::starting_at(Position(10)), Filter::kinds(&[Kind::Post]));
        let after = |position, limit| {
            let (events, passed) = tail.after(&filter, Position(position), limit)?;
            Some((events.iter().map(|event| event.position.0).collect::<Vec<_>>(), passed.0))
        };
        assert_eq!(after(10, 9), None, "nothing is buffered");
        for (position, kind) in
            [(11, Kind::Like), (12, Kind::Post), (13, Kind::Like), (15, Kind::Post), (16, Kind::Like)]
        {
            tail.push(stored(position, kind));
        }
        assert_eq!(after(10, 9), Some((vec![12], 13)), "event 14 is missing");
        assert_eq!(after(10, 1), Some((vec![], 11)));
        assert_eq!(after(13, 9), None);
        assert_eq!(after(14, 9), Some((vec![15], 16)));
        assert_eq!((tail.has_next(Position(13)), tail.has_next(Position(14))), (false, true));
    }

    #[test]
    fn complete_position_waits_for_gaps() {
        let tail = TailBuffer::starting_at(Position(10));
        let complete = tail.complete();
        tail.push(stored(12, Kind::Post));
        assert_eq!(*complete.borrow(), Position(10));
        tail.push(stored(11, Kind::Post));
        assert_eq!(*complete.borrow(), Position(12));
        tail.advance_to(Position(20));
        assert_eq!(*complete.borrow(), Position(20));
        tail.advance_to(Position(15));
        assert_eq!(*complete.borrow(), Position(20), "it never moves back");
    }

    #[test]
    fn only_the_newest_events_are_kept() {
        let tail = TailBuffer::starting_at(Position::START);
        for position in 1..=CAPACITY as u64 + 5 {
            tail.push(stored(position, Kind::Post));
        }
        assert!(!tail.has_next(Position(4)) && tail.has_next(Position(5)));
    }
}
