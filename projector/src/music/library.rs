//! Liked songs and albums and followed artists with their counts, ratings, bookmarks and play queues.

use std::collections::HashSet;

use events::{
    AccountEvent, AccountsEvent, AlbumLikeEvent, ArtistEvent, ArtistFollowEvent, ArtistMerged, BookmarkEvent,
    Event, Kind, MusicEvent, QueueEvent, RatedItem, RatingEvent, Recorded, SongLikeEvent, UserId,
};
use serde_json::json;
use views::markers::Marker;
use views::music::bookmarks::{self, Bookmark};
use views::music::library::{
    ALBUM, ARTIST, INTO, KINDS, LibraryEntry, MERGES, Merge, OF_ITEM, OF_USER, SONG, Tally, VIEW, key,
};
use views::music::queue::{self, PlayQueue};
use views::music::ratings::{self, Rating};
use views::{Patch, PatchEach, StoreError, View, Writes};

use crate::accounts::markers;
use crate::accounts::profiles::VisibilityChange;
use crate::engine::projection::{Search, position, time};
use crate::{OnFailure, Projection};

/// One projection for all of them: each is deleted with its user, after the same marker.
#[derive(Debug, Clone, Copy)]
pub struct Library;

impl Projection for Library {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn views(&self) -> Vec<&'static str> {
        vec![VIEW.name, MERGES.name, ratings::VIEW.name, bookmarks::VIEW.name, queue::VIEW.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[
            Kind::SongLike,
            Kind::AlbumLike,
            Kind::ArtistFollow,
            Kind::Artist,
            Kind::Rating,
            Kind::Bookmark,
            Kind::Queue,
            Kind::Account,
        ]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        if let Some((change, item)) = change_of(&recorded.event) {
            let mut keys = vec![markers::account_key(&VIEW, item.user)];
            if item.kind == ARTIST {
                keys.extend([(&MERGES, item.id.clone()), (&VIEW, key(&item.id, &item.user.to_string()))]);
            }
            if change == Change::Added {
                keys.push((&VIEW, item.id));
            }
            return keys;
        }
        if let Some(event) = merge_of(&recorded.event) {
            return vec![(&MERGES, event.into.to_string())];
        }
        let Event::Music(event) = &recorded.event else { return Vec::new() };
        let user = match event {
            MusicEvent::Rating(RatingEvent::Rated(event)) => event.user,
            MusicEvent::Bookmark(BookmarkEvent::BookmarkSet(event)) => event.user,
            MusicEvent::Queue(QueueEvent::QueueSaved(event)) => event.user,
            MusicEvent::Rating(RatingEvent::RatingCleared(_))
            | MusicEvent::Bookmark(BookmarkEvent::BookmarkDeleted(_))
            | MusicEvent::SongLike(_)
            | MusicEvent::AlbumLike(_)
            | MusicEvent::ArtistFollow(_)
            | MusicEvent::Artist(_)
            | MusicEvent::ArtistLink(_)
            | MusicEvent::Album(_)
            | MusicEvent::Song(_)
            | MusicEvent::Audio(_)
            | MusicEvent::Playlist(_)
            | MusicEvent::PlaylistSnapshot(_)
            | MusicEvent::Listen(_)
            | MusicEvent::Listening(_)
            | MusicEvent::ChartDay(_) => return Vec::new(),
        };
        vec![markers::account_key(&VIEW, user)]
    }

    /// Of a merge, the followers of both artists, and what was merged before. Of an artist that a user no longer follows, all that
    /// they follow: it may be in the list as the one that it was merged into.
    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        let of_item = |item: String, shown: bool| Search {
            view: &VIEW,
            index: &OF_ITEM,
            equals: vec![json!(item), json!(shown)],
        };
        if let Some(event) = merge_of(&recorded.event) {
            let (artist, into) = (event.artist.to_string(), event.into.to_string());
            let mut searches =
                vec![Search { view: &MERGES, index: &INTO, equals: vec![json!(artist.as_str())] }];
            for shown in [true, false] {
                searches.extend([of_item(artist.clone(), shown), of_item(into.clone(), shown)]);
            }
            return searches;
        }
        match change_of(&recorded.event) {
            Some((Change::Removed, Item { user, kind: ARTIST, .. })) => [true, false]
                .map(|shown| Search {
                    view: &VIEW,
                    index: &OF_USER,
                    equals: vec![json!(user), json!(ARTIST), json!(shown)],
                })
                .into(),
            Some(_) | None => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        if let Some((change, item)) = change_of(&recorded.event) {
            return match (change, item.kind) {
                (Change::Added, ARTIST) => follow(item, recorded, writes),
                (Change::Removed, ARTIST) => unfollow(item, writes),
                (Change::Added, _) => add(item, recorded, writes),
                (Change::Removed, _) => remove(&item, writes),
            };
        }
        if let Some(event) = merge_of(&recorded.event) {
            return merge(event, recorded, writes);
        }
        match &recorded.event {
            Event::Music(MusicEvent::Rating(event)) => rating(event, recorded, writes),
            Event::Music(MusicEvent::Bookmark(event)) => bookmark(event, recorded, writes),
            Event::Music(MusicEvent::Queue(event)) => save_queue(event, recorded, writes),
            Event::Accounts(AccountsEvent::Account(event)) => {
                account(event, writes);
                Ok(())
            }
            Event::Music(
                MusicEvent::SongLike(_)
                | MusicEvent::AlbumLike(_)
                | MusicEvent::ArtistFollow(_)
                | MusicEvent::Artist(_)
                | MusicEvent::ArtistLink(_)
                | MusicEvent::Album(_)
                | MusicEvent::Song(_)
                | MusicEvent::Audio(_)
                | MusicEvent::Playlist(_)
                | MusicEvent::PlaylistSnapshot(_)
                | MusicEvent::Listen(_)
                | MusicEvent::Listening(_)
                | MusicEvent::ChartDay(_),
            )
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
}

/// An item in the library of a user.
struct Item {
    user: UserId,
    kind: &'static str,
    id: String,
}

/// The item that an event adds to a library or removes from it.
fn change_of(event: &Event) -> Option<(Change, Item)> {
    let Event::Music(event) = event else { return None };
    let (change, user, kind, id) = match event {
        MusicEvent::SongLike(event) => match event {
            SongLikeEvent::SongLiked(event) => (Change::Added, event.user, SONG, event.song.to_string()),
            SongLikeEvent::SongUnliked(event) => (Change::Removed, event.user, SONG, event.song.to_string()),
        },
        MusicEvent::AlbumLike(event) => match event {
            AlbumLikeEvent::AlbumLiked(event) => (Change::Added, event.user, ALBUM, event.album.to_string()),
            AlbumLikeEvent::AlbumUnliked(event) => {
                (Change::Removed, event.user, ALBUM, event.album.to_string())
            }
        },
        MusicEvent::ArtistFollow(event) => match event {
            ArtistFollowEvent::ArtistFollowed(event) => {
                (Change::Added, event.user, ARTIST, event.artist.to_string())
            }
            ArtistFollowEvent::ArtistUnfollowed(event) => {
                (Change::Removed, event.user, ARTIST, event.artist.to_string())
            }
        },
        MusicEvent::Artist(_)
        | MusicEvent::ArtistLink(_)
        | MusicEvent::Album(_)
        | MusicEvent::Song(_)
        | MusicEvent::Audio(_)
        | MusicEvent::Rating(_)
        | MusicEvent::Bookmark(_)
        | MusicEvent::Playlist(_)
        | MusicEvent::PlaylistSnapshot(_)
        | MusicEvent::Listen(_)
        | MusicEvent::Listening(_)
        | MusicEvent::ChartDay(_)
        | MusicEvent::Queue(_) => return None,
    };
    Some((change, Item { user, kind, id }))
}

fn merge_of(event: &Event) -> Option<&ArtistMerged> {
    match event {
        Event::Music(MusicEvent::Artist(ArtistEvent::ArtistMerged(event))) => Some(event),
        Event::Music(_) | Event::Accounts(_) | Event::Social(_) | Event::Mail(_) | Event::Operations(_) => {
            None
        }
    }
}

fn is_erased(user: UserId, writes: &Writes) -> Result<bool, StoreError> {
    Ok(markers::account(&VIEW, user, writes)? == Some(Marker::Erased))
}

/// Ignores what is appended after the erasure of its user. A user who is deactivated concurrently counts when they are
/// active again.
fn add(item: Item, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let marker = markers::account(&VIEW, item.user, writes)?;
    if marker == Some(Marker::Erased) {
        return Ok(());
    }
    if writes.get::<Tally>(&item.id)?.is_none() {
        writes.put(&Tally { tally_of: item.id.clone(), users: 0 })?;
    }
    let shown = marker.is_none();
    if shown {
        writes.patch::<Tally>(item.id.clone(), Patch::default().inc("users", 1));
    }
    let Item { user, kind, id } = item;
    writes.insert(&LibraryEntry {
        user: user.to_string(),
        kind: kind.to_owned(),
        item: id,
        shown,
        added: time(recorded),
        position: position(recorded),
    })
}

fn remove(item: &Item, writes: &mut Writes) -> Result<(), StoreError> {
    if markers::account(&VIEW, item.user, writes)?.is_none() {
        writes.patch::<Tally>(item.id.clone(), Patch::default().inc("users", -1));
    }
    writes.delete::<LibraryEntry>(key(&item.id, &item.user.to_string()));
    Ok(())
}

/// Ignores a follow that an artist gets while it is merged, and one of an artist that is in the list since another was merged into
/// it.
fn follow(item: Item, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let is_merged = writes.get::<Merge>(&item.id)?.is_some();
    let is_there = writes.get::<LibraryEntry>(&key(&item.id, &item.user.to_string()))?.is_some();
    if is_merged || is_there { Ok(()) } else { add(item, recorded, writes) }
}

/// The list has the artist under the id of the one that remains. It may lack it: the command cannot tell.
fn unfollow(item: Item, writes: &mut Writes) -> Result<(), StoreError> {
    let id = writes.get::<Merge>(&item.id)?.map_or(item.id, |merge| merge.into);
    let is_there = writes.found::<LibraryEntry>()?.iter().any(|entry| entry.item == id);
    if is_there { remove(&Item { id, ..item }, writes) } else { Ok(()) }
}

/// The followers of the merged artist follow the one that remains. Of two artists that are merged into each other at the same
/// moment, the second merge has no effect.
fn merge(event: &ArtistMerged, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let (artist, into) = (event.artist.to_string(), event.into.to_string());
    if writes.get::<Merge>(&into)?.is_some() || artist == into {
        return Ok(());
    }
    let position = position(recorded);
    writes.put(&Merge { artist: artist.clone(), into: into.clone(), position })?;
    for earlier in writes.found::<Merge>()? {
        writes.patch::<Merge>(earlier.artist, Patch::default().set("into", into.as_str()));
    }
    let (followers, mut remaining): (Vec<_>, Vec<_>) =
        writes.found::<LibraryEntry>()?.into_iter().partition(|entry| entry.item == artist);
    let known: HashSet<String> = remaining.iter().map(|entry| entry.user.clone()).collect();
    writes.add_weight(followers.len());
    for follower in followers {
        writes.delete::<LibraryEntry>(key(&artist, &follower.user));
        if !known.contains(&follower.user) {
            let follower = LibraryEntry { item: into.clone(), ..follower };
            writes.put(&follower)?;
            remaining.push(follower);
        }
    }
    writes.delete::<Tally>(artist);
    let users = remaining.iter().filter(|entry| entry.shown).count();
    writes.put(&Tally { tally_of: into, users: i64::try_from(users).unwrap_or(i64::MAX) })
}

fn rated(item: RatedItem) -> (&'static str, String) {
    match item {
        RatedItem::Song { song } => (SONG, song.to_string()),
        RatedItem::Album { album } => (ALBUM, album.to_string()),
        RatedItem::Artist { artist } => (ARTIST, artist.to_string()),
    }
}

fn rating(event: &RatingEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        RatingEvent::Rated(event) => {
            if is_erased(event.user, writes)? {
                return Ok(());
            }
            let (kind, item) = rated(event.item);
            writes.put(&Rating {
                user: event.user.to_string(),
                kind: kind.to_owned(),
                item,
                stars: event.stars,
                rated: time(recorded),
                position: position(recorded),
            })
        }
        RatingEvent::RatingCleared(event) => {
            writes.delete::<Rating>(ratings::key(&rated(event.item).1, &event.user.to_string()));
            Ok(())
        }
    }
}

fn bookmark(event: &BookmarkEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        BookmarkEvent::BookmarkSet(event) => {
            // Comments of erased users are unreadable.
            let Some(comment) = event.comment.open() else { return Ok(()) };
            if is_erased(event.user, writes)? {
                return Ok(());
            }
            writes.put(&Bookmark {
                user: event.user.to_string(),
                song: event.song.to_string(),
                place: i64::try_from(event.place).unwrap_or(i64::MAX),
                comment: comment.clone(),
                set: time(recorded),
                position: position(recorded),
            })
        }
        BookmarkEvent::BookmarkDeleted(event) => {
            writes.delete::<Bookmark>(bookmarks::key(&event.user.to_string(), &event.song.to_string()));
            Ok(())
        }
    }
}

fn save_queue(event: &QueueEvent, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
    let QueueEvent::QueueSaved(event) = event;
    // Queues of erased users are unreadable.
    let Some(queue) = event.queue.open() else { return Ok(()) };
    if is_erased(event.user, writes)? {
        return Ok(());
    }
    writes.put(&PlayQueue {
        user: event.user.to_string(),
        songs: queue.songs.iter().map(ToString::to_string).collect(),
        current: queue.current,
        place: i64::try_from(queue.place).unwrap_or(i64::MAX),
        device: queue.device.clone(),
        saved: time(recorded),
        position: position(recorded),
    })
}

/// Hidden and erased users are in no count.
fn account(event: &AccountEvent, writes: &mut Writes) {
    let Some(change) = markers::mark_account(&VIEW, event, writes) else { return };
    let user = event.user();
    match change {
        VisibilityChange::Hidden => show(user, false, writes),
        VisibilityChange::Shown => show(user, true, writes),
        VisibilityChange::Erased => {
            show(user, false, writes);
            for kind in KINDS {
                writes.delete_where::<LibraryEntry>(&OF_USER, vec![json!(user), json!(kind), json!(false)]);
            }
            writes.delete_where::<Rating>(&ratings::OF_USER, vec![json!(user)]);
            writes.delete_where::<Bookmark>(&bookmarks::OF_USER, vec![json!(user)]);
            writes.delete::<PlayQueue>(user.to_string());
        }
    }
    writes.add_unknown_weight();
}

fn show(user: UserId, shown: bool, writes: &mut Writes) {
    for kind in KINDS {
        let each = |key, patch| PatchEach {
            over: &VIEW,
            index: &OF_USER,
            equals: vec![json!(user), json!(kind), json!(!shown)],
            into: &VIEW,
            key,
            patch,
        };
        let by = if shown { 1 } else { -1 };
        writes.patch_each(each(Some("item"), Patch::default().inc("users", by)));
        writes.patch_each(each(None, Patch::default().set("shown", shown)));
    }
}

#[cfg(test)]
mod tests {
    use events::{
        AlbumId, AlbumLiked, ArtistFollowed, ArtistId, ArtistUnfollowed, BookmarkDeleted, BookmarkSet,
        Deactivated, Erased, Personal, QueueSaved, Rated, RatingCleared, Reactivated, SongId, SongLiked,
        SongUnliked, Suspended,
    };
    use uuid::Uuid;
    use views::music::library::OF_ITEM;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{ANN, BOB, Built, built};

    const DAWN: SongId = SongId::new(Uuid::from_u128(0x50));
    const ALBUM_ID: AlbumId = AlbumId::new(Uuid::from_u128(0xa1));
    const LAKES: ArtistId = ArtistId::new(Uuid::from_u128(0xa7));

    fn liked(user: UserId) -> Event {
        SongLiked { song: DAWN, user }.into()
    }

    /// The users who have the item in their library, checked against the count.
    async fn users(built: &Built, item: &str) -> Vec<String> {
        let query = Query::new(&VIEW, &OF_ITEM, vec![json!(item), json!(true)], 10);
        let page = built.store.page_of::<LibraryEntry>(query).await.unwrap();
        let tally: Option<Tally> = built.store.get(item).await.unwrap();
        assert_eq!(tally.map_or(0, |tally| tally.users), i64::try_from(page.documents.len()).unwrap());
        page.documents.into_iter().map(|entry| entry.user).collect()
    }

    async fn likers(history: impl IntoIterator<Item = Event>) -> Vec<String> {
        users(&built(&Library, history).await, &DAWN.to_string()).await
    }

    #[tokio::test]
    async fn likes_and_follows_are_listed_and_counted() {
        let unliked = SongUnliked { song: DAWN, user: ANN }.into();
        assert_eq!(likers([liked(ANN), liked(BOB), unliked]).await, [BOB.to_string()]);
        let history: [Event; 3] = [
            AlbumLiked { album: ALBUM_ID, user: ANN }.into(),
            ArtistFollowed { artist: LAKES, user: ANN }.into(),
            ArtistFollowed { artist: LAKES, user: BOB }.into(),
        ];
        let view = built(&Library, history).await;
        assert_eq!(users(&view, &ALBUM_ID.to_string()).await, [ANN.to_string()]);
        assert_eq!(users(&view, &LAKES.to_string()).await, [BOB.to_string(), ANN.to_string()]);
        let query = Query::new(&VIEW, &OF_USER, vec![json!(ANN), json!(ARTIST), json!(true)], 10);
        assert_eq!(view.store.count(&query).await.unwrap(), 1);
    }

    fn followed(artist: ArtistId, user: UserId) -> Event {
        ArtistFollowed { artist, user }.into()
    }

    fn unfollowed(artist: ArtistId, user: UserId) -> Event {
        ArtistUnfollowed { artist, user }.into()
    }

    const POND: ArtistId = ArtistId::new(Uuid::from_u128(0xa8));
    const MERE: ArtistId = ArtistId::new(Uuid::from_u128(0xa9));

    #[tokio::test]
    async fn followers_of_a_merged_artist_follow_the_one_that_remains() {
        let (ann, bob) = (ANN.to_string(), BOB.to_string());
        let merged = |artist, into| Event::from(ArtistMerged { artist, into });
        let start = [followed(POND, ANN), followed(LAKES, BOB), followed(POND, BOB), merged(POND, LAKES)];
        let both = vec![ann.clone(), bob.clone()];
        for (then, expected) in [
            (vec![], both.clone()),
            (vec![followed(LAKES, ANN)], both.clone()),
            (vec![unfollowed(POND, ANN)], vec![bob.clone()]),
            (vec![unfollowed(LAKES, ANN), unfollowed(POND, ANN)], vec![bob.clone()]),
            (vec![unfollowed(POND, BOB), unfollowed(LAKES, BOB)], vec![ann.clone()]),
            (vec![Deactivated { user: ANN }.into()], vec![bob.clone()]),
            (vec![merged(LAKES, POND)], both.clone()),
            (vec![followed(POND, ANN), unfollowed(MERE, ANN)], both.clone()),
        ] {
            let view = built(&Library, start.clone().into_iter().chain(then.clone())).await;
            let mut found = users(&view, &LAKES.to_string()).await;
            found.sort();
            assert_eq!(found, expected, "{then:?}");
            assert_eq!(users(&view, &POND.to_string()).await, Vec::<String>::new());
        }
        let again = [merged(LAKES, MERE), followed(MERE, BOB), unfollowed(POND, ANN)];
        let view = built(&Library, start.into_iter().chain(again)).await;
        assert_eq!(users(&view, &MERE.to_string()).await, [bob]);
        assert_eq!(users(&view, &LAKES.to_string()).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn hidden_follower_of_a_merged_artist_counts_when_they_return() {
        let history = [
            followed(POND, ANN),
            Deactivated { user: ANN }.into(),
            ArtistMerged { artist: POND, into: LAKES }.into(),
        ];
        let view = built(&Library, history.clone()).await;
        assert_eq!(users(&view, &LAKES.to_string()).await, Vec::<String>::new());
        let back = [Reactivated { user: ANN }.into()];
        let view = built(&Library, history.into_iter().chain(back)).await;
        assert_eq!(users(&view, &LAKES.to_string()).await, [ANN.to_string()]);
    }

    #[tokio::test]
    async fn likes_of_hidden_users_are_not_counted_until_they_return() {
        let reason = || Personal::Open("spam".to_owned());
        let left = || Event::from(Deactivated { user: ANN });
        let suspended = || Event::from(Suspended { user: ANN, reason: reason() });
        let back = || Event::from(Reactivated { user: ANN });
        let unliked = || Event::from(SongUnliked { song: DAWN, user: ANN });
        let (ann, bob) = (ANN.to_string(), BOB.to_string());
        let both = vec![bob.clone(), ann.clone()];
        for (then, expected) in [
            (vec![left()], vec![bob.clone()]),
            (vec![left(), suspended()], vec![bob.clone()]),
            (vec![left(), back()], both),
            (vec![left(), unliked(), back()], vec![bob.clone()]),
            (vec![Erased { user: ANN }.into(), unliked(), liked(ANN)], vec![bob.clone()]),
        ] {
            let history = [liked(ANN), liked(BOB)].into_iter().chain(then.clone());
            assert_eq!(likers(history).await, expected, "{then:?}");
        }
        assert_eq!(likers([left(), liked(ANN)]).await, Vec::<String>::new());
        assert_eq!(likers([left(), liked(ANN), back()]).await, [ann]);
    }

    #[tokio::test]
    async fn ratings_bookmarks_and_queues_are_replaced_and_deleted() {
        let item = RatedItem::Song { song: DAWN };
        let place = |place| BookmarkSet {
            user: ANN,
            song: DAWN,
            place,
            comment: Personal::Open("The solo".to_owned()),
        };
        let queue = |current| QueueSaved {
            user: ANN,
            queue: Personal::Open(events::PlayQueue {
                songs: vec![DAWN],
                current,
                place: 7,
                device: "Phone".to_owned(),
            }),
        };
        let mut history: Vec<Event> = vec![
            Rated { item, user: ANN, stars: 2 }.into(),
            Rated { item, user: ANN, stars: 5 }.into(),
            place(1).into(),
            place(61_000).into(),
            queue(None).into(),
            queue(Some(0)).into(),
        ];
        let view = built(&Library, history.clone()).await;
        let (song, user) = (DAWN.to_string(), ANN.to_string());
        let rating: Rating = view.store.get(&ratings::key(&song, &user)).await.unwrap().unwrap();
        let bookmark: Bookmark = view.store.get(&bookmarks::key(&user, &song)).await.unwrap().unwrap();
        let queue: PlayQueue = view.store.get(&user).await.unwrap().unwrap();
        assert_eq!((rating.stars, bookmark.place, queue.current), (5, 61_000, Some(0)));
        assert_eq!((bookmark.comment.as_str(), queue.device.as_str()), ("The solo", "Phone"));
        let erased = built(&Library, history.iter().cloned().chain([Erased { user: ANN }.into()])).await;
        for of in [&ratings::VIEW, &bookmarks::VIEW, &queue::VIEW] {
            assert_eq!(erased.count(of).await, 0, "{}", of.name);
        }
        let late = [Erased { user: ANN }.into()].into_iter().chain(history.clone());
        let late = built(&Library, late).await;
        for of in [&ratings::VIEW, &bookmarks::VIEW, &queue::VIEW] {
            assert_eq!(late.count(of).await, 0, "{}", of.name);
        }
        history.push(RatingCleared { item, user: ANN }.into());
        history.push(BookmarkDeleted { user: ANN, song: DAWN }.into());
        let view = built(&Library, history).await;
        assert_eq!((view.count(&ratings::VIEW).await, view.count(&bookmarks::VIEW).await), (0, 0));
    }
}
