//! What somebody is told, one by one, in the app's words.

use std::cmp::Reverse;
use std::collections::HashSet;

use events::UserId;
use futures::TryFutureExt;
use serde::Serialize;
use serde_json::json;
use views::social::likes::{self, Like};
use views::social::notifications::{Act, Kind, OF_OWNER, Role, VIEW, likes_of, voice_in};
use views::social::posts::Post;
use views::{Query, ViewStoreExt};
use web::problem::Problem;

use crate::{Queries, store_problem};

/// The newest that are told.
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
    /// Not read yet. The app itself never says that something has been read; `/v1` does.
    new: bool,
}

/// None of what the app has no words for. The app's own server tells neither of replies nor of requests to follow: those are said in its way.
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

/// One thing that one person did.
struct Told {
    key: String,
    kind: Kind,
    actor: String,
    post: Option<String>,
    position: i64,
}

impl From<Act> for Told {
    fn from(Act { act: key, kind, actor, post, position, .. }: Act) -> Self {
        Self { key, kind, actor, post, position }
    }
}

impl From<Like> for Told {
    fn from(Like { post, user: actor, position, .. }: Like) -> Self {
        let key = voice_in(&likes_of(&post), &actor);
        Self { key, kind: Kind::Like, actor, post: Some(post), position }
    }
}

impl Queries {
    /// What this person is told, the oldest first.
    pub(super) async fn told_singly(&self, owner: UserId) -> Result<Vec<Notification>, Problem> {
        let equals = || vec![json!(owner), json!(Role::Act)];
        let acts = Query::new(&VIEW, &OF_OWNER, equals(), NOTIFICATIONS_LIMIT);
        let likes = Query::new(&likes::VIEW, &likes::OF_OWNER, equals(), NOTIFICATIONS_LIMIT);
        let (acts, likes, read_up_to) = futures::try_join!(
            self.store.page_of::<Act>(acts).map_err(store_problem),
            self.store.page_of::<Like>(likes).map_err(store_problem),
            self.read_up_to(owner),
        )?;
        let mut newest: Vec<Told> = acts.documents.into_iter().map(Told::from).collect();
        newest.extend(likes.documents.into_iter().map(Told::from));
        newest.sort_by_key(|told| Reverse(told.position));
        newest.truncate(NOTIFICATIONS_LIMIT);
        let posts: HashSet<String> = newest.iter().filter_map(|told| told.post.clone()).collect();
        let posts: Vec<String> = posts.into_iter().collect();
        let found = self.store.get_all::<Post>(&posts).await.map_err(store_problem)?;
        let there: HashSet<String> =
            found.into_iter().flatten().filter(|post| !post.removed).map(|post| post.post).collect();
        let shown = newest.into_iter().rev().filter_map(|told| {
            // What was done to a post that was deleted in the same instant is told nobody.
            if told.post.as_ref().is_some_and(|post| !there.contains(post)) {
                return None;
            }
            Some(Notification {
                id: told.key.clone(),
                key: told.key,
                notified_by: told.actor,
                notified_to: owner.to_string(),
                text: text(told.kind)?,
                new: told.position > read_up_to,
            })
        });
        Ok(shown.collect())
    }
}
