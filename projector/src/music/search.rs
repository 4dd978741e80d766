//! The search index of songs, artists, albums and public playlists.

use events::{
    AccountsEvent, AlbumEvent, ArtistEvent, Event, Kind, MusicEvent, Personal, PlaylistDetails,
    PlaylistEvent, PlaylistId, Recorded, SongDetails, SongEvent, SongId, SongVisibility, UserId,
};
use serde_json::json;
use views::markers::Marker;
use views::music::search::{ItemKind, List, OF_ITEM, OF_OWNER, Term, VIEW, terms};
use views::{Document, Patch, PatchEach, StoreError, View, Writes};

use crate::accounts::markers;
use crate::accounts::profiles::VisibilityChange;
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct MusicSearch;

impl Projection for MusicSearch {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Song, Kind::Artist, Kind::Album, Kind::Playlist, Kind::Account]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistCreated(event))) => {
                vec![markers::account_key(&VIEW, event.owner)]
            }
            Event::Music(MusicEvent::Playlist(PlaylistEvent::PlaylistDetailsChanged(event))) => {
                vec![markers::account_key(&VIEW, event.owner), (&VIEW, header_key(event.playlist))]
            }
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Music(MusicEvent::Song(event)) => song(event, writes),
            Event::Music(MusicEvent::Artist(event)) => artist(event, writes),
            Event::Music(MusicEvent::Album(event)) => album(event, writes),
            Event::Music(MusicEvent::Playlist(event)) => playlist(event, writes),
            Event::Accounts(AccountsEvent::Account(event)) => {
                let change = markers::mark_account(&VIEW, event, writes);
                if change == Some(VisibilityChange::Erased) {
                    writes.delete_where::<Term>(&OF_OWNER, vec![json!(event.user())]);
                    writes.add_unknown_weight();
                }
                Ok(())
            }
            Event::Music(
                MusicEvent::ArtistLink(_)
                | MusicEvent::Audio(_)
                | MusicEvent::SongLike(_)
                | MusicEvent::AlbumLike(_)
                | MusicEvent::ArtistFollow(_)
                | MusicEvent::Rating(_)
                | MusicEvent::Bookmark(_)
                | MusicEvent::PlaylistSnapshot(_)
                | MusicEvent::Listen(_)
                | MusicEvent::Listening(_)
                | MusicEvent::ChartDay(_)
                | MusicEvent::Queue(_),
            )
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Ok(()),
        }
    }
}

/// An item with its terms.
struct Item<'a> {
    id: String,
    kind: ItemKind,
    shown: bool,
    owner: Option<UserId>,
    name: &'a str,
    /// Texts that are found by their words only.
    others: Vec<&'a str>,
}

/// Replaces the terms of an item.
fn replace(item: &Item<'_>, writes: &mut Writes) -> Result<(), StoreError> {
    writes.delete_where::<Term>(&OF_ITEM, vec![json!(item.id)]);
    // Parts of names are only searched for songs and their singers.
    let endings = matches!(item.kind, ItemKind::Song | ItemKind::Artist);
    for (list, term) in terms(item.name, &item.others, endings) {
        writes.put(&Term {
            term,
            item: item.id.clone(),
            kind: item.kind,
            list,
            shown: item.shown,
            owner: item.owner.map(|owner| owner.to_string()),
        })?;
    }
    Ok(())
}

fn remove(id: &str, writes: &mut Writes) {
    writes.delete_where::<Term>(&OF_ITEM, vec![json!(id)]);
}

fn show(id: &str, shown: bool, writes: &mut Writes) {
    let patch = Patch::default().set("shown", shown);
    writes.patch_each(PatchEach {
        over: &VIEW,
        index: &OF_ITEM,
        equals: vec![json!(id)],
        into: &VIEW,
        key: None,
        patch,
    });
}

fn song(event: &SongEvent, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        SongEvent::SongPublished(event) => song_terms(event.song, &event.details, writes)?,
        SongEvent::SongEdited(event) => song_terms(event.song, &event.details, writes)?,
        SongEvent::SongRemoved(event) => show(&event.song.to_string(), false, writes),
        SongEvent::SongRestored(event) => show(&event.song.to_string(), true, writes),
        SongEvent::SongCoverChanged(_) | SongEvent::SongAnalysed(_) => {}
    }
    Ok(())
}

/// A song that is not public has no terms.
fn song_terms(song: SongId, details: &SongDetails, writes: &mut Writes) -> Result<(), StoreError> {
    let id = song.to_string();
    match details.visibility {
        SongVisibility::Public => {
            let (name, others) = (&details.title, vec![details.display_artist.as_str()]);
            replace(&Item { id, kind: ItemKind::Song, shown: true, owner: None, name, others }, writes)
        }
        SongVisibility::Unlisted | SongVisibility::Private => {
            remove(&id, writes);
            Ok(())
        }
    }
}

fn artist(event: &ArtistEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let (artist, details) = match event {
        ArtistEvent::ArtistAdded(event) => (event.artist, &event.details),
        ArtistEvent::ArtistEdited(event) => (event.artist, &event.details),
        ArtistEvent::ArtistImageChanged(_) => return Ok(()),
        ArtistEvent::ArtistMerged(event) => {
            remove(&event.artist.to_string(), writes);
            return Ok(());
        }
    };
    let (name, others) = (&details.name, details.sort_name.iter().map(String::as_str).collect());
    let id = artist.to_string();
    replace(&Item { id, kind: ItemKind::Artist, shown: true, owner: None, name, others }, writes)
}

fn album(event: &AlbumEvent, writes: &mut Writes) -> Result<(), StoreError> {
    let (album, details) = match event {
        AlbumEvent::AlbumAdded(event) => (event.album, &event.details),
        AlbumEvent::AlbumEdited(event) => (event.album, &event.details),
        AlbumEvent::AlbumCoverChanged(_) => return Ok(()),
        AlbumEvent::AlbumRemoved(event) => {
            show(&event.album.to_string(), false, writes);
            return Ok(());
        }
        AlbumEvent::AlbumRestored(event) => {
            show(&event.album.to_string(), true, writes);
            return Ok(());
        }
    };
    let others = [Some(details.display_artist.as_str()), details.version.as_deref()];
    let (name, others) = (&details.title, others.into_iter().flatten().collect());
    let id = album.to_string();
    replace(&Item { id, kind: ItemKind::Album, shown: true, owner: None, name, others }, writes)
}

/// Each playlist has a term without text, which says whether the playlist is public.
fn header(playlist: PlaylistId, owner: UserId, shown: bool) -> Term {
    Term {
        term: String::new(),
        item: playlist.to_string(),
        kind: ItemKind::Playlist,
        list: List::Endings,
        shown,
        owner: Some(owner.to_string()),
    }
}

fn header_key(playlist: PlaylistId) -> String {
    header(playlist, UserId::new(uuid::Uuid::nil()), false).key()
}

fn playlist(event: &PlaylistEvent, writes: &mut Writes) -> Result<(), StoreError> {
    match event {
        PlaylistEvent::PlaylistCreated(event) => {
            playlist_terms(event.playlist, event.owner, event.public, &event.details, writes)
        }
        PlaylistEvent::PlaylistDetailsChanged(event) => {
            let shown = writes.get::<Term>(&header_key(event.playlist))?.is_some_and(|header| header.shown);
            playlist_terms(event.playlist, event.owner, shown, &event.details, writes)
        }
        PlaylistEvent::PlaylistVisibilityChanged(event) => {
            show(&event.playlist.to_string(), event.public, writes);
            // Also patched by key, so that later events of the batch see it.
            writes.patch::<Term>(header_key(event.playlist), Patch::default().set("shown", event.public));
            Ok(())
        }
        PlaylistEvent::PlaylistDeleted(event) => {
            writes.delete::<Term>(header_key(event.playlist));
            remove(&event.playlist.to_string(), writes);
            Ok(())
        }
        PlaylistEvent::PlaylistCoverChanged(_)
        | PlaylistEvent::CollaboratorAdded(_)
        | PlaylistEvent::CollaboratorRemoved(_)
        | PlaylistEvent::EntriesAdded(_)
        | PlaylistEvent::EntriesMoved(_)
        | PlaylistEvent::EntriesRemoved(_)
        | PlaylistEvent::EntriesReplaced(_)
        | PlaylistEvent::PlaylistRestored(_) => Ok(()),
    }
}

/// Ignores a change that is appended after the erasure of the owner.
fn playlist_terms(
    playlist: PlaylistId,
    owner: UserId,
    shown: bool,
    details: &Personal<PlaylistDetails>,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let Some(PlaylistDetails { name, .. }) = details.open() else { return Ok(()) };
    if markers::account(&VIEW, owner, writes)? == Some(Marker::Erased) {
        return Ok(());
    }
    let (id, kind) = (playlist.to_string(), ItemKind::Playlist);
    replace(&Item { id, kind, shown, owner: Some(owner), name, others: Vec::new() }, writes)?;
    writes.put(&header(playlist, owner, shown))
}

#[cfg(test)]
mod tests {
    use events::{
        ArtistAdded, ArtistCredit, ArtistDetails, ArtistId, ArtistMerged, CreditRole, Erased,
        PlaylistCreated, PlaylistDeleted, PlaylistDetailsChanged, PlaylistVisibilityChanged, SongEdited,
        SongRemoved, SongRestored,
    };
    use uuid::Uuid;
    use views::ViewStoreExt;

    use super::*;
    use crate::testing::{ANN, Built, built};

    const SONG: SongId = SongId::new(Uuid::from_u128(0x50));
    const ARTIST: ArtistId = ArtistId::new(Uuid::from_u128(0xa7));
    const PLAYLIST: PlaylistId = PlaylistId::new(Uuid::from_u128(0x91));

    async fn found(built: &Built, kind: ItemKind, list: List, prefix: &str) -> usize {
        built.store.page_of::<Term>(list.query(kind, prefix, 10)).await.unwrap().documents.len()
    }

    fn edited(title: &str, visibility: SongVisibility) -> Event {
        let details = SongDetails {
            title: title.into(),
            artists: vec![ArtistCredit { artist: ARTIST, role: CreditRole::Main }],
            display_artist: "Sigur Rós".into(),
            album: None,
            disc: None,
            track: None,
            genres: Vec::new(),
            year: None,
            explicit: false,
            lyrics: None,
            musicbrainz: None,
            visibility,
        };
        SongEdited { song: SONG, details }.into()
    }

    #[tokio::test]
    async fn public_song_is_found_by_title_artist_and_part_until_it_is_removed() {
        let mut history = vec![edited("Hoppípolla", SongVisibility::Public)];
        let view = built(&MusicSearch, history.clone()).await;
        for (list, text, count) in [
            (List::Names, "hoppi", 1),
            (List::Words, "ros", 1),
            (List::Endings, "ppipo", 1),
            (List::Words, "polla", 0),
        ] {
            assert_eq!(found(&view, ItemKind::Song, list, text).await, count, "{text}");
        }
        history.push(SongRemoved { song: SONG }.into());
        assert_eq!(
            found(&built(&MusicSearch, history.clone()).await, ItemKind::Song, List::Words, "ros").await,
            0
        );
        history.push(SongRestored { song: SONG }.into());
        assert_eq!(
            found(&built(&MusicSearch, history.clone()).await, ItemKind::Song, List::Words, "ros").await,
            1
        );
        history.push(edited("Other", SongVisibility::Public));
        let view = built(&MusicSearch, history.clone()).await;
        assert_eq!(found(&view, ItemKind::Song, List::Names, "hopp").await, 0);
        history.push(edited("Other", SongVisibility::Private));
        assert_eq!(built(&MusicSearch, history).await.count(&VIEW).await, 0);
    }

    #[tokio::test]
    async fn merged_artist_is_not_found() {
        let details =
            ArtistDetails { name: "Кино".into(), sort_name: Some("Kino".into()), musicbrainz: None };
        let mut history = vec![Event::from(ArtistAdded { artist: ARTIST, details })];
        let view = built(&MusicSearch, history.clone()).await;
        assert_eq!(found(&view, ItemKind::Artist, List::Words, "kino").await, 1);
        history.push(ArtistMerged { artist: ARTIST, into: ArtistId::new(Uuid::from_u128(1)) }.into());
        assert_eq!(built(&MusicSearch, history).await.count(&VIEW).await, 0);
    }

    #[tokio::test]
    async fn only_public_playlists_are_found_and_none_of_an_erased_owner() {
        let details =
            |name: &str| Personal::Open(PlaylistDetails { name: name.into(), description: String::new() });
        let changed = |name: &str| -> Event {
            PlaylistDetailsChanged { playlist: PLAYLIST, owner: ANN, details: details(name) }.into()
        };
        let mut history: Vec<Event> = vec![
            PlaylistCreated { playlist: PLAYLIST, owner: ANN, public: false, details: details("Road") }
                .into(),
        ];
        let road = async |history: &[Event], name: &str| {
            let view = built(&MusicSearch, history.to_vec()).await;
            found(&view, ItemKind::Playlist, List::Words, name).await
        };
        assert_eq!(road(&history, "road").await, 0);
        history.push(PlaylistVisibilityChanged { playlist: PLAYLIST, public: true }.into());
        assert_eq!(road(&history, "road").await, 1);
        history.push(changed("Lane"));
        assert_eq!((road(&history, "road").await, road(&history, "lane").await), (0, 1));
        let gone = [PlaylistDeleted { playlist: PLAYLIST, owner: ANN }.into()];
        let deleted = [history.clone(), gone.to_vec()].concat();
        assert_eq!(built(&MusicSearch, deleted).await.count(&VIEW).await, 0);
        history.push(Erased { user: ANN }.into());
        history.push(changed("Late"));
        let view = built(&MusicSearch, history).await;
        assert_eq!(found(&view, ItemKind::Playlist, List::Names, "").await, 0);
    }
}
