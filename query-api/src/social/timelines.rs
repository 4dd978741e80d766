//! Visible posts in order of publication, newest first. Pages are full: invisible posts are replaced by later ones.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use views::accounts::profiles::{self, AccountStatus, Profile};
use views::social::feeds::{self, BY_OWNER, Entry, OF_AUTHOR, Published, SOURCES, Source, TO_MERGE};
use views::social::posts::{self, BY_AUTHOR, NEWEST, Post};
use views::{Cursor, Document, Index, Query, StoreError, ViewStore, ViewStoreExt};

/// Maximum number of stretches read per page. The last ones have maximum length, so a page is only partial after
/// thousands of consecutive invisible posts, and even then its link continues.
const STRETCHES: usize = 12;
/// Maximum number of posts per stretch.
const STRETCH_LIMIT: usize = 1000;
/// Sources of a home per read.
const SOURCES_AT_ONCE: usize = 20;
/// Lists merged into a home that are read concurrently.
const SIDE_BY_SIDE: usize = 16;

/// A list of posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeline<'a> {
    /// All posts.
    Newest,
    /// The posts of one author.
    Of(&'a str),
    /// The posts of a user and the users they follow.
    Home(&'a str),
}

/// A page of visible posts.
#[derive(Debug, Default)]
pub struct TimelinePage {
    pub posts: Vec<Post>,
    /// Their authors.
    pub authors: HashMap<String, Profile>,
    /// The next page starts below this position; none on the last page.
    pub next: Option<i64>,
}

/// A listed post, visible or not.
struct Candidate {
    position: i64,
    author: String,
    post: String,
    /// The position up to which the list has been read.
    read: Option<Post>,
}

/// A part of a list, in order.
struct Stretch {
    candidates: Vec<Candidate>,
    /// The stretch contains everything down to this position, inclusive; none at the end of the list.
    down_to: Option<i64>,
}

/// Users looked up for a page: none if they are invisible.
#[derive(Default)]
struct People(HashMap<String, Option<Profile>>);

impl Timeline<'_> {
    /// The index for cursors of this list.
    pub(crate) const fn index(&self) -> &'static Index {
        match self {
            Self::Newest => &NEWEST,
            Self::Of(_) => &BY_AUTHOR,
            Self::Home(_) => &BY_OWNER,
        }
    }

    /// The posts below a position (or from the top), up to a limit.
    ///
    /// # Errors
    /// If the store is unavailable.
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
        // One more post reveals whether there is a next page.
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

    /// Just above the newest post that all views contain. A home is read from several views, so a post that arrives
    /// meanwhile could otherwise appear before an earlier one.
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

/// The visible ones of these posts, in order, with their authors.
pub(crate) async fn visible(store: &dyn ViewStore, posts: &[String]) -> Result<TimelinePage, StoreError> {
    let found: Vec<Post> = store.get_all::<Post>(posts).await?.into_iter().flatten().collect();
    let mut people = People::default();
    people.see(store, found.iter().map(|post| post.author.as_str())).await?;
    let seen = found.into_iter().filter(|post| !post.removed && people.may_be_seen(&post.author)).collect();
    Ok(people.page(seen, None))
}

/// The entries of a home, merged with the posts that are not fanned out.
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
    // Below the end of a truncated list, the other lists may miss posts in between.
    let down_to = lists().filter_map(|list| list.down_to).max();
    let mut candidates: Vec<Candidate> =
        merged.into_iter().chain([own]).flat_map(|list| list.candidates).collect();
    candidates.retain(|candidate| down_to.is_none_or(|end| candidate.position >= end));
    candidates.sort_unstable_by_key(|candidate| std::cmp::Reverse(candidate.position));
    // Posts that are both in the home and merged.
    candidates.dedup_by_key(|candidate| candidate.position);
    Ok(Stretch { candidates, down_to })
}

/// The posts of one author in a list.
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

/// The sources of a home to merge above a position. They are few: other sources are only merged by readers who have
/// passed all backfilled posts, and authors with very many followers are few.
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
        let active = |profile: &Profile| profile.status == AccountStatus::Active;
        self.0.extend(unknown.into_iter().zip(found.into_iter().map(|found| found.filter(active))));
        Ok(())
    }

    fn may_be_seen(&self, author: &str) -> bool {
        self.0.get(author).is_some_and(Option::is_some)
    }

    /// Adds visible posts up to the limit.
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
