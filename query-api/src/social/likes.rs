//! Likes of a post.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use events::PostId;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::likes::{BY_POST, Like, VIEW};
use views::social::notifications::Role;
use views::social::posts::{self, Post};
use views::{Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::accounts::profiles::ListedPerson;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

/// Maximum number of ids of users who like a post; the newest.
const LIKERS_LIMIT: usize = 5000;
/// Number of cached ids, about 60 bytes each; and the expected number of lists.
const CACHED_IDS: u64 = 1_000_000;
const CACHED_LISTS: usize = 20_000;

/// Cache of the users who like a post, valid for one value of the post's `liked`.
#[derive(Debug)]
pub(crate) struct LikerLists(Cache<String, LikerList, ByLength>);

#[derive(Debug, Clone)]
struct LikerList {
    /// As [`Post::liked`].
    liked: i64,
    users: Arc<[String]>,
}

#[derive(Debug, Clone)]
struct ByLength;

impl Weighter<String, LikerList> for ByLength {
    fn weight(&self, _: &String, list: &LikerList) -> u64 {
        list.users.len() as u64 + 1
    }
}

impl Default for LikerLists {
    fn default() -> Self {
        Self(Cache::with_weighter(CACHED_LISTS, CACHED_IDS, ByLength))
    }
}

impl Queries {
    /// Ids of the users who like a post, newest like first.
    pub async fn likers(&self, post: &Post) -> Result<Arc<[String]>, Problem> {
        if post.likes == 0 {
            return Ok(Arc::default());
        }
        if let Some(known) = self.liker_lists.0.get(&post.post).filter(|known| known.liked == post.liked) {
            return Ok(known.users);
        }
        let equals = vec![json!(post.post), json!(Role::Activity)];
        let query = Query::new(&VIEW, &BY_POST, equals, LIKERS_LIMIT);
        let found = self.store.page_of::<Like>(query).await.map_err(store_problem)?.documents;
        let is_whole = usize::try_from(post.likes).is_ok_and(|likes| found.len() == likes.min(LIKERS_LIMIT));
        let newest = found.first().map(|like| like.position);
        let users: Arc<[String]> = found.into_iter().map(|like| like.user).collect();
        // The list may be newer than the post, which was read before it: then the post's `liked` has changed by now.
        if is_whole && newest == Some(post.liked) {
            let list = LikerList { liked: post.liked, users: Arc::clone(&users) };
            self.liker_lists.0.insert(post.post.clone(), list);
        }
        Ok(users)
    }
}

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_likes))
}

/// List the users who like a post, newest like first
#[utoipa::path(
    get, path = "/v1/posts/{post}/likes", tag = "likes", security((), ("token" = [])),
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<ListedPerson>), (status = 304), Problems)
)]
async fn list_likes(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(post): Path<PostId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let views = [posts::VIEW.name, profiles::VIEW.name];
    let caught_up = queries.catch_up(&conditions, &views).await;
    queries.visible_post(post).await?;
    let equals = vec![json!(post), json!(Role::Activity)];
    let query = Query::new(&VIEW, &BY_POST, equals, paging.limit);
    let found = queries.page_of::<Like>(query, &paging).await?;
    let people = queries.people(found.documents.iter().map(|like| like.user.clone())).await?;
    let shown = found.documents.iter().filter_map(|like| people.get(&like.user).cloned()).collect();
    let shown = queries.with_relationships(shown, viewer).await?;
    answer(&conditions, caught_up, &paging.page::<ListedPerson>(shown, found.next.as_ref(), &BY_POST))
}
