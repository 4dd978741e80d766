//! The newest events of a log, kept in memory, so that the many followers in a process need not each fetch them from the
//! engine.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};

use crate::log::Followed;
use crate::{Filter, LogError, Position, Stored};

/// Events kept for followers that are not far behind.
const KEPT: usize = 4096;

#[derive(Debug)]
pub(crate) struct Recent {
    events: Mutex<BTreeMap<Position, Stored>>,
    /// Up to here nothing is missing: what followers have to wait for. Commands are answered in any order, so the event
    /// before one that is kept may still be on its way; or another process has appended it, and it is still to be found.
    complete: watch::Sender<Position>,
}

impl Recent {
    pub(crate) fn after_head(head: Position) -> Self {
        Self { events: Mutex::default(), complete: watch::channel(head).0 }
    }

    pub(crate) fn keep(&self, stored: Stored) {
        let mut events = self.events();
        events.insert(stored.position, stored);
        if events.len() > KEPT {
            events.pop_first();
        }
        self.tell(&events, Position::START);
    }

    /// The log is known to go this far: whatever of it is not kept here is to be had from the engine.
    pub(crate) fn found(&self, position: Position) {
        self.tell(&self.events(), position);
    }

    fn tell(&self, events: &BTreeMap<Position, Stored>, found: Position) {
        self.complete.send_if_modified(|complete| {
            let before = *complete;
            *complete = before.max(found);
            while events.contains_key(&complete.next()) {
                *complete = complete.next();
            }
            *complete > before
        });
    }

    /// Up to where nothing is missing.
    pub(crate) fn complete(&self) -> watch::Receiver<Position> {
        self.complete.subscribe()
    }

    /// What follows a position without a gap and passes the filter, and how far it was looked at, at most `limit` events
    /// on; nothing if the next event is not here.
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

    /// Whether the event after a position is kept.
    #[cfg(any(test, feature = "nats"))]
    pub(crate) fn goes_on_after(&self, position: Position) -> bool {
        self.events().contains_key(&position.next())
    }

    fn events(&self) -> MutexGuard<'_, BTreeMap<Position, Stored>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a follower events, and how far they reach. False if it is gone.
pub(crate) async fn tell(
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
    fn a_follower_is_given_what_stands_without_a_gap_and_passes_what_is_not_for_it() {
        let (recent, filter) = (Recent::after_head(Position(10)), Filter::kinds(&[Kind::Post]));
        let after = |position, limit| {
            let (events, passed) = recent.after(&filter, Position(position), limit)?;
            Some((events.iter().map(|event| event.position.0).collect::<Vec<_>>(), passed.0))
        };
        assert_eq!(after(10, 9), None, "nothing is kept");
        for (position, kind) in
            [(11, Kind::Like), (12, Kind::Post), (13, Kind::Like), (15, Kind::Post), (16, Kind::Like)]
        {
            recent.keep(stored(position, kind));
        }
        assert_eq!(after(10, 9), Some((vec![12], 13)), "what stands at 14 is not here");
        assert_eq!(after(10, 1), Some((vec![], 11)));
        assert_eq!(after(13, 9), None);
        assert_eq!(after(14, 9), Some((vec![15], 16)));
        assert_eq!((recent.goes_on_after(Position(13)), recent.goes_on_after(Position(14))), (false, true));
    }

    #[test]
    fn what_is_complete_waits_for_what_is_still_on_its_way() {
        let recent = Recent::after_head(Position(10));
        let complete = recent.complete();
        recent.keep(stored(12, Kind::Post));
        assert_eq!(*complete.borrow(), Position(10));
        recent.keep(stored(11, Kind::Post));
        assert_eq!(*complete.borrow(), Position(12));
        recent.found(Position(20));
        assert_eq!(*complete.borrow(), Position(20));
        recent.found(Position(15));
        assert_eq!(*complete.borrow(), Position(20), "never back");
    }

    #[test]
    fn only_the_newest_are_kept() {
        let recent = Recent::after_head(Position::START);
        for position in 1..=KEPT as u64 + 5 {
            recent.keep(stored(position, Kind::Post));
        }
        assert!(!recent.goes_on_after(Position(4)) && recent.goes_on_after(Position(5)));
    }
}
