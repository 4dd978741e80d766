//! The home feed: posts by the user and the users they follow.

use axum::extract::State;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::comments;
use views::social::feeds;
use views::social::posts;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Queries;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::social::timelines::Timeline;
use resources::Post as PostPage;

/// The views that a page of the feed reads, by their projection.
const VIEWS: [&str; 4] = [feeds::PROJECTION, posts::VIEW.name, comments::VIEW.name, profiles::VIEW.name];

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_feed))
}

/// Get the home feed, newest posts first
///
/// Contains the posts of the caller and of the users that the caller follows.
#[utoipa::path(
    get, path = "/v1/feed", tag = "feeds", security(("token" = [])), params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<PostPage>), (status = 304), Problems)
)]
async fn get_feed(
    State(queries): State<Queries>,
    session: Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &VIEWS).await;
    let owner = session.user.to_string();
    answer(
        &conditions,
        caught_up,
        &queries.posts_page(&Timeline::Home(&owner), &paging, Some(session)).await?,
    )
}
