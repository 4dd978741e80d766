//! Cache of the events of subjects that many commands read. An entry is dropped when the log reports a newer event. A stale
//! entry does no harm: an append that was decided on it meets a conflict, and a rejection is checked on a fresh read.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use events::{Kind, Position, Recorded, Subject};
use quick_cache::sync::Cache;

use crate::pipeline::snapshots::as_snapshot;

/// Subjects in the cache. Each has a few events of a few hundred bytes.
const CAPACITY: usize = 50_000;
/// Change counters. Subjects with the same hash share one.
const COUNTERS: usize = 1024;

/// The kinds of subjects that are cached, which [`tail`](crate::pipeline::tail) therefore follows. Commands on other subjects
/// read them. Subjects such as likes change once or twice in their lives and would only evict these.
pub(crate) const KINDS: &[Kind] = &[Kind::Account, Kind::Profile, Kind::Post, Kind::Story, Kind::Moderation];

/// The events of one subject, or only the last if that is its state.
#[derive(Debug, Clone, Default)]
pub(crate) struct SubjectEvents {
    pub(crate) events: Arc<[Recorded]>,
}

impl SubjectEvents {
    /// The position that an append to the subject must expect.
    pub(crate) fn last(&self) -> Position {
        // What a snapshot includes is all before it; its own position is in another subject.
        let position = |event: &Recorded| as_snapshot(event).map_or(event.position, |it| it.position);
        self.events.last().map_or(Position::START, position)
    }
}

#[derive(Debug)]
pub(crate) struct SubjectCache {
    entries: Cache<Subject, SubjectEvents>,
    changes: Vec<AtomicU64>,
    hasher: RandomState,
}

impl Default for SubjectCache {
    fn default() -> Self {
        Self {
            entries: Cache::new(CAPACITY),
            changes: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }
}

/// A read of a subject that has started: detects a change that happens before its result is cached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    subject: Subject,
    changes: u64,
}

impl SubjectCache {
    pub(crate) fn get(&self, subject: Subject) -> Option<SubjectEvents> {
        self.entries.get(&subject)
    }

    pub(crate) fn start_reading(&self, subject: Subject) -> Reading {
        Reading { subject, changes: self.counter(subject).load(Ordering::Acquire) }
    }

    /// Caches the events that were read, unless the subject may have changed since the read started.
    pub(crate) fn insert(&self, reading: Reading, events: &SubjectEvents) {
        if !KINDS.contains(&reading.subject.kind()) {
            return;
        }
        self.entries.insert(reading.subject, events.clone());
        if self.counter(reading.subject).load(Ordering::Acquire) != reading.changes {
            self.entries.remove(&reading.subject);
        }
    }

    /// To be called for every event of [`KINDS`], whether it was appended here or elsewhere.
    pub(crate) fn changed(&self, subject: Subject, position: Position) {
        self.counter(subject).fetch_add(1, Ordering::AcqRel);
        self.entries.remove_if(&subject, |events| events.last() < position);
    }

    fn counter(&self, subject: Subject) -> &AtomicU64 {
        #[expect(clippy::cast_possible_truncation, reason = "only its lowest bits count")]
        let hash = self.hasher.hash_one(subject) as usize;
        &self.changes[hash % COUNTERS]
    }
}

#[cfg(test)]
mod tests {
    use events::{Envelope, EventId, PostDeleted, PostId, UserId};
    use uuid::Uuid;

    use super::*;

    fn subject() -> Subject {
        Subject::Post(PostId::new(Uuid::from_u128(1)))
    }

    fn events(position: u64) -> SubjectEvents {
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
        SubjectEvents {
            events: [Recorded { position: Position(position), envelope, event: event.into() }].into(),
        }
    }

    #[test]
    fn subject_that_changes_while_it_is_read_is_not_cached() {
        let cache = SubjectCache::default();
        let reading = cache.start_reading(subject());
        cache.changed(subject(), Position(7));
        cache.insert(reading, &events(5));
        assert!(cache.get(subject()).is_none());
    }

    #[test]
    fn entry_is_dropped_when_a_newer_event_is_reported() {
        let cache = SubjectCache::default();
        cache.insert(cache.start_reading(subject()), &events(5));
        cache.changed(subject(), Position(5));
        assert_eq!(cache.get(subject()).unwrap().last(), Position(5));
        cache.changed(subject(), Position(6));
        assert!(cache.get(subject()).is_none());
    }
}
