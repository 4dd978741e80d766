//! Collections of saved posts, for their owner.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{CollectionId, UserId};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::social::collections::{Collection, OF_USER, VIEW};
use views::social::saves::{self, IN_COLLECTION};
use views::{Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{COUNT_LIMIT, PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

const VIEWS: [&str; 2] = [VIEW.name, saves::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_collections)).routes(routes!(get_collection))
}

/// A collection of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Collection)]
struct CollectionPage {
    id: String,
    name: String,
    /// Number of posts in it; 10,000 means 10,000 or more.
    posts: u64,
    created_at: DateTime<Utc>,
}

impl Queries {
    /// A collection of this user. A collection of another user is not found, so that its existence is not revealed.
    pub(crate) async fn collection_of(
        &self,
        user: UserId,
        collection: CollectionId,
    ) -> Result<Collection, Problem> {
        let found: Option<Collection> =
            self.store.get(&collection.to_string()).await.map_err(store_problem)?;
        found
            .filter(|found| found.user == user.to_string())
            .ok_or_else(|| Problem::not_found("There is no such collection"))
    }

    async fn show_collection(&self, collection: Collection) -> Result<CollectionPage, Problem> {
        let Collection { collection: id, user, name, created, .. } = collection;
        let equals = vec![json!(user), json!(id), json!(true)];
        let query = Query::new(&saves::VIEW, &IN_COLLECTION, equals, COUNT_LIMIT);
        let posts = self.store.count(&query).await.map_err(store_problem)?;
        let created_at = DateTime::from_timestamp_millis(created).unwrap_or_default();
        Ok(CollectionPage { id, name, posts, created_at })
    }
}

/// List the user's collections, newest first
#[utoipa::path(
    get, path = "/v1/me/collections", tag = "saves", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<CollectionPage>), (status = 304), Problems)
)]
async fn list_collections(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &OF_USER, vec![json!(session.user)], paging.limit);
    let found = queries.page_of::<Collection>(query, &paging).await?;
    let shown = found.documents.into_iter().map(|collection| queries.show_collection(collection));
    let items = futures::future::try_join_all(shown).await?;
    answer(&conditions, caught_up, &paging.page(items, found.next.as_ref(), &OF_USER))
}

/// Get one of the user's collections
#[utoipa::path(
    get, path = "/v1/me/collections/{collection}", tag = "saves", security(("token" = [])),
    params(("collection" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = CollectionPage), (status = 304), Problems)
)]
async fn get_collection(
    State(queries): State<Queries>,
    session: Session,
    Path(collection): Path<CollectionId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let found = queries.collection_of(session.user, collection).await?;
    answer(&conditions, caught_up, &queries.show_collection(found).await?)
}
