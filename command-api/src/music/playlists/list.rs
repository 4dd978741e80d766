//! The entries of a playlist. Edits name entries, not places, so an edit by a client that has not seen the newest version keeps
//! its meaning. Removed entries keep their place in the fold until a snapshot drops them, so that they can still be anchors.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use events::{
    EntriesAdded, EntriesMoved, EntriesRemoved, EntriesReplaced, EntryId, Event, EventId, Image, MusicEvent,
    Neighbours, Personal, PlaylistDetails, PlaylistEvent, PlaylistId, PlaylistRestored, PlaylistSnapshot,
    PlaylistSnapshotEvent, Position, Recorded, ReplacedEntry, SnapshotEntry, SongId, UserId,
};

use crate::pipeline::execute::Fold;

/// Entries of a playlist. Its snapshot must fit into one message of the log, 1 MiB.
pub(crate) const ENTRIES_LIMIT: usize = 10_000;
/// Songs or entries that one command names.
pub(crate) const CALL_LIMIT: usize = 5_000;

/// So many entries are found faster without a hash table.
const FEW: usize = 16;

/// Why an edit of the entries has no meaning any more, or never had one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditRejected {
    /// The list would have more than [`ENTRIES_LIMIT`] entries.
    Full,
    /// An entry was never in this list.
    NoEntry,
    /// The entry to move was removed.
    EntryRemoved,
    /// The version, or an entry, is older than the removed entries that are still known.
    VersionTooOld,
    /// The list has not had this version.
    NoVersion,
}

/// Where a block of entries is to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Start,
    End,
    After(EntryId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    entry: EntryId,
    song: SongId,
    /// The version in which it became part of the list; with a snapshot, at the latest.
    since: Position,
    removed: bool,
}

/// Entries that an edit names. Few are compared one after the other, since hashing each entry of a long list takes longer.
struct Among<'a> {
    few: &'a [EntryId],
    many: HashSet<EntryId>,
}

impl<'a> Among<'a> {
    fn of(entries: &'a [EntryId]) -> Self {
        if entries.len() <= FEW {
            Self { few: entries, many: HashSet::new() }
        } else {
            Self { few: &[], many: entries.iter().copied().collect() }
        }
    }

    fn has(&self, entry: EntryId) -> bool {
        self.few.contains(&entry) || self.many.contains(&entry)
    }
}

/// The state of a playlist.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct List {
    pub(crate) owner: Option<UserId>,
    pub(crate) deleted: bool,
    pub(crate) public: bool,
    pub(crate) details: Option<Personal<PlaylistDetails>>,
    pub(crate) cover: Option<Image>,
    pub(crate) collaborators: BTreeSet<UserId>,
    /// Position of the last event that changed the entries.
    pub(crate) version: Position,
    /// Entries that were removed up to this position are not known any more.
    known_since: Position,
    /// In order, with removed entries in place.
    slots: Vec<Slot>,
}

// ---------------------------------------------------------------- decisions

impl List {
    #[cfg(test)]
    pub(super) fn of(
        owner: UserId,
        public: bool,
        details: PlaylistDetails,
        collaborators: BTreeSet<UserId>,
    ) -> Self {
        let details = Some(Personal::Open(details));
        Self { owner: Some(owner), public, details, collaborators, version: Position(1), ..Self::default() }
    }

    /// The entries that are not removed, in order.
    pub(crate) fn entries(&self) -> Vec<SnapshotEntry> {
        self.live().map(|slot| SnapshotEntry { entry: slot.entry, song: slot.song }).collect()
    }

    fn live(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| !slot.removed)
    }

    /// Refuses a version that the list has not reached.
    fn check(&self, version: Option<Position>) -> Result<(), EditRejected> {
        if version.is_some_and(|version| version > self.version) {
            Err(EditRejected::NoVersion)
        } else {
            Ok(())
        }
    }

    /// Those of these entries that the list knows, and whether they are removed.
    fn removed(&self, entries: &[EntryId]) -> HashMap<EntryId, bool> {
        let named = Among::of(entries);
        let slots = self.slots.iter().filter(|slot| named.has(slot.entry));
        slots.map(|slot| (slot.entry, slot.removed)).collect()
    }

    fn find(&self, entry: EntryId) -> Result<usize, EditRejected> {
        let unknown = if self.known_since == Position::START {
            EditRejected::NoEntry
        } else {
            EditRejected::VersionTooOld
        };
        self.slots.iter().position(|slot| slot.entry == entry).ok_or(unknown)
    }

    pub(crate) fn add(
        &self,
        playlist: PlaylistId,
        songs: &[SongId],
        place: Place,
        version: Option<Position>,
    ) -> Result<Option<Event>, EditRejected> {
        self.check(version)?;
        let between = match place {
            Place::Start => neighbours(self.slots.iter(), 0),
            Place::End => neighbours(self.slots.iter(), self.slots.len()),
            Place::After(anchor) => neighbours(self.slots.iter(), self.find(anchor)? + 1),
        };
        if self.live().count() + songs.len() > ENTRIES_LIMIT {
            return Err(EditRejected::Full);
        }
        let added = || EntriesAdded { playlist, songs: songs.to_vec(), between }.into();
        Ok((!songs.is_empty()).then(added))
    }

    /// Moves entries as one block, in the given order. An anchor that is itself moved stands for the entry before it.
    pub(crate) fn move_entries(
        &self,
        playlist: PlaylistId,
        entries: &[EntryId],
        place: Place,
        version: Option<Position>,
    ) -> Result<Option<Event>, EditRejected> {
        self.check(version)?;
        let removed = self.removed(entries);
        for &entry in entries {
            match removed.get(&entry) {
                Some(false) => {}
                Some(true) => return Err(EditRejected::EntryRemoved),
                None => drop(self.find(entry)?),
            }
        }
        let moved = Among::of(entries);
        let stays = |slot: &&Slot| !moved.has(slot.entry);
        let before = match place {
            Place::Start => 0,
            Place::End => self.slots.len(),
            Place::After(anchor) => self.find(anchor)? + 1,
        };
        let before = self.slots[..before].iter().filter(stays).count();
        let between = neighbours(self.slots.iter().filter(stays), before);
        let event = EntriesMoved { playlist, entries: entries.to_vec(), between };
        let mut after = self.clone();
        after.take_and_insert(&event);
        let is_same = self.live().map(|slot| slot.entry).eq(after.live().map(|slot| slot.entry));
        Ok((!is_same).then(|| event.into()))
    }

    /// Removes the entries that are not removed yet.
    pub(crate) fn remove(
        &self,
        playlist: PlaylistId,
        entries: &[EntryId],
        version: Option<Position>,
    ) -> Result<Option<Event>, EditRejected> {
        self.check(version)?;
        let removed = self.removed(entries);
        let mut there = Vec::new();
        for &entry in entries {
            match removed.get(&entry) {
                Some(false) => there.push(entry),
                Some(true) => {}
                None => drop(self.find(entry)?),
            }
        }
        Ok((!there.is_empty()).then(|| EntriesRemoved { playlist, entries: there }.into()))
    }

    /// Replaces the whole list. Entries whose songs stay keep their ids, matched in order. With a version, entries that were
    /// added after it stay behind the entry that they follow: its client has not seen them.
    pub(crate) fn replace(
        &self,
        playlist: PlaylistId,
        songs: &[SongId],
        version: Option<Position>,
    ) -> Result<Option<Event>, EditRejected> {
        self.check(version)?;
        if version.is_some_and(|version| version < self.known_since) {
            return Err(EditRejected::VersionTooOld);
        }
        let is_seen = |slot: &&Slot| version.is_none_or(|version| slot.since <= version);
        let mut known: HashMap<SongId, VecDeque<EntryId>> = HashMap::new();
        for slot in self.live().filter(is_seen) {
            known.entry(slot.song).or_default().push_back(slot.entry);
        }
        let entries: Vec<ReplacedEntry> = songs
            .iter()
            .map(|song| match known.get_mut(song).and_then(VecDeque::pop_front) {
                Some(entry) => ReplacedEntry::Kept(entry),
                None => ReplacedEntry::New(*song),
            })
            .collect();
        let kept = entries.iter().filter_map(|entry| match entry {
            ReplacedEntry::Kept(entry) => Some(*entry),
            ReplacedEntry::New(_) => None,
        });
        let kept: HashSet<EntryId> = kept.collect();
        let unseen = self.live().filter(|slot| kept.contains(&slot.entry) || !is_seen(slot));
        let unseen = unseen.map(|slot| (slot.entry, kept.contains(&slot.entry), slot.entry));
        let entry_of = |entry: &ReplacedEntry| match entry {
            ReplacedEntry::Kept(entry) => Some(*entry),
            ReplacedEntry::New(_) => None,
        };
        let entries = with_followers(unseen, entries, entry_of, ReplacedEntry::Kept);
        if entries.len() > ENTRIES_LIMIT {
            return Err(EditRejected::Full);
        }
        let is_same = self.live().map(|slot| Some(slot.entry)).eq(entries.iter().map(entry_of));
        Ok((!is_same).then(|| EntriesReplaced { playlist, entries }.into()))
    }

    /// Makes the list what it was at a version.
    pub(crate) fn restore(
        &self,
        playlist: PlaylistId,
        version: Position,
        entries: &[SnapshotEntry],
    ) -> Option<Event> {
        (self.entries() != entries)
            .then(|| PlaylistRestored { playlist, version, entries: entries.to_vec() }.into())
    }

    /// The state up to a position, to be read instead of the events before it.
    pub(crate) fn snapshot(&self, playlist: PlaylistId, position: Position) -> Option<PlaylistSnapshot> {
        Some(PlaylistSnapshot {
            playlist,
            position,
            version: self.version,
            owner: self.owner.filter(|_| !self.deleted)?,
            public: self.public,
            details: self.details.clone()?,
            cover: self.cover,
            collaborators: self.collaborators.iter().copied().collect(),
            entries: self.entries(),
        })
    }
}

/// The entries around a place that are not removed.
fn neighbours<'a>(slots: impl DoubleEndedIterator<Item = &'a Slot> + Clone, place: usize) -> Neighbours {
    let is_live = |slot: &&Slot| !slot.removed;
    let after = slots.clone().take(place).filter(is_live).last();
    let before = slots.skip(place).find(is_live);
    Neighbours { after: after.map(|slot| slot.entry), before: before.map(|slot| slot.entry) }
}

/// A new order that also keeps items of the old one: each stands behind the last item before it that is in both. The old items
/// are given with their entries, and whether the new order has them.
fn with_followers<T, O>(
    old: impl Iterator<Item = (EntryId, bool, O)>,
    new: Vec<T>,
    entry_of: impl Fn(&T) -> Option<EntryId>,
    keep: impl Fn(O) -> T,
) -> Vec<T> {
    let mut followers: HashMap<Option<EntryId>, Vec<T>> = HashMap::new();
    let mut last = None;
    for (entry, is_in_both, item) in old {
        if is_in_both {
            last = Some(entry);
        } else {
            followers.entry(last).or_default().push(keep(item));
        }
    }
    let mut merged = followers.remove(&None).unwrap_or_default();
    for item in new {
        let entry = entry_of(&item);
        merged.push(item);
        if let Some(behind) = entry.and_then(|entry| followers.remove(&Some(entry))) {
            merged.extend(behind);
        }
    }
    merged
}

// --------------------------------------------------------------------- fold

impl Fold for List {
    fn apply(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Music(MusicEvent::Playlist(event)) => {
                self.apply_event(event, recorded.envelope.id, recorded.position);
            }
            Event::Music(MusicEvent::PlaylistSnapshot(PlaylistSnapshotEvent::PlaylistSnapshot(event))) => {
                *self = Self::of_snapshot(event);
            }
            Event::Accounts(_)
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

impl List {
    fn of_snapshot(event: &PlaylistSnapshot) -> Self {
        let slot = |entry: &SnapshotEntry| Slot {
            entry: entry.entry,
            song: entry.song,
            since: event.version,
            removed: false,
        };
        Self {
            owner: Some(event.owner),
            deleted: false,
            public: event.public,
            details: Some(event.details.clone()),
            cover: event.cover,
            collaborators: event.collaborators.iter().copied().collect(),
            version: event.version,
            known_since: event.version,
            slots: event.entries.iter().map(slot).collect(),
        }
    }

    fn apply_event(&mut self, event: &PlaylistEvent, id: EventId, position: Position) {
        match event {
            PlaylistEvent::PlaylistCreated(event) => {
                self.owner = Some(event.owner);
                self.public = event.public;
                self.details = Some(event.details.clone());
                self.version = position;
            }
            PlaylistEvent::PlaylistDetailsChanged(event) => self.details = Some(event.details.clone()),
            PlaylistEvent::PlaylistVisibilityChanged(event) => self.public = event.public,
            PlaylistEvent::PlaylistCoverChanged(event) => self.cover = event.cover,
            PlaylistEvent::CollaboratorAdded(event) => {
                self.collaborators.insert(event.user);
            }
            PlaylistEvent::CollaboratorRemoved(event) => {
                self.collaborators.remove(&event.user);
            }
            PlaylistEvent::EntriesAdded(event) => {
                let slot =
                    |(song, place): (&SongId, u16)| new_slot(EntryId::of_event(id, place), *song, position);
                self.insert(event.songs.iter().zip(0..).map(slot).collect(), event.between.before);
                self.version = position;
            }
            PlaylistEvent::EntriesMoved(event) => {
                self.take_and_insert(event);
                self.version = position;
            }
            PlaylistEvent::EntriesRemoved(event) => {
                let removed = Among::of(&event.entries);
                for slot in self.slots.iter_mut().filter(|slot| removed.has(slot.entry)) {
                    slot.removed = true;
                }
                self.version = position;
            }
            PlaylistEvent::EntriesReplaced(event) => self.apply_replaced(event, id, position),
            PlaylistEvent::PlaylistRestored(event) => {
                let slots = event.entries.iter().map(|entry| new_slot(entry.entry, entry.song, position));
                self.reorder(slots.collect(), position);
            }
            PlaylistEvent::PlaylistDeleted(_) => self.deleted = true,
        }
    }

    fn apply_replaced(&mut self, event: &EntriesReplaced, id: EventId, position: Position) {
        let songs: HashMap<EntryId, SongId> = self.slots.iter().map(|slot| (slot.entry, slot.song)).collect();
        let slots = event.entries.iter().zip(0..).filter_map(|(entry, place)| match entry {
            ReplacedEntry::Kept(entry) => Some(new_slot(*entry, *songs.get(entry)?, position)),
            ReplacedEntry::New(song) => Some(new_slot(EntryId::of_event(id, place), *song, position)),
        });
        self.reorder(slots.collect(), position);
    }

    /// Makes these the entries of the list. All others are removed, and stay behind the entry that they follow.
    fn reorder(&mut self, mut new: Vec<Slot>, position: Position) {
        let old = std::mem::take(&mut self.slots);
        let known: HashMap<EntryId, Slot> = old.iter().map(|slot| (slot.entry, *slot)).collect();
        for slot in &mut new {
            if let Some(before) = known.get(&slot.entry).filter(|before| !before.removed) {
                *slot = *before;
            }
        }
        let kept: HashSet<EntryId> = new.iter().map(|slot| slot.entry).collect();
        let old = old.into_iter().map(|slot| (slot.entry, kept.contains(&slot.entry), slot));
        let remove = |slot| Slot { removed: true, ..slot };
        self.slots = with_followers(old, new, |slot| Some(slot.entry), remove);
        self.version = position;
    }

    fn take_and_insert(&mut self, event: &EntriesMoved) {
        let moved = Among::of(&event.entries);
        let taken: HashMap<EntryId, Slot> =
            self.slots.extract_if(.., |slot| moved.has(slot.entry)).map(|slot| (slot.entry, slot)).collect();
        let block = event.entries.iter().filter_map(|entry| taken.get(entry).copied()).collect();
        self.insert(block, event.between.before);
    }

    fn insert(&mut self, block: Vec<Slot>, before: Option<EntryId>) {
        let place = before.and_then(|before| self.slots.iter().position(|slot| slot.entry == before));
        let place = place.unwrap_or(self.slots.len());
        self.slots.splice(place..place, block);
    }
}

const fn new_slot(entry: EntryId, song: SongId, since: Position) -> Slot {
    Slot { entry, song, since, removed: false }
}

#[cfg(test)]
mod tests;
