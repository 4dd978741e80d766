//! Comments on a post.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use chrono::DateTime;
use events::{CommentId, PostId};
use resources::Comment as CommentPage;
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::comments::{BY_PARENT, BY_POST, Comment, TOP_LEVEL, Tally, VIEW, tally_of};
use views::social::posts;
use views::social::posts::Post;
use views::{Query, ViewStoreExt};
use web::extract::{Path, Query as QueryString};
use web::problem::{Problem, Problems};

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

/// The views that a page of comments reads.
const VIEWS: [&str; 3] = [VIEW.name, posts::VIEW.name, profiles::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_comments))
        .routes(routes!(get_comment))
        .routes(routes!(list_replies))
}

/// Which comments of a post are listed.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// Comments and replies.
    #[default]
    All,
    /// Comments that are not replies.
    Top,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CommentParams {
    /// `top` lists comments without replies. Each comment has its number of replies.
    #[serde(default)]
    #[param(inline, required = false)]
    level: Level,
    #[param(value_type = usize, required = false, minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    #[param(value_type = String, required = false, pattern = "^[A-Za-z0-9_-]+$", max_length = 1024)]
    cursor: Option<String>,
}

/// List the comments on a post, oldest first
#[utoipa::path(
    get, path = "/v1/posts/{post}/comments", tag = "comments",
    params(("post" = String, Path, pattern = "^[0-9a-f]{32}$"), CommentParams, QueryHeaders),
    responses((status = 200, body = PageOf<CommentPage>), (status = 304), Problems)
)]
async fn list_comments(
    State(queries): State<Queries>,
    Path(post): Path<PostId>,
    QueryString(CommentParams { level, limit, cursor }): QueryString<CommentParams>,
    OriginalUri(uri): OriginalUri,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (index, more) = match level {
        Level::All => (&BY_POST, None),
        Level::Top => (&TOP_LEVEL, Some(("level", "top"))),
    };
    let paging = Paging::new(limit, cursor, uri)?.with(more);
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    queries.visible_post(post).await?;
    let query = Query::new(&VIEW, index, vec![json!(post), json!(true)], paging.limit);
    answer(&conditions, caught_up, &queries.comments_page(query, &paging).await?)
}

/// Get a comment
#[utoipa::path(
    get, path = "/v1/posts/{post}/comments/{comment}", tag = "comments",
    params(
        ("post" = String, Path, pattern = "^[0-9a-f]{32}$"), ("comment" = String, Path, pattern = "^[0-9a-f]{32}$"),
        QueryHeaders
    ),
    responses((status = 200, body = CommentPage), (status = 304), Problems)
)]
async fn get_comment(
    State(queries): State<Queries>,
    Path((post, comment)): Path<(PostId, CommentId)>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    queries.visible_post(post).await?;
    let found: Option<Comment> = queries.store.get(&comment.to_string()).await.map_err(store_problem)?;
    let found = found.filter(|comment| comment.shown && comment.post == post.to_string());
    let shown = queries.show_comments(found.into_iter().collect()).await?.pop();
    answer(&conditions, caught_up, &shown.ok_or_else(|| Problem::not_found("There is no such comment"))?)
}

/// List the replies to a comment, oldest first
///
/// Replies remain when the comment itself is deleted.
#[utoipa::path(
    get, path = "/v1/posts/{post}/comments/{comment}/replies", tag = "comments",
    params(
        ("post" = String, Path, pattern = "^[0-9a-f]{32}$"), ("comment" = String, Path, pattern = "^[0-9a-f]{32}$"),
        PageParams, QueryHeaders
    ),
    responses((status = 200, body = PageOf<CommentPage>), (status = 304), Problems)
)]
async fn list_replies(
    State(queries): State<Queries>,
    Path((post, comment)): Path<(PostId, CommentId)>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    queries.visible_post(post).await?;
    let query = Query::new(&VIEW, &BY_PARENT, vec![json!(comment), json!(true)], paging.limit);
    let of_post = |comment: Option<&Comment>| {
        comment.is_some_and(|comment| comment.shown && comment.post == post.to_string())
    };
    let parent: Option<Comment> = queries.store.get(&comment.to_string()).await.map_err(store_problem)?;
    if !of_post(parent.as_ref()) {
        // A deleted comment is known by its replies.
        let first = Query { limit: 1, ..query.clone() };
        let replies = queries.store.page_of::<Comment>(first).await.map_err(store_problem)?;
        if !of_post(replies.documents.first()) {
            return Err(Problem::not_found("There is no such comment"));
        }
    }
    answer(&conditions, caught_up, &queries.comments_page(query, &paging).await?)
}

impl Queries {
    /// The comment count of each of these posts, in order.
    pub async fn comment_counts(&self, posts: &[Post]) -> Result<Vec<i64>, Problem> {
        let keys: Vec<String> = posts.iter().map(|post| tally_of(&post.post)).collect();
        let found = self.store.get_all::<Tally>(&keys).await.map_err(store_problem)?;
        Ok(found.into_iter().map(|tally| tally.map_or(0, |tally| tally.comments)).collect())
    }

    async fn comments_page(&self, query: Query, paging: &Paging) -> Result<PageOf<CommentPage>, Problem> {
        let index = query.index;
        let found = self.page_of::<Comment>(query, paging).await?;
        let shown = self.show_comments(found.documents).await?;
        Ok(paging.page(shown, found.next.as_ref(), index))
    }

    /// The visible ones of these comments, in order, as shown.
    async fn show_comments(&self, comments: Vec<Comment>) -> Result<Vec<CommentPage>, Problem> {
        let authors = self.people(comments.iter().map(|comment| comment.author.clone())).await?;
        let shown = comments.into_iter().filter_map(|comment| {
            let Comment { comment: id, author, reply_to, replies, text, commented, .. } = comment;
            let commented_at = DateTime::from_timestamp_millis(commented).unwrap_or_default();
            let author = authors.get(&author)?.clone();
            Some(CommentPage { id, author, text, reply_to, replies, commented_at })
        });
        Ok(shown.collect())
    }
}
