//! What somebody is told, one by one, in the app's words.

use std::collections::HashSet;

use events::UserId;
use serde::Serialize;
use serde_json::json;
use service::problem::Problem;
use views::notifications::{Act, Kind, OF_OWNER, Role, VIEW};
use views::posts::Post;
use views::{Query, ViewStoreExt};

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

/// The app's own server tells neither of replies nor of requests to follow: those are said in its way.
const fn text(kind: Kind) -> &'static str {
    match kind {
        Kind::Follow => "followed you.",
        Kind::FollowRequest => "asked to follow you.",
        Kind::Like => "liked your photo.",
        Kind::Comment => "commented your photo.",
        Kind::Reply => "replied to your comment.",
    }
}

impl Queries {
    /// What this person is told, the oldest first.
    pub(super) async fn told_singly(&self, owner: UserId) -> Result<Vec<Notification>, Problem> {
        let equals = vec![json!(owner.to_string()), json!(Role::Act)];
        let newest = self.store.page_of::<Act>(Query::new(&VIEW, &OF_OWNER, equals, NOTIFICATIONS_LIMIT));
        let read_up_to = self.read_up_to(owner);
        let (newest, read_up_to) =
            futures::try_join!(async { newest.await.map_err(store_problem) }, read_up_to)?;
        let posts: HashSet<String> = newest.documents.iter().filter_map(|act| act.post.clone()).collect();
        let posts: Vec<String> = posts.into_iter().collect();
        let found = self.store.get_all::<Post>(&posts).await.map_err(store_problem)?;
        let there: HashSet<String> = found.into_iter().flatten().map(|post| post.post).collect();
        let shown = newest.documents.into_iter().rev().filter_map(|act| {
            // What was done to a post that was deleted in the same instant is told nobody.
            if act.post.as_ref().is_some_and(|post| !there.contains(post)) {
                return None;
            }
            let Act { act: key, owner, kind, actor, position, .. } = act;
            let new = position > read_up_to;
            Some(Notification {
                id: key.clone(),
                key,
                notified_by: actor,
                notified_to: owner,
                text: text(kind),
                new,
            })
        });
        Ok(shown.collect())
    }
}
