//! Saved posts, visible to their user only.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::CollectionId;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::collections;
use views::social::comments;
use views::social::posts;
use views::social::saves::{IN_COLLECTION, OF_USER, Save, VIEW};
use views::{Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging, ROUNDS};
use crate::social::timelines;
use crate::{Queries, store_problem};
use resources::Post as PostPage;

const VIEWS: [&str; 5] =
    [VIEW.name, collections::VIEW.name, posts::VIEW.name, comments::VIEW.name, profiles::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_saved_posts)).routes(routes!(list_collection_posts))
}

/// A saved post of the caller.
#[derive(Debug, Serialize, ToSchema)]
struct SavedPost {
    post: PostPage,
    /// Id of its collection; null if it is in none.
    collection: Option<String>,
    /// Time when it was saved or moved to its collection.
    saved_at: DateTime<Utc>,
}

impl Queries {
    async fn saved_page(
        &self,
        query: Query,
        paging: &Paging,
        viewer: Session,
    ) -> Result<PageOf<SavedPost>, Problem> {
        let index = query.index;
        let (mut items, mut after) = (Vec::new(), paging.after(index)?);
        for _ in 0..ROUNDS {
            let query = Query { limit: paging.limit - items.len(), ..query.clone().after(after) };
            let found = self.store.page_of::<Save>(query).await.map_err(store_problem)?;
            items.extend(self.show_saved(found.documents, viewer).await?);
            after = found.next;
            if after.is_none() || items.len() == paging.limit {
                break;
            }
        }
        Ok(paging.page(items, after.as_ref(), index))
    }

    /// The visible ones of these saves, in order.
    async fn show_saved(&self, saved: Vec<Save>, viewer: Session) -> Result<Vec<SavedPost>, Problem> {
        let keys: Vec<String> = saved.iter().map(|save| save.post.clone()).collect();
        let found = timelines::visible(&*self.store, &keys).await.map_err(store_problem)?;
        let shown = self.show_posts(found, Some(viewer)).await?;
        let mut shown: HashMap<String, PostPage> =
            shown.into_iter().map(|post| (post.id.clone(), post)).collect();
        let items = saved.into_iter().filter_map(|save| {
            let saved_at = DateTime::from_timestamp_millis(save.saved).unwrap_or_default();
            Some(SavedPost { post: shown.remove(&save.post)?, collection: save.collection, saved_at })
        });
        Ok(items.collect())
    }
}

/// List the user's saved posts, newest first
#[utoipa::path(
    get, path = "/v1/me/saved", tag = "saves", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<SavedPost>), (status = 304), Problems)
)]
async fn list_saved_posts(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let equals = vec![json!(session.user), json!(true)];
    let query = Query::new(&VIEW, &OF_USER, equals, paging.limit);
    answer(&conditions, caught_up, &queries.saved_page(query, &paging, session).await?)
}

/// List the posts in a collection, newest first
#[utoipa::path(
    get, path = "/v1/me/collections/{collection}/posts", tag = "saves", security(("token" = [])),
    params(("collection" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<SavedPost>), (status = 304), Problems)
)]
async fn list_collection_posts(
    State(queries): State<Queries>,
    session: Session,
    Path(collection): Path<CollectionId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let user = session.user;
    queries.collection_of(user, collection).await?;
    let equals = vec![json!(user), json!(collection), json!(true)];
    let query = Query::new(&VIEW, &IN_COLLECTION, equals, paging.limit);
    answer(&conditions, caught_up, &queries.saved_page(query, &paging, session).await?)
}
