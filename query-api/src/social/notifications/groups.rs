//! The groups of a page, in order. The position of a group header is that of its newest activity. A stale header may
//! be too high: its activity may be deleted or its actor hidden. So stale headers are checked individually and sorted
//! by their actual position, which is never above the header's.

use std::cmp::Reverse;
use std::collections::HashSet;

use events::UserId;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use views::social::likes::{self, Like};
use views::social::notifications::{GroupHeader, Kind, OF_GROUP, OF_OWNER, Role, VIEW};
use views::social::posts::{self, Post};
use views::{Cursor, Document, Query, StoreError, StoredDocument, ViewStoreExt};

use crate::Queries;
use crate::reading::paging::COUNT_LIMIT;

/// Members read per group: the named ones, and enough that most groups need no count.
const READ_OF_GROUP: usize = 12;
/// Maximum number of stale headers per page: groups whose newest activity was removed and not followed by another
/// one. The lowest ones beyond the limit are not shown.
const STALE_LIMIT: usize = 500;
/// Groups read concurrently.
const TOGETHER: usize = 16;

/// A group with its newest members.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) header: GroupHeader,
    /// Newest first; never empty.
    pub(super) members: Vec<Member>,
    /// Whether there are more members.
    pub(super) has_more: bool,
    /// The position in the list.
    place: i64,
}

/// The common fields of a like, another activity and a group member.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) actor: String,
    pub(super) comment: Option<String>,
    #[serde(default)]
    pub(super) reason: Option<String>,
    pub(super) at: i64,
    pub(super) position: i64,
}

impl From<Like> for Member {
    fn from(like: Like) -> Self {
        Self { actor: like.user, comment: None, reason: None, at: like.liked, position: like.position }
    }
}

/// A range of header positions.
#[derive(Debug, Clone, Copy)]
struct Span {
    below: Option<i64>,
    above: Option<i64>,
}

impl Queries {
    /// The groups after a place, and the start of the next page, if any.
    pub(super) async fn groups(
        &self,
        owner: UserId,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<(Vec<Group>, Option<Cursor>), StoreError> {
        let below = after.as_ref().and_then(Cursor::number);
        let (fresh, next) = self.headers(owner, Role::Header, Span { below, above: None }, limit).await?;
        // Lower positions belong to later pages.
        let floor = next.as_ref().and_then(Cursor::number);
        let all_above = Span { below: None, above: floor };
        let (stale, _) = self.headers(owner, Role::StaleHeader, all_above, STALE_LIMIT).await?;
        let known: HashSet<String> = fresh.iter().map(|header| header.group.clone()).collect();
        let stale = stale.into_iter().filter(|header| !known.contains(&header.group));

        let headers = fresh.into_iter().chain(stale);
        let found: Vec<Option<Group>> =
            stream::iter(headers.map(|header| self.group(header))).buffered(TOGETHER).try_collect().await?;
        let is_here = |group: &Group| {
            below.is_none_or(|below| group.place < below) && floor.is_none_or(|floor| group.place >= floor)
        };
        let mut groups: Vec<Group> = found.into_iter().flatten().filter(is_here).collect();
        groups.sort_by_key(|group| Reverse(group.place));
        let next = if groups.len() > limit {
            groups.truncate(limit);
            groups.last().map(|group| Cursor::at(group.place, group.header.key()))
        } else {
            next
        };
        Ok((groups, next))
    }

    /// The highest headers of a role, and the place of the last one if there are more. Each header belongs to one
    /// event, so the position alone is a unique place.
    async fn headers(
        &self,
        owner: UserId,
        role: Role,
        span: Span,
        limit: usize,
    ) -> Result<(Vec<GroupHeader>, Option<Cursor>), StoreError> {
        let query = |view, index| {
            let after = span.below.map(|below| Cursor::at(below, String::new()));
            let query = Query::new(view, index, vec![json!(owner), json!(role)], limit).after(after);
            Query { above: span.above, ..query }
        };
        let liked = self.store.page_of::<Post>(query(&posts::VIEW, &posts::BY_NEWEST_LIKE));
        let others = self.store.page_of::<GroupHeader>(query(&VIEW, &OF_OWNER));
        let (others, liked) = futures::try_join!(others, liked)?;
        let has_more = others.next.is_some() || liked.next.is_some();
        let mut headers = others.documents;
        headers.extend(liked.documents.iter().filter_map(GroupHeader::of_likes));
        headers.sort_by_key(|header| Reverse(header.position));
        let has_more = has_more || headers.len() > limit;
        headers.truncate(limit);
        let last = headers.last().filter(|_| has_more);
        let last = last.map(|header| Cursor::at(header.position, header.key()));
        Ok((headers, last))
    }

    /// None if the group has no members.
    async fn group(&self, header: GroupHeader) -> Result<Option<Group>, StoreError> {
        // One of the likes may be the owner's own.
        let found = self.store.page(&of_group(&header, READ_OF_GROUP + 1)).await?;
        let mut members: Vec<Member> = if header.kind == Kind::Like {
            let likes = found.documents.iter().map(StoredDocument::read::<Like>);
            likes.map(|like| Ok(like?.into())).collect::<Result<_, StoreError>>()?
        } else {
            found.documents.iter().map(StoredDocument::read).collect::<Result<_, _>>()?
        };
        members.retain(|member| member.actor != header.owner);
        let has_more = found.next.is_some() || members.len() > READ_OF_GROUP;
        members.truncate(READ_OF_GROUP);
        let Some(newest) = members.first() else { return Ok(None) };
        // The header was read before the activities: a newer activity may have been added since.
        let place = if header.role == Role::Header { header.position } else { newest.position };
        Ok(Some(Group { header, members, has_more, place }))
    }

    /// The number of members of a group, without its owner.
    pub(super) async fn people_in(&self, header: &GroupHeader) -> Result<usize, StoreError> {
        let own = match header.post.as_ref().filter(|_| header.kind == Kind::Like) {
            Some(post) => {
                let own = self.store.get::<Like>(&likes::key(post, &header.owner)).await?;
                usize::from(own.is_some())
            }
            None => 0,
        };
        let counted = self.store.count(&of_group(header, COUNT_LIMIT + own)).await?;
        Ok(usize::try_from(counted).unwrap_or(COUNT_LIMIT).saturating_sub(own))
    }
}

fn of_group(header: &GroupHeader, limit: usize) -> Query {
    let role = json!(header.kind.member_role());
    match &header.post {
        Some(post) if header.kind == Kind::Like => {
            Query::new(&likes::VIEW, &likes::BY_POST, vec![json!(post), role], limit)
        }
        _ => Query::new(&VIEW, &OF_GROUP, vec![json!(header.group), role], limit),
    }
}
