//! Albums of the catalogue, and the albums of each artist.

use std::collections::BTreeSet;

use events::{AlbumAdded, AlbumDetails, AlbumEvent, AlbumId, Event, Kind, MusicEvent, Recorded};
use serde_json::json;
use views::accounts::search::fold;
use views::music::album_artists::{self, AlbumArtist};
use views::music::albums::{Album, VIEW};
use views::{Patch, StoreError, View, Writes};

use super::{credits, picture};
use crate::engine::projection::{position, time};
use crate::{OnFailure, Projection};

#[derive(Debug, Clone, Copy)]
pub struct Albums;

impl Projection for Albums {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn views(&self) -> Vec<&'static str> {
        vec![VIEW.name, album_artists::VIEW.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Album]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Music(MusicEvent::Album(event)) => vec![(&VIEW, event.album().to_string())],
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Music(MusicEvent::Album(event)) => match event {
                AlbumEvent::AlbumAdded(event) => replace(None, &added(event, recorded), writes),
                AlbumEvent::AlbumEdited(event) => {
                    let Some(before) = writes.get::<Album>(&event.album.to_string())? else { return Ok(()) };
                    let after = with_details(before.clone(), &event.details);
                    replace(Some(&before), &after, writes)
                }
                AlbumEvent::AlbumCoverChanged(event) => {
                    let patch = Patch::default().set("cover", json!(event.cover.map(picture)));
                    writes.patch::<Album>(event.album.to_string(), patch);
                    Ok(())
                }
                AlbumEvent::AlbumRemoved(event) => list(event.album, false, writes),
                AlbumEvent::AlbumRestored(event) => list(event.album, true, writes),
            },
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Ok(()),
        }
    }
}

fn added(event: &AlbumAdded, recorded: &Recorded) -> Album {
    let album = Album {
        album: event.album.to_string(),
        title: String::new(),
        artists: Vec::new(),
        display_artist: String::new(),
        kind: String::new(),
        year: None,
        version: None,
        disc_titles: Vec::new(),
        musicbrainz: None,
        cover: event.cover.map(picture),
        sort_key: String::new(),
        listed: true,
        added: time(recorded),
        position: position(recorded),
    };
    with_details(album, &event.details)
}

fn with_details(album: Album, details: &AlbumDetails) -> Album {
    let AlbumDetails { title, artists, display_artist, kind, year, version, disc_titles, musicbrainz } =
        details;
    Album {
        title: title.clone(),
        artists: credits(artists),
        display_artist: display_artist.clone(),
        kind: kind.as_str().to_owned(),
        year: *year,
        version: version.clone(),
        disc_titles: disc_titles.clone(),
        musicbrainz: musicbrainz.map(|id| id.to_string()),
        sort_key: fold(title),
        ..album
    }
}

fn list(album: AlbumId, listed: bool, writes: &mut Writes) -> Result<(), StoreError> {
    let Some(before) = writes.get::<Album>(&album.to_string())? else { return Ok(()) };
    let after = Album { listed, ..before.clone() };
    replace(Some(&before), &after, writes)
}

/// Writes the album and its entries in the lists of its artists.
fn replace(before: Option<&Album>, after: &Album, writes: &mut Writes) -> Result<(), StoreError> {
    let artists = |album: &Album| -> BTreeSet<String> {
        album.artists.iter().map(|credit| credit.artist.clone()).collect()
    };
    let (old, new) = (before.map(artists).unwrap_or_default(), artists(after));
    for artist in old.difference(&new) {
        writes.delete::<AlbumArtist>(album_artists::key(&after.album, artist));
    }
    for artist in new {
        let Album { album, listed, position, .. } = after;
        writes.put(&AlbumArtist { artist, album: album.clone(), listed: *listed, position: *position })?;
    }
    writes.put(after)
}

#[cfg(test)]
mod tests {
    use events::{
        AlbumCoverChanged, AlbumEdited, AlbumKind, AlbumRemoved, AlbumRestored, ArtistCredit, ArtistId,
        CreditRole, Image, MediaId,
    };
    use uuid::Uuid;
    use views::music::album_artists::OF_ARTIST;
    use views::music::albums::NEWEST;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{Built, built};

    const ANN: ArtistId = ArtistId::new(Uuid::from_u128(0xa));
    const BOB: ArtistId = ArtistId::new(Uuid::from_u128(0xb));
    const ALBUM: AlbumId = AlbumId::new(Uuid::from_u128(0xa1));

    fn details(title: &str, artists: &[ArtistId]) -> AlbumDetails {
        let credit = |&artist: &ArtistId| ArtistCredit { artist, role: CreditRole::Main };
        AlbumDetails {
            title: title.into(),
            artists: artists.iter().map(credit).collect(),
            display_artist: "Ann & Bob".into(),
            kind: AlbumKind::Ep,
            year: Some(1998),
            version: None,
            disc_titles: Vec::new(),
            musicbrainz: None,
        }
    }

    fn added(artists: &[ArtistId]) -> Event {
        AlbumAdded { album: ALBUM, details: details("Still Water", artists), cover: None }.into()
    }

    async fn of(built: &Built, artist: ArtistId) -> usize {
        let query = Query::new(&album_artists::VIEW, &OF_ARTIST, vec![json!(artist), json!(true)], 10);
        built.store.keys(&query).await.unwrap().len()
    }

    async fn newest(built: &Built) -> Vec<String> {
        let query = Query::new(&VIEW, &NEWEST, vec![json!(true)], 10);
        let page = built.store.page_of::<Album>(query).await.unwrap();
        page.documents.into_iter().map(|album| album.title).collect()
    }

    #[tokio::test]
    async fn edited_album_moves_to_its_new_artists() {
        let edited = AlbumEdited { album: ALBUM, details: details("Stiller", &[BOB]) };
        let view = built(&Albums, [added(&[ANN])]).await;
        assert_eq!((of(&view, ANN).await, of(&view, BOB).await), (1, 0));
        let view = built(&Albums, [added(&[ANN]), edited.into()]).await;
        assert_eq!((of(&view, ANN).await, of(&view, BOB).await), (0, 1));
        assert_eq!(newest(&view).await, ["Stiller"]);
    }

    #[tokio::test]
    async fn removed_album_is_listed_again_after_its_restoration() {
        let image = Image { media: MediaId::new(Uuid::from_u128(7)), width: 1000, height: 1000 };
        let mut history = vec![
            added(&[ANN, BOB]),
            AlbumRemoved { album: ALBUM }.into(),
            AlbumCoverChanged { album: ALBUM, cover: Some(image) }.into(),
        ];
        let view = built(&Albums, history.clone()).await;
        assert_eq!((newest(&view).await.len(), of(&view, ANN).await, of(&view, BOB).await), (0, 0, 0));
        history.push(AlbumRestored { album: ALBUM }.into());
        let view = built(&Albums, history).await;
        assert_eq!((newest(&view).await.len(), of(&view, ANN).await, of(&view, BOB).await), (1, 1, 1));
        let album: Album = view.store.get(&ALBUM.to_string()).await.unwrap().unwrap();
        assert_eq!(album.cover.map(|cover| cover.media), Some(image.media.to_string()));
    }
}
