//! Samplers whose tags do not say that they are one: albums of several artists without an album artist and without the mark of a
//! compilation. By their tags alone each of their songs would be on an album of its own artist.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use audio::Tags;
use command_api::music::importing::Sampler;
use serde::{Deserialize, Serialize};

/// The disc of a track that names none.
pub(super) const FIRST_DISC: u32 = 1;

/// A file that may be a part of a sampler, with what decides that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Track {
    /// Title of the album, in lower case.
    pub(super) album: String,
    /// In lower case.
    artists: BTreeSet<String>,
    disc: u32,
    number: u32,
    year: Option<i32>,
}

impl Track {
    /// None if the tags say themselves whose album it is, or have no number.
    pub(super) fn of(tags: &Tags) -> Option<Self> {
        if tags.compilation || !tags.album_artists.is_empty() {
            return None;
        }
        let folded = |text: &String| text.trim().to_lowercase();
        Some(Self {
            album: tags.album.as_ref().map(folded)?,
            artists: tags.artists.iter().map(folded).collect(),
            disc: tags.disc.unwrap_or(FIRST_DISC),
            number: tags.track?,
            year: tags.year,
        })
    }
}

/// The albums of a folder that are samplers, by their titles: no artist is on all tracks, and every track has a number of its own.
pub(super) fn samplers<'a>(tracks: impl IntoIterator<Item = &'a Track>) -> HashMap<String, Sampler> {
    let mut albums: BTreeMap<&str, Vec<&Track>> = BTreeMap::new();
    for track in tracks {
        albums.entry(&track.album).or_default().push(track);
    }
    albums.into_iter().filter_map(|(album, tracks)| Some((album.to_owned(), sampler(&tracks)?))).collect()
}

fn sampler(tracks: &[&Track]) -> Option<Sampler> {
    let (first, others) = tracks.split_first()?;
    let is_common = |artist: &&String| others.iter().all(|track| track.artists.contains(*artist));
    let numbers: HashSet<(u32, u32)> = tracks.iter().map(|track| (track.disc, track.number)).collect();
    if first.artists.iter().any(|artist| is_common(&artist)) || numbers.len() < tracks.len() {
        return None;
    }
    // The years of the recordings may differ; the album must have one id.
    let year = first.year.filter(|_| others.iter().all(|track| track.year == first.year));
    Some(Sampler { year })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(album: &str, artists: &[&str], number: u32, year: i32) -> Track {
        let tags = Tags {
            album: Some(album.to_owned()),
            artists: artists.iter().map(|&artist| artist.to_owned()).collect(),
            track: Some(number),
            year: Some(year),
            ..Tags::default()
        };
        Track::of(&tags).unwrap()
    }

    fn years(tracks: &[Track]) -> Vec<(String, Option<i32>)> {
        let mut found: Vec<_> =
            samplers(tracks).into_iter().map(|(album, sampler)| (album, sampler.year)).collect();
        found.sort();
        found
    }

    #[test]
    fn album_without_a_common_artist_is_a_sampler() {
        let sampler = [track("Hits", &["Ann"], 1, 1998), track("hits ", &["Bob"], 2, 1998)];
        let other = [track("Still", &["Ann"], 1, 2001), track("Still", &["ann", "Bob"], 2, 2001)];
        assert_eq!(years(&[&sampler[..], &other].concat()), [("hits".to_owned(), Some(1998))]);
        let later = track("Hits", &["Cat"], 3, 1999);
        assert_eq!(years(&[&sampler[..], &[later]].concat()), [("hits".to_owned(), None)]);
    }

    #[test]
    fn tracks_with_the_same_number_are_of_different_albums() {
        let same = [track("Demo", &["Ann"], 1, 1998), track("Demo", &["Bob"], 1, 1998)];
        assert_eq!(years(&same), []);
        let on_discs = [same[0].clone(), Track { disc: 2, ..same[1].clone() }];
        assert_eq!(years(&on_discs).len(), 1);
        assert_eq!(years(&same[..1]), [], "one song is no sampler");
    }

    #[test]
    fn tags_that_name_the_artist_of_the_album_decide() {
        let tags = Tags { album: Some("Hits".to_owned()), track: Some(1), ..Tags::default() };
        assert!(Track::of(&tags).is_some());
        assert_eq!(Track::of(&Tags { track: None, ..tags.clone() }), None);
        assert_eq!(Track::of(&Tags { album: None, ..tags.clone() }), None);
        assert_eq!(Track::of(&Tags { compilation: true, ..tags.clone() }), None);
        assert_eq!(Track::of(&Tags { album_artists: vec!["Ann".to_owned()], ..tags }), None);
    }
}
