//! All versions of a post's caption, for viewers of the post.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::PostId;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::captions::{BY_POST, Caption, VIEW};
use views::social::posts;
use views::{Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_captions))
}

/// A current or former caption of a post.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Caption)]
struct CaptionPage {
    /// Null if the post was published without a caption.
    caption: Option<String>,
    written_at: DateTime<Utc>,
}

/// List the captions of a post, newest first
///
/// Contains the current caption and all earlier ones.
#[utoipa::path(
    get, path = "/v1/posts/{post}/captions", tag = "posts",
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<CaptionPage>), (status = 304), Problems)
)]
async fn list_captions(
    State(queries): State<Queries>,
    Path(post): Path<PostId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let views = [VIEW.name, posts::VIEW.name, profiles::VIEW.name];
    let caught_up = queries.catch_up(&conditions, &views).await;
    let query = Query::new(&VIEW, &BY_POST, vec![json!(post)], paging.limit).after(paging.after(&BY_POST)?);
    queries.visible_post(post).await?;
    let found = queries.store.page_of::<Caption>(query).await.map_err(store_problem)?;
    let shown = found.documents.into_iter().map(|Caption { caption, written, .. }| CaptionPage {
        caption,
        written_at: DateTime::from_timestamp_millis(written).unwrap_or_default(),
    });
    answer(&conditions, caught_up, &paging.page(shown.collect(), found.next.as_ref(), &BY_POST))
}
