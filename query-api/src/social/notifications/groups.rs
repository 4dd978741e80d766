//! Which groups a page consists of, in their order. A head that is settled stands where its group's newest act is. One
//! that is not stands too high: its act may have been taken back, or whoever did it is away. So those are looked at one by
//! one, and put where they belong: below their head, never above.

use std::cmp::Reverse;
use std::collections::HashSet;

use events::UserId;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use views::social::likes::{self, Like};
use views::social::notifications::{Head, Kind, OF_GROUP, OF_OWNER, Role, VIEW};
use views::social::posts::{self, Post};
use views::{Cursor, Document, Query, StoreError, StoredDocument, ViewStoreExt};

use crate::Queries;
use crate::reading::paging::COUNT_LIMIT;

/// People read of each group: those who are named, and so many that most groups need not be counted.
const READ_OF_GROUP: usize = 12;
/// Heads looked at that stand too high to belong where they are: of so many groups the last that happened was taken back,
/// and nothing since. The lowest of more are not told.
const UNSETTLED_LIMIT: usize = 500;
/// Groups looked at together.
const TOGETHER: usize = 16;

/// A group with its newest people.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) head: Head,
    /// The newest first; never empty.
    pub(super) voices: Vec<Spoken>,
    /// There are more.
    pub(super) has_more: bool,
    /// Where it stands in the list.
    place: i64,
}

/// What a like, another act and a voice have in common.
#[derive(Debug, Deserialize)]
pub(super) struct Spoken {
    pub(super) actor: String,
    pub(super) comment: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    pub(super) at: i64,
    pub(super) position: i64,
}

impl From<Like> for Spoken {
    fn from(like: Like) -> Self {
        Self { actor: like.user, comment: None, reason: None, at: like.liked, position: like.position }
    }
}

/// Between which places to look for heads.
#[derive(Debug, Clone, Copy)]
struct Span {
    below: Option<i64>,
    above: Option<i64>,
}

impl Queries {
    /// The groups after a place, and where the next ones begin, if there are any.
    pub(super) async fn groups(
        &self,
        owner: UserId,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Group>, Option<Cursor>), StoreError> {
        let below = after.as_ref().and_then(Cursor::number);
        let (settled, next) = self.heads(owner, Role::Head, Span { below, above: None }, limit).await?;
        // What stands lower than the last of these belongs on a later page.
        let floor = next.as_ref().and_then(Cursor::number);
        let all_above = Span { below: None, above: floor };
        let (unsettled, _) = self.heads(owner, Role::HeadUnsettled, all_above, UNSETTLED_LIMIT).await?;
        let known: HashSet<String> = settled.iter().map(|head| head.stands_for.clone()).collect();
        let unsettled = unsettled.into_iter().filter(|head| !known.contains(&head.stands_for));

        let heads = settled.into_iter().chain(unsettled);
        let found: Vec<Option<Group>> =
            stream::iter(heads.map(|head| self.group(head))).buffered(TOGETHER).try_collect().await?;
        let is_here = |group: &Group| {
            below.is_none_or(|below| group.place < below) && floor.is_none_or(|floor| group.place >= floor)
        };
        let mut groups: Vec<Group> = found.into_iter().flatten().filter(is_here).collect();
        groups.sort_by_key(|group| Reverse(group.place));
        let next = if groups.len() > limit {
            groups.truncate(limit);
            groups.last().map(|group| Cursor::at(group.place, group.head.key()))
        } else {
            next
        };
        Ok((groups, next))
    }

    /// The highest heads of a role, of likes and of all else, and the place of the last if there are more. No two are of one
    /// event, so that a place alone says where to go on.
    async fn heads(
        &self,
        owner: UserId,
        role: Role,
        span: Span,
        limit: usize,
    ) -> Result<(Vec<Head>, Option<Cursor>), StoreError> {
        let query = |view, index| {
            let after = span.below.map(|below| Cursor::at(below, String::new()));
            let query = Query::new(view, index, vec![json!(owner), json!(role)], limit).after(after);
            Query { above: span.above, ..query }
        };
        let liked = self.store.page_of::<Post>(query(&posts::VIEW, &posts::TOLD));
        let (said, liked) = futures::try_join!(self.store.page_of::<Head>(query(&VIEW, &OF_OWNER)), liked)?;
        let has_more = said.next.is_some() || liked.next.is_some();
        let mut heads = said.documents;
        heads.extend(liked.documents.iter().filter_map(Head::of_likes));
        heads.sort_by_key(|head| Reverse(head.position));
        let has_more = has_more || heads.len() > limit;
        heads.truncate(limit);
        let last = heads.last().filter(|_| has_more).map(|head| Cursor::at(head.position, head.key()));
        Ok((heads, last))
    }

    /// None if nobody is left in it.
    async fn group(&self, head: Head) -> Result<Option<Group>, StoreError> {
        // One may be the owner's own like.
        let found = self.store.page(&of_group(&head, READ_OF_GROUP + 1)).await?;
        let mut voices: Vec<Spoken> = if head.kind == Kind::Like {
            let likes = found.documents.iter().map(StoredDocument::read::<Like>);
            likes.map(|like| Ok(like?.into())).collect::<Result<_, StoreError>>()?
        } else {
            found.documents.iter().map(StoredDocument::read).collect::<Result<_, _>>()?
        };
        voices.retain(|voice| voice.actor != head.owner);
        let has_more = found.next.is_some() || voices.len() > READ_OF_GROUP;
        voices.truncate(READ_OF_GROUP);
        let Some(newest) = voices.first() else { return Ok(None) };
        // A settled head was there before its newest act was read: another may have come since.
        let place = if head.role == Role::Head { head.position } else { newest.position };
        Ok(Some(Group { head, voices, has_more, place }))
    }

    /// How many people there are in a group, but for its owner.
    pub(super) async fn people_in(&self, head: &Head) -> Result<usize, StoreError> {
        let own = match head.post.as_ref().filter(|_| head.kind == Kind::Like) {
            Some(post) => {
                let own = self.store.get::<Like>(&likes::key(post, &head.owner)).await?;
                usize::from(own.is_some())
            }
            None => 0,
        };
        let counted = self.store.count(&of_group(head, COUNT_LIMIT + own)).await?;
        Ok(usize::try_from(counted).unwrap_or(COUNT_LIMIT).saturating_sub(own))
    }
}

fn of_group(head: &Head, limit: usize) -> Query {
    let role = json!(head.kind.voices());
    match &head.post {
        Some(post) if head.kind == Kind::Like => {
            Query::new(&likes::VIEW, &likes::BY_POST, vec![json!(post), role], limit)
        }
        _ => Query::new(&VIEW, &OF_GROUP, vec![json!(head.stands_for), role], limit),
    }
}
