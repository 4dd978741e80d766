use std::collections::BTreeMap;

use chrono::DateTime;
use events::{Envelope, PlaylistCreated};
use proptest::prelude::*;
use proptest::sample::Index;
use uuid::Uuid;

use super::*;

const LIST: PlaylistId = PlaylistId::new(Uuid::from_u128(0x91));
const ANN: UserId = UserId::new(Uuid::from_u128(0xa));

fn song(number: u128) -> SongId {
    SongId::new(Uuid::from_u128(0x5000 + number))
}

fn recorded(event: Event, position: u64) -> Recorded {
    let envelope = Envelope {
        id: EventId::new(Uuid::from_u128(u128::from(position) << 32)),
        event_type: event.wire_name().into(),
        source: "test".into(),
        time: DateTime::UNIX_EPOCH,
        subject: event.subject(),
        actor: None,
        correlation: Uuid::nil(),
        causation: None,
        traceparent: None,
    };
    Recorded { position: Position(position), envelope, event }
}

fn created() -> Event {
    let details = PlaylistDetails { name: "Road".into(), description: String::new() };
    PlaylistCreated { playlist: LIST, owner: ANN, public: false, details: Personal::Open(details) }.into()
}

/// The log of one playlist, and its fold.
struct Log {
    events: Vec<Recorded>,
    list: List,
}

impl Log {
    fn new() -> Self {
        let mut log = Self { events: Vec::new(), list: List::default() };
        log.append(created());
        log
    }

    /// Returns the id of the event.
    fn append(&mut self, event: Event) -> EventId {
        let recorded = recorded(event, self.events.len() as u64 + 1);
        self.list.apply(&recorded);
        self.events.push(recorded);
        self.events.last().unwrap().envelope.id
    }

    fn add(&mut self, songs: &[SongId], place: Place) -> Vec<EntryId> {
        let id = self.append(self.list.add(LIST, songs, place, None).unwrap().unwrap());
        (0..).take(songs.len()).map(|place| EntryId::of_event(id, place)).collect()
    }

    fn ids(&self) -> Vec<EntryId> {
        self.list.entries().into_iter().map(|entry| entry.entry).collect()
    }

    /// The fold from a snapshot that includes the first events.
    fn list_from_snapshot(&self, included: usize) -> List {
        let mut list = List::default();
        self.events[..included].iter().for_each(|event| list.apply(event));
        let snapshot = list.snapshot(LIST, self.events[included - 1].position).unwrap();
        let mut list = List::default();
        list.apply(&recorded(snapshot.into(), 1_000_000));
        self.events[included..].iter().for_each(|event| list.apply(event));
        list
    }
}

#[expect(clippy::many_single_char_names, reason = "songs and entries of one list")]
#[test]
fn edit_names_entries_and_not_places() {
    let mut log = Log::new();
    let [a, b, c] = log.add(&[song(1), song(2), song(1)], Place::End)[..] else { unreachable!() };
    let seen = log.list.version;
    // Another client puts songs in front, and removes the anchor of the first client.
    let [d] = log.add(&[song(3)], Place::Start)[..] else { unreachable!() };
    log.append(log.list.remove(LIST, &[b], None).unwrap().unwrap());
    let event = log.list.add(LIST, &[song(4)], Place::After(b), Some(seen)).unwrap().unwrap();
    let e = EntryId::of_event(log.append(event), 0);
    assert_eq!(log.ids(), [d, a, e, c]);
    log.append(log.list.move_entries(LIST, &[c, d], Place::After(a), Some(seen)).unwrap().unwrap());
    assert_eq!(log.ids(), [a, c, d, e]);
    assert_eq!(log.list.move_entries(LIST, &[c, d], Place::After(a), None), Ok(None));
    assert_eq!(log.list.move_entries(LIST, &[c, d], Place::After(c), None), Ok(None));
    assert_eq!(log.list.move_entries(LIST, &[b], Place::End, None), Err(EditRejected::EntryRemoved));
    assert_eq!(log.list.remove(LIST, &[b], None), Ok(None));
    let other = EntryId::new(Uuid::from_u128(1));
    assert_eq!(log.list.remove(LIST, &[other], None), Err(EditRejected::NoEntry));
    assert_eq!(log.list.add(LIST, &[song(1)], Place::After(other), None), Err(EditRejected::NoEntry));
    let future = Some(Position(log.list.version.0 + 1));
    assert_eq!(log.list.add(LIST, &[song(1)], Place::End, future), Err(EditRejected::NoVersion));
}

#[test]
fn replacement_keeps_entries_and_what_its_client_has_not_seen() {
    let mut log = Log::new();
    let [a, b, c] = log.add(&[song(1), song(2), song(1)], Place::End)[..] else { unreachable!() };
    let seen = log.list.version;
    let [d] = log.add(&[song(4)], Place::After(a))[..] else { unreachable!() };
    assert_eq!(log.list.replace(LIST, &[song(1), song(2), song(1)], Some(seen)), Ok(None));
    let event = log.list.replace(LIST, &[song(2), song(1), song(1), song(1)], Some(seen)).unwrap().unwrap();
    let new = EntryId::of_event(log.append(event), 4);
    assert_eq!(log.ids(), [b, a, d, c, new]);
    let event = log.list.replace(LIST, &[song(4)], None).unwrap().unwrap();
    log.append(event);
    assert_eq!(log.ids(), [d]);
    // A removed entry is still an anchor.
    log.add(&[song(5)], Place::After(b));
    assert_eq!(log.list.entries()[0].song, song(5));
}

#[test]
fn list_is_limited() {
    let mut log = Log::new();
    let songs: Vec<SongId> = (0..CALL_LIMIT as u128).map(song).collect();
    for _ in 0..ENTRIES_LIMIT / CALL_LIMIT {
        log.add(&songs, Place::End);
    }
    assert_eq!(log.list.add(LIST, &[song(1)], Place::End, None), Err(EditRejected::Full));
    let first = log.ids()[0];
    log.append(log.list.remove(LIST, &[first], None).unwrap().unwrap());
    log.add(&[song(1)], Place::End);
    assert_eq!(log.list.entries().len(), ENTRIES_LIMIT);
    // The largest snapshot fits into one message of the log, with its sealed texts.
    let snapshot = log.list.snapshot(LIST, log.list.version).unwrap();
    let bytes = serde_json::to_vec(&snapshot.entries).unwrap().len();
    assert!(bytes < 1024 * 1024 - 32 * 1024, "{bytes}");
}

#[test]
fn what_a_snapshot_has_dropped_is_too_old() {
    let mut log = Log::new();
    let [a, b] = log.add(&[song(1), song(2)], Place::End)[..] else { unreachable!() };
    let seen = log.list.version;
    log.append(log.list.remove(LIST, &[b], None).unwrap().unwrap());
    let list = log.list_from_snapshot(log.events.len());
    let old = Err(EditRejected::VersionTooOld);
    assert_eq!(list.add(LIST, &[song(3)], Place::After(b), Some(seen)), old);
    assert_eq!(list.move_entries(LIST, &[b], Place::End, Some(seen)), old);
    assert_eq!(list.remove(LIST, &[b], Some(seen)), old);
    assert_eq!(list.replace(LIST, &[song(3)], Some(seen)), old);
    assert!(list.add(LIST, &[song(3)], Place::After(a), Some(seen)).unwrap().is_some());
}

// ------------------------------------------------------- random histories

/// What a client asks for, from the version that it has seen.
#[derive(Debug, Clone)]
enum Asked {
    Add(Vec<SongId>, Place),
    Move(Vec<EntryId>, Place),
    Remove(Vec<EntryId>),
    Replace(Vec<SongId>),
    Restore(Position),
}

#[derive(Debug, Clone)]
struct Step {
    client: usize,
    kind: u8,
    at: Index,
    picks: Vec<Index>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..4_usize, 0..12_u8, any::<Index>(), prop::collection::vec(any::<Index>(), 1..5))
        .prop_map(|(client, kind, at, picks)| Step { client, kind, at, picks });
    prop::collection::vec(step, 1..50)
}

/// A list as simple as possible: entries with whether they are removed, and the version since which they are there.
#[derive(Debug, Clone, Default)]
struct Reference(Vec<(SnapshotEntry, bool, Position)>);

impl Reference {
    fn live(&self) -> Vec<SnapshotEntry> {
        self.0.iter().filter(|(_, removed, _)| !removed).map(|(entry, ..)| *entry).collect()
    }

    fn place_of(&self, entry: EntryId) -> Option<usize> {
        self.0.iter().position(|(known, ..)| known.entry == entry)
    }

    /// Inserts a block before the next entry that is not removed, from the place on.
    fn insert(&mut self, block: Vec<(SnapshotEntry, bool, Position)>, place: Place) {
        let from = match place {
            Place::Start => 0,
            Place::End => self.0.len(),
            Place::After(anchor) => self.place_of(anchor).unwrap() + 1,
        };
        let next = self.0.iter().skip(from).position(|(_, removed, _)| !removed);
        let at = next.map_or(self.0.len(), |next| from + next);
        self.0.splice(at..at, block);
    }

    /// Moves the whole list to a new order; entries that are not in it are removed and follow what they followed.
    fn reorder(&mut self, new: Vec<SnapshotEntry>, version: Position) {
        let is_in = |entry: EntryId| new.iter().any(|new| new.entry == entry);
        let since = |entry: EntryId| match self.place_of(entry).map(|place| self.0[place]) {
            Some((_, false, since)) => since,
            _ => version,
        };
        let mut list: Vec<_> = new.iter().map(|new| (*new, false, since(new.entry))).collect();
        let mut last = None;
        for (entry, _, since) in &self.0 {
            if is_in(entry.entry) {
                last = Some(entry.entry);
                continue;
            }
            let behind =
                last.map_or(0, |last| list.iter().position(|(it, ..)| it.entry == last).unwrap() + 1);
            let others = list[behind..].iter().take_while(|(it, ..)| !is_in(it.entry)).count();
            list.insert(behind + others, (*entry, true, *since));
        }
        self.0 = list;
    }

    /// Applies a request that was accepted as the event with this id and position.
    fn apply(&mut self, asked: &Asked, seen: Position, (id, version): (EventId, Position), past: &Past) {
        let at = |place: usize| EntryId::of_event(id, u16::try_from(place).unwrap());
        match asked {
            Asked::Add(songs, place) => {
                let new = songs.iter().enumerate();
                let new = new.map(|(n, song)| (SnapshotEntry { entry: at(n), song: *song }, false, version));
                self.insert(new.collect(), *place);
            }
            Asked::Move(entries, place) => {
                let block = entries.iter().map(|entry| self.0[self.place_of(*entry).unwrap()]).collect();
                let anchor = match place {
                    Place::After(anchor) if entries.contains(anchor) => {
                        let before = self.0[..self.place_of(*anchor).unwrap()].iter().rev();
                        let mut stays = before.filter(|(it, ..)| !entries.contains(&it.entry));
                        stays.next().map_or(Place::Start, |(it, ..)| Place::After(it.entry))
                    }
                    other => *other,
                };
                self.0.retain(|(it, ..)| !entries.contains(&it.entry));
                self.insert(block, anchor);
            }
            Asked::Remove(entries) => {
                for (it, removed, _) in &mut self.0 {
                    *removed |= entries.contains(&it.entry);
                }
            }
            Asked::Replace(songs) => {
                let mut free: Vec<SnapshotEntry> =
                    self.0.iter().filter(|it| !it.1 && it.2 <= seen).map(|it| it.0).collect();
                let mut new: Vec<(Option<EntryId>, SongId)> = Vec::new();
                for song in songs {
                    let same = free.iter().position(|entry| entry.song == *song);
                    new.push((same.map(|same| free.remove(same).entry), *song));
                }
                let matched: Vec<EntryId> = new.iter().filter_map(|(entry, _)| *entry).collect();
                let mut last = None;
                for (entry, ..) in self.0.iter().filter(|it| !it.1) {
                    if matched.contains(&entry.entry) {
                        last = Some(entry.entry);
                    } else if self.0.iter().any(|it| it.0 == *entry && it.2 > seen) {
                        let behind =
                            last.map_or(0, |last| new.iter().position(|it| it.0 == Some(last)).unwrap() + 1);
                        new.insert(behind, (Some(entry.entry), entry.song));
                        last = Some(entry.entry);
                    }
                }
                let new = new.iter().enumerate();
                let new = new
                    .map(|(n, (entry, song))| SnapshotEntry { entry: entry.unwrap_or(at(n)), song: *song });
                self.reorder(new.collect(), version);
            }
            Asked::Restore(version_then) => self.reorder(past[version_then].clone(), version),
        }
    }
}

/// The entries of each version.
type Past = BTreeMap<Position, Vec<SnapshotEntry>>;

/// A request of a client that has seen some version.
fn asked(step: &Step, seen: &[SnapshotEntry], past: &Past) -> Option<Asked> {
    let entry = |index: &Index| seen.get(index.index(seen.len().max(1))).map(|entry| entry.entry);
    let mut picked: Vec<EntryId> = step.picks.iter().filter_map(entry).collect();
    let mut known = HashSet::new();
    picked.retain(|entry| known.insert(*entry));
    let place = match (step.at.index(6), entry(&step.at)) {
        (0, _) => Place::Start,
        (1, _) | (_, None) => Place::End,
        (_, Some(anchor)) => Place::After(anchor),
    };
    match step.kind {
        0..4 => Some(Asked::Add(songs(&step.picks), place)),
        4..7 => (!picked.is_empty()).then_some(Asked::Move(picked, place)),
        7..9 => (!picked.is_empty()).then_some(Asked::Remove(picked)),
        9 => {
            let mut all: Vec<SongId> = seen.iter().map(|entry| entry.song).collect();
            all.splice(0..all.len().min(2), songs(&step.picks));
            Some(Asked::Replace(all))
        }
        10 => past.keys().nth(step.at.index(past.len())).map(|version| Asked::Restore(*version)),
        _ => None,
    }
}

fn songs(picks: &[Index]) -> Vec<SongId> {
    picks.iter().map(|pick| song(pick.index(4) as u128)).collect()
}

fn decided(list: &List, asked: &Asked, seen: Position, past: &Past) -> Result<Option<Event>, EditRejected> {
    let version = Some(seen);
    match asked {
        Asked::Add(songs, place) => list.add(LIST, songs, *place, version),
        Asked::Move(entries, place) => list.move_entries(LIST, entries, *place, version),
        Asked::Remove(entries) => list.remove(LIST, entries, version),
        Asked::Replace(songs) => list.replace(LIST, songs, version),
        Asked::Restore(then) => Ok(list.restore(LIST, *then, &past[then])),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Several clients edit one list, from versions that others have changed meanwhile; some repeat a request under its key.
    #[test]
    fn concurrent_edits_lose_double_and_misplace_nothing(steps in steps()) {
        let mut log = Log::new();
        let mut reference = Reference::default();
        let mut past = Past::from([(log.list.version, Vec::new())]);
        let mut seen = vec![(log.list.version, Vec::<SnapshotEntry>::new()); 4];
        let mut last_event: Vec<Option<EventId>> = vec![None; 4];
        for step in &steps {
            let client = step.client;
            let (version, entries) = seen[client].clone();
            let Some(asked) = asked(step, &entries, &past) else {
                // The client loads the list, or repeats its last request: that finds its own event.
                let found = last_event[client].is_none_or(|id| log.events.iter().any(|it| it.envelope.id == id));
                prop_assert!(found);
                seen[client] = (log.list.version, log.list.entries());
                continue;
            };
            let before = reference.live();
            match decided(&log.list, &asked, version, &past) {
                Ok(Some(event)) => {
                    let id = log.append(event);
                    last_event[client] = Some(id);
                    reference.apply(&asked, version, (id, log.list.version), &past);
                    past.insert(log.list.version, reference.live());
                }
                Ok(None) => {
                    let mut same = reference.clone();
                    same.apply(&asked, version, (EventId::new(Uuid::nil()), log.list.version), &past);
                    prop_assert_eq!(same.live(), before, "{:?} has an effect", asked);
                }
                Err(EditRejected::EntryRemoved) => {
                    let Asked::Move(entries, _) = &asked else { panic!("{asked:?}") };
                    let there: Vec<EntryId> = before.iter().map(|entry| entry.entry).collect();
                    prop_assert!(entries.iter().any(|entry| !there.contains(entry)));
                }
                Err(other) => panic!("{asked:?}: {other:?}"),
            }
            prop_assert_eq!(log.list.entries(), reference.live(), "after {:?}", asked);
            let distinct: HashSet<EntryId> = log.ids().into_iter().collect();
            prop_assert_eq!(distinct.len(), log.ids().len());
        }
        for included in 1..=log.events.len() {
            let list = log.list_from_snapshot(included);
            prop_assert_eq!(list.entries(), log.list.entries(), "from a snapshot of {}", included);
            prop_assert_eq!(list.version, log.list.version);
        }
    }
}
