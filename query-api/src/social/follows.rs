//! Followers and followings of a user.

use axum::extract::State;
use axum::response::Response;
use events::UserId;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles;
use views::social::follows::{Circle, FOLLOWERS, FOLLOWINGS, Follow, VIEW, parties};
use views::{Index, Query, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::accounts::profiles::ListedPerson;
use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

/// Maximum number of ids in a list of ids.
pub const IDS_LIMIT: usize = 5000;

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new()
        .routes(routes!(list_followers))
        .routes(routes!(list_followings))
        .routes(routes!(list_follower_ids))
        .routes(routes!(list_following_ids))
}

/// A list of a user's followers or followings.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    Followers,
    Followings,
}

impl Side {
    const fn index(self) -> &'static Index {
        match self {
            Self::Followers => &FOLLOWERS,
            Self::Followings => &FOLLOWINGS,
        }
    }

    /// Active users only, like the counts.
    pub(crate) fn query(self, user: &str, limit: usize) -> Query {
        Query::new(&VIEW, self.index(), vec![json!(user), json!(true), json!(true)], limit)
    }

    /// The listed side of the follow: follower or followee.
    fn other<T>(self, (follower, followee): (T, T)) -> T {
        match self {
            Self::Followers => follower,
            Self::Followings => followee,
        }
    }
}

/// Ids of users.
#[derive(Debug, Serialize, ToSchema)]
struct UserIds {
    /// Newest first, at most 5,000.
    ids: Vec<String>,
}

impl Queries {
    /// Whether the user exists and is active; otherwise the lists are empty.
    async fn has_circle(&self, user: &str) -> Result<bool, Problem> {
        let circle = self.store.get::<Circle>(user).await.map_err(store_problem)?;
        Ok(circle.is_some_and(|circle| circle.active))
    }

    async fn follows(&self, query: Query) -> Result<views::PageOf<Follow>, Problem> {
        self.store.page_of(query).await.map_err(store_problem)
    }

    async fn people_by_follows(
        &self,
        side: Side,
        user: UserId,
        paging: &Paging,
        viewer: Option<Session>,
    ) -> Result<PageOf<ListedPerson>, Problem> {
        let (user, index) = (user.to_string(), side.index());
        let query = side.query(&user, paging.limit).after(paging.after(index)?);
        let (is_there, found) = futures::try_join!(self.has_circle(&user), self.follows(query))?;
        if !is_there {
            return Ok(paging.page(Vec::new(), None, index));
        }
        let other = |Follow { follower, followee, .. }| side.other((follower, followee));
        let ids: Vec<String> = found.documents.into_iter().map(other).collect();
        let people = self.people(ids.iter().cloned()).await?;
        let shown = ids.iter().filter_map(|id| people.get(id).cloned()).collect();
        let shown = self.with_relationships(shown, viewer).await?;
        Ok(paging.page(shown, found.next.as_ref(), index))
    }

    /// The newest ids of a list, up to the count and a limit. The caller checks whether the user exists.
    pub async fn newest_ids(&self, side: Side, user: &str, limit: usize) -> Result<Vec<String>, Problem> {
        // Thousands of follows: read the keys only, which contain the ids.
        let keys = self.store.keys(&side.query(user, limit)).await.map_err(store_problem)?;
        Ok(keys.iter().filter_map(|key| Some(side.other(parties(key)?).to_owned())).collect())
    }

    async fn shown_ids(&self, side: Side, user: UserId) -> Result<UserIds, Problem> {
        let user = user.to_string();
        let (is_there, ids) =
            futures::try_join!(self.has_circle(&user), self.newest_ids(side, &user, IDS_LIMIT))?;
        Ok(UserIds { ids: if is_there { ids } else { Vec::new() } })
    }
}

/// List a user's followers, newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/followers", tag = "follows", security((), ("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<ListedPerson>), (status = 304), Problems)
)]
async fn list_followers(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(user): Path<UserId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, profiles::VIEW.name]).await;
    let page = queries.people_by_follows(Side::Followers, user, &paging, viewer).await?;
    answer(&conditions, caught_up, &page)
}

/// List the users that a user follows, newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/followings", tag = "follows", security((), ("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<ListedPerson>), (status = 304), Problems)
)]
async fn list_followings(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(user): Path<UserId>,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, profiles::VIEW.name]).await;
    let page = queries.people_by_follows(Side::Followings, user, &paging, viewer).await?;
    answer(&conditions, caught_up, &page)
}

/// List the ids of a user's followers, newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/follower-ids", tag = "follows",
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = UserIds), (status = 304), Problems)
)]
async fn list_follower_ids(
    State(queries): State<Queries>,
    Path(user): Path<UserId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name]).await;
    let ids = queries.shown_ids(Side::Followers, user).await?;
    answer(&conditions, caught_up, &ids)
}

/// List the ids of the users that a user follows, newest first
#[utoipa::path(
    get, path = "/v1/users/{user}/following-ids", tag = "follows",
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = UserIds), (status = 304), Problems)
)]
async fn list_following_ids(
    State(queries): State<Queries>,
    Path(user): Path<UserId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name]).await;
    let ids = queries.shown_ids(Side::Followings, user).await?;
    answer(&conditions, caught_up, &ids)
}
