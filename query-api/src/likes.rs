//! Who likes a post.

use axum::extract::State;
use axum::response::Response;
use events::PostId;
use serde_json::json;
use service::extract::Path;
use service::problem::{Problem, Problems};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::likes::{BY_POST, Like, VIEW};
use views::{Query, ViewStoreExt, posts, profiles};

use crate::answer::{Conditions, QueryHeaders, answer};
use crate::paging::{PageOf, PageParams, Paging};
use crate::profiles::Person;
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_likes))
}

/// Who likes a post, the newest like first
#[utoipa::path(
    get, path = "/v1/posts/{post}/likes", tag = "likes",
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<Person>), (status = 304), Problems)
)]
async fn get_likes(
    State(queries): State<Queries>,
    Path(post): Path<PostId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let views = [VIEW.name, posts::VIEW.name, profiles::VIEW.name];
    let caught_up = queries.catch_up(&conditions, &views).await;
    queries.visible_post(post).await?;
    let query = Query::new(&VIEW, &BY_POST, vec![json!(post)], paging.limit).after(paging.after(&BY_POST)?);
    let found = queries.store.page_of::<Like>(query).await.map_err(store_problem)?;
    let people = queries.people(found.documents.iter().map(|like| like.user.clone())).await?;
    let shown = found.documents.iter().filter_map(|like| people.get(&like.user).cloned()).collect();
    answer(&conditions, caught_up, &paging.page::<Person>(shown, found.next.as_ref(), &BY_POST))
}
