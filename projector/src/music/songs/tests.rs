use events::{
    AlbumRemoved, AlbumRestored, ArtistCredit, ArtistId, AudioFormat, AudioHash, CreditRole, MediaId,
    SongAnalysed, SongEdited, SongRemoved, SongRestored, UserId,
};
use uuid::Uuid;
use views::music::genres::LARGEST;
use views::music::song_artists::OF_ARTIST;
use views::music::song_genres::OF_GENRE;
use views::music::songs::NEWEST;
use views::{Query, ViewStoreExt};

use super::*;
use crate::testing::{Built, built};

const PUBLISHER: UserId = UserId::new(Uuid::from_u128(0xa));
const ANN: ArtistId = ArtistId::new(Uuid::from_u128(0xa1));
const BOB: ArtistId = ArtistId::new(Uuid::from_u128(0xb1));
const ALBUM: AlbumId = AlbumId::new(Uuid::from_u128(0xa2));

fn id(n: u128) -> SongId {
    SongId::new(Uuid::from_u128(n))
}

fn details(title: &str) -> SongDetails {
    SongDetails {
        title: title.into(),
        artists: vec![ArtistCredit { artist: ANN, role: CreditRole::Main }],
        display_artist: "Ann".into(),
        album: Some(ALBUM),
        disc: None,
        track: Some(1),
        genres: vec!["Folk".into()],
        year: None,
        explicit: false,
        lyrics: None,
        musicbrainz: None,
        visibility: SongVisibility::Public,
    }
}

fn publish(n: u128, details: SongDetails) -> Event {
    let file = AudioFile {
        media: MediaId::new(Uuid::from_u128(n)),
        hash: AudioHash::new([1; 32]),
        format: AudioFormat::Flac,
        duration: 1000,
        bit_rate: 900_000,
        sample_rate: 44_100,
        channels: 2,
        size: 10_000,
        replay_gain: None,
    };
    SongPublished { song: id(n), publisher: PUBLISHER, details, file, cover: None }.into()
}

async fn songs(built: &Built, index: &'static views::Index, equals: Vec<serde_json::Value>) -> Vec<String> {
    let page = built.store.page_of::<Song>(Query::new(&VIEW, index, equals, 10)).await.unwrap();
    page.documents.into_iter().map(|song| song.title).collect()
}

async fn newest(built: &Built) -> Vec<String> {
    songs(built, &NEWEST, vec![json!(true)]).await
}

async fn of_artist(built: &Built, artist: ArtistId) -> usize {
    let query = Query::new(&song_artists::VIEW, &OF_ARTIST, vec![json!(artist), json!(true)], 10);
    built.store.keys(&query).await.unwrap().len()
}

async fn of_genre(built: &Built, genre: &str) -> usize {
    let query = Query::new(&song_genres::VIEW, &OF_GENRE, vec![json!(genre), json!(true)], 10);
    built.store.keys(&query).await.unwrap().len()
}

async fn genre_counts(built: &Built) -> Vec<(String, i64)> {
    let query = Query::new(&genres::VIEW, &LARGEST, vec![], 10).above(0);
    let page = built.store.page_of::<Genre>(query).await.unwrap();
    page.documents.into_iter().map(|genre| (genre.name, genre.songs)).collect()
}

#[tokio::test]
async fn songs_of_an_album_are_ordered_by_disc_and_track() {
    let on = |disc, track| SongDetails { disc, track, ..details(&format!("{disc:?} {track:?}")) };
    let places = [(Some(2), Some(1)), (None, None), (Some(1), Some(10)), (Some(1), Some(2))];
    let history = places.iter().zip(1..).map(|(&(disc, track), n)| publish(n, on(disc, track)));
    let view = built(&Songs, history).await;
    let expected = ["Some(1) Some(2)", "Some(1) Some(10)", "None None", "Some(2) Some(1)"];
    assert_eq!(songs(&view, &OF_ALBUM, vec![json!(ALBUM), json!(true)]).await, expected);
}

#[tokio::test]
async fn only_public_songs_are_listed_and_counted() {
    let with = |visibility| SongDetails { visibility, ..details("Hidden") };
    let history = [
        publish(1, details("Shown")),
        publish(2, with(SongVisibility::Unlisted)),
        publish(3, with(SongVisibility::Private)),
    ];
    let view = built(&Songs, history.clone()).await;
    assert_eq!(newest(&view).await, ["Shown"]);
    assert_eq!((of_artist(&view, ANN).await, of_genre(&view, "folk").await), (1, 1));
    assert_eq!(genre_counts(&view).await, [("Folk".to_owned(), 1)]);
    let shown = SongEdited { song: id(3), details: details("Shown too") }.into();
    let view = built(&Songs, history.into_iter().chain([shown])).await;
    assert_eq!(newest(&view).await, ["Shown too", "Shown"]);
    assert_eq!(genre_counts(&view).await, [("Folk".to_owned(), 2)]);
}

#[tokio::test]
async fn edited_song_moves_to_its_new_artists_and_genres() {
    let edited = SongDetails {
        artists: vec![
            ArtistCredit { artist: BOB, role: CreditRole::Main },
            ArtistCredit { artist: BOB, role: CreditRole::Composer },
        ],
        genres: vec!["Rock".into(), "ROCK".into()],
        ..details("Dusk")
    };
    let history = [publish(1, details("Dawn")), SongEdited { song: id(1), details: edited }.into()];
    let view = built(&Songs, history).await;
    assert_eq!((of_artist(&view, ANN).await, of_artist(&view, BOB).await), (0, 1));
    assert_eq!((of_genre(&view, "folk").await, of_genre(&view, "rock").await), (0, 1));
    assert_eq!(genre_counts(&view).await, [("Rock".to_owned(), 1)]);
}

#[tokio::test]
async fn removed_song_is_listed_again_after_its_restoration() {
    let mut history = vec![publish(1, details("Dawn")), SongRemoved { song: id(1) }.into()];
    let view = built(&Songs, history.clone()).await;
    assert_eq!((newest(&view).await, of_artist(&view, ANN).await), (vec![], 0));
    assert_eq!(genre_counts(&view).await, []);
    history.push(SongRestored { song: id(1) }.into());
    let view = built(&Songs, history).await;
    assert_eq!((newest(&view).await.len(), of_artist(&view, ANN).await), (1, 1));
    assert_eq!(genre_counts(&view).await, [("Folk".to_owned(), 1)]);
}

#[tokio::test]
async fn removed_album_hides_its_songs_also_later_ones() {
    let elsewhere = SongDetails { album: None, ..details("Elsewhere") };
    let unlisted = SongDetails { visibility: SongVisibility::Unlisted, ..details("Unlisted") };
    let mut history = vec![
        publish(1, details("Dawn")),
        publish(2, details("Removed")),
        publish(3, unlisted),
        SongRemoved { song: id(2) }.into(),
        AlbumRemoved { album: ALBUM }.into(),
        publish(4, details("Late")),
        publish(5, elsewhere.clone()),
    ];
    let view = built(&Songs, history.clone()).await;
    assert_eq!(newest(&view).await, ["Elsewhere"]);
    assert_eq!(genre_counts(&view).await, [("Folk".to_owned(), 1)]);
    let hidden: Song = view.store.get(&id(3).to_string()).await.unwrap().unwrap();
    assert!(!hidden.is_visible_to(Some(&PUBLISHER.to_string())));
    history.push(SongEdited { song: id(1), details: elsewhere }.into());
    let view = built(&Songs, history.clone()).await;
    assert_eq!(newest(&view).await, ["Elsewhere", "Elsewhere"]);
    history.push(AlbumRestored { album: ALBUM }.into());
    let view = built(&Songs, history).await;
    assert_eq!(newest(&view).await, ["Elsewhere", "Late", "Elsewhere"]);
    assert_eq!(genre_counts(&view).await, [("Folk".to_owned(), 3)]);
}

#[tokio::test]
async fn analysis_is_kept_when_the_song_is_edited() {
    let measured = AudioAnalysis::Measured { loudness: -14.5, peak: -1.0, waveform: vec![0, 255] };
    let history = [
        publish(1, details("Dawn")),
        SongAnalysed { song: id(1), analysis: measured }.into(),
        SongEdited { song: id(1), details: details("Dusk") }.into(),
    ];
    let view = built(&Songs, history).await;
    let song: Song = view.store.get(&id(1).to_string()).await.unwrap().unwrap();
    let analysis = song.analysis.unwrap();
    assert_eq!((analysis.loudness, analysis.waveform), (Some(-14.5), vec![0, 255]));
    let private =
        Song { visibility: "private".into(), ..view.store.get(&id(1).to_string()).await.unwrap().unwrap() };
    assert!(private.is_visible_to(Some(&PUBLISHER.to_string())));
    assert!(!private.is_visible_to(None) && !private.is_visible_to(Some("b")));
}
