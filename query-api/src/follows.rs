//! Who follows somebody, and whom somebody follows.

use axum::extract::State;
use axum::response::Response;
use events::UserId;
use serde_json::json;
use service::extract::Path;
use service::problem::{Problem, Problems};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::follows::{FOLLOWERS, FOLLOWINGS, Follow, VIEW};
use views::{Index, Query, ViewStoreExt, profiles};

use crate::answer::{Conditions, QueryHeaders, answer};
use crate::paging::{PageOf, PageParams, Paging};
use crate::profiles::Person;
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_followers)).routes(routes!(get_followings))
}

impl Queries {
    async fn people_by_follows(
        &self,
        index: &'static Index,
        user: UserId,
        paging: &Paging,
        other: fn(Follow) -> String,
    ) -> Result<PageOf<Person>, Problem> {
        let query = Query::new(&VIEW, index, vec![json!(user), json!(true)], paging.limit)
            .after(paging.after(index)?);
        let found = self.store.page_of::<Follow>(query).await.map_err(store_problem)?;
        let ids: Vec<String> = found.documents.into_iter().map(other).collect();
        let people = self.people(ids.iter().cloned()).await?;
        let shown = ids.iter().filter_map(|id| people.get(id).cloned()).collect();
        Ok(paging.page(shown, found.next.as_ref(), index))
    }
}

/// Who follows somebody, the newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/followers", tag = "follows",
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<Person>), (status = 304), Problems)
)]
async fn get_followers(
    State(queries): State<Queries>,
    Path(user): Path<UserId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, profiles::VIEW.name]).await;
    let page = queries.people_by_follows(&FOLLOWERS, user, &paging, |follow| follow.follower).await?;
    answer(&conditions, caught_up, &page)
}

/// Whom somebody follows, the newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/followings", tag = "follows",
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<Person>), (status = 304), Problems)
)]
async fn get_followings(
    State(queries): State<Queries>,
    Path(user): Path<UserId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, profiles::VIEW.name]).await;
    let page = queries.people_by_follows(&FOLLOWINGS, user, &paging, |follow| follow.followee).await?;
    answer(&conditions, caught_up, &page)
}
