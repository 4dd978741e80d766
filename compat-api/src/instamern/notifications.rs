//! Notifications, one for each activity, in the app's words.

use query_api::store_problem;
use std::cmp::Reverse;
use std::collections::HashSet;

use events::UserId;
use futures::TryFutureExt;
use serde::Serialize;
use serde_json::json;
use views::social::likes::{self, Like};
use views::social::notifications::{Activity, Kind, OF_OWNER, Role, VIEW, likes_of, member_key};
use views::social::posts::Post;
use views::{Query, ViewStoreExt};
use web::problem::Problem;

use crate::Apps;

/// Maximum number of single notifications; the newest ones.
const NOTIFICATIONS_LIMIT: usize = 500;

#[derive(Debug, Serialize)]
pub(super) struct Notification {
    #[serde(rename = "_id")]
    key: String,
    id: String,
    #[serde(rename = "notifiedBy")]
    notified_by: String,
    #[serde(rename = "notifiedTo")]
    notified_to: String,
    #[serde(rename = "notification")]
    text: &'static str,
    /// Whether it is unread. Only `/v1` marks notifications as read; the app does not.
    new: bool,
}

/// None for kinds that the app does not know. The app's own server notifies neither of replies nor of follow requests.
const fn text(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Follow => "followed you.",
        Kind::FollowRequest => "asked to follow you.",
        Kind::Like => "liked your photo.",
        Kind::Comment => "commented your photo.",
        Kind::Reply => "replied to your comment.",
        Kind::ContentRemoved => return None,
    })
}

/// One activity of one user.
struct Single {
    key: String,
    kind: Kind,
    actor: String,
    post: Option<String>,
    position: i64,
}

impl From<Activity> for Single {
    fn from(Activity { activity: key, kind, actor, post, position, .. }: Activity) -> Self {
        Self { key, kind, actor, post, position }
    }
}

impl From<Like> for Single {
    fn from(Like { post, user: actor, position, .. }: Like) -> Self {
        let key = member_key(&likes_of(&post), &actor);
        Self { key, kind: Kind::Like, actor, post: Some(post), position }
    }
}

impl Apps {
    /// The notifications of a user, the oldest first.
    pub(super) async fn single_notifications(&self, owner: UserId) -> Result<Vec<Notification>, Problem> {
        let equals = || vec![json!(owner), json!(Role::Activity)];
        let activities = Query::new(&VIEW, &OF_OWNER, equals(), NOTIFICATIONS_LIMIT);
        let likes = Query::new(&likes::VIEW, &likes::OF_OWNER, equals(), NOTIFICATIONS_LIMIT);
        let (activities, likes, read_up_to) = futures::try_join!(
            self.queries.store().page_of::<Activity>(activities).map_err(store_problem),
            self.queries.store().page_of::<Like>(likes).map_err(store_problem),
            self.queries.read_up_to(owner),
        )?;
        let mut newest: Vec<Single> = activities.documents.into_iter().map(Single::from).collect();
        newest.extend(likes.documents.into_iter().map(Single::from));
        newest.sort_by_key(|single| Reverse(single.position));
        newest.truncate(NOTIFICATIONS_LIMIT);
        let posts: HashSet<String> = newest.iter().filter_map(|single| single.post.clone()).collect();
        let posts: Vec<String> = posts.into_iter().collect();
        let found = self.queries.store().get_all::<Post>(&posts).await.map_err(store_problem)?;
        let there: HashSet<String> =
            found.into_iter().flatten().filter(|post| !post.removed).map(|post| post.post).collect();
        let shown = newest.into_iter().rev().filter_map(|single| {
            // The post may have been deleted since the notifications were read.
            if single.post.as_ref().is_some_and(|post| !there.contains(post)) {
                return None;
            }
            Some(Notification {
                id: single.key.clone(),
                key: single.key,
                notified_by: single.actor,
                notified_to: owner.to_string(),
                text: text(single.kind)?,
                new: single.position > read_up_to,
            })
        });
        Ok(shown.collect())
    }
}
