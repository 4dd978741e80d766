//! Tags as other programs wrote them, made tidy.

use events::ReplayGain;
use lofty::id3::v1::GENRES;
use lofty::tag::{ItemKey, Tag, TagType};
use uuid::Uuid;

use crate::Tags;

/// Longest text of one line, in characters.
const LINE_LIMIT: usize = 300;
/// Longest lyrics, in characters.
const LYRICS_LIMIT: usize = 20_000;
/// Most values of one kind.
const VALUES_LIMIT: usize = 20;
/// Marks in a single value between several artists. With blanks, so that AC/DC stays one.
const ARTIST_MARKS: [&str; 5] = [" feat. ", " ft. ", " Feat. ", " / ", "; "];
const YEARS: std::ops::RangeInclusive<i32> = 1000..=2999;

/// From several tags of a file the first that has a value counts: the format's own comes first.
pub(crate) fn read(tags: &[Tag]) -> Tags {
    let artist = line(tags, ItemKey::TrackArtist);
    let listed = lines(tags, ItemKey::TrackArtists);
    let artists = if listed.is_empty() { lines(tags, ItemKey::TrackArtist) } else { listed };
    let display_artist = if artists.len() > 1 && lines(tags, ItemKey::TrackArtist).len() > 1 {
        Some(artists.join(", "))
    } else {
        artist
    };
    let listed = lines(tags, ItemKey::AlbumArtists);
    let album_artists = if listed.is_empty() { lines(tags, ItemKey::AlbumArtist) } else { listed };
    let years = [ItemKey::OriginalReleaseDate, ItemKey::RecordingDate, ItemKey::Year, ItemKey::ReleaseDate];
    let flag =
        |key| line(tags, key).is_some_and(|text| matches!(&*text.to_lowercase(), "1" | "true" | "yes"));
    let id = |key| line(tags, key).and_then(|text| Uuid::try_parse(&text).ok());
    let gain = |key| line(tags, key).and_then(|text| number(&text));
    let replay_gain = ReplayGain {
        track_gain: gain(ItemKey::ReplayGainTrackGain),
        track_peak: gain(ItemKey::ReplayGainTrackPeak),
        album_gain: gain(ItemKey::ReplayGainAlbumGain),
        album_peak: gain(ItemKey::ReplayGainAlbumPeak),
    };
    Tags {
        title: line(tags, ItemKey::TrackTitle),
        artists: split(artists),
        display_artist,
        album: line(tags, ItemKey::AlbumTitle),
        album_artists: split(album_artists),
        track: ordinal_in(tags, ItemKey::TrackNumber, ItemKey::TrackTotal),
        disc: ordinal_in(tags, ItemKey::DiscNumber, ItemKey::DiscTotal),
        year: years.into_iter().find_map(|key| line(tags, key).and_then(|text| year(&text))),
        genres: genres(lines(tags, ItemKey::Genre)),
        compilation: flag(ItemKey::FlagCompilation),
        explicit: flag(ItemKey::ParentalAdvisory),
        lyrics: [ItemKey::UnsyncLyrics, ItemKey::Lyrics]
            .into_iter()
            .find_map(|key| strings(tags, key).into_iter().find_map(|text| free(&text))),
        musicbrainz_recording: id(ItemKey::MusicBrainzRecordingId),
        musicbrainz_album: id(ItemKey::MusicBrainzReleaseId),
        replay_gain: (replay_gain != ReplayGain::default()).then_some(replay_gain),
    }
}

fn strings(tags: &[Tag], key: ItemKey) -> Vec<String> {
    let found = tags.iter().map(|tag| tag.get_strings(key).map(str::to_owned).collect::<Vec<_>>());
    found.into_iter().find(|values| values.iter().any(|value| tidy(value).is_some())).unwrap_or_default()
}

fn line(tags: &[Tag], key: ItemKey) -> Option<String> {
    lines(tags, key).into_iter().next()
}

/// The values, each once. Old tags separate several by NUL.
fn lines(tags: &[Tag], key: ItemKey) -> Vec<String> {
    let mut values = Vec::new();
    for text in strings(tags, key) {
        for value in text.split('\0').filter_map(tidy) {
            if !values.contains(&value) && values.len() < VALUES_LIMIT {
                values.push(value);
            }
        }
    }
    values
}

/// One line without control characters and marks of direction; none if nothing remains.
fn tidy(text: &str) -> Option<String> {
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !is_invisible(*c));
    let words = shown.collect::<String>();
    let line: String =
        words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LINE_LIMIT).collect();
    (!line.is_empty()).then_some(line)
}

/// As [`tidy`], with line breaks.
fn free(text: &str) -> Option<String> {
    let shown = text.replace("\r\n", "\n").replace('\r', "\n");
    let shown = shown.chars().filter(|c| (!c.is_control() || *c == '\n') && !is_invisible(*c));
    let text: String = shown.take(LYRICS_LIMIT).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Byte order marks, and marks that turn the direction of the text that follows.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{feff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A single value may name several artists; several values are as they are.
fn split(artists: Vec<String>) -> Vec<String> {
    let [single] = &artists[..] else { return artists };
    let mut parts = vec![single.as_str()];
    for mark in ARTIST_MARKS {
        parts = parts.into_iter().flat_map(|part| part.split(mark)).collect();
    }
    let mut names: Vec<String> = Vec::new();
    for part in parts.into_iter().filter_map(tidy) {
        if !names.contains(&part) && names.len() < VALUES_LIMIT {
            names.push(part);
        }
    }
    names
}

/// Several genres in one value are separated by ";" only: "R&B/Soul" and "Folk, World, & Country" are one each.
/// Old tags name genres by the numbers of `ID3v1`: "(17)", "17", "(4)(33)" and "(4)Eurodisco", where the name is
/// more exact.
fn genres(values: Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for value in values.iter().flat_map(|value| value.split(';')).filter_map(tidy) {
        let mut rest = value.as_str();
        let mut numbered = Vec::new();
        while let Some((number, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
            let Some(name) = genre(number) else { break };
            numbered.push(name);
            rest = after.trim();
        }
        let named = genre(rest).unwrap_or(rest);
        let found = if named.is_empty() { numbered } else { vec![named] };
        for name in found {
            if !names.iter().any(|known| known == name) && names.len() < VALUES_LIMIT {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn genre(number: &str) -> Option<&'static str> {
    GENRES.get(number.parse::<usize>().ok()?).copied()
}

/// The number of a track or a disc. lofty takes `ID3v2` texts such as "A1" or "1 - Live", which are no plain
/// numbers, for the total.
fn ordinal_in(tags: &[Tag], number: ItemKey, total: ItemKey) -> Option<u32> {
    let of_text = |text: &str| tidy(text).and_then(|text| ordinal(&text));
    line(tags, number).and_then(|text| ordinal(&text)).or_else(|| {
        let is_odd = |tag: &&Tag| tag.tag_type() == TagType::Id3v2 && tag.get_string(number).is_none();
        tags.iter().filter(is_odd).find_map(|tag| tag.get_strings(total).find_map(of_text))
    })
}

/// "1", "1/12", "01", "2 - Live", and "A1" of a record: its sides are no discs, so the disc is the one that is
/// tagged. None for 0.
fn ordinal(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok().filter(|number| *number > 0)
}

/// The year of a date in any usual form; none for "0000".
fn year(text: &str) -> Option<i32> {
    let mut groups = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() == 4);
    groups.find_map(|digits| digits.parse().ok().filter(|year| YEARS.contains(year)))
}

/// "-6.5 dB" or "0.98".
fn number(text: &str) -> Option<f32> {
    let number: f32 = text.split_whitespace().next()?.parse().ok()?;
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use lofty::TextEncoding;
    use lofty::id3::v2::{Frame, FrameId, Id3v2Tag, TextInformationFrame};

    use super::*;

    #[test]
    fn odd_texts_become_tidy() {
        assert_eq!(tidy("\u{feff} A\u{0}\nsong \u{202e}x"), Some("A song x".into()));
        assert_eq!(tidy(" \u{200f}\u{0}"), None);
        assert_eq!(free("one\r\ntwo\u{7}\rthree "), Some("one\ntwo\nthree".into()));
        assert_eq!(tidy(&"x".repeat(1000)).unwrap().len(), LINE_LIMIT);
    }

    #[test]
    fn numbers_and_years_are_read_as_people_write_them() {
        for (text, number) in [
            ("1/12", Some(1)),
            ("07", Some(7)),
            ("A1", Some(1)),
            ("2 - Live", Some(2)),
            ("0", None),
            ("x", None),
        ] {
            assert_eq!(ordinal(text), number, "{text}");
        }
        for (text, found) in [
            ("1999", Some(1999)),
            ("1999-02-03", Some(1999)),
            ("03.02.1999", Some(1999)),
            ("0000", None),
            ("99", None),
        ] {
            assert_eq!(year(text), found, "{text}");
        }
        assert_eq!((number("-6.50 dB"), number("nan")), (Some(-6.5), None));
    }

    #[test]
    fn genres_of_old_tags_have_numbers() {
        for (value, expected) in [
            ("(17)", &["Rock"][..]),
            ("17", &["Rock"]),
            ("(4)(17)", &["Disco", "Rock"]),
            ("(4)Eurodisco", &["Eurodisco"]),
            ("(999)", &["(999)"]),
            ("(live) Jazz", &["(live) Jazz"]),
        ] {
            assert_eq!(genres(vec![value.into()]), expected, "{value}");
        }
    }

    #[test]
    fn genres_are_separated_by_semicolons_only() {
        for (value, expected) in [
            ("Rock; Pop", &["Rock", "Pop"][..]),
            ("Rock;Pop;;Rock; ", &["Rock", "Pop"]),
            ("(17);(4)Eurodisco", &["Rock", "Eurodisco"]),
            ("R&B/Soul", &["R&B/Soul"]),
            ("Folk, World, & Country", &["Folk, World, & Country"]),
        ] {
            assert_eq!(genres(vec![value.into()]), expected, "{value}");
        }
        let mut tag = Tag::new(TagType::VorbisComments);
        tag.insert_text(ItemKey::Genre, "Rock\0Pop; Jazz".into());
        assert_eq!(read(&[tag]).genres, ["Rock", "Pop", "Jazz"]);
    }

    #[test]
    fn odd_numbers_of_id3_tags_are_found() {
        for (track, disc, found) in [
            ("3/12", "2/3", (Some(3), Some(2))),
            ("A1", "1 - Live", (Some(1), Some(1))),
            ("B2/4", "2/", (Some(2), Some(2))),
            ("0/12", "x", (None, None)),
        ] {
            let mut tag = Id3v2Tag::new();
            for (id, text) in [("TRCK", track), ("TPOS", disc)] {
                let id = FrameId::new(id).unwrap();
                tag.insert(Frame::Text(TextInformationFrame::new(id, TextEncoding::UTF8, text)));
            }
            let tags = read(&[tag.into()]);
            assert_eq!((tags.track, tags.disc), found, "{track}, {disc}");
        }
        let mut tag = Tag::new(TagType::VorbisComments);
        tag.insert_text(ItemKey::TrackTotal, "12".into());
        assert_eq!(read(&[tag]).track, None, "a total without a number");
    }

    #[test]
    fn only_single_values_are_split() {
        let names = |values: &[&str]| split(values.iter().map(|&value| value.to_owned()).collect());
        assert_eq!(names(&["Ann feat. Bob; Cy"]), ["Ann", "Bob", "Cy"]);
        assert_eq!(names(&["AC/DC"]), ["AC/DC"]);
        assert_eq!(names(&["Simon & Garfunkel"]), ["Simon & Garfunkel"]);
        assert_eq!(names(&["Ann / Bob", "Cy"]), ["Ann / Bob", "Cy"]);
    }
}
