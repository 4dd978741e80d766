//! Posts in the order they were published in, the newest first, without those that may not be seen. A page is full all
//! the same: what is passed over is made up for by what comes after it.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use views::accounts::profiles::{self, Profile, Standing};
use views::social::feeds::{self, BY_OWNER, Entry, OF_AUTHOR, Published, SOURCES, Source, TO_MERGE};
use views::social::posts::{self, BY_AUTHOR, NEWEST, Post};
use views::{Cursor, Document, Index, Query, StoreError, ViewStore, ViewStoreExt};

/// Stretches looked at for one page. The last are as long as may be: only somebody whose thousands of posts in a row may
/// not be seen leaves a page that is not full, and even then its link leads on.
const STRETCHES: usize = 12;
/// Posts in one stretch at most.
const STRETCH_LIMIT: usize = 1000;
/// Sources of a home read at once.
const SOURCES_AT_ONCE: usize = 20;
/// Lists merged into a home that are read side by side.
const SIDE_BY_SIDE: usize = 16;

/// A list of posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeline<'a> {
    /// Everybody's.
    Newest,
    /// Those of one author.
    Of(&'a str),
    /// Those of one user and of whom they follow.
    Home(&'a str),
}

/// A page of posts that may be seen.
#[derive(Debug, Default)]
pub struct TimelinePage {
    pub posts: Vec<Post>,
    /// Those who made them.
    pub authors: HashMap<String, Profile>,
    /// The next page holds what stands below this position; none if this is the last.
    pub next: Option<i64>,
}

/// A post that is in a list, whether it may be seen or not.
struct Candidate {
    position: i64,
    author: String,
    post: String,
    /// Where it has been read already.
    read: Option<Post>,
}

/// A part of a list, in order.
struct Stretch {
    candidates: Vec<Candidate>,
    /// The stretch holds everything down to and including this position; none if the list ends with it.
    down_to: Option<i64>,
}

/// People looked up for one page: none where they may not be seen.
#[derive(Default)]
struct People(HashMap<String, Option<Profile>>);

impl Timeline<'_> {
    /// The index whose cursors the list is paged by.
    pub(crate) const fn index(&self) -> &'static Index {
        match self {
            Self::Newest => &NEWEST,
            Self::Of(_) => &BY_AUTHOR,
            Self::Home(_) => &BY_OWNER,
        }
    }

    /// The posts that stand below a position (from the top if none is given), at most so many.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn page(
        &self,
        store: &dyn ViewStore,
        below: Option<i64>,
        limit: usize,
    ) -> Result<TimelinePage, StoreError> {
        let mut below = match below {
            Some(position) => position,
            None => self.top(store).await?,
        };
        let mut people = People::default();
        if let Self::Of(author) = *self {
            people.see(store, std::iter::once(author)).await?;
            if !people.may_be_seen(author) {
                return Ok(TimelinePage::default());
            }
        }
        let mut seen: Vec<Post> = Vec::new();
        // One more than is wanted tells whether there is a next page.
        let mut length = limit + 1;
        for _ in 0..STRETCHES {
            let Stretch { candidates, down_to } = self.stretch(store, below, length).await?;
            people.see(store, candidates.iter().map(|candidate| candidate.author.as_str())).await?;
            people.keep_visible(store, candidates, &mut seen, limit + 1).await?;
            if seen.len() > limit {
                seen.truncate(limit);
                let next = seen.last().map(|post| post.position);
                return Ok(people.page(seen, next));
            }
            match down_to {
                None => return Ok(people.page(seen, None)),
                Some(position) => below = position,
            }
            length = (2 * length).min(STRETCH_LIMIT);
        }
        Ok(people.page(seen, Some(below)))
    }

    /// Just above the newest post that every view has taken in: a home is read piece by piece, and a post that arrives in
    /// between would else be seen before one that was published earlier.
    async fn top(&self, store: &dyn ViewStore) -> Result<i64, StoreError> {
        match self {
            Self::Newest | Self::Of(_) => Ok(i64::MAX),
            Self::Home(_) => {
                let (fed, shown, known) = futures::try_join!(
                    store.checkpoint(feeds::PROJECTION),
                    store.checkpoint(posts::VIEW.name),
                    store.checkpoint(profiles::VIEW.name),
                )?;
                Ok(i64::try_from(fed.min(shown).min(known)).unwrap_or(i64::MAX).saturating_add(1))
            }
        }
    }

    async fn stretch(&self, store: &dyn ViewStore, below: i64, length: usize) -> Result<Stretch, StoreError> {
        let query = match self {
            Self::Newest => Query::new(&posts::VIEW, &NEWEST, Vec::new(), length),
            Self::Of(author) => Query::new(&posts::VIEW, &BY_AUTHOR, vec![json!(author)], length),
            Self::Home(owner) => return home(store, owner, below, length).await,
        };
        let place = (below < i64::MAX).then(|| Cursor::below(below));
        let page = store.page_of::<Post>(query.after(place)).await?;
        let down_to = page.next.and(page.documents.last()).map(|post| post.position);
        Ok(Stretch { candidates: page.documents.into_iter().map(Candidate::from).collect(), down_to })
    }
}

/// Those of these posts that are there and may be seen, in their order, with their authors.
pub(crate) async fn visible(store: &dyn ViewStore, posts: &[String]) -> Result<TimelinePage, StoreError> {
    let found: Vec<Post> = store.get_all::<Post>(posts).await?.into_iter().flatten().collect();
    let mut people = People::default();
    people.see(store, found.iter().map(|post| post.author.as_str())).await?;
    let seen = found.into_iter().filter(|post| !post.removed && people.may_be_seen(&post.author)).collect();
    Ok(people.page(seen, None))
}

/// What stands in a home, merged with what need not.
async fn home(store: &dyn ViewStore, owner: &str, below: i64, length: usize) -> Result<Stretch, StoreError> {
    let own = entries::<Entry>(store, &BY_OWNER, owner, below, length).await?;
    let to_merge = sources_merged_above(store, owner, own.down_to.unwrap_or(0)).await?;
    let merged: Vec<Stretch> = stream::iter(to_merge)
        .map(|source| async move {
            let below = below.min(source.merged_below);
            entries::<Published>(store, &OF_AUTHOR, &source.author, below, length).await
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let lists = || merged.iter().chain([&own]);
    // Where one list was cut off, what the others have further down is not known to come next.
    let down_to = lists().filter_map(|list| list.down_to).max();
    let mut candidates: Vec<Candidate> =
        merged.into_iter().chain([own]).flat_map(|list| list.candidates).collect();
    candidates.retain(|candidate| down_to.is_none_or(|end| candidate.position >= end));
    candidates.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.position));
    // What was put into the home and is merged all the same.
    candidates.dedup_by_key(|candidate| candidate.position);
    Ok(Stretch { candidates, down_to })
}

/// What one person has in a list.
async fn entries<T: Document + Into<Candidate>>(
    store: &dyn ViewStore,
    index: &'static Index,
    of: &str,
    below: i64,
    length: usize,
) -> Result<Stretch, StoreError> {
    let query = Query::new(T::VIEW, index, vec![json!(of)], length).after(Some(Cursor::below(below)));
    let page = store.page_of::<T>(query).await?;
    let next = page.next;
    let candidates: Vec<Candidate> = page.documents.into_iter().map(Into::into).collect();
    let down_to = next.and(candidates.last()).map(|candidate| candidate.position);
    Ok(Stretch { candidates, down_to })
}

/// The sources of a home that have something to merge above a position: few, since a source that is merged below its
/// newest posts is asked only by who has read past all of those, and authors with very many followers are few.
async fn sources_merged_above(
    store: &dyn ViewStore,
    owner: &str,
    position: i64,
) -> Result<Vec<Source>, StoreError> {
    let mut sources = Vec::new();
    let mut after = None;
    loop {
        let query = Query::new(&SOURCES, &TO_MERGE, vec![json!(owner)], SOURCES_AT_ONCE).after(after);
        let page = store.page_of::<Source>(query).await?;
        let wanted = |source: &Source| source.merged_below > position;
        after = page.next.filter(|_| page.documents.iter().all(wanted));
        sources.extend(page.documents.into_iter().filter(wanted));
        if after.is_none() {
            return Ok(sources);
        }
    }
}

impl People {
    async fn see<'a>(
        &mut self,
        store: &dyn ViewStore,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<(), StoreError> {
        let unknown: HashSet<&str> = ids.filter(|id| !self.0.contains_key(*id)).collect();
        let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
        let found = store.get_all::<Profile>(&unknown).await?;
        let active = |profile: &Profile| profile.standing == Standing::Active;
        self.0.extend(unknown.into_iter().zip(found.into_iter().map(|found| found.filter(active))));
        Ok(())
    }

    fn may_be_seen(&self, author: &str) -> bool {
        self.0.get(author).is_some_and(Option::is_some)
    }

    /// Adds those that may be seen, until there are so many.
    async fn keep_visible(
        &self,
        store: &dyn ViewStore,
        candidates: Vec<Candidate>,
        seen: &mut Vec<Post>,
        enough: usize,
    ) -> Result<(), StoreError> {
        let visible = candidates.into_iter().filter(|candidate| self.may_be_seen(&candidate.author));
        let mut visible = visible.peekable();
        while seen.len() < enough && visible.peek().is_some() {
            let (mut read, mut unread) = (HashMap::new(), Vec::new());
            let next: Vec<String> = visible
                .by_ref()
                .take(enough - seen.len())
                .map(|Candidate { post, read: found, .. }| {
                    match found {
                        Some(found) => drop(read.insert(post.clone(), found)),
                        None => unread.push(post.clone()),
                    }
                    post
                })
                .collect();
            let found = store.get_all::<Post>(&unread).await?;
            read.extend(found.into_iter().flatten().map(|post| (post.post.clone(), post)));
            seen.extend(next.iter().filter_map(|post| read.remove(post)).filter(|post| !post.removed));
        }
        Ok(())
    }

    fn page(self, posts: Vec<Post>, next: Option<i64>) -> TimelinePage {
        let mut authors: HashMap<String, Profile> = HashMap::new();
        let mut people = self.0;
        for post in &posts {
            if let Some(profile) = people.remove(&post.author).flatten() {
                authors.insert(post.author.clone(), profile);
            }
        }
        TimelinePage { posts, authors, next }
    }
}

impl From<Post> for Candidate {
    fn from(post: Post) -> Self {
        let (position, author) = (post.position, post.author.clone());
        Self { position, author, post: post.post.clone(), read: Some(post) }
    }
}

impl From<Entry> for Candidate {
    fn from(Entry { position, author, post, .. }: Entry) -> Self {
        Self { position, author, post, read: None }
    }
}

impl From<Published> for Candidate {
    fn from(Published { position, author, post }: Published) -> Self {
        Self { position, author, post, read: None }
    }
}
