//! The account of the current user.

use axum::extract::State;
use axum::response::Response;
use resources::{Person, Role};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::account::{Account, VIEW};
use views::accounts::profiles::{self, Profile};
use views::social::follows::{self, Circle};
use views::{StoreError, ViewStoreExt};
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_me))
}

/// The account of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(crate) struct Me {
    #[serde(flatten)]
    person: Person,
    bio: String,
    private: bool,
    email: String,
    email_verified: bool,
    roles: Vec<Role>,
    posts: i64,
    followers: i64,
    followings: i64,
}

/// Get the current user
///
/// Includes fields that other users cannot see, such as the email address and the roles.
#[utoipa::path(
    get, path = "/v1/me", tag = "accounts", security(("token" = [])), params(QueryHeaders),
    responses((status = 200, body = Me), (status = 304), Problems)
)]
async fn get_me(
    State(queries): State<Queries>,
    session: Session,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let views = [VIEW.name, profiles::VIEW.name, follows::VIEW.name];
    let caught_up = queries.catch_up(&conditions, &views).await;
    let user = session.user.to_string();
    let found: Result<_, StoreError> = futures::try_join!(
        queries.store.get::<Account>(&user),
        queries.store.get::<Profile>(&user),
        queries.store.get::<Circle>(&user)
    );
    // A valid session belongs to an account, so the views are behind.
    let (Some(account), Some(profile), Some(circle)) = found.map_err(store_problem)? else {
        return Err(Problem::overloaded(
            "Your account is not ready yet: try again a little later",
            "the views do not contain the account yet",
        ));
    };
    let Profile { bio, private, posts, .. } = profile.clone();
    let Circle { followers, followings, .. } = circle;
    let Account { email, email_verified, artist, moderator, admin, .. } = account;
    let roles = [(Role::Artist, artist), (Role::Moderator, moderator), (Role::Admin, admin)];
    let roles = roles.into_iter().filter_map(|(role, has)| has.then_some(role)).collect();
    let person = queries.person(profile);
    let me = Me { person, bio, private, email, email_verified, roles, posts, followers, followings };
    answer(&conditions, caught_up, &me)
}
