//! What has been read of subjects that many commands look at, remembered until the log tells that it has changed. A
//! history that is behind does no harm: a command that is decided on it meets a conflict, and one that is refused is
//! looked at again with a fresh one.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use events::{EventId, Kind, Position, Recorded, Subject};
use quick_cache::sync::Cache;

/// Subjects remembered. A history is a few events; a few hundred bytes each.
const REMEMBERED: usize = 50_000;
/// Counters of changes, each shared by the subjects that hash to it.
const COUNTERS: usize = 1024;

/// Kinds whose histories are remembered, and that [`tail`](crate::pipeline::tail) therefore follows: each is read by commands
/// about other subjects. Toggles are touched once or twice in their lives and would only push these out.
pub(crate) const KINDS: &[Kind] = &[Kind::Account, Kind::Profile, Kind::Post, Kind::Story, Kind::Moderation];

/// The events of one subject, or the last of them where that is its state.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) events: Arc<[Recorded]>,
}

impl History {
    /// What an append must expect.
    pub(crate) fn last(&self) -> Position {
        self.events.last().map_or(Position::START, |event| event.position)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = (EventId, Position)> {
        self.events.iter().map(|event| (event.envelope.id, event.position))
    }
}

#[derive(Debug)]
pub(crate) struct Histories {
    known: Cache<Subject, History>,
    changes: Vec<AtomicU64>,
    hasher: RandomState,
}

impl Default for Histories {
    fn default() -> Self {
        Self {
            known: Cache::new(REMEMBERED),
            changes: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

/// Taken before a subject is read, so that what changes meanwhile is noticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    subject: Subject,
    changes: u64,
}

impl Histories {
    pub(crate) fn get(&self, subject: Subject) -> Option<History> {
        self.known.get(&subject)
    }

    pub(crate) fn before_reading(&self, subject: Subject) -> Ticket {
        Ticket { subject, changes: self.counter(subject).load(Ordering::Acquire) }
    }

    /// Remembers what was read, unless the subject may have changed since the ticket was taken.
    pub(crate) fn remember(&self, ticket: Ticket, history: &History) {
        if !KINDS.contains(&ticket.subject.kind()) {
            return;
        }
        self.known.insert(ticket.subject, history.clone());
        if self.counter(ticket.subject).load(Ordering::Acquire) != ticket.changes {
            self.known.remove(&ticket.subject);
        }
    }

    /// To be called for every event of these kinds, from wherever it is heard.
    pub(crate) fn changed(&self, subject: Subject, position: Position) {
        self.counter(subject).fetch_add(1, Ordering::AcqRel);
        self.known.remove_if(&subject, |history| history.last() < position);
    }

    fn counter(&self, subject: Subject) -> &AtomicU64 {
        #[expect(clippy::cast_possible_truncation, reason = "only its lowest bits count")]
        let hash = self.hasher.hash_one(subject) as usize;
        &self.changes[hash % COUNTERS]
    }
}

#[cfg(test)]
mod tests {
    use events::{Envelope, PostDeleted, PostId, UserId};
    use uuid::Uuid;

    use super::*;

    fn subject() -> Subject {
        Subject::Post(PostId::new(Uuid::from_u128(1)))
    }

    fn history(position: u64) -> History {
        let event =
            PostDeleted { post: PostId::new(Uuid::from_u128(1)), author: UserId::new(Uuid::from_u128(2)) };
        let envelope = Envelope {
            id: EventId::new(Uuid::from_u128(3)),
            event_type: "post.deleted.v1".into(),
            source: "test".into(),
            time: chrono::DateTime::UNIX_EPOCH,
            subject: subject(),
            actor: None,
            correlation: Uuid::nil(),
            causation: None,
            traceparent: None,
        };
        History { events: [Recorded { position: Position(position), envelope, event: event.into() }].into() }
    }

    #[test]
    fn what_changed_while_it_was_read_is_not_remembered() {
        let histories = Histories::default();
        let ticket = histories.before_reading(subject());
        histories.changed(subject(), Position(7));
        histories.remember(ticket, &history(5));
        assert!(histories.get(subject()).is_none());
    }

    #[test]
    fn what_is_remembered_is_forgotten_when_something_newer_is_heard_of() {
        let histories = Histories::default();
        histories.remember(histories.before_reading(subject()), &history(5));
        histories.changed(subject(), Position(5));
        assert_eq!(histories.get(subject()).unwrap().last(), Position(5));
        histories.changed(subject(), Position(6));
        assert!(histories.get(subject()).is_none());
    }
}
