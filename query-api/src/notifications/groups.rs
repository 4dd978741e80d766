//! Which groups a page consists of, in their order. A head that is settled stands where its group's newest act is. One
//! that is not stands too high: its act may have been taken back, or whoever did it is away. So those are looked at one by
//! one, and put where they belong: below their head, never above.

use std::collections::HashSet;

use events::UserId;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use views::notifications::{Head, OF_GROUP, OF_OWNER, Role, VIEW};
use views::{Cursor, Document, Query, StoreError, ViewStoreExt};

use crate::Queries;
use crate::paging::COUNT_LIMIT;

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

/// What an act and a voice have in common.
#[derive(Debug, Deserialize)]
pub(super) struct Spoken {
    pub(super) actor: String,
    pub(super) comment: Option<String>,
    pub(super) at: i64,
    pub(super) position: i64,
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
        let heads = |role: Role, limit| Query::new(&VIEW, &OF_OWNER, vec![json!(owner), json!(role)], limit);
        let settled = self.store.page_of::<Head>(heads(Role::Head, limit).after(after)).await?;
        // What stands lower than the last of these belongs on a later page.
        let floor = settled.next.as_ref().and_then(Cursor::number);
        let mut unsettled = heads(Role::HeadUnsettled, UNSETTLED_LIMIT);
        unsettled.above = floor;
        let unsettled = self.store.page_of::<Head>(unsettled).await?.documents;
        let known: HashSet<String> = settled.documents.iter().map(|head| head.stands_for.clone()).collect();
        let unsettled = unsettled.into_iter().filter(|head| !known.contains(&head.stands_for));

        let heads = settled.documents.into_iter().chain(unsettled);
        let found: Vec<Option<Group>> =
            stream::iter(heads.map(|head| self.group(head))).buffered(TOGETHER).try_collect().await?;
        let is_here = |group: &Group| {
            below.is_none_or(|below| group.place < below) && floor.is_none_or(|floor| group.place >= floor)
        };
        let mut groups: Vec<Group> = found.into_iter().flatten().filter(is_here).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.place));
        let next = if groups.len() > limit {
            groups.truncate(limit);
            groups.last().map(|group| Cursor::at(group.place, group.head.key()))
        } else {
            settled.next
        };
        Ok((groups, next))
    }

    /// None if nobody is left in it.
    async fn group(&self, head: Head) -> Result<Option<Group>, StoreError> {
        let found = self.store.page(&of_group(&head, READ_OF_GROUP)).await?;
        let voices: Vec<Spoken> =
            found.documents.iter().map(views::StoredDocument::read).collect::<Result<_, _>>()?;
        let Some(newest) = voices.first() else { return Ok(None) };
        // A settled head was there before its newest act was read: another may have come since.
        let place = if head.role == Role::Head { head.position } else { newest.position };
        Ok(Some(Group { head, has_more: found.next.is_some(), voices, place }))
    }

    /// How many people there are in a group.
    pub(super) async fn people_in(&self, head: &Head) -> Result<usize, StoreError> {
        let counted = self.store.count(&of_group(head, COUNT_LIMIT)).await?;
        Ok(usize::try_from(counted).unwrap_or(COUNT_LIMIT))
    }
}

fn of_group(head: &Head, limit: usize) -> Query {
    Query::new(&VIEW, &OF_GROUP, vec![json!(head.stands_for), json!(head.kind.voices())], limit)
}
