//! Playlists with their members, entries and history.

mod places;

use events::{
    AccountEvent, AccountsEvent, EntriesAdded, EntriesMoved, EntriesReplaced, EntryId, Event, Kind,
    MusicEvent, Neighbours, PlaylistCreated, PlaylistEvent, PlaylistId, PlaylistRestored,
    PlaylistSnapshotEvent, Recorded, ReplacedEntry, SongId,
};
use serde_json::json;
use views::markers::Marker;
use views::music::playlists::{
    Change, ChangeKind, ENTRIES, Entry, HISTORY, IN_ORDER, MEMBERS, Member, NEWEST_CHANGES, OF_OWNER,
    OF_PLAYLIST, OF_USER, Playlist, VIEW, member_key,
};
use views::{Patch, PatchEach, StoreError, View, Writes};

use super::picture;
use crate::accounts::markers;
use crate::accounts::profiles::{VisibilityChange, visibility_change_after};
use crate::engine::projection::{Search, position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Playlists;

impl Projection for Playlists {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn views(&self) -> Vec<&'static str> {
        vec![VIEW.name, MEMBERS.name, ENTRIES.name, HISTORY.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Playlist, Kind::PlaylistSnapshot, Kind::Account]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        let Event::Music(MusicEvent::Playlist(event)) = &recorded.event else { return Vec::new() };
        let mut keys = vec![(&VIEW, event.playlist().to_string())];
        match event {
            PlaylistEvent::PlaylistCreated(event) => keys.push(markers::account_key(&VIEW, event.owner)),
            PlaylistEvent::CollaboratorAdded(event) => keys.push(markers::account_key(&VIEW, event.user)),
            PlaylistEvent::EntriesAdded(EntriesAdded { between, .. })
            | PlaylistEvent::EntriesMoved(EntriesMoved { between, .. }) => {
                let neighbours = [between.after, between.before];
                keys.extend(neighbours.into_iter().flatten().map(|entry| (&ENTRIES, entry.to_string())));
            }
            PlaylistEvent::PlaylistDetailsChanged(_)
            | PlaylistEvent::PlaylistVisibilityChanged(_)
            | PlaylistEvent::PlaylistCoverChanged(_)
            | PlaylistEvent::CollaboratorRemoved(_)
            | PlaylistEvent::EntriesRemoved(_)
            | PlaylistEvent::EntriesReplaced(_)
            | PlaylistEvent::PlaylistRestored(_)
            | PlaylistEvent::PlaylistDeleted(_) => {}
        }
        keys
    }

    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        match &recorded.event {
            Event::Accounts(AccountsEvent::Account(event)) if visibility_change_after(event).is_some() => {
                vec![Search { view: &VIEW, index: &OF_OWNER, equals: vec![json!(event.user())] }]
            }
            Event::Music(MusicEvent::PlaylistSnapshot(PlaylistSnapshotEvent::PlaylistSnapshot(event))) => {
                let equals = vec![json!(event.playlist), json!(false)];
                vec![Search { view: &ENTRIES, index: &IN_ORDER, equals }]
            }
            Event::Accounts(_)
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistCreated(event))) => {
                create(event, recorded, writes)
            }
            Event::Music(MusicEvent::Playlist(event)) => change(event, recorded, writes),
            Event::Music(MusicEvent::PlaylistSnapshot(_)) => shorten_places(writes),
            Event::Music(
                MusicEvent::Artist(_)
                | MusicEvent::ArtistLink(_)
                | MusicEvent::Album(_)
                | MusicEvent::Song(_)
                | MusicEvent::Audio(_)
                | MusicEvent::SongLike(_)
                | MusicEvent::AlbumLike(_)
                | MusicEvent::ArtistFollow(_)
                | MusicEvent::Rating(_)
                | MusicEvent::Bookmark(_)
                | MusicEvent::Listen(_)
                | MusicEvent::Listening(_)
                | MusicEvent::ChartDay(_)
                | MusicEvent::Queue(_),
            ) => Ok(()),
            Event::Accounts(AccountsEvent::Account(event)) => account(event, writes),
            Event::Accounts(_) | Event::Social(_) | Event::Mail(_) | Event::Operations(_) => Ok(()),
        }
    }
}

fn create(event: &PlaylistCreated, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let owner = markers::account(&VIEW, event.owner, writes)?;
    // An erased owner has no playlists, and their texts are not shown.
    let Some(details) = event.details.open().filter(|_| owner != Some(Marker::Erased)) else { return Ok(()) };
    let shown = owner.is_none();
    writes.put(&Playlist {
        playlist: event.playlist.to_string(),
        owner: event.owner.to_string(),
        name: details.name.clone(),
        description: details.description.clone(),
        public: event.public,
        cover: None,
        entries: 0,
        version: position(recorded),
        shown,
        listed: shown && event.public,
        created: time(recorded),
        changed: time(recorded),
        position: position(recorded),
    })?;
    writes.put(&Member {
        playlist: event.playlist.to_string(),
        user: event.owner.to_string(),
        is_owner: true,
        position: position(recorded),
    })?;
    writes.put(&Change { is_version: true, ..change_of(event.playlist, ChangeKind::Created, recorded) })
}

/// Applies an event about a playlist that exists; about others there is nothing to change.
fn change(event: &PlaylistEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let playlist = event.playlist();
    let Some(current) = writes.get::<Playlist>(&playlist.to_string())? else { return Ok(()) };
    let history = |kind| change_of(playlist, kind, recorded);
    match event {
        PlaylistEvent::PlaylistCreated(_) => Ok(()),
        PlaylistEvent::PlaylistDetailsChanged(event) => {
            if let Some(details) = event.details.open() {
                let patch = Patch::default()
                    .set("name", details.name.clone())
                    .set("description", details.description.clone());
                touch(patch, playlist, recorded, writes);
            }
            writes.put(&history(ChangeKind::DetailsChanged))
        }
        PlaylistEvent::PlaylistVisibilityChanged(event) => {
            let listed = event.public && current.shown;
            touch(
                Patch::default().set("public", event.public).set("listed", listed),
                playlist,
                recorded,
                writes,
            );
            writes.put(&history(if event.public { ChangeKind::MadePublic } else { ChangeKind::MadePrivate }))
        }
        PlaylistEvent::PlaylistCoverChanged(event) => {
            let patch = Patch::default().set("cover", json!(event.cover.map(picture)));
            touch(patch, playlist, recorded, writes);
            writes.put(&history(ChangeKind::CoverChanged))
        }
        PlaylistEvent::CollaboratorAdded(event) => {
            // The decision reads the account without a condition.
            if markers::account(&VIEW, event.user, writes)? != Some(Marker::Erased) {
                writes.put(&Member {
                    playlist: playlist.to_string(),
                    user: event.user.to_string(),
                    is_owner: false,
                    position: position(recorded),
                })?;
            }
            let user = Some(event.user.to_string());
            writes.put(&Change { user, ..history(ChangeKind::CollaboratorAdded) })
        }
        PlaylistEvent::CollaboratorRemoved(event) => {
            writes.delete::<Member>(member_key(&playlist.to_string(), &event.user.to_string()));
            let user = Some(event.user.to_string());
            writes.put(&Change { user, ..history(ChangeKind::CollaboratorRemoved) })
        }
        PlaylistEvent::EntriesAdded(event) => {
            add(event, recorded, writes)?;
            let count = length(event.songs.len());
            new_version(ChangeKind::EntriesAdded, playlist, count, current.entries + count, recorded, writes)
        }
        PlaylistEvent::EntriesMoved(event) => {
            let places = new_places(event.between, event.entries.len(), writes)?;
            for (entry, place) in event.entries.iter().zip(places) {
                writes.patch::<Entry>(entry.to_string(), Patch::default().set("place", place));
            }
            let count = length(event.entries.len());
            new_version(ChangeKind::EntriesMoved, playlist, count, current.entries, recorded, writes)
        }
        PlaylistEvent::EntriesRemoved(event) => {
            for entry in &event.entries {
                writes.patch::<Entry>(entry.to_string(), Patch::default().set("removed", true));
            }
            let count = length(event.entries.len());
            let left = current.entries - count;
            new_version(ChangeKind::EntriesRemoved, playlist, count, left, recorded, writes)
        }
        PlaylistEvent::EntriesReplaced(event) => {
            replace(event, recorded, writes)?;
            let count = length(event.entries.len());
            new_version(ChangeKind::EntriesReplaced, playlist, count, count, recorded, writes)
        }
        PlaylistEvent::PlaylistRestored(event) => {
            restore(event, writes);
            let count = length(event.entries.len());
            new_version(ChangeKind::Restored, playlist, count, count, recorded, writes)?;
            let restored = i64::try_from(event.version.0).ok();
            let entries = count;
            let change = history(ChangeKind::Restored);
            writes.put(&Change { restored, entries, is_version: true, ..change })
        }
        PlaylistEvent::PlaylistDeleted(_) => {
            delete(&playlist.to_string(), writes);
            Ok(())
        }
    }
}

fn add(event: &EntriesAdded, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let places = new_places(event.between, event.songs.len(), writes)?;
    for ((number, song), place) in (0..).zip(&event.songs).zip(places) {
        writes.put(&new_entry(event.playlist, *song, number, place, recorded))?;
    }
    writes.add_weight(event.songs.len());
    Ok(())
}

fn replace(event: &EntriesReplaced, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    remove_all(event.playlist, writes);
    let places = places::spread(event.entries.len());
    for ((number, entry), place) in (0..).zip(&event.entries).zip(places) {
        match entry {
            ReplacedEntry::Kept(entry) => put_in_place(*entry, place, writes),
            ReplacedEntry::New(song) => {
                writes.put(&new_entry(event.playlist, *song, number, place, recorded))?;
            }
        }
    }
    Ok(())
}

/// Its entries have documents: removed ones stay.
fn restore(event: &PlaylistRestored, writes: &mut Writes) {
    remove_all(event.playlist, writes);
    for (entry, place) in event.entries.iter().zip(places::spread(event.entries.len())) {
        put_in_place(entry.entry, place, writes);
    }
}

fn remove_all(playlist: PlaylistId, writes: &mut Writes) {
    let equals = vec![json!(playlist), json!(false)];
    let patch = Patch::default().set("removed", true);
    writes.patch_each(PatchEach {
        over: &ENTRIES,
        index: &IN_ORDER,
        equals,
        into: &ENTRIES,
        key: None,
        patch,
    });
    writes.add_unknown_weight();
}

fn put_in_place(entry: EntryId, place: String, writes: &mut Writes) {
    writes.patch::<Entry>(entry.to_string(), Patch::default().set("place", place).set("removed", false));
}

fn new_entry(playlist: PlaylistId, song: SongId, number: u16, place: String, recorded: &Recorded) -> Entry {
    Entry {
        entry: EntryId::of_event(recorded.envelope.id, number).to_string(),
        playlist: playlist.to_string(),
        song: song.to_string(),
        place,
        removed: false,
        added_by: recorded.envelope.actor.map(|actor| actor.to_string()),
        added: time(recorded),
    }
}

/// Places for a block between its neighbours, which the decision has found in the list.
fn new_places(between: Neighbours, count: usize, writes: &Writes) -> Result<Vec<String>, StoreError> {
    let place = |entry: Option<EntryId>| -> Result<Option<String>, StoreError> {
        let Some(entry) = entry else { return Ok(None) };
        Ok(writes.get::<Entry>(&entry.to_string())?.map(|entry| entry.place))
    };
    let (after, before) = (place(between.after)?, place(between.before)?);
    Ok(places::between(after.as_deref(), before.as_deref(), count))
}

/// Insertions at one place make its places long. A snapshot, taken every few hundred changes, spreads them again.
fn shorten_places(writes: &mut Writes) -> Result<(), StoreError> {
    let entries = writes.found::<Entry>()?;
    if entries.iter().all(|entry| entry.place.len() <= places::LONG) {
        return Ok(());
    }
    for (entry, place) in entries.iter().zip(places::spread(entries.len())) {
        writes.patch::<Entry>(entry.entry.clone(), Patch::default().set("place", place));
    }
    writes.add_weight(entries.len());
    Ok(())
}

fn new_version(
    kind: ChangeKind,
    playlist: PlaylistId,
    changed: i64,
    entries: i64,
    recorded: &Recorded,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let patch = Patch::default().set("entries", entries).set("version", position(recorded));
    touch(patch, playlist, recorded, writes);
    writes.put(&Change { entries: changed, is_version: true, ..change_of(playlist, kind, recorded) })
}

fn touch(patch: Patch, playlist: PlaylistId, recorded: &Recorded, writes: &mut Writes) {
    writes.patch::<Playlist>(playlist.to_string(), patch.set("changed", time(recorded)));
}

fn change_of(playlist: PlaylistId, kind: ChangeKind, recorded: &Recorded) -> Change {
    Change {
        playlist: playlist.to_string(),
        kind,
        by: recorded.envelope.actor.map(|actor| actor.to_string()),
        entries: 0,
        user: None,
        restored: None,
        is_version: false,
        at: time(recorded),
        position: position(recorded),
    }
}

fn account(event: &AccountEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let Some(change) = markers::mark_account(&VIEW, event, writes) else { return Ok(()) };
    let show = |shown: bool, owned: Playlist, writes: &mut Writes| {
        let patch = Patch::default().set("shown", shown).set("listed", shown && owned.public);
        writes.patch::<Playlist>(owned.playlist, patch);
    };
    for owned in writes.found::<Playlist>()? {
        match change {
            VisibilityChange::Hidden => show(false, owned, writes),
            VisibilityChange::Shown => show(true, owned, writes),
            VisibilityChange::Erased => delete(&owned.playlist, writes),
        }
    }
    if let VisibilityChange::Erased = change {
        writes.delete_where::<Member>(&OF_USER, vec![json!(event.user())]);
    }
    writes.add_unknown_weight();
    Ok(())
}

/// By key, so that later events of the same batch find no playlist.
fn delete(playlist: &str, writes: &mut Writes) {
    writes.delete::<Playlist>(playlist);
    writes.delete_where::<Member>(&OF_PLAYLIST, vec![json!(playlist)]);
    for removed in [true, false] {
        writes.delete_where::<Entry>(&IN_ORDER, vec![json!(playlist), json!(removed)]);
    }
    writes.delete_where::<Change>(&NEWEST_CHANGES, vec![json!(playlist)]);
    writes.add_unknown_weight();
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
