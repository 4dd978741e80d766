//! What I am told of that others did, in groups: "Ann and 12 others liked your photo".

mod groups;

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::UserId;
use media::ImageVariant;
use resources::Person;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::comments::{self, Comment};
use views::social::likes::{self, Like};
use views::social::notifications::{Act, Kind, Mark, OF_OWNER, Role, VIEW, mark_of};
use views::social::posts::{self, Post};
use views::{Query, StoreError, ViewStoreExt};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use self::groups::Group;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{COUNT_LIMIT, PageOf, PageParams, Paging, ROUNDS};
use crate::{Queries, store_problem};

const VIEWS: [&str; 4] = [VIEW.name, profiles::VIEW.name, posts::VIEW.name, comments::VIEW.name];
/// People of a group that are named; the others are counted.
const NAMED: usize = 3;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_notifications)).routes(routes!(count_unread_notifications))
}

/// What some people did, told as one.
#[derive(Debug, Serialize, ToSchema)]
struct Notification {
    /// The same for as long as there is anything to tell; more of the same kind joins it.
    id: String,
    kind: NotificationKind,
    /// Up to three people, whoever did it last first.
    people: Vec<Person>,
    /// How many there are beside those; 9,997 stands for more, too.
    others: u64,
    /// What it is about; null for follows and for removed stories.
    post: Option<AboutPost>,
    /// Id of the newest comment or reply, or of the comment that was removed.
    comment: Option<String>,
    /// What that comment or reply says; null where it is gone or was removed.
    text: Option<String>,
    /// Why a moderator removed it; null for all else.
    reason: Option<String>,
    /// Whether any of it has happened since I last read.
    unread: bool,
    /// Of the newest of it: send it as `up_to` once this has been read.
    position: i64,
    at: DateTime<Utc>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NotificationKind {
    /// My post was liked.
    Like,
    /// Something was said under my post.
    Comment,
    /// My comment was answered.
    Reply,
    Follow,
    /// Somebody asks to follow me.
    FollowRequest,
    /// A moderator removed something of mine; `people` is empty.
    ContentRemoved,
}

impl From<Kind> for NotificationKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Like => Self::Like,
            Kind::Comment => Self::Comment,
            Kind::Reply => Self::Reply,
            Kind::Follow => Self::Follow,
            Kind::FollowRequest => Self::FollowRequest,
            Kind::ContentRemoved => Self::ContentRemoved,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NotifiedPost)]
struct AboutPost {
    id: String,
    /// URL of a square of 320 of its first picture; null where it may not be seen.
    thumb: Option<String>,
}

/// What I have not read yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnreadCount)]
struct Unread {
    /// Single likes, comments, replies and follows; 10,000 stands for more, too.
    count: u64,
    /// How far I have read.
    read_up_to: i64,
    /// Of the newest there is: send it as `up_to` to have read everything.
    newest: i64,
}

/// What the groups of a page are shown with.
struct Around {
    people: HashMap<String, Person>,
    posts: HashMap<String, Post>,
    comments: HashMap<String, Comment>,
    read_up_to: i64,
}

impl Queries {
    pub async fn read_up_to(&self, owner: UserId) -> Result<i64, Problem> {
        let mark = self.store.get::<Mark>(&mark_of(&owner.to_string())).await.map_err(store_problem)?;
        Ok(mark.map_or(0, |mark| mark.position))
    }

    async fn notifications_page(
        &self,
        owner: UserId,
        paging: &Paging,
    ) -> Result<PageOf<Notification>, Problem> {
        let (mut items, mut after) = (Vec::new(), paging.after(&OF_OWNER)?);
        let read_up_to = self.read_up_to(owner).await?;
        for _ in 0..ROUNDS {
            let found = self.groups(owner, after, paging.limit - items.len()).await;
            let (groups, next) = found.map_err(store_problem)?;
            items.extend(self.show_groups(groups, read_up_to).await?);
            after = next;
            if after.is_none() || items.len() == paging.limit {
                break;
            }
        }
        Ok(paging.page(items, after.as_ref(), &OF_OWNER))
    }

    async fn show_groups(&self, groups: Vec<Group>, read_up_to: i64) -> Result<Vec<Notification>, Problem> {
        let mut ids: Vec<String> = groups.iter().filter_map(|group| group.head.post.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let posts = self.store.get_all::<Post>(&ids).await.map_err(store_problem)?.into_iter().flatten();
        let posts: HashMap<String, Post> =
            posts.filter(|post| !post.removed).map(|post| (post.post.clone(), post)).collect();
        let said = groups.iter().flat_map(|group| &group.voices).filter_map(|voice| voice.comment.clone());
        let said: Vec<String> = said.collect::<BTreeSet<_>>().into_iter().collect();
        let comments = self.store.get_all::<Comment>(&said).await.map_err(store_problem)?;
        let comments = comments.into_iter().flatten().filter(|comment| comment.shown);
        let comments = comments.map(|comment| (comment.comment.clone(), comment)).collect();
        let actors = groups.iter().flat_map(|group| &group.voices).map(|voice| voice.actor.clone());
        let authors = posts.values().map(|post| post.author.clone());
        let people = self.people(actors.chain(authors)).await?;
        let around = Around { people, posts, comments, read_up_to };
        let shown = groups.into_iter().map(|group| self.show_group(group, &around));
        let shown = futures::future::try_join_all(shown).await.map_err(store_problem)?;
        Ok(shown.into_iter().flatten().collect())
    }

    /// None if nobody of it may be seen, or what it is about is gone.
    async fn show_group(&self, group: Group, around: &Around) -> Result<Option<Notification>, StoreError> {
        if group.head.kind == Kind::ContentRemoved {
            return Ok(removal(group, around.read_up_to));
        }
        let seen: Vec<&groups::Spoken> =
            group.voices.iter().filter(|voice| around.people.contains_key(&voice.actor)).collect();
        let Some(newest) = seen.first() else { return Ok(None) };
        let post = match &group.head.post {
            None => None,
            Some(id) => match around.posts.get(id) {
                None => return Ok(None),
                Some(post) => Some(self.about_post(post, around)),
            },
        };
        let hidden = group.voices.len() - seen.len();
        let all = if group.has_more { self.people_in(&group.head).await? } else { group.voices.len() };
        let named = seen.iter().take(NAMED);
        let people: Vec<Person> =
            named.filter_map(|voice| around.people.get(&voice.actor).cloned()).collect();
        Ok(Some(Notification {
            others: all.saturating_sub(hidden + people.len()) as u64,
            people,
            kind: group.head.kind.into(),
            post,
            text: newest.comment.as_ref().and_then(|id| around.comments.get(id)).map(|it| it.text.clone()),
            comment: newest.comment.clone(),
            reason: None,
            unread: newest.position > around.read_up_to,
            position: newest.position,
            at: DateTime::from_timestamp_millis(newest.at).unwrap_or_default(),
            id: group.head.stands_for,
        }))
    }

    fn about_post(&self, post: &Post, around: &Around) -> AboutPost {
        let picture = post.images.first().filter(|_| around.people.contains_key(&post.author));
        let thumb = picture.map(|image| self.image_url(&image.media, ImageVariant::THUMB));
        AboutPost { id: post.post.clone(), thumb }
    }

    async fn unread(&self, owner: UserId) -> Result<Unread, Problem> {
        let read_up_to = self.read_up_to(owner).await?;
        let acts = |limit| Query::new(&VIEW, &OF_OWNER, vec![json!(owner), json!(Role::Act)], limit);
        let likes = |limit| Query { view: &likes::VIEW, index: &likes::OF_OWNER, ..acts(limit) };
        let newer = |query: Query| query.above(read_up_to);
        let (newer_acts, newer_likes) = (newer(acts(COUNT_LIMIT)), newer(likes(COUNT_LIMIT)));
        let found = futures::try_join!(
            self.store.count(&newer_acts),
            self.store.count(&newer_likes),
            self.store.page_of::<Act>(acts(1)),
            self.store.page_of::<Like>(likes(1)),
        );
        let (acts, likes, newest_act, newest_like) = found.map_err(store_problem)?;
        let newest_act = newest_act.documents.first().map_or(0, |act| act.position);
        let newest_like = newest_like.documents.first().map_or(0, |like| like.position);
        let count = (acts + likes).min(COUNT_LIMIT as u64);
        Ok(Unread { count, read_up_to, newest: newest_act.max(newest_like) })
    }
}

/// Of what is removed nothing is shown but that it is, and why.
fn removal(group: Group, read_up_to: i64) -> Option<Notification> {
    let notice = group.voices.into_iter().next()?;
    Some(Notification {
        id: group.head.stands_for,
        kind: group.head.kind.into(),
        people: Vec::new(),
        others: 0,
        post: group.head.post.map(|id| AboutPost { id, thumb: None }),
        comment: notice.comment,
        text: None,
        reason: notice.reason,
        unread: notice.position > read_up_to,
        position: notice.position,
        at: DateTime::from_timestamp_millis(notice.at).unwrap_or_default(),
    })
}

/// My notifications, the newest first
///
/// What several people did to one post is told as one.
#[utoipa::path(
    get, path = "/v1/me/notifications", tag = "notifications", security(("token" = [])),
    params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<Notification>), (status = 304), Problems)
)]
async fn list_notifications(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let page = queries.notifications_page(session.user, &paging).await?;
    answer(&conditions, caught_up, &page)
}

/// How many notifications I have not read
#[utoipa::path(
    get, path = "/v1/me/notifications/unread", tag = "notifications", security(("token" = [])),
    params(QueryHeaders), responses((status = 200, body = Unread), (status = 304), Problems)
)]
async fn count_unread_notifications(
    State(queries): State<Queries>,
    session: Session,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, posts::VIEW.name]).await;
    answer(&conditions, caught_up, &queries.unread(session.user).await?)
}
