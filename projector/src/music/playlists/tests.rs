use events::{
    CollaboratorAdded, CollaboratorRemoved, Deactivated, EntriesRemoved, Erased, Personal, PlaylistDeleted,
    PlaylistDetails, PlaylistVisibilityChanged, Position, Reactivated, SnapshotEntry, UserId,
};
use uuid::Uuid;
use views::music::playlists::PUBLIC_OF_OWNER;
use views::{Query, ViewStoreExt};

use super::*;
use crate::testing::{ANN, BOB, Built, built};

const LIST: PlaylistId = PlaylistId::new(Uuid::from_u128(0x91));
const SONG: SongId = SongId::new(Uuid::from_u128(0x50));

fn created() -> Event {
    let details = PlaylistDetails { name: "Road".into(), description: String::new() };
    PlaylistCreated { playlist: LIST, owner: ANN, public: true, details: Personal::Open(details) }.into()
}

/// The entry of an event that adds one song, by its position.
fn entry(position: u128) -> EntryId {
    EntryId::new(Uuid::from_u128(position))
}

fn added(after: Option<u128>, before: Option<u128>) -> Event {
    let between = Neighbours { after: after.map(entry), before: before.map(entry) };
    EntriesAdded { playlist: LIST, songs: vec![SONG], between }.into()
}

async fn entries(built: &Built) -> Vec<EntryId> {
    let query = Query::new(&ENTRIES, &IN_ORDER, vec![json!(LIST), json!(false)], 100);
    let page = built.store.page_of::<Entry>(query).await.unwrap();
    page.documents.into_iter().map(|entry| entry.entry.parse().unwrap()).collect()
}

async fn list(built: &Built) -> Option<Playlist> {
    built.store.get(&LIST.to_string()).await.unwrap()
}

async fn public_lists(built: &Built) -> u64 {
    let query = Query::new(&VIEW, &PUBLIC_OF_OWNER, vec![json!(ANN), json!(true)], 10);
    built.store.count(&query).await.unwrap()
}

async fn lists_of(built: &Built, user: UserId) -> u64 {
    let query = Query::new(&MEMBERS, &OF_USER, vec![json!(user)], 10);
    built.store.count(&query).await.unwrap()
}

#[tokio::test]
async fn entries_are_added_moved_removed_replaced_and_restored() {
    let mut history = vec![created(), added(None, None), added(Some(2), None), added(Some(2), Some(3))];
    history.push(added(None, Some(2)));
    let view = built(&Playlists, history.clone()).await;
    assert_eq!(entries(&view).await, [5, 2, 4, 3].map(entry));
    let all = [5, 2, 4, 3].map(|id| SnapshotEntry { entry: entry(id), song: SONG });
    let between = Neighbours { after: Some(entry(4)), before: Some(entry(3)) };
    history.push(EntriesMoved { playlist: LIST, entries: vec![entry(5)], between }.into());
    history.push(EntriesRemoved { playlist: LIST, entries: vec![entry(2)] }.into());
    let view = built(&Playlists, history.clone()).await;
    assert_eq!(entries(&view).await, [4, 5, 3].map(entry));
    let shown = list(&view).await.unwrap();
    assert_eq!((shown.entries, shown.version), (3, 7));
    let replaced = vec![ReplacedEntry::New(SONG), ReplacedEntry::Kept(entry(3))];
    history.push(EntriesReplaced { playlist: LIST, entries: replaced }.into());
    assert_eq!(entries(&built(&Playlists, history.clone()).await).await, [8, 3].map(entry));
    history.push(PlaylistRestored { playlist: LIST, version: Position(5), entries: all.into() }.into());
    let view = built(&Playlists, history.clone()).await;
    assert_eq!(entries(&view).await, [5, 2, 4, 3].map(entry));
    assert_eq!(list(&view).await.unwrap().entries, 4);
    history.push(PlaylistDeleted { playlist: LIST, owner: ANN }.into());
    let view = built(&Playlists, history).await;
    for view_of in [&VIEW, &MEMBERS, &ENTRIES, &HISTORY] {
        assert_eq!(view.count(view_of).await, 0, "{}", view_of.name);
    }
}

#[tokio::test]
async fn list_is_hidden_with_its_owner_and_ends_with_them() {
    let mut history = vec![created(), added(None, None), Deactivated { user: ANN }.into()];
    let view = built(&Playlists, history.clone()).await;
    assert_eq!((public_lists(&view).await, list(&view).await.unwrap().shown), (0, false));
    // While the owner is away, it can still be changed by the one who was about to.
    history.push(PlaylistVisibilityChanged { playlist: LIST, public: false }.into());
    history.push(PlaylistVisibilityChanged { playlist: LIST, public: true }.into());
    assert_eq!(public_lists(&built(&Playlists, history.clone()).await).await, 0);
    history.push(Reactivated { user: ANN }.into());
    assert_eq!(public_lists(&built(&Playlists, history.clone()).await).await, 1);
    history.extend([Erased { user: ANN }.into(), added(Some(2), None)]);
    let view = built(&Playlists, history).await;
    for view_of in [&VIEW, &MEMBERS, &ENTRIES, &HISTORY] {
        assert_eq!(view.count(view_of).await, 0, "{}", view_of.name);
    }
    let view = built(&Playlists, [Erased { user: ANN }.into(), created()]).await;
    assert_eq!(view.count(&VIEW).await, 0);
}

#[tokio::test]
async fn collaborators_are_dropped_when_they_are_removed_or_erased() {
    let history = [created(), CollaboratorAdded { playlist: LIST, user: BOB }.into()];
    let view = built(&Playlists, history.clone()).await;
    assert_eq!((lists_of(&view, ANN).await, lists_of(&view, BOB).await), (1, 1));
    let removed = Event::from(CollaboratorRemoved { playlist: LIST, user: BOB });
    for gone in [removed, Erased { user: BOB }.into()] {
        let view = built(&Playlists, history.clone().into_iter().chain([gone])).await;
        assert_eq!((lists_of(&view, ANN).await, lists_of(&view, BOB).await), (1, 0));
    }
    let [created, added] = history;
    let view = built(&Playlists, [created, Erased { user: BOB }.into(), added]).await;
    assert_eq!(lists_of(&view, BOB).await, 0);
}
