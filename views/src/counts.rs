//! The numbers in documents that equal lists of other documents. Projections keep them event by event; `chorus verify` counts
//! again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;

use futures::{Stream, TryStreamExt, stream};
use serde_json::{Map, Value};

use crate::music::library::{self, LibraryEntry};
use crate::music::listening::{self, ALL_TIME, Play};
use crate::music::playlists::{self, Entry};
use crate::music::song_genres::SongGenre;
use crate::music::{genres, song_genres};
use crate::social::comments::{self, Comment};
use crate::social::follows::{self, Follow};
use crate::social::likes::{self, Like};
use crate::social::notifications::Role;
use crate::social::posts;
use crate::{StoreError, StoredDocument, View, ViewStore};

/// A number in the documents of a view. The view and the one that is counted belong to one family.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    pub view: &'static View,
    pub field: &'static str,
    /// The view whose documents are counted.
    pub over: &'static View,
    /// The keys of the documents that count this one, each with what it adds to the number. None for other types of documents of
    /// the view.
    pub adds: fn(&StoredDocument) -> Vec<(String, i64)>,
}

/// All numbers that can be counted again.
pub const COUNTS: &[Count] = &[
    Count {
        view: &posts::VIEW,
        field: "likes",
        over: &likes::VIEW,
        adds: |document| {
            let like = document.read::<Like>().ok().filter(|like| like.role == Role::Activity);
            one(like.map(|like| like.post))
        },
    },
    Count {
        view: &comments::VIEW,
        field: "comments",
        over: &comments::VIEW,
        adds: |document| one(shown(document).map(|comment| comments::tally_of(&comment.post))),
    },
    Count {
        view: &comments::VIEW,
        field: "replies",
        over: &comments::VIEW,
        adds: |document| one(shown(document).and_then(|comment| comment.reply_to)),
    },
    Count {
        view: &follows::VIEW,
        field: "followers",
        over: &follows::VIEW,
        adds: |document| {
            let follow = accepted(document).filter(|follow| follow.follower_active);
            one(follow.map(|follow| follow.followee))
        },
    },
    Count {
        view: &follows::VIEW,
        field: "followings",
        over: &follows::VIEW,
        adds: |document| {
            let follow = accepted(document).filter(|follow| follow.followee_active);
            one(follow.map(|follow| follow.follower))
        },
    },
    Count {
        view: &library::VIEW,
        field: "users",
        over: &library::VIEW,
        adds: |document| {
            let entry = document.read::<LibraryEntry>().ok().filter(|entry| entry.shown);
            one(entry.map(|entry| entry.item))
        },
    },
    Count {
        view: &genres::VIEW,
        field: "songs",
        over: &song_genres::VIEW,
        adds: |document| {
            let song = document.read::<SongGenre>().ok().filter(|song| song.listed);
            one(song.map(|song| song.genre))
        },
    },
    Count {
        view: &playlists::VIEW,
        field: "entries",
        over: &playlists::ENTRIES,
        adds: |document| {
            let entry = document.read::<Entry>().ok().filter(|entry| !entry.removed);
            one(entry.map(|entry| entry.playlist))
        },
    },
    Count {
        view: &listening::SONGS,
        field: "plays",
        over: &listening::VIEW,
        adds: |document| of_periods(document, song_key, |_| 1),
    },
    Count {
        view: &listening::SONGS,
        field: "listened",
        over: &listening::VIEW,
        adds: |document| of_periods(document, song_key, |play| play.listened),
    },
    Count {
        view: &listening::TOTALS,
        field: "plays",
        over: &listening::VIEW,
        adds: |document| of_periods(document, total_key, |_| 1),
    },
    Count {
        view: &listening::TOTALS,
        field: "listened",
        over: &listening::VIEW,
        adds: |document| of_periods(document, total_key, |play| play.listened),
    },
];

fn one(key: Option<String>) -> Vec<(String, i64)> {
    key.map(|key| (key, 1)).into_iter().collect()
}

fn shown(document: &StoredDocument) -> Option<Comment> {
    document.read::<Comment>().ok().filter(|comment| comment.shown)
}

fn accepted(document: &StoredDocument) -> Option<Follow> {
    document.read::<Follow>().ok().filter(|follow| follow.accepted)
}

fn song_key(play: &Play, period: &str) -> String {
    listening::song_key(&play.user, period, &play.song)
}

fn total_key(play: &Play, period: &str) -> String {
    listening::total_key(&play.user, period)
}

/// A play counts in its year and over all time.
fn of_periods(
    document: &StoredDocument,
    key: fn(&Play, &str) -> String,
    amount: fn(&Play) -> i64,
) -> Vec<(String, i64)> {
    let Ok(play) = document.read::<Play>() else { return Vec::new() };
    let periods = [ALL_TIME.to_owned(), play.year.to_string()];
    periods.iter().map(|period| (key(&play, period), amount(&play))).collect()
}

/// Counted documents that are held in memory at the same time; more take further passes over the lists.
const AT_ONCE: u64 = 1_000_000;
/// Documents per page.
const PAGE: usize = 1000;

/// A number that does not equal its list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongCount {
    pub view: &'static View,
    pub key: String,
    pub field: &'static str,
    pub stored: i64,
    pub counted: i64,
}

impl Count {
    /// Counts again, in a store that does not change meanwhile. Finds at most this many wrong numbers.
    ///
    /// # Errors
    /// If the store cannot be read, or a number is none.
    pub async fn wrong(&self, store: &dyn ViewStore, limit: usize) -> Result<Vec<WrongCount>, StoreError> {
        let documents = store.sizes().await?.get(self.view.name).map_or(0, |size| size.documents);
        let parts = documents.div_ceil(AT_ONCE).max(1);
        let mut wrong = Vec::new();
        for part in 0..parts {
            let is_in_part = |key: &str| hash(key) % parts == part;
            let mut counted: HashMap<String, i64> = HashMap::new();
            let mut lists = pin!(scan(store, self.over));
            while let Some(document) = lists.try_next().await? {
                for (key, amount) in (self.adds)(&document) {
                    if is_in_part(&key) {
                        *counted.entry(key).or_default() += amount;
                    }
                }
            }
            let mut numbers = pin!(scan(store, self.view));
            while let Some(document) = numbers.try_next().await?
                && wrong.len() < limit
            {
                if !is_in_part(&document.key) {
                    continue;
                }
                let mut fields: Map<String, Value> = document.read()?;
                // A view may have documents of other types.
                let Some(number) = fields.remove(self.field) else { continue };
                let stored = number.as_i64().ok_or_else(|| {
                    StoreError::corrupt(format!(
                        "{} of the document {} is no number",
                        self.field, document.key
                    ))
                })?;
                let counted = counted.get(&document.key).copied().unwrap_or(0);
                if stored != counted {
                    let (view, field, key) = (self.view, self.field, document.key);
                    wrong.push(WrongCount { view, key, field, stored, counted });
                }
            }
        }
        Ok(wrong)
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// All documents of a view.
fn scan(
    store: &dyn ViewStore,
    view: &'static View,
) -> impl Stream<Item = Result<StoredDocument, StoreError>> {
    let pages = stream::try_unfold(Some(None), move |after: Option<Option<String>>| async move {
        let Some(after) = after else { return Ok::<_, StoreError>(None) };
        let page = store.scan(view, after.as_deref(), PAGE).await?;
        let next = page.last().filter(|_| page.len() == PAGE).map(|last| Some(last.key.clone()));
        Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
    });
    pages.try_flatten()
}
