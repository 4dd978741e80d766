//! Comments under a post.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::PostId;
use serde::Serialize;
use serde_json::json;
use service::extract::Path;
use service::problem::{Problem, Problems};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::comments::{BY_POST, Comment, VIEW};
use views::{Query, ViewStoreExt, posts, profiles};

use crate::answer::{Conditions, QueryHeaders, answer};
use crate::paging::{PageOf, PageParams, Paging};
use crate::profiles::Person;
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_comments))
}

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
struct CommentPage {
    id: String,
    author: Person,
    text: String,
    /// Id of the comment that this one answers.
    reply_to: Option<String>,
    commented_at: DateTime<Utc>,
}

/// The comments under a post, the oldest first
#[utoipa::path(
    get, path = "/v1/posts/{post}/comments", tag = "comments",
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<CommentPage>), (status = 304), Problems)
)]
async fn get_comments(
    State(queries): State<Queries>,
    Path(post): Path<PostId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let views = [VIEW.name, posts::VIEW.name, profiles::VIEW.name];
    let caught_up = queries.catch_up(&conditions, &views).await;
    queries.visible_post(post).await?;
    let query = Query::new(&VIEW, &BY_POST, vec![json!(post)], paging.limit).after(paging.after(&BY_POST)?);
    let found = queries.store.page_of::<Comment>(query).await.map_err(store_problem)?;
    let authors = queries.people(found.documents.iter().map(|comment| comment.author.clone())).await?;
    let shown = found.documents.into_iter().filter_map(|comment| {
        let Comment { comment: id, author, reply_to, text, commented, .. } = comment;
        let commented_at = DateTime::from_timestamp_millis(commented).unwrap_or_default();
        Some(CommentPage { id, author: authors.get(&author)?.clone(), text, reply_to, commented_at })
    });
    answer(&conditions, caught_up, &paging.page(shown.collect(), found.next.as_ref(), &BY_POST))
}
