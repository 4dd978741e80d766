//! The notifications of a user, in groups: "Ann and 12 others liked your photo".

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
use views::social::follows;
use views::social::likes::{self, Like};
use views::social::notifications::{Activity, Kind, OF_OWNER, ReadCursor, Role, VIEW, read_cursor_key};
use views::social::posts::{self, Post};
use views::{Query, StoreError, ViewStoreExt};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use self::groups::Group;
use crate::accounts::profiles::ListedPerson;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{COUNT_LIMIT, PageOf, PageParams, Paging, ROUNDS};
use crate::{Queries, store_problem};

const VIEWS: [&str; 5] =
    [VIEW.name, profiles::VIEW.name, posts::VIEW.name, comments::VIEW.name, follows::VIEW.name];
/// Number of users in a group that are named; the others are counted.
const NAMED: usize = 3;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_notifications)).routes(routes!(count_unread_notifications))
}

/// A notification: a group of activities of one kind.
#[derive(Debug, Serialize, ToSchema)]
struct Notification {
    /// Stable as long as the group exists; later activities of the same kind join it.
    id: String,
    kind: NotificationKind,
    /// Up to three users, latest activity first.
    people: Vec<ListedPerson>,
    /// Number of other users; 9,997 means 9,997 or more.
    others: u64,
    /// The post; null for follows and for removed stories.
    post: Option<AboutPost>,
    /// Id of the newest comment or reply, or of the removed comment.
    comment: Option<String>,
    /// Text of that comment or reply; null if it is deleted or removed.
    text: Option<String>,
    /// The moderator's reason for a removal; null otherwise.
    reason: Option<String>,
    /// Whether any of the activities is after the caller's read position.
    unread: bool,
    /// Position of the newest activity: send it as `up_to` after reading.
    position: i64,
    at: DateTime<Utc>,
}

/// The kind of notification.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum NotificationKind {
    /// Likes of the caller's post.
    Like,
    /// Comments on the caller's post.
    Comment,
    /// Replies to the caller's comment.
    Reply,
    Follow,
    /// A request to follow the caller.
    FollowRequest,
    /// A moderator removed content of the caller; `people` is empty.
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
    /// URL of its first picture, cropped to a square of 320 × 320 pixels; null if the picture is not visible.
    thumb: Option<String>,
}

/// The unread notifications of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnreadCount)]
struct Unread {
    /// Number of single likes, comments, replies and follows, not of groups; 10,000 means 10,000 or more.
    count: u64,
    /// The caller's read position.
    read_up_to: i64,
    /// Position of the newest notification: send it as `up_to` to mark everything as read.
    newest: i64,
}

/// The data for showing the groups of a page.
struct Around {
    /// All that are visible, by id.
    people: HashMap<String, Person>,
    /// Those that are named, by id.
    named: HashMap<String, ListedPerson>,
    posts: HashMap<String, Post>,
    comments: HashMap<String, Comment>,
    read_up_to: i64,
}

impl Queries {
    pub async fn read_up_to(&self, owner: UserId) -> Result<i64, Problem> {
        let key = read_cursor_key(&owner.to_string());
        let cursor = self.store.get::<ReadCursor>(&key).await.map_err(store_problem)?;
        Ok(cursor.map_or(0, |cursor| cursor.position))
    }

    async fn notifications_page(
        &self,
        session: Session,
        paging: &Paging,
    ) -> Result<PageOf<Notification>, Problem> {
        let owner = session.user;
        let (mut items, mut after) = (Vec::new(), paging.after(&OF_OWNER)?);
        let read_up_to = self.read_up_to(owner).await?;
        for _ in 0..ROUNDS {
            let found = self.groups(owner, after, paging.limit - items.len()).await;
            let (groups, next) = found.map_err(store_problem)?;
            items.extend(self.show_groups(groups, session, read_up_to).await?);
            after = next;
            if after.is_none() || items.len() == paging.limit {
                break;
            }
        }
        Ok(paging.page(items, after.as_ref(), &OF_OWNER))
    }

    async fn show_groups(
        &self,
        groups: Vec<Group>,
        session: Session,
        read_up_to: i64,
    ) -> Result<Vec<Notification>, Problem> {
        let mut ids: Vec<String> = groups.iter().filter_map(|group| group.header.post.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        let posts = self.store.get_all::<Post>(&ids).await.map_err(store_problem)?.into_iter().flatten();
        let posts: HashMap<String, Post> =
            posts.filter(|post| !post.removed).map(|post| (post.post.clone(), post)).collect();
        let members = groups.iter().flat_map(|group| &group.members);
        let comment_ids: BTreeSet<String> = members.filter_map(|member| member.comment.clone()).collect();
        let comment_ids: Vec<String> = comment_ids.into_iter().collect();
        let comments = self.store.get_all::<Comment>(&comment_ids).await.map_err(store_problem)?;
        let comments = comments.into_iter().flatten().filter(|comment| comment.shown);
        let comments = comments.map(|comment| (comment.comment.clone(), comment)).collect();
        let actors = groups.iter().flat_map(|group| &group.members).map(|member| member.actor.clone());
        let authors = posts.values().map(|post| post.author.clone());
        let people = self.people(actors.chain(authors)).await?;
        let named: BTreeSet<&str> =
            groups.iter().flat_map(|group| named(group, &people)).map(|person| person.id.as_str()).collect();
        let named = named.into_iter().filter_map(|id| people.get(id).cloned()).collect();
        let named = self.with_relationships(named, Some(session)).await?.into_iter();
        let named = named.map(|listed| (listed.person.id.clone(), listed)).collect();
        let around = Around { people, named, posts, comments, read_up_to };
        let shown = groups.into_iter().map(|group| self.show_group(group, &around));
        let shown = futures::future::try_join_all(shown).await.map_err(store_problem)?;
        Ok(shown.into_iter().flatten().collect())
    }

    /// None if no user of the group is visible, or its post is deleted.
    async fn show_group(&self, group: Group, around: &Around) -> Result<Option<Notification>, StoreError> {
        if group.header.kind == Kind::ContentRemoved {
            return Ok(removal(group, around.read_up_to));
        }
        let seen: Vec<&groups::Member> =
            group.members.iter().filter(|member| around.people.contains_key(&member.actor)).collect();
        let Some(newest) = seen.first() else { return Ok(None) };
        let post = match &group.header.post {
            None => None,
            Some(id) => match around.posts.get(id) {
                None => return Ok(None),
                Some(post) => Some(self.about_post(post, around)),
            },
        };
        let hidden = group.members.len() - seen.len();
        let all = if group.has_more { self.people_in(&group.header).await? } else { group.members.len() };
        let people: Vec<ListedPerson> = named(&group, &around.people)
            .filter_map(|person| around.named.get(&person.id).cloned())
            .collect();
        Ok(Some(Notification {
            others: all.saturating_sub(hidden + people.len()) as u64,
            people,
            kind: group.header.kind.into(),
            post,
            text: newest.comment.as_ref().and_then(|id| around.comments.get(id)).map(|it| it.text.clone()),
            comment: newest.comment.clone(),
            reason: None,
            unread: newest.position > around.read_up_to,
            position: newest.position,
            at: DateTime::from_timestamp_millis(newest.at).unwrap_or_default(),
            id: group.header.group,
        }))
    }

    fn about_post(&self, post: &Post, around: &Around) -> AboutPost {
        let picture = post.images.first().filter(|_| around.people.contains_key(&post.author));
        let thumb = picture.map(|image| self.image_url(&image.media, ImageVariant::THUMB));
        AboutPost { id: post.post.clone(), thumb }
    }

    async fn unread(&self, owner: UserId) -> Result<Unread, Problem> {
        let read_up_to = self.read_up_to(owner).await?;
        let equals = || vec![json!(owner), json!(Role::Activity)];
        let activities = |limit| Query::new(&VIEW, &OF_OWNER, equals(), limit);
        let likes = |limit| Query { view: &likes::VIEW, index: &likes::OF_OWNER, ..activities(limit) };
        let newer = |query: Query| query.above(read_up_to);
        let (newer_activities, newer_likes) = (newer(activities(COUNT_LIMIT)), newer(likes(COUNT_LIMIT)));
        let found = futures::try_join!(
            self.store.count(&newer_activities),
            self.store.count(&newer_likes),
            self.store.page_of::<Activity>(activities(1)),
            self.store.page_of::<Like>(likes(1)),
        );
        let (activities, likes, newest_activity, newest_like) = found.map_err(store_problem)?;
        let newest_activity = newest_activity.documents.first().map_or(0, |activity| activity.position);
        let newest_like = newest_like.documents.first().map_or(0, |like| like.position);
        let count = (activities + likes).min(COUNT_LIMIT as u64);
        Ok(Unread { count, read_up_to, newest: newest_activity.max(newest_like) })
    }
}

/// The users of a group that its notification names.
fn named<'a>(group: &'a Group, people: &'a HashMap<String, Person>) -> impl Iterator<Item = &'a Person> {
    group.members.iter().filter_map(|member| people.get(&member.actor)).take(NAMED)
}

/// A removal only shows that it happened, and the reason.
fn removal(group: Group, read_up_to: i64) -> Option<Notification> {
    let notice = group.members.into_iter().next()?;
    Some(Notification {
        id: group.header.group,
        kind: group.header.kind.into(),
        people: Vec::new(),
        others: 0,
        post: group.header.post.map(|id| AboutPost { id, thumb: None }),
        comment: notice.comment,
        text: None,
        reason: notice.reason,
        unread: notice.position > read_up_to,
        position: notice.position,
        at: DateTime::from_timestamp_millis(notice.at).unwrap_or_default(),
    })
}

/// List the user's notifications, newest first
///
/// Activities of several users on one post form one notification.
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
    let page = queries.notifications_page(session, &paging).await?;
    answer(&conditions, caught_up, &page)
}

/// Count the unread notifications
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
