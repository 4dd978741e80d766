//! Public profiles.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{UserId, fold_name};
use media::ImageVariant;
use resources::Person;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::profiles::{AccountStatus, BY_USERNAME, Profile, VIEW};
use views::social::follows::{self, Circle, Follow};
use views::{Query, StoredDocument, ViewStoreExt};
use web::extract::Path;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::{Queries, store_problem};

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(get_user)).routes(routes!(get_user_by_username))
}

/// A user in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ListedUser)]
pub(crate) struct ListedPerson {
    #[serde(flatten)]
    pub(crate) person: Person,
    /// The follows between the caller and this user; null without log-in.
    viewer: Option<Relationship>,
}

/// A user's profile.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Profile)]
pub(crate) struct ProfilePage {
    #[serde(flatten)]
    person: Person,
    bio: String,
    /// Whether follow requests must be accepted.
    private: bool,
    joined_at: DateTime<Utc>,
    posts: i64,
    followers: i64,
    followings: i64,
    /// The follows between the caller and this user; null without log-in.
    viewer: Option<Relationship>,
}

/// The follows between the caller and another user.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Relationship {
    /// Whether the caller follows the user.
    follows: bool,
    /// Whether the caller has requested to follow the user.
    requested: bool,
    /// Whether the user follows the caller.
    followed_by: bool,
}

impl Relationship {
    /// Derived from the follows in both directions.
    fn of(there: Option<&Follow>, back: Option<&Follow>) -> Self {
        Self {
            follows: there.is_some_and(|follow| follow.accepted),
            requested: there.is_some_and(|follow| !follow.accepted),
            followed_by: back.is_some_and(|follow| follow.accepted),
        }
    }
}

impl Queries {
    /// The visible ones of these users, by id.
    pub(crate) async fn people(
        &self,
        ids: impl Iterator<Item = String>,
    ) -> Result<HashMap<String, Person>, Problem> {
        let seen = self.active_people(ids.collect()).await?.into_iter();
        Ok(seen.map(|profile| (profile.user.clone(), self.person(profile))).collect())
    }

    /// The active ones of the users with these ids.
    pub(crate) async fn active_people(&self, ids: BTreeSet<String>) -> Result<Vec<Profile>, Problem> {
        let ids: Vec<String> = ids.into_iter().collect();
        let found = self.store.get_all::<Profile>(&ids).await.map_err(store_problem)?;
        Ok(found.into_iter().flatten().filter(|profile| profile.status == AccountStatus::Active).collect())
    }

    pub(crate) fn person(&self, profile: Profile) -> Person {
        let Profile { user: id, username, firstname, lastname, photo, .. } = profile;
        let photo = photo.map(|photo| self.image_url(&photo.media, ImageVariant::PHOTO));
        Person { id, username, firstname, lastname, photo }
    }

    /// These users as list items, in order, with one read.
    pub(crate) async fn with_relationships(
        &self,
        people: Vec<Person>,
        viewer: Option<Session>,
    ) -> Result<Vec<ListedPerson>, Problem> {
        let Some(session) = viewer else {
            return Ok(people.into_iter().map(|person| ListedPerson { person, viewer: None }).collect());
        };
        let viewer = session.user.to_string();
        let both = |person: &Person| [follows::key(&viewer, &person.id), follows::key(&person.id, &viewer)];
        let keys: Vec<String> = people.iter().flat_map(both).collect();
        let found = self.store.get_all::<Follow>(&keys).await.map_err(store_problem)?;
        let relationships = found.chunks(2).map(|pair| match pair {
            [there, back] => Relationship::of(there.as_ref(), back.as_ref()),
            _ => Relationship::of(None, None),
        });
        let listed = people.into_iter().zip(relationships);
        Ok(listed.map(|(person, viewer)| ListedPerson { person, viewer: Some(viewer) }).collect())
    }

    async fn profile_page(
        &self,
        profile: Option<Profile>,
        viewer: Option<Session>,
    ) -> Result<ProfilePage, Problem> {
        let profile = profile
            .filter(|profile| profile.status == AccountStatus::Active)
            .ok_or_else(|| Problem::not_found("There is no such user"))?;
        let (circle, viewer) = self.circle_and_viewer(&profile.user, viewer).await?;
        let Circle { followers, followings, .. } = circle;
        let Profile { bio, private, joined, posts, .. } = profile.clone();
        let joined_at = DateTime::from_timestamp_millis(joined).unwrap_or_default();
        Ok(ProfilePage {
            person: self.person(profile),
            bio,
            private,
            joined_at,
            posts,
            followers,
            followings,
            viewer,
        })
    }

    /// The follow counts and the relation to the viewer, with one read.
    async fn circle_and_viewer(
        &self,
        user: &str,
        viewer: Option<Session>,
    ) -> Result<(Circle, Option<Relationship>), Problem> {
        let viewer = viewer.map(|session| session.user.to_string());
        let mut keys = vec![user.to_owned()];
        keys.extend(
            viewer.iter().flat_map(|viewer| [follows::key(viewer, user), follows::key(user, viewer)]),
        );
        let mut found = self.store.get_many(&follows::VIEW, &keys).await.map_err(store_problem)?.into_iter();
        let mut next = || found.next().flatten();
        let (circle, there, back) = (next(), next(), next());
        let read = |found: Option<StoredDocument>| found.map(|found| found.read::<Follow>()).transpose();
        let circle = circle.map(|circle| circle.read()).transpose().map_err(store_problem)?;
        let (there, back) = (read(there).map_err(store_problem)?, read(back).map_err(store_problem)?);
        let viewer = viewer.map(|_| Relationship::of(there.as_ref(), back.as_ref()));
        Ok((circle.unwrap_or_default(), viewer))
    }
}

/// Get a user's profile by id
#[utoipa::path(
    get, path = "/v1/users/{user}", tag = "profiles", security((), ("token" = [])),
    params(("user" = String, Path, pattern = "^[0-9a-f]{32}$"), QueryHeaders),
    responses((status = 200, body = ProfilePage), (status = 304), Problems)
)]
async fn get_user(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(user): Path<UserId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, follows::VIEW.name]).await;
    let found = queries.store.get(&user.to_string()).await.map_err(store_problem)?;
    answer(&conditions, caught_up, &queries.profile_page(found, viewer).await?)
}

#[derive(Debug, Deserialize)]
struct ByUsername {
    username: String,
}

/// Get a user's profile by username
#[utoipa::path(
    get, path = "/v1/users/by-username/{username}", tag = "profiles", security((), ("token" = [])),
    params(("username" = String, Path), QueryHeaders),
    responses((status = 200, body = ProfilePage), (status = 304), Problems)
)]
async fn get_user_by_username(
    State(queries): State<Queries>,
    viewer: Option<Session>,
    Path(ByUsername { username }): Path<ByUsername>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name, follows::VIEW.name]).await;
    let query = Query::new(&VIEW, &BY_USERNAME, vec![json!(fold_name(&username))], 1);
    let page = queries.store.page_of::<Profile>(query).await.map_err(store_problem)?;
    answer(&conditions, caught_up, &queries.profile_page(page.documents.into_iter().next(), viewer).await?)
}
