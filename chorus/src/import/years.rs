//! The years of albums. The year is a part of the id of an album without a release id, so by their tags
//! alone, one file with another year would be on an album of its own.
//!
//! Files of one folder whose albums differ in nothing but the year are therefore of one album. An album that
//! has one of their songs already keeps its year, whatever most files say now: otherwise a file that is added
//! later could move all others, and an import without its record would publish them again. What the catalogue
//! has is read from the log and not from the record, which may be lost or of an older version.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::AlbumId;

use super::samplers::FIRST_DISC;

/// None for an album without a year.
pub(super) type Year = Option<i32>;

/// A file on an album whose id depends on the year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dated {
    /// The id of the album if it had no year: the same for albums that differ in nothing else.
    pub(super) album: AlbumId,
    pub(super) disc: Option<u32>,
    pub(super) track: Option<u32>,
    /// In the tags of the file.
    pub(super) tagged: Year,
    /// Of the album that the song of this file is on already.
    pub(super) known: Option<Year>,
}

/// The years that the files of each album name.
pub(super) fn years_of<'a>(files: impl IntoIterator<Item = &'a Dated>) -> HashMap<AlbumId, BTreeSet<Year>> {
    let mut years: HashMap<AlbumId, BTreeSet<Year>> = HashMap::new();
    for file in files {
        let known = file.known.unwrap_or(file.tagged);
        years.entry(file.album).or_default().extend([file.tagged, known]);
    }
    years
}

/// The year of each album: the one of the album that has most of the songs, or else the one that most files
/// name, and the earliest among equals. Left out are files that the years tell apart.
pub(super) fn years<'a>(files: impl IntoIterator<Item = &'a Dated>) -> HashMap<AlbumId, Year> {
    let mut albums: BTreeMap<AlbumId, Vec<&Dated>> = BTreeMap::new();
    for file in files {
        albums.entry(file.album).or_default().push(file);
    }
    albums
        .into_iter()
        .filter(|(_, files)| !are_apart(files))
        .map(|(album, files)| (album, year(&files)))
        .collect()
}

/// Whether the files are of several albums: two of them have the same disc and track number in different
/// years. So two self-titled albums in one folder stay two.
fn are_apart(files: &[&Dated]) -> bool {
    let mut tracks: HashMap<(u32, u32), i32> = HashMap::new();
    files.iter().any(|file| {
        let (Some(track), Some(year)) = (file.track, file.tagged) else { return false };
        *tracks.entry((file.disc.unwrap_or(FIRST_DISC), track)).or_insert(year) != year
    })
}

fn year(files: &[&Dated]) -> Year {
    let known: Vec<Year> = files.iter().filter_map(|file| file.known).collect();
    if known.is_empty() {
        // A file that names no year is no vote for an album without one.
        most_common(files.iter().filter_map(|file| file.tagged).map(Some))
    } else {
        most_common(known)
    }
}

fn most_common(years: impl IntoIterator<Item = Year>) -> Year {
    let mut counts: BTreeMap<Year, usize> = BTreeMap::new();
    for year in years {
        *counts.entry(year).or_default() += 1;
    }
    // The last one of equal counts is taken.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).and_then(|(year, _)| year)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ALBUM: AlbumId = AlbumId::new(Uuid::from_u128(1));
    const OTHER: AlbumId = AlbumId::new(Uuid::from_u128(2));

    fn file(track: u32, tagged: Year) -> Dated {
        Dated { album: ALBUM, disc: None, track: Some(track), tagged, known: None }
    }

    fn known(track: u32, tagged: Year, known: Year) -> Dated {
        Dated { known: Some(known), ..file(track, tagged) }
    }

    /// The year of the first album; none if the years tell albums apart.
    fn year_of(files: &[Dated]) -> Option<Year> {
        years(files).get(&ALBUM).copied()
    }

    #[test]
    fn one_differing_year_does_not_split_an_album() {
        let of = |[one, two, three, four]: [Year; 4]| {
            year_of(&[file(1, one), file(2, two), file(3, three), file(4, four)])
        };
        assert_eq!(of([Some(1990), Some(1990), Some(1991), Some(1990)]), Some(Some(1990)));
        assert_eq!(of([Some(1991), Some(1990), Some(1991), Some(1990)]), Some(Some(1990)), "the earliest");
        assert_eq!(of([None, Some(1990), None, None]), Some(Some(1990)));
        assert_eq!(of([None; 4]), Some(None));
    }

    #[test]
    fn album_with_songs_keeps_its_year() {
        let added = [file(2, Some(1991)), file(3, Some(1991))];
        let kept = [&added[..], &[known(1, Some(1990), Some(1990))]].concat();
        assert_eq!(year_of(&kept), Some(Some(1990)));
        // Its tags named the year later.
        let undated = [&added[..], &[known(1, Some(1991), None)]].concat();
        assert_eq!(year_of(&undated), Some(None));
        let split = [known(1, Some(1990), Some(1990)), known(2, Some(1990), Some(1990))];
        let split = [&split[..], &[known(3, Some(1991), Some(1991)), file(4, Some(1991))]].concat();
        assert_eq!(year_of(&split), Some(Some(1990)), "a new file goes to the larger one");
    }

    #[test]
    fn years_tell_albums_with_the_same_track_numbers_apart() {
        let first = [file(1, Some(1977)), file(2, Some(1977))];
        let second = [file(1, Some(1978)), file(3, Some(1978))];
        assert_eq!(year_of(&[&first[..], &second].concat()), None);
        let on_discs = second.map(|file| Dated { disc: Some(2), ..file });
        assert_eq!(year_of(&[&first[..], &on_discs].concat()), Some(Some(1977)));
        let copies = [file(1, Some(1977)), file(1, None), known(1, Some(1977), Some(1976))];
        assert_eq!(year_of(&copies), Some(Some(1976)), "the same song in several formats");
        let unnumbered = [Some(1977), Some(1978)].map(|year| Dated { track: None, ..file(1, year) });
        assert_eq!(year_of(&unnumbered), Some(Some(1977)));
    }

    #[test]
    fn albums_are_decided_one_by_one() {
        let files = [file(1, Some(1990)), Dated { album: OTHER, ..file(1, Some(2001)) }];
        assert_eq!(years(&files), HashMap::from([(ALBUM, Some(1990)), (OTHER, Some(2001))]));
        let known = [known(1, Some(1991), Some(1990)), file(2, None)];
        assert_eq!(years_of(&known)[&ALBUM], BTreeSet::from([None, Some(1990), Some(1991)]));
    }
}
