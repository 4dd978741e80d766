//! Subjects with a long history: their events are read from the last snapshot on, and cached with the folded state.
//!
//! A snapshot contains the state as it was [`KEPT_EVENTS`] events before it was taken. So the events behind it, which are always
//! read, include the latest ones: a repeated request finds its own event among them, and a client that has not seen them can
//! name what they removed. Events beyond are no longer found: a request that is repeated after more than [`KEPT_EVENTS`] other
//! changes of the same playlist is a new one. Of events that list thousands of songs, fewer are kept: see [`KEPT_WEIGHT`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::{
    Event, Freshness, LogError, MusicEvent, PlaylistEvent, PlaylistSnapshot, PlaylistSnapshotEvent, Position,
    Recorded, Subject,
};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Commands;
use crate::pipeline::execute::{Cached, Fold};
use crate::pipeline::subject_cache::SubjectEvents;

/// Events behind a snapshot when it is taken.
pub(crate) const KEPT_EVENTS: usize = 200;
/// A snapshot is taken when this number of events have been read behind the last one.
pub(crate) const SNAPSHOT_AFTER: usize = 2 * KEPT_EVENTS;

/// The same for their weight: about 4 MB are kept, as of 20 events that list 5,000 songs each.
const KEPT_WEIGHT: usize = 100_000;
const SNAPSHOT_WEIGHT: usize = 2 * KEPT_WEIGHT;

/// The expected number of cached subjects, and their weight: about 40 bytes for each unit.
const CACHED_SUBJECTS: usize = 2_000;
const CACHED_WEIGHT: u64 = 2_000_000;
/// The weight of an event besides what it lists.
const EVENT_WEIGHT: usize = 12;

/// The subject of the snapshots of a subject, if there are any.
pub(crate) const fn snapshots_of(subject: Subject) -> Option<Subject> {
    match subject {
        Subject::Playlist(playlist) => Some(Subject::PlaylistSnapshot(playlist)),
        _ => None,
    }
}

/// The snapshot that an event is.
pub(crate) const fn as_snapshot(recorded: &Recorded) -> Option<&PlaylistSnapshot> {
    match &recorded.event {
        Event::Music(MusicEvent::PlaylistSnapshot(PlaylistSnapshotEvent::PlaylistSnapshot(event))) => {
            Some(event)
        }
        Event::Accounts(_) | Event::Social(_) | Event::Music(_) | Event::Mail(_) | Event::Operations(_) => {
            None
        }
    }
}

/// The last snapshot of a subject, then the events behind it.
#[derive(Debug)]
pub(crate) struct SnapshotCache(Cache<Subject, CachedSubject, ByLength>);

#[derive(Debug, Clone)]
struct CachedSubject {
    events: SubjectEvents,
    /// Shared by all versions of this entry: events are only added at the end.
    folded: Arc<Mutex<Option<Folded>>>,
}

/// The state after the first events of an entry.
#[derive(Debug, Clone)]
struct Folded {
    /// The number of events.
    events: usize,
    /// The position of the first of them: another one begins with another snapshot.
    first: Position,
    state: Cached,
}

#[derive(Debug, Clone)]
struct ByLength;

impl Weighter<Subject, CachedSubject> for ByLength {
    fn weight(&self, _: &Subject, cached: &CachedSubject) -> u64 {
        // The state lists no more than the events that make it, and there need not be a snapshot among them.
        2 * cached.events.events.iter().map(weight).sum::<usize>() as u64 + 1
    }
}

const fn weight(recorded: &Recorded) -> usize {
    EVENT_WEIGHT + listed(&recorded.event)
}

/// The number of songs and entries that an event lists, by which its size grows.
const fn listed(event: &Event) -> usize {
    match event {
        Event::Music(MusicEvent::Playlist(event)) => match event {
            PlaylistEvent::EntriesAdded(event) => event.songs.len(),
            PlaylistEvent::EntriesMoved(event) => event.entries.len(),
            PlaylistEvent::EntriesRemoved(event) => event.entries.len(),
            PlaylistEvent::EntriesReplaced(event) => event.entries.len(),
            PlaylistEvent::PlaylistRestored(event) => event.entries.len(),
            PlaylistEvent::PlaylistCreated(_)
            | PlaylistEvent::PlaylistDetailsChanged(_)
            | PlaylistEvent::PlaylistVisibilityChanged(_)
            | PlaylistEvent::PlaylistCoverChanged(_)
            | PlaylistEvent::CollaboratorAdded(_)
            | PlaylistEvent::CollaboratorRemoved(_)
            | PlaylistEvent::PlaylistDeleted(_) => 0,
        },
        Event::Music(MusicEvent::PlaylistSnapshot(PlaylistSnapshotEvent::PlaylistSnapshot(event))) => {
            event.entries.len()
        }
        Event::Accounts(_) | Event::Social(_) | Event::Music(_) | Event::Mail(_) | Event::Operations(_) => 0,
    }
}

impl Default for SnapshotCache {
    fn default() -> Self {
        Self(Cache::with_weighter(CACHED_SUBJECTS, CACHED_WEIGHT, ByLength))
    }
}

impl SnapshotCache {
    pub(crate) fn remove(&self, subject: Subject) {
        self.0.remove(&subject);
    }

    /// What was read of a subject, if it is cached.
    pub(crate) fn events(&self, subject: Subject) -> Option<SubjectEvents> {
        self.0.get(&subject).map(|cached| cached.events)
    }

    /// The state after these events of a subject. Of a cached subject only those are applied that the cached state lacks.
    pub(crate) fn fold<S: Fold>(&self, subject: Subject, loaded: &SubjectEvents) -> S {
        let events = &loaded.events;
        let cached = snapshots_of(subject).and_then(|_| self.0.get(&subject)).map(|cached| cached.folded);
        let known = cached.as_ref().and_then(|cached| lock(cached).clone());
        let first = events.first().map(|first| first.position);
        let known = known.filter(|known| Some(known.first) == first && known.events <= events.len());
        let known = known.and_then(|known| Some((S::from_cache(known.state)?, known.events)));
        let (mut state, applied) = known.unwrap_or_default();
        events[applied..].iter().for_each(|event| state.apply(event));
        if let (Some(cached), Some(first), Some(folded)) = (cached, first, state.to_cache()) {
            let mut cached = lock(&cached);
            if cached.as_ref().is_none_or(|other| other.first != first || other.events < events.len()) {
                *cached = Some(Folded { events: events.len(), first, state: folded });
            }
        }
        state
    }
}

fn lock(folded: &Mutex<Option<Folded>>) -> MutexGuard<'_, Option<Folded>> {
    folded.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Commands {
    /// The last snapshot of the subject, if there is one, and all events behind it. Never stale: events that are not cached are
    /// read.
    pub(crate) async fn events_since_snapshot(
        &self,
        subject: Subject,
        snapshots: Subject,
    ) -> Result<SubjectEvents, LogError> {
        let cached = self.snapshot_cache.0.get(&subject);
        let is_cached = cached.is_some();
        let CachedSubject { events: known, folded } = match cached {
            Some(cached) => cached,
            // An older snapshot is as good.
            None => {
                let last = self.log.last(&[snapshots], Freshness::Any).await?.pop().flatten();
                let events = SubjectEvents { events: last.into_iter().collect() };
                CachedSubject { events, folded: Arc::default() }
            }
        };
        let newer = self.log.read(subject, known.last()).await?;
        if newer.is_empty() && is_cached {
            return Ok(known);
        }
        let events = SubjectEvents { events: known.events.iter().cloned().chain(newer).collect() };
        self.snapshot_cache.0.insert(subject, CachedSubject { events: events.clone(), folded });
        Ok(events)
    }

    /// Whether a snapshot is due, and its parts: the position of the last one, and the events that the new one includes.
    pub(crate) fn due_snapshot(loaded: &SubjectEvents) -> Option<(Position, &[Recorded])> {
        let last = loaded.events.first().filter(|first| as_snapshot(first).is_some());
        let behind = &loaded.events[usize::from(last.is_some())..];
        if behind.len() < SNAPSHOT_AFTER && behind.iter().map(weight).sum::<usize>() < SNAPSHOT_WEIGHT {
            return None;
        }
        let mut kept_weight = 0;
        let is_kept = |recorded: &&Recorded| {
            kept_weight += weight(recorded);
            kept_weight <= KEPT_WEIGHT
        };
        let kept = behind.iter().rev().take(KEPT_EVENTS).take_while(is_kept).count();
        let included = &loaded.events[..loaded.events.len() - kept];
        Some((last.map_or(Position::START, |last| last.position), included))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use events::{
        EntriesAdded, EntriesRemoved, Envelope, EventId, Neighbours, Personal, PlaylistDetails, PlaylistId,
        SongId, UserId,
    };
    use uuid::Uuid;

    use super::*;

    const LIST: PlaylistId = PlaylistId::new(Uuid::from_u128(0x91));

    fn recorded(event: Event, position: usize) -> Recorded {
        let envelope = Envelope {
            id: EventId::new(Uuid::from_u128(position as u128)),
            event_type: event.wire_name().into(),
            source: "test".into(),
            time: DateTime::UNIX_EPOCH,
            subject: event.subject(),
            actor: None,
            correlation: Uuid::nil(),
            causation: None,
            traceparent: None,
        };
        Recorded { position: Position(position as u64), envelope, event }
    }

    /// Events that add this number of songs each, behind a snapshot.
    fn behind_snapshot(count: usize, songs: usize) -> SubjectEvents {
        let snapshot = PlaylistSnapshot {
            playlist: LIST,
            position: Position(1),
            version: Position(1),
            owner: UserId::new(Uuid::from_u128(1)),
            public: false,
            details: Personal::Open(PlaylistDetails { name: String::new(), description: String::new() }),
            cover: None,
            collaborators: Vec::new(),
            entries: Vec::new(),
        };
        let songs = vec![SongId::new(Uuid::from_u128(2)); songs];
        let added = EntriesAdded { playlist: LIST, songs, between: Neighbours::default() };
        let events = (0..count).map(|number| recorded(added.clone().into(), 10_001 + number));
        SubjectEvents { events: [recorded(snapshot.into(), 10_000)].into_iter().chain(events).collect() }
    }

    fn included(loaded: &SubjectEvents) -> Option<(u64, usize)> {
        Commands::due_snapshot(loaded).map(|(last, included)| (last.0, included.len()))
    }

    /// The positions that were applied, and how many of them to a state from the cache.
    #[derive(Debug, Clone, Default, PartialEq)]
    struct Applied {
        positions: Vec<u64>,
        after_cache: Option<usize>,
    }

    impl Fold for Applied {
        fn apply(&mut self, recorded: &Recorded) {
            self.positions.push(recorded.position.0);
            self.after_cache = self.after_cache.map(|count| count + 1);
        }

        fn to_cache(&self) -> Option<Cached> {
            Some(Arc::new(self.clone()))
        }

        fn from_cache(cached: Cached) -> Option<Self> {
            Some(Self { after_cache: Some(0), ..cached.downcast_ref::<Self>()?.clone() })
        }
    }

    #[test]
    fn cached_state_takes_in_what_is_new_and_ends_with_its_snapshot() {
        let cache = SnapshotCache::default();
        let subject = Subject::Playlist(LIST);
        let cached = |events: &SubjectEvents, folded: &Arc<Mutex<Option<Folded>>>| {
            let (events, folded) = (events.clone(), Arc::clone(folded));
            cache.0.insert(subject, CachedSubject { events, folded });
        };
        let fold = |events: &SubjectEvents, after_cache: Option<usize>| {
            let state: Applied = cache.fold(subject, events);
            let all = events.events.iter().map(|event| event.position.0).collect::<Vec<_>>();
            assert_eq!(state, Applied { positions: all, after_cache });
        };
        let (two, five) = (behind_snapshot(2, 1), behind_snapshot(5, 1));
        let of_one = Arc::default();
        cached(&two, &of_one);
        fold(&two, None);
        fold(&two, Some(0));
        cached(&five, &of_one);
        fold(&five, Some(3));
        // A request that has read before the others.
        fold(&two, None);
        let next = SubjectEvents { events: five.events[1..].into() };
        fold(&next, None);
        cache.remove(subject);
        fold(&five, None);
        fold(&five, None);
    }

    #[test]
    fn snapshot_is_due_after_many_events_or_long_ones() {
        assert_eq!(included(&behind_snapshot(SNAPSHOT_AFTER - 1, 1)), None);
        let many = included(&behind_snapshot(SNAPSHOT_AFTER, 1));
        assert_eq!(many, Some((10_000, 1 + SNAPSHOT_AFTER - KEPT_EVENTS)));
        assert_eq!(included(&behind_snapshot(39, 5000)), None);
        // Behind it stay 19 events, which weigh less than 100,000.
        assert_eq!(included(&behind_snapshot(40, 5000)), Some((10_000, 1 + 40 - 19)));
        let removed = EntriesRemoved { playlist: LIST, entries: Vec::new() };
        let first = SubjectEvents { events: [recorded(removed.into(), 1)].into() };
        assert_eq!(included(&first), None);
    }
}
