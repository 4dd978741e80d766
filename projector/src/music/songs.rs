//! Songs of the catalogue, the songs of each artist and genre, and the genres.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    AlbumEvent, AlbumId, AudioAnalysis, AudioFile, Event, Kind, MusicEvent, Recorded, ReplayGain,
    SongDetails, SongEvent, SongId, SongPublished, SongVisibility,
};
use serde_json::json;
use views::accounts::search::random_key;
use views::markers::{Marker, MarkerDocument};
use views::music::genres::{self, Genre};
use views::music::song_artists::{self, SongArtist};
use views::music::song_genres::{self, SongGenre};
use views::music::songs::{self as stored, Analysis, OF_ALBUM, Song, VIEW, album_key};
use views::{Patch, StoreError, View, Writes};

use super::{credits, picture};
use crate::engine::projection::{Search, position, time};
use crate::{OnFailure, Projection};

/// The disc of songs that name none.
const DEFAULT_DISC: u32 = 1;
/// Discs beyond this number are sorted as if they had it, so that a place has at most 48 bits.
const LAST_DISC: u32 = 0xffff;

#[derive(Debug, Clone, Copy)]
pub struct Songs;

impl Projection for Songs {
    fn name(&self) -> &'static str {
        VIEW.name
    }

    fn views(&self) -> Vec<&'static str> {
        vec![VIEW.name, song_artists::VIEW.name, song_genres::VIEW.name, genres::VIEW.name]
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Song, Kind::Album]
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Park
    }

    fn reads(&self, recorded: &Recorded) -> Vec<(&'static View, String)> {
        match &recorded.event {
            Event::Music(MusicEvent::Song(event)) => {
                let song = (&VIEW, event.song().to_string());
                match event {
                    SongEvent::SongPublished(event) => reads_of(song, &event.details),
                    SongEvent::SongEdited(event) => reads_of(song, &event.details),
                    SongEvent::SongRemoved(_) | SongEvent::SongRestored(_) => vec![song],
                    SongEvent::SongCoverChanged(_) | SongEvent::SongAnalysed(_) => Vec::new(),
                }
            }
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Vec::new(),
        }
    }

    /// All songs of an album that is removed or restored.
    fn searches(&self, recorded: &Recorded) -> Vec<Search> {
        let Some((album, _)) = removal(&recorded.event) else { return Vec::new() };
        let of = |listed: bool| Search {
            view: &VIEW,
            index: &OF_ALBUM,
            equals: vec![json!(album), json!(listed)],
        };
        [true, false].map(of).into()
    }

    fn project(&self, recorded: &Recorded, writes: &mut Writes) -> Result<(), StoreError> {
        match &recorded.event {
            Event::Music(MusicEvent::Song(event)) => match event {
                SongEvent::SongPublished(event) => {
                    create_genres(&event.details, writes)?;
                    let after = published(event, recorded, writes)?;
                    replace(None, &after, writes)
                }
                SongEvent::SongEdited(event) => {
                    let Some(before) = writes.get::<Song>(&event.song.to_string())? else { return Ok(()) };
                    create_genres(&event.details, writes)?;
                    let after = with_details(before.clone(), &event.details, writes)?;
                    replace(Some(&before), &after, writes)
                }
                SongEvent::SongCoverChanged(event) => {
                    let patch = Patch::default().set("cover", json!(event.cover.map(picture)));
                    writes.patch::<Song>(event.song.to_string(), patch);
                    Ok(())
                }
                SongEvent::SongRemoved(event) => remove(event.song, true, writes),
                SongEvent::SongRestored(event) => remove(event.song, false, writes),
                SongEvent::SongAnalysed(event) => {
                    let patch = Patch::default().set("analysis", json!(analysis(&event.analysis)));
                    writes.patch::<Song>(event.song.to_string(), patch);
                    Ok(())
                }
            },
            Event::Music(MusicEvent::Album(_)) => match removal(&recorded.event) {
                Some((album, removed)) => remove_album(album, removed, writes),
                None => Ok(()),
            },
            Event::Music(_)
            | Event::Accounts(_)
            | Event::Social(_)
            | Event::Mail(_)
            | Event::Operations(_) => Ok(()),
        }
    }
}

fn reads_of(song: (&'static View, String), details: &SongDetails) -> Vec<(&'static View, String)> {
    let genres = genre_keys(&details.genres).into_iter().map(|genre| (&genres::VIEW, genre));
    let album = details.album.map(|album| (&VIEW, album_key(&album.to_string())));
    [song].into_iter().chain(album).chain(genres).collect()
}

/// The album, if it is removed (true) or restored (false).
fn removal(event: &Event) -> Option<(AlbumId, bool)> {
    match event {
        Event::Music(MusicEvent::Album(event)) => match event {
            AlbumEvent::AlbumRemoved(event) => Some((event.album, true)),
            AlbumEvent::AlbumRestored(event) => Some((event.album, false)),
            AlbumEvent::AlbumAdded(_) | AlbumEvent::AlbumEdited(_) | AlbumEvent::AlbumCoverChanged(_) => None,
        },
        Event::Music(_) | Event::Accounts(_) | Event::Social(_) | Event::Mail(_) | Event::Operations(_) => {
            None
        }
    }
}

fn genre_keys(names: &[String]) -> BTreeSet<String> {
    names.iter().map(|name| genres::key_of(name)).filter(|key| !key.is_empty()).collect()
}

/// A genre exists once any song has it, also a hidden one, so that its count can be patched without reading it.
fn create_genres(details: &SongDetails, writes: &mut Writes) -> Result<(), StoreError> {
    for name in &details.genres {
        let genre = genres::key_of(name);
        if !genre.is_empty() && writes.get::<Genre>(&genre)?.is_none() {
            writes.put(&Genre { genre, name: name.clone(), songs: 0 })?;
        }
    }
    Ok(())
}

fn published(event: &SongPublished, recorded: &Recorded, writes: &Writes) -> Result<Song, StoreError> {
    let AudioFile { media: _, hash: _, format, duration, bit_rate, sample_rate, channels, size, replay_gain } =
        event.file;
    let ReplayGain { track_gain, track_peak, album_gain, album_peak } = replay_gain.unwrap_or_default();
    let id = event.song.to_string();
    let song = Song {
        title: String::new(),
        artists: Vec::new(),
        display_artist: String::new(),
        album: None,
        disc: None,
        track: None,
        place: 0,
        genres: Vec::new(),
        year: None,
        explicit: false,
        lyrics: None,
        musicbrainz: None,
        visibility: String::new(),
        publisher: event.publisher.to_string(),
        file: stored::AudioFile {
            key: event.file.key(),
            format: format.as_str().to_owned(),
            duration: i64::try_from(duration).unwrap_or(i64::MAX),
            bit_rate,
            sample_rate,
            channels,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            track_gain,
            track_peak,
            album_gain,
            album_peak,
        },
        cover: event.cover.map(picture),
        analysis: None,
        removed: false,
        album_removed: false,
        listed: false,
        random_key: random_key(&id),
        song: id,
        published: time(recorded),
        position: position(recorded),
    };
    with_details(song, &event.details, writes)
}

fn with_details(song: Song, details: &SongDetails, writes: &Writes) -> Result<Song, StoreError> {
    let album = details.album.map(|album| album.to_string());
    // The song can be put into an album that is removed at the same moment.
    let album_removed = match &album {
        Some(album) => writes.get_in::<MarkerDocument>(&VIEW, &album_key(album))?.is_some(),
        None => false,
    };
    Ok(listing(Song {
        title: details.title.clone(),
        artists: credits(&details.artists),
        display_artist: details.display_artist.clone(),
        album,
        disc: details.disc,
        track: details.track,
        place: place(details.disc, details.track),
        genres: details.genres.clone(),
        year: details.year,
        explicit: details.explicit,
        lyrics: details.lyrics.clone(),
        musicbrainz: details.musicbrainz.map(|id| id.to_string()),
        visibility: details.visibility.as_str().to_owned(),
        album_removed,
        ..song
    }))
}

/// By disc, then by track; songs without a track are last on their disc.
fn place(disc: Option<u32>, track: Option<u32>) -> i64 {
    let disc = disc.unwrap_or(DEFAULT_DISC).min(LAST_DISC);
    (i64::from(disc) << u32::BITS) + i64::from(track.unwrap_or(u32::MAX))
}

fn analysis(analysis: &AudioAnalysis) -> Analysis {
    match analysis {
        AudioAnalysis::Measured { loudness, peak, waveform } => {
            Analysis { loudness: Some(*loudness), peak: Some(*peak), waveform: waveform.clone() }
        }
        AudioAnalysis::Unsupported => Analysis { loudness: None, peak: None, waveform: Vec::new() },
    }
}

fn remove(song: SongId, removed: bool, writes: &mut Writes) -> Result<(), StoreError> {
    let Some(before) = writes.get::<Song>(&song.to_string())? else { return Ok(()) };
    let after = listing(Song { removed, ..before.clone() });
    replace(Some(&before), &after, writes)
}

fn remove_album(album: AlbumId, removed: bool, writes: &mut Writes) -> Result<(), StoreError> {
    let key = album_key(&album.to_string());
    if removed {
        let marker = [("absence".to_owned(), json!(Marker::Deleted))].into_iter().collect();
        writes.put_raw(&VIEW, key, marker);
    } else {
        writes.delete_raw(&VIEW, key);
    }
    let songs: Vec<Song> = writes.found()?;
    writes.add_weight(songs.len());
    for before in songs {
        let after = listing(Song { album_removed: removed, ..before.clone() });
        replace(Some(&before), &after, writes)?;
    }
    Ok(())
}

/// The song with `listed` as its other fields require.
fn listing(song: Song) -> Song {
    let is_public = song.visibility == SongVisibility::Public.as_str();
    Song { listed: is_public && !song.removed && !song.album_removed, ..song }
}

/// Writes the song, its entries in the lists of its artists and genres, and the numbers of songs of its genres.
fn replace(before: Option<&Song>, after: &Song, writes: &mut Writes) -> Result<(), StoreError> {
    let artists = |song: &Song| -> BTreeSet<String> {
        song.artists.iter().map(|credit| credit.artist.clone()).collect()
    };
    let genres = |song: &Song| genre_keys(&song.genres);
    let Song { song, listed, position, .. } = after;
    let (old, new) = (before.map(artists).unwrap_or_default(), artists(after));
    for artist in old.difference(&new) {
        writes.delete::<SongArtist>(song_artists::key(song, artist));
    }
    for artist in new {
        writes.put(&SongArtist { artist, song: song.clone(), listed: *listed, position: *position })?;
    }
    let (old, new) = (before.map(genres).unwrap_or_default(), genres(after));
    let mut counts: BTreeMap<&String, i64> = BTreeMap::new();
    for genre in &old {
        *counts.entry(genre).or_default() -= i64::from(before.is_some_and(|before| before.listed));
    }
    for genre in &new {
        *counts.entry(genre).or_default() += i64::from(*listed);
    }
    for (genre, by) in counts.into_iter().filter(|(_, by)| *by != 0) {
        writes.patch::<Genre>(genre, Patch::default().inc("songs", by));
    }
    for genre in old.difference(&new) {
        writes.delete::<SongGenre>(song_genres::key(song, genre));
    }
    for genre in new {
        writes.put(&SongGenre { genre, song: song.clone(), listed: *listed, position: *position })?;
    }
    writes.put(after)
}

#[cfg(test)]
mod tests;
