//! Artists of the catalogue.

use events::{
    ArtistAdded, ArtistDetails, ArtistEvent, ArtistId, ArtistMerged, Event, Kind, MusicEvent, Recorded,
};
use serde_json::json;
use views::accounts::search::fold;
use views::music::artists::{Artist, MERGED_INTO, VIEW};
use views::{Patch, StoreError, View, Writes};

use super::picture;
use crate::engine::projection::{Search, position};
use crate::{OnFailure, Projection};

/// Articles that do not count when names without a sort name are sorted: those that music servers commonly ignore.
const ARTICLES: [&str; 11] = ["the", "el", "la", "los", "las", "le", "les", "os", "as", "o", "a"];

#[derive(Debug, Clone, Copy)]
pub struct Artists;

impl Projection for Artists {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Artist]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match merge(&recorded.event) {
            Some(event) => vec![(&VIEW, event.into.to_string())],
            None => Vec::new(),
        }
    }

    /// The artists that were merged into the one that is merged now.
    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        let of = |event: &ArtistMerged| Search {
            view: &VIEW,
            index: &MERGED_INTO,
            equals: vec![json!(event.artist)],
        };
        merge(&recorded.event).map(of).into_iter().collect()
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Music(MusicEvent::Artist(event)) => match event {
                ArtistEvent::ArtistAdded(event) => writes.put(&added(event, recorded))?,
                ArtistEvent::ArtistEdited(event) => edit(event.artist, &event.details, writes),
                ArtistEvent::ArtistImageChanged(event) => {
                    let patch = Patch::default().set("image", json!(event.image.map(picture)));
                    writes.patch::<Artist>(event.artist.to_string(), patch);
                }
                ArtistEvent::ArtistMerged(event) => merge_into(event, writes)?,
            },
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
        Ok(())
    }
}

fn merge(event: &Event) -> Option<&ArtistMerged> {
    match event {
        Event::Music(MusicEvent::Artist(ArtistEvent::ArtistMerged(event))) => Some(event),
        Event::Music(_) | Event::Accounts(_) | Event::Social(_) | Event::Mail(_) | Event::Operations(_) => {
            None
        }
    }
}

fn added(event: &ArtistAdded, recorded: &Recorded) -> Artist {
    let ArtistDetails { name, sort_name, musicbrainz } = &event.details;
    Artist {
        artist: event.artist.to_string(),
        name: name.clone(),
        sort_name: sort_name.clone(),
        sort_key: sort_key(&event.details),
        musicbrainz: musicbrainz.map(|id| id.to_string()),
        image: None,
        merged_into: None,
        listed: true,
        position: position(recorded),
    }
}

fn edit(artist: ArtistId, details: &ArtistDetails, writes: &mut Writes) {
    let ArtistDetails { name, sort_name, musicbrainz } = details;
    let patch = Patch::default()
        .set("name", name.as_str())
        .set("sort_name", json!(sort_name))
        .set("sort_key", sort_key(details))
        .set("musicbrainz", json!(musicbrainz.map(|id| id.to_string())));
    writes.patch::<Artist>(artist.to_string(), patch);
}

/// Every merged artist names the artist that remains, also after several merges. Of two artists that are merged into each
/// other at the same moment, the second merge has no effect.
fn merge_into(event: &ArtistMerged, writes: &mut Writes) -> Result<(), StoreError> {
    let (artist, into) = (event.artist.to_string(), event.into.to_string());
    let Some(target) = writes.get::<Artist>(&into)? else { return Ok(()) };
    let remains = target.merged_into.unwrap_or(into);
    if remains == artist {
        return Ok(());
    }
    let before: Vec<Artist> = writes.found()?;
    for merged in before.into_iter().map(|merged| merged.artist).chain([artist]) {
        let patch = Patch::default().set("merged_into", remains.as_str()).set("listed", false);
        writes.patch::<Artist>(merged, patch);
    }
    Ok(())
}

/// The folded sort name, or the folded name without its article.
fn sort_key(details: &ArtistDetails) -> String {
    if let Some(sort_name) = &details.sort_name {
        return fold(sort_name);
    }
    let name = fold(&details.name);
    match name.split_once(' ') {
        Some((article, rest)) if ARTICLES.contains(&article) && !rest.trim().is_empty() => {
            rest.trim().to_owned()
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use events::{ArtistEdited, ArtistImageChanged, Image, MediaId};
    use uuid::Uuid;
    use views::music::artists::BY_NAME;
    use views::{Query, ViewStoreExt};

    use super::*;
    use crate::testing::{Built, built};

    fn id(n: u128) -> ArtistId {
        ArtistId::new(Uuid::from_u128(n))
    }

    fn details(name: &str) -> ArtistDetails {
        ArtistDetails { name: name.into(), sort_name: None, musicbrainz: None }
    }

    fn add(n: u128, name: &str) -> Event {
        ArtistAdded { artist: id(n), details: details(name) }.into()
    }

    fn merged(artist: u128, into: u128) -> Event {
        ArtistMerged { artist: id(artist), into: id(into) }.into()
    }

    async fn listed(built: &Built) -> Vec<String> {
        let query = Query::new(&VIEW, &BY_NAME, vec![json!(true)], 10);
        let page = built.store.page_of::<Artist>(query).await.unwrap();
        page.documents.into_iter().map(|artist| artist.name).collect()
    }

    async fn artist(built: &Built, n: u128) -> Artist {
        built.store.get(&id(n).to_string()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn artists_are_sorted_without_articles_or_by_their_sort_name() {
        let sorted = ArtistDetails { sort_name: Some("Bowie, David".into()), ..details("David Bowie") };
        let history = [
            add(1, "The Zombies"),
            add(2, "Élan"),
            ArtistAdded { artist: id(3), details: sorted }.into(),
            add(4, "The"),
            add(5, "A-ha"),
        ];
        let view = built(&Artists, history).await;
        assert_eq!(listed(&view).await, ["A-ha", "David Bowie", "Élan", "The", "The Zombies"]);
    }

    #[tokio::test]
    async fn artist_is_edited_and_has_a_picture() {
        let image = Image { media: MediaId::new(Uuid::from_u128(7)), width: 1000, height: 1000 };
        let mut history = vec![
            add(1, "Lake"),
            ArtistImageChanged { artist: id(1), image: Some(image) }.into(),
            ArtistEdited { artist: id(1), details: details("Lakes") }.into(),
        ];
        let view = built(&Artists, history.clone()).await;
        let edited = artist(&view, 1).await;
        assert_eq!((edited.name.as_str(), edited.sort_key.as_str()), ("Lakes", "lakes"));
        assert_eq!(edited.image.map(|image| image.media), Some(image.media.to_string()));
        history.push(ArtistImageChanged { artist: id(1), image: None }.into());
        let view = built(&Artists, history).await;
        assert_eq!(artist(&view, 1).await.image, None);
    }

    #[tokio::test]
    async fn merged_artists_name_the_one_that_remains() {
        let history =
            [add(1, "A"), add(2, "B"), add(3, "C"), add(4, "D"), merged(1, 2), merged(2, 3), merged(4, 1)];
        let view = built(&Artists, history).await;
        assert_eq!(listed(&view).await, ["C"]);
        for n in [1, 2, 4] {
            assert_eq!(artist(&view, n).await.merged_into, Some(id(3).to_string()), "{n}");
        }
    }

    #[tokio::test]
    async fn artists_merged_into_each_other_do_not_vanish() {
        let view = built(&Artists, [add(1, "A"), add(2, "B"), merged(1, 2), merged(2, 1)]).await;
        assert_eq!(listed(&view).await, ["B"]);
    }
}
