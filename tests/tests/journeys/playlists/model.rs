//! A playlist as simple as possible: what concurrent edits must lead to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Where a block is placed.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Start,
    End,
    After(String),
}

/// A request of a client.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Add(Vec<String>, Place),
    Move(Vec<String>, Place),
    Remove(Vec<String>),
    Replace(Vec<String>),
    Restore(u64),
}

impl Edit {
    /// The method, the path below the playlist, and the body.
    pub(super) fn request(&self, version: u64) -> (&'static str, &'static str, Value) {
        let placed = |field: &str, ids: &[String], place: &Place| match place {
            Place::Start => json!({ field: ids, "at": "start", "version": version }),
            Place::End => json!({ field: ids, "at": "end", "version": version }),
            Place::After(anchor) => json!({ field: ids, "after": anchor, "version": version }),
        };
        match self {
            Self::Add(songs, place) => ("POST", "/entries", placed("songs", songs, place)),
            Self::Move(entries, place) => ("POST", "/entries/move", placed("entries", entries, place)),
            Self::Remove(entries) => {
                ("POST", "/entries/remove", json!({ "entries": entries, "version": version }))
            }
            Self::Replace(songs) => ("PUT", "/entries", json!({ "songs": songs, "version": version })),
            Self::Restore(version) => ("POST", "/restore", json!({ "version": version })),
        }
    }
}

/// An entry with its song.
pub(super) type Entry = (String, String);

#[derive(Debug, Clone)]
struct Slot {
    entry: Entry,
    removed: bool,
    /// The version that added it.
    since: u64,
}

/// Removed entries keep their place, since clients that have not seen the removal can name them.
#[derive(Debug, Default)]
pub(super) struct Model {
    slots: Vec<Slot>,
    /// The entries of each version.
    pub(super) past: BTreeMap<u64, Vec<Entry>>,
}

impl Model {
    fn entries(&self) -> Vec<Entry> {
        self.slots.iter().filter(|slot| !slot.removed).map(|slot| slot.entry.clone()).collect()
    }

    fn place_of(&self, entry: &str) -> usize {
        self.slots.iter().position(|slot| slot.entry.0 == entry).unwrap()
    }

    /// Applies an edit that made this version. `new_id` gives the ids of new entries by their number.
    pub(super) fn apply(&mut self, edit: &Edit, seen: u64, version: u64, new_id: impl Fn(usize) -> String) {
        match edit {
            Edit::Add(songs, place) => {
                let entry = |(number, song): (usize, &String)| Slot {
                    entry: (new_id(number), song.clone()),
                    removed: false,
                    since: version,
                };
                self.insert(songs.iter().enumerate().map(entry).collect(), place);
            }
            Edit::Move(entries, place) => {
                let block = entries.iter().map(|entry| self.slots[self.place_of(entry)].clone()).collect();
                let place = self.without(entries, place);
                self.slots.retain(|slot| !entries.contains(&slot.entry.0));
                self.insert(block, &place);
            }
            Edit::Remove(entries) => {
                for slot in &mut self.slots {
                    slot.removed |= entries.contains(&slot.entry.0);
                }
            }
            Edit::Replace(songs) => {
                let new = self.replaced(songs, seen).into_iter().enumerate();
                let new = new.map(|(number, (id, song))| (id.unwrap_or_else(|| new_id(number)), song));
                self.reorder(new.collect(), version);
            }
            Edit::Restore(then) => self.reorder(self.past[then].clone(), version),
        }
        self.past.insert(version, self.entries());
    }

    /// The place without the entries that are moved there: an anchor among them stands for the one before it.
    fn without(&self, entries: &[String], place: &Place) -> Place {
        match place {
            Place::After(anchor) if entries.contains(anchor) => {
                let before = self.slots[..self.place_of(anchor)].iter().rev();
                let mut stays = before.map(|slot| &slot.entry.0).filter(|entry| !entries.contains(entry));
                stays.next().map_or(Place::Start, |entry| Place::After(entry.clone()))
            }
            other => other.clone(),
        }
    }

    /// Inserts a block before the next entry that is not removed.
    fn insert(&mut self, block: Vec<Slot>, place: &Place) {
        let from = match place {
            Place::Start => 0,
            Place::End => self.slots.len(),
            Place::After(anchor) => self.place_of(anchor) + 1,
        };
        let next = self.slots.iter().skip(from).position(|slot| !slot.removed);
        let at = next.map_or(self.slots.len(), |next| from + next);
        self.slots.splice(at..at, block);
    }

    /// The new list: songs that stay keep their entries, and entries that the client has not seen follow what they followed.
    fn replaced(&self, songs: &[String], seen: u64) -> Vec<(Option<String>, String)> {
        let live = || self.slots.iter().filter(|slot| !slot.removed);
        let mut free: Vec<&Entry> =
            live().filter(|slot| slot.since <= seen).map(|slot| &slot.entry).collect();
        let mut new: Vec<(Option<String>, String)> = Vec::new();
        for song in songs {
            let same = free.iter().position(|entry| entry.1 == *song);
            new.push((same.map(|same| free.remove(same).0.clone()), song.clone()));
        }
        let place_in = |new: &[(Option<String>, String)], entry: &str| {
            new.iter().position(|(id, _)| id.as_deref() == Some(entry))
        };
        let mut last: Option<&str> = None;
        for slot in live() {
            if place_in(&new, &slot.entry.0).is_none() {
                if slot.since <= seen {
                    continue;
                }
                let behind = last.map_or(0, |last| place_in(&new, last).unwrap() + 1);
                new.insert(behind, (Some(slot.entry.0.clone()), slot.entry.1.clone()));
            }
            last = Some(&slot.entry.0);
        }
        new
    }

    /// Makes these the entries. All others are removed, and follow what they followed.
    fn reorder(&mut self, new: Vec<Entry>, version: u64) {
        let is_in = |entry: &str| new.iter().any(|(id, _)| id == entry);
        let since = |entry: &str| {
            let known = self.slots.iter().find(|slot| slot.entry.0 == entry && !slot.removed);
            known.map_or(version, |slot| slot.since)
        };
        let slot = |entry: &Entry| Slot { entry: entry.clone(), removed: false, since: since(&entry.0) };
        let mut slots: Vec<Slot> = new.iter().map(slot).collect();
        let mut last = None;
        for old in &self.slots {
            if is_in(&old.entry.0) {
                last = Some(&old.entry.0);
                continue;
            }
            let place = |entry: &String| slots.iter().position(|slot| slot.entry.0 == *entry).unwrap() + 1;
            let behind = last.map_or(0, place);
            let others = slots[behind..].iter().take_while(|slot| !is_in(&slot.entry.0)).count();
            slots.insert(behind + others, Slot { removed: true, ..old.clone() });
        }
        self.slots = slots;
    }
}
