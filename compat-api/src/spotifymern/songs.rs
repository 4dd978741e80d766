//! Songs, in the app's format.

use axum::extract::State;
use query_api::reading::answer::{Conditions, answer};
use rand::seq::SliceRandom;
use resources::Song;
use serde::Serialize;
use views::music::{albums, artists, search, songs};
use web::compat::{PathText, Success};
use web::problem::Problem;

use crate::{Answer, Apps};

/// Number of random songs on the first page, and of recommended ones.
const RANDOM_SONGS: usize = 8;
const RECOMMENDED_SONGS: usize = 5;
/// Maximum number of songs in a list: the newest ones.
const SONGS_LIMIT: usize = 1000;
/// Maximum number of songs that a search finds.
const FOUND_LIMIT: usize = 50;
/// Maximum number of categories.
const CATEGORIES_LIMIT: usize = 1000;

/// The views that a list of songs reads.
const VIEWS: [&str; 4] = [songs::VIEW.name, albums::VIEW.name, artists::VIEW.name, search::VIEW.name];

/// A song, with its categories as a flat list.
#[derive(Debug, Serialize)]
struct Music {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    /// URL of the audio file.
    source: String,
    singer: String,
    /// URL of the cover; empty if there is none.
    thumbnail: String,
    categories: Vec<String>,
}

impl From<Song> for Music {
    fn from(song: Song) -> Self {
        Self {
            id: song.id,
            name: song.title,
            source: song.stream_url,
            singer: song.display_artist,
            thumbnail: song.cover.map(|cover| cover.large().to_owned()).unwrap_or_default(),
            categories: song.genres,
        }
    }
}

#[derive(Debug, Serialize)]
struct Musics {
    musics: Vec<Music>,
}

#[derive(Debug, Serialize)]
struct OneMusic {
    music: Option<Music>,
}

#[derive(Debug, Serialize)]
struct Category {
    #[serde(rename = "_id")]
    name: String,
}

#[derive(Debug, Serialize)]
struct Categories {
    categories: Vec<Category>,
}

impl Apps {
    async fn musics(&self, ids: &[String]) -> Result<Musics, Problem> {
        let songs = self.queries.songs(ids, None).await?;
        Ok(Musics { musics: songs.into_iter().flatten().map(Music::from).collect() })
    }

    async fn answer_random(&self, conditions: &Conditions, count: usize) -> Answer {
        let caught_up = self.queries.catch_up(conditions, &VIEWS).await;
        let mut ids = self.queries.random_songs(count).await?;
        ids.shuffle(&mut rand::rng());
        let musics = self.musics(&ids).await?;
        let count = musics.musics.len();
        Ok(answer(conditions, caught_up, &Success::of(musics).counting(count))?)
    }
}

pub(super) async fn random(State(apps): State<Apps>, conditions: Conditions) -> Answer {
    apps.answer_random(&conditions, RANDOM_SONGS).await
}

pub(super) async fn recommended(State(apps): State<Apps>, conditions: Conditions) -> Answer {
    apps.answer_random(&conditions, RECOMMENDED_SONGS).await
}

pub(super) async fn all(State(apps): State<Apps>, conditions: Conditions) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let mut ids = apps.queries.newest_songs(SONGS_LIMIT).await?;
    ids.shuffle(&mut rand::rng());
    let musics = apps.musics(&ids).await?;
    let count = musics.musics.len();
    Ok(answer(&conditions, caught_up, &Success::of(musics).counting(count))?)
}

pub(super) async fn by_id(
    State(apps): State<Apps>,
    PathText(id): PathText,
    conditions: Conditions,
) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let music = apps.musics(&[id]).await?.musics.pop();
    Ok(answer(&conditions, caught_up, &Success::of(OneMusic { music }))?)
}

pub(super) async fn categories(State(apps): State<Apps>, conditions: Conditions) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let names = apps.queries.genre_names(CATEGORIES_LIMIT).await?;
    let categories: Vec<Category> = names.into_iter().map(|name| Category { name }).collect();
    let count = categories.len();
    Ok(answer(&conditions, caught_up, &Success::of(Categories { categories }).counting(count))?)
}

pub(super) async fn of_category(
    State(apps): State<Apps>,
    PathText(category): PathText,
    conditions: Conditions,
) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let ids = apps.queries.songs_of_genre(&category, SONGS_LIMIT).await?;
    Ok(answer(&conditions, caught_up, &Success::of(apps.musics(&ids).await?))?)
}

pub(super) async fn search(
    State(apps): State<Apps>,
    PathText(text): PathText,
    conditions: Conditions,
) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let ids = apps.queries.songs_by_part(&text, FOUND_LIMIT).await?;
    let musics = apps.musics(&ids).await?;
    let count = musics.musics.len();
    Ok(answer(&conditions, caught_up, &Success::of(musics).counting(count))?)
}
