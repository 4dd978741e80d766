//! Ids of the catalogue. They are derived from what a thing is, so that adding it twice, or importing a folder again,
//! creates nothing. An id is derived once, when the thing is added: later edits do not change it.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

use crate::{AlbumDetails, AlbumId, ArtistDetails, ArtistId, AudioHash, CreditRole, MediaId, SongId};

/// The id of an artist: from its `MusicBrainz` id, or else from its name without differences of case, white space,
/// Unicode form and typographic signs. Artists that share a name need `MusicBrainz` ids to be told apart.
pub fn artist_id(details: &ArtistDetails) -> ArtistId {
    ArtistId::new(match details.musicbrainz {
        Some(musicbrainz) => derived("artist of MusicBrainz", &[musicbrainz.as_bytes()]),
        None => derived("artist", &[folded(&details.name).as_bytes()]),
    })
}

/// The id of an album: from the `MusicBrainz` id of its release, or else from its main artists in any order, its title,
/// its version, the year of its original release and the titles of its discs.
pub fn album_id(details: &AlbumDetails) -> AlbumId {
    if let Some(musicbrainz) = details.musicbrainz {
        return AlbumId::new(derived("album of MusicBrainz", &[musicbrainz.as_bytes()]));
    }
    let main = details.artists.iter().filter(|credit| credit.role == CreditRole::Main);
    let mut artists: Vec<[u8; 16]> = main.map(|credit| credit.artist.uuid().into_bytes()).collect();
    artists.sort_unstable();
    artists.dedup();
    let title = folded(&details.title);
    let version = details.version.as_deref().map(folded).unwrap_or_default();
    let year = details.year.map(|year| year.to_string()).unwrap_or_default();
    let discs: Vec<String> = details.disc_titles.iter().map(|title| folded(title)).collect();
    let mut parts: Vec<&[u8]> = vec![title.as_bytes(), version.as_bytes(), year.as_bytes()];
    let artists = artists.concat();
    parts.push(&artists);
    parts.extend(discs.iter().map(String::as_bytes));
    AlbumId::new(derived("album", &parts))
}

/// The id of a song: from its audio without tags, and its album when it is published. The same recording in two albums
/// is two songs with one file.
pub fn song_id(audio: &AudioHash, album: Option<AlbumId>) -> SongId {
    let album = album.map(AlbumId::uuid);
    let album: &[u8] = album.as_ref().map_or(&[], |album| album.as_bytes());
    SongId::new(derived("song", &[audio.bytes(), album]))
}

/// The id of the stored file of this audio: the same audio is stored once.
pub fn audio_media_id(audio: &AudioHash) -> MediaId {
    MediaId::new(derived("audio", &[audio.bytes()]))
}

/// The id of the stored file of the same audio after this one was released. A released id is never used again, so that a file
/// can be deleted at any later time.
pub fn audio_media_id_after(released: MediaId) -> MediaId {
    MediaId::new(derived("audio after", &[released.uuid().as_bytes()]))
}

/// The form of a text in which two spellings of the same name are equal. Accents distinguish names.
fn folded(text: &str) -> String {
    let lower: String = text.nfkc().flat_map(char::to_lowercase).nfkc().map(plain_sign).collect();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The ASCII sign that people type for a typographic one.
const fn plain_sign(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{02bc}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2010}'..='\u{2015}' => '-',
        c => c,
    }
}

/// A UUIDv8 of these parts: anybody can compute it, unlike `KeyRing::derive_id`.
fn derived(kind: &str, parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in [kind.as_bytes()].iter().chain(parts) {
        // Length prefixes make the encoding of the parts unambiguous.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    Uuid::new_v8(std::array::from_fn(|i| hash[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlbumKind, ArtistCredit};

    fn artist(name: &str) -> ArtistId {
        artist_id(&ArtistDetails { name: name.into(), sort_name: None, musicbrainz: None })
    }

    fn album() -> AlbumDetails {
        AlbumDetails {
            title: "Peter Gabriel".into(),
            artists: vec![ArtistCredit { artist: artist("Peter Gabriel"), role: CreditRole::Main }],
            display_artist: "Peter Gabriel".into(),
            kind: AlbumKind::Album,
            year: Some(1977),
            version: None,
            disc_titles: Vec::new(),
            musicbrainz: None,
        }
    }

    /// Frozen: clients keep ids for years, and a second import must find what the first one added.
    #[test]
    fn ids_never_change() {
        let album = album_id(&album());
        let hash = AudioHash::new([7; 32]);
        let ids = [
            artist("The Beatles").to_string(),
            album.to_string(),
            song_id(&hash, None).to_string(),
            song_id(&hash, Some(album)).to_string(),
            audio_media_id(&hash).to_string(),
            audio_media_id_after(audio_media_id(&hash)).to_string(),
        ];
        assert_eq!(ids, FROZEN);
    }

    const FROZEN: [&str; 6] = [
        "3811b12cfa6087b5875af2f6626aca61",
        "642043c450a0852d8494811e7fcd9760",
        "c56389c1125882358d38924903ff5c94",
        "b720791999828989b135dbbb19cbdcc9",
        "9cd797ac5f8d8cac8d53bae34f259e11",
        "b5649a93c8928ff2a4efd8af186a1115",
    ];

    #[test]
    fn spellings_of_a_name_are_one_artist() {
        for (one, other) in [
            ("The Beatles", "the  beatles"),
            ("Beyonce\u{301}", "Beyonc\u{e9}"),
            ("Guns N\u{2019} Roses", "Guns N' Roses"),
            ("Jay\u{2010}Z", "JAY-Z"),
        ] {
            assert_eq!(artist(one), artist(other), "{one}");
        }
        for (one, other) in [("The Band", "Band"), ("Mot\u{f6}rhead", "Motorhead"), ("AC/DC", "ACDC")] {
            assert_ne!(artist(one), artist(other), "{one}");
        }
    }

    #[test]
    fn musicbrainz_id_decides_before_the_name() {
        let of = |name: &str, musicbrainz: Option<u128>| {
            let musicbrainz = musicbrainz.map(Uuid::from_u128);
            artist_id(&ArtistDetails { name: name.into(), sort_name: None, musicbrainz })
        };
        assert_eq!(of("Nirvana", Some(1)), of("Nirvana (band)", Some(1)));
        assert_ne!(of("Nirvana", Some(1)), of("Nirvana", Some(2)));
        assert_ne!(of("Nirvana", Some(1)), of("Nirvana", None));
    }

    #[test]
    fn editions_and_self_titled_albums_are_apart() {
        let first = album_id(&album());
        let guest = ArtistCredit { artist: artist("Robert Fripp"), role: CreditRole::Featured };
        let with_guest = AlbumDetails { artists: [album().artists, vec![guest]].concat(), ..album() };
        assert_eq!(album_id(&AlbumDetails { title: "PETER GABRIEL".into(), ..with_guest }), first);
        for other in [
            AlbumDetails { year: Some(1978), ..album() },
            AlbumDetails { version: Some("Deluxe Edition".into()), ..album() },
            AlbumDetails { disc_titles: vec!["Live".into()], ..album() },
            AlbumDetails { musicbrainz: Some(Uuid::from_u128(1)), ..album() },
        ] {
            assert_ne!(album_id(&other), first, "{other:?}");
        }
    }

    #[test]
    fn one_recording_in_two_albums_is_two_songs_and_one_file() {
        let (one, other) = (AudioHash::new([1; 32]), AudioHash::new([2; 32]));
        let album = Some(album_id(&album()));
        assert_ne!(song_id(&one, None), song_id(&one, album));
        assert_ne!(song_id(&one, album), song_id(&other, album));
        assert_ne!(audio_media_id(&one), audio_media_id(&other));
    }
}
