//! Searching songs, artists, albums and public playlists by names and words, and songs by any part of a name.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use axum::extract::State;
use axum::response::Response;
use futures::future::try_join_all;
use resources::{Album as AlbumPage, Artist as ArtistPage, Song as SongPage};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::accounts::search::{fold, plain_apostrophes, split_at_apostrophes};
use views::music::albums::{self, Album};
use views::music::artists::{self, Artist};
use views::music::library;
use views::music::playlists::{self, Playlist};
use views::music::search::{ItemKind, List, VIEW, parts_of_key, search_words};
use views::music::song_artists::{self, SongArtist};
use views::music::songs;
use views::{Document, Query, StoreError, View, ViewStore, ViewStoreExt};
use web::extract::Query as QueryString;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use super::listed::SongsOf;
use super::playlists::PlaylistSummary;
use crate::accounts::search::check;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::limit_within;
use crate::{Queries, store_problem};

/// Default and maximum number of items of each kind in an answer.
const DEFAULT_LIMIT: usize = 20;
const LIMIT: usize = 50;

/// Names that are ranked. Items that are read and ranked, unless a word tells them exactly.
const CANDIDATES: usize = 300;
/// Items that are looked up in the index for each word.
const ITEMS_OF_WORD: usize = 1000;
/// Albums per word whose songs are examined, and songs of each.
const ALBUMS: usize = 20;
const SONGS_OF_ALBUM: usize = 50;
/// Artists per part whose songs are examined, and songs of each.
const SINGERS: usize = 20;
const SONGS_OF_SINGER: usize = 50;
/// Maximum number of words of a query.
const WORDS: usize = 8;

/// The rank of a match, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Name,
    BeginningOfName,
    WholeWordsOfName,
    WholeWords,
    BeginningsOfWords,
}

/// The folded query.
#[derive(Debug)]
struct Searched {
    whole: String,
    words: Vec<String>,
}

impl Searched {
    fn of(text: &str) -> Self {
        let whole = plain_apostrophes(&fold(text.trim()));
        let parts = whole.split_whitespace().flat_map(split_at_apostrophes);
        let words: BTreeSet<String> = parts.flat_map(words_of_part).collect();
        let mut words: Vec<String> = words.into_iter().collect();
        // Long words match few items.
        words.sort_by_key(|word| Reverse(word.len()));
        words.truncate(WORDS);
        Self { whole, words }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// None if not all words are found in the name or in the other texts.
    fn closeness<'a>(&self, name: &str, others: impl IntoIterator<Item = &'a str>) -> Option<Closeness> {
        let folded = plain_apostrophes(&fold(name));
        if folded == self.whole {
            return Some(Closeness::Name);
        }
        if folded.starts_with(&self.whole) {
            return Some(Closeness::BeginningOfName);
        }
        let of_name = search_words(name);
        let all: Vec<String> =
            of_name.iter().cloned().chain(others.into_iter().flat_map(search_words)).collect();
        let each = |words: &[String], fits: fn(&str, &str) -> bool| {
            self.words.iter().all(|word| words.iter().any(|their| fits(their, word)))
        };
        if each(&of_name, |their, word| their == word) {
            return Some(Closeness::WholeWordsOfName);
        }
        if each(&all, |their, word| their == word) {
            return Some(Closeness::WholeWords);
        }
        each(&all, |their, word| their.starts_with(word)).then_some(Closeness::BeginningsOfWords)
    }
}

/// The words to look up for a part of a query between blanks: a part with punctuation stands in the index as a whole too.
fn words_of_part(part: &str) -> Vec<String> {
    let mut words = search_words(part);
    if words.first().is_some_and(|first| first == part) {
        words.truncate(1);
    } else if words.len() > 1 {
        // The last character alone only begins a term; the pairs cover it.
        words.pop();
    }
    words
}

/// The items with a name that begins with the query, best first, or what else is to be read and ranked.
enum Candidates {
    Best(Vec<String>),
    ToRank(Vec<String>),
}

/// Looks for items in the index only. Nothing ranks before names that begin with the query, so enough of them are the best.
/// Otherwise all items that may have all words; exact as long as one of the words has fewer items than the limit.
async fn candidates(
    store: &dyn ViewStore,
    searched: &Searched,
    kind: ItemKind,
    limit: usize,
) -> Result<Candidates, StoreError> {
    let names = store.keys(&List::Names.query(kind, &searched.whole, CANDIDATES)).await?;
    let names: Vec<(&str, &str)> = names.iter().filter_map(|key| parts_of_key(key)).collect();
    if names.len() >= limit {
        let ranked = names.into_iter().map(|(item, name)| {
            let is_whole = name == searched.whole;
            let closeness = if is_whole { Closeness::Name } else { Closeness::BeginningOfName };
            (closeness, name.to_owned(), item.to_owned())
        });
        return Ok(Candidates::Best(best(ranked, limit)));
    }
    let mut ids: BTreeSet<String> = names.into_iter().map(|(item, _)| item.to_owned()).collect();
    let words = searched.words.iter().map(|word| items_of_word(store, kind, word));
    let words = try_join_all(words).await?;
    if words.iter().any(|found| found.complete) {
        ids.extend(in_all(words.iter().filter(|found| found.complete)));
    } else {
        // There are more items with each of the words: those that are known to have all, and some of each.
        ids.extend(in_all(words.iter()));
        let of_each = CANDIDATES / words.len().max(1);
        ids.extend(words.iter().flat_map(|found| found.items.iter().take(of_each)).cloned());
    }
    Ok(Candidates::ToRank(ids.into_iter().collect()))
}

/// The items that all of these words have.
fn in_all<'a>(mut words: impl Iterator<Item = &'a ItemsOfWord>) -> Vec<String> {
    let Some(first) = words.next() else { return Vec::new() };
    let others: Vec<HashSet<&String>> = words.map(|found| found.items.iter().collect()).collect();
    first.items.iter().filter(|id| others.iter().all(|items| items.contains(id))).cloned().collect()
}

struct ItemsOfWord {
    /// In the order of the words that begin with the searched one, which is the first. May name one twice.
    items: Vec<String>,
    complete: bool,
}

/// The items with a word. A song has the words of its album too.
async fn items_of_word(store: &dyn ViewStore, kind: ItemKind, word: &str) -> Result<ItemsOfWord, StoreError> {
    let own = List::Words.query(kind, word, ITEMS_OF_WORD);
    let items = |keys: &[String]| {
        let items = keys.iter().filter_map(|key| parts_of_key(key)).map(|(item, _)| item.to_owned());
        items.collect::<Vec<String>>()
    };
    if kind != ItemKind::Song {
        let own = store.keys(&own).await?;
        return Ok(ItemsOfWord { items: items(&own), complete: own.len() < ITEMS_OF_WORD });
    }
    let albums = List::Words.query(ItemKind::Album, word, ALBUMS);
    let (own, albums) = futures::try_join!(store.keys(&own), store.keys(&albums))?;
    let mut complete = own.len() < ITEMS_OF_WORD && albums.len() < ALBUMS;
    let mut found = items(&own);
    let of_albums = albums.iter().filter_map(|key| parts_of_key(key)).map(|(album, _)| async move {
        let equals = vec![album.into(), true.into()];
        store.keys(&Query::new(&songs::VIEW, &songs::OF_ALBUM, equals, SONGS_OF_ALBUM)).await
    });
    for songs in try_join_all(of_albums).await? {
        complete &= songs.len() < SONGS_OF_ALBUM;
        found.extend(songs);
    }
    Ok(ItemsOfWord { items: found, complete })
}

/// The ids of the items that rank first, each given with its folded name.
fn best(ranked: impl IntoIterator<Item = (Closeness, String, String)>, limit: usize) -> Vec<String> {
    let mut ranked: Vec<_> = ranked.into_iter().collect();
    // Among equal matches the shortest name is the closest.
    ranked
        .sort_by(|a, b| (a.0, a.1.chars().count(), &a.1, &a.2).cmp(&(b.0, b.1.chars().count(), &b.1, &b.2)));
    ranked.into_iter().take(limit).map(|(.., id)| id).collect()
}

/// The ids of the items of a kind that match best. `rank` returns how close an item is, and its folded name; none for one that is
/// not listed or lacks a word.
async fn by_words<T: Document>(
    store: &dyn ViewStore,
    searched: &Searched,
    (kind, limit): (ItemKind, usize),
    rank: impl Fn(&T) -> Option<(Closeness, String)>,
) -> Result<Vec<String>, StoreError> {
    let ids = match candidates(store, searched, kind, limit).await? {
        Candidates::Best(best) => return Ok(best),
        Candidates::ToRank(ids) => ids,
    };
    let found = store.get_all::<T>(&ids).await?.into_iter().flatten();
    let ranked = found.filter_map(|item| rank(&item).map(|(closeness, name)| (closeness, name, item.key())));
    Ok(best(ranked, limit))
}

/// The part of a song that ranks it.
#[derive(Debug, Serialize, Deserialize)]
struct RankedSong {
    song: String,
    title: String,
    display_artist: String,
    album: Option<String>,
    listed: bool,
}

impl Document for RankedSong {
    const VIEW: &'static View = &songs::VIEW;

    fn key(&self) -> String {
        self.song.clone()
    }
}

/// The ids of the songs that match best.
async fn songs_by_words(
    store: &dyn ViewStore,
    searched: &Searched,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    let ids = match candidates(store, searched, ItemKind::Song, limit).await? {
        Candidates::Best(best) => return Ok(best),
        Candidates::ToRank(ids) => ids,
    };
    let found: Vec<RankedSong> = store.get_all::<RankedSong>(&ids).await?.into_iter().flatten().collect();
    let albums: BTreeSet<String> = found.iter().filter_map(|song| song.album.clone()).collect();
    let albums: Vec<String> = albums.into_iter().collect();
    let titles = store.get_all::<Album>(&albums).await?;
    let titles: BTreeMap<String, String> =
        titles.into_iter().flatten().map(|album| (album.album, album.title)).collect();
    let rank = |song: RankedSong| {
        let album = song.album.as_ref().and_then(|album| titles.get(album));
        let others = [Some(&song.display_artist), album].into_iter().flatten().map(String::as_str);
        Some((searched.closeness(&song.title, others)?, fold(&song.title), song.song))
    };
    Ok(best(found.into_iter().filter(|song| song.listed).filter_map(rank), limit))
}

/// The ids of the artists that match best.
async fn artists_by_words(
    store: &dyn ViewStore,
    searched: &Searched,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    by_words(store, searched, (ItemKind::Artist, limit), |artist: &Artist| {
        let others = artist.sort_name.as_deref();
        let closeness = artist.listed.then(|| searched.closeness(&artist.name, others))??;
        Some((closeness, fold(&artist.name)))
    })
    .await
}

/// The ids of the albums that match best.
async fn albums_by_words(
    store: &dyn ViewStore,
    searched: &Searched,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    by_words(store, searched, (ItemKind::Album, limit), |album: &Album| {
        let others = [Some(album.display_artist.as_str()), album.version.as_deref()].into_iter().flatten();
        let closeness = album.listed.then(|| searched.closeness(&album.title, others))??;
        Some((closeness, fold(&album.title)))
    })
    .await
}

/// The ids of the public playlists that match best.
async fn playlists_by_words(
    store: &dyn ViewStore,
    searched: &Searched,
    limit: usize,
) -> Result<Vec<String>, StoreError> {
    by_words(store, searched, (ItemKind::Playlist, limit), |playlist: &Playlist| {
        let closeness = playlist.listed.then(|| searched.closeness(&playlist.name, None))??;
        Some((closeness, fold(&playlist.name)))
    })
    .await
}

/// The ids of listed songs with a text as a part of their title or of the name of an artist, in any letter case.
async fn songs_by_part(store: &dyn ViewStore, part: &str, limit: usize) -> Result<Vec<String>, StoreError> {
    let folded = fold(part);
    if folded.is_empty() {
        return Ok(Vec::new());
    }
    let titles = List::Endings.query(ItemKind::Song, &folded, limit);
    let artists = List::Endings.query(ItemKind::Artist, &folded, SINGERS);
    let (titles, artists) = futures::try_join!(store.keys(&titles), store.keys(&artists))?;
    let item_of = |key: &String| parts_of_key(key).map(|(item, _)| item.to_owned());
    let mut seen = BTreeSet::new();
    let mut ids: Vec<String> =
        titles.iter().filter_map(item_of).filter(|id| seen.insert(id.clone())).collect();
    for artist in artists.iter().filter_map(item_of) {
        if ids.len() >= limit {
            break;
        }
        let equals = vec![artist.into(), true.into()];
        let query = Query::new(&song_artists::VIEW, &song_artists::OF_ARTIST, equals, SONGS_OF_SINGER);
        let found = store.page_of::<SongArtist>(query).await?.documents;
        ids.extend(found.into_iter().map(|credit| credit.song).filter(|id| seen.insert(id.clone())));
    }
    ids.truncate(limit);
    Ok(ids)
}

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(search))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchParams {
    /// Beginnings of words of a name, in any order and letter case, with or without accents. For songs, words of the artist
    /// and of the album count too.
    #[param(min_length = 1, max_length = 100, example = "royksopp ep")]
    q: String,
    /// Maximum number of items of each kind.
    #[param(value_type = usize, required = false, minimum = 1, maximum = 50, default = 20)]
    limit: Option<usize>,
}

/// The items found, best match of each kind first.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = MusicSearchResults)]
struct Found {
    songs: Vec<SongPage>,
    artists: Vec<ArtistPage>,
    albums: Vec<AlbumPage>,
    playlists: Vec<PlaylistSummary>,
}

impl Queries {
    /// The ids of listed songs with a text as a part of their title or of the name of an artist, in any letter case.
    pub async fn songs_by_part(&self, part: &str, limit: usize) -> Result<Vec<String>, Problem> {
        songs_by_part(&*self.store, part, limit).await.map_err(store_problem)
    }

    async fn search_music(
        &self,
        searched: &Searched,
        limit: usize,
        viewer: Option<Session>,
    ) -> Result<Found, Problem> {
        let (store, viewer) = (&*self.store, viewer.map(|session| session.user));
        let (songs, artists, albums, playlists) = futures::try_join!(
            songs_by_words(store, searched, limit),
            artists_by_words(store, searched, limit),
            albums_by_words(store, searched, limit),
            playlists_by_words(store, searched, limit),
        )
        .map_err(store_problem)?;
        let (artists, albums) = futures::try_join!(
            self.only_listed(artists, |artist| SongsOf::Artist(artist)),
            self.only_listed(albums, |album| SongsOf::Album(album)),
        )?;
        let (songs, artists, albums, playlists) = futures::try_join!(
            self.songs(&songs, viewer),
            async {
                let found = self.store.get_all::<Artist>(&artists).await.map_err(store_problem)?;
                self.show_artists(found, viewer).await
            },
            self.albums(&albums, viewer),
            async { self.store.get_all::<Playlist>(&playlists).await.map_err(store_problem) },
        )?;
        let listed = playlists.into_iter().flatten().filter(|playlist| playlist.listed);
        Ok(Found {
            songs: songs.into_iter().flatten().collect(),
            artists: artists.into_iter().flatten().collect(),
            albums: albums.into_iter().flatten().collect(),
            playlists: self.show_playlists(listed.collect()).await?,
        })
    }
}

/// Search songs, artists, albums and playlists
///
/// The exact name comes first, then names that begin with the text, then matches of whole words, then matches of beginnings of
/// words. Only listed songs and albums and public playlists are found.
#[utoipa::path(
    get, path = "/v1/search", tag = "search", security((), ("token" = [])), params(SearchParams, QueryHeaders),
    responses((status = 200, body = Found), (status = 304), Problems)
)]
async fn search(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    QueryString(SearchParams { q, limit }): QueryString<SearchParams>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let limit = limit_within(limit, DEFAULT_LIMIT, LIMIT)?;
    check("q", &q)?;
    let views = [
        VIEW.name,
        songs::VIEW.name,
        artists::VIEW.name,
        albums::VIEW.name,
        library::VIEW.name,
        playlists::VIEW.name,
        profiles::VIEW.name,
    ];
    let caught_up = queries.catch_up(&conditions, &views).await;
    let searched = Searched::of(&q);
    // A lone accent folds to an empty text.
    let found = match searched.is_empty() {
        true => Found::default(),
        false => queries.search_music(&searched, limit, viewer).await?,
    };
    answer(&conditions, caught_up, &found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use views::music::search::{Term, terms};
    use views::{Commit, SqliteViews, Writes};

    use super::*;

    /// A store with songs of these titles, by singers of the same numbers.
    async fn with_songs(folder: &tempfile::TempDir, titles: impl Iterator<Item = String>) -> SqliteViews {
        let store = SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap();
        let mut writes = Writes::default();
        for (number, title) in titles.enumerate() {
            let song = format!("{number:032x}");
            let display_artist = format!("Singer {number}");
            for (list, term) in terms(&title, &[&display_artist], false) {
                let (item, kind, shown) = (song.clone(), ItemKind::Song, true);
                writes.put(&Term { term, item, kind, list, shown, owner: None }).unwrap();
            }
            writes.put(&RankedSong { song, title, display_artist, album: None, listed: true }).unwrap();
        }
        let writes = Arc::new(writes.into_list());
        let (projection, parked) = ("songs", Vec::new());
        store.commit(Commit { projection, writes, parked, expected: 0, checkpoint: 1 }).await.unwrap();
        store
    }

    #[tokio::test]
    async fn words_of_more_songs_than_are_looked_up_are_found_together() {
        let folder = tempfile::tempdir().unwrap();
        let titles = (0..2 * ITEMS_OF_WORD).map(|number| format!("Dawn 77{number}"));
        let rest = (0..ITEMS_OF_WORD).map(|number| format!("Dusk {number}"));
        let store = with_songs(&folder, titles.chain(rest).chain(["Singer".to_owned()])).await;
        let found = async |text: &str, limit: usize| {
            let found = songs_by_words(&store, &Searched::of(text), limit).await.unwrap();
            found.into_iter().map(|id| usize::from_str_radix(&id, 16).unwrap()).collect::<Vec<_>>()
        };
        // Every song has the first word, and two thirds the second.
        assert_eq!(found("singer 77", 20).await.len(), 20);
        // By the beginning of their name, of the first names the shortest.
        assert_eq!(found("dawn 77", 3).await, [0, 1, 10]);
        // The name itself first, then others.
        let by_name = found("singer", 20).await;
        assert_eq!((by_name[0], by_name.len()), (3 * ITEMS_OF_WORD, 20));
        // One of the words tells all songs.
        assert_eq!(found("singer 771999", 5).await, [1999]);
    }

    #[test]
    fn exact_name_ranks_before_its_beginning_and_words_of_other_texts() {
        let closeness = |searched: &str, name: &str, others: &[&str]| {
            Searched::of(searched).closeness(name, others.iter().copied())
        };
        assert_eq!(closeness("mo", "MØ", &[]), Some(Closeness::Name));
        assert_eq!(closeness("mo", "Moby", &[]), Some(Closeness::BeginningOfName));
        assert_eq!(closeness("royksopp epple", "Eple", &["Röyksopp"]), None);
        assert_eq!(closeness("royksopp eple", "Eple", &["Röyksopp"]), Some(Closeness::WholeWords));
        assert_eq!(closeness("roy ep", "Eple", &["Röyksopp"]), Some(Closeness::BeginningsOfWords));
        assert_eq!(closeness("together come", "Come Together", &[]), Some(Closeness::WholeWordsOfName));
        assert_eq!(closeness("ac/dc", "Live", &["AC/DC"]), Some(Closeness::WholeWords));
        assert_eq!(closeness("don't", "Don’t", &[]), Some(Closeness::Name));
        assert_eq!(closeness("stop don’t", "Don't Stop", &[]), Some(Closeness::WholeWordsOfName));
        assert_eq!(closeness("dc", "Live", &["AC/DC"]), Some(Closeness::WholeWords));
        assert_eq!(closeness("京事", "東京事変", &[]), Some(Closeness::WholeWordsOfName));
        assert_eq!(closeness("京事変", "東京事変 Live", &[]), Some(Closeness::WholeWordsOfName));
        assert_eq!(closeness("変", "東京事変", &[]), Some(Closeness::WholeWordsOfName));
    }
}
