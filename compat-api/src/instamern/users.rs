//! Users, in the app's format.

use axum::extract::State;
use events::{UserId, fold_name};
use futures::TryFutureExt;
use media::ImageVariant;
use query_api::reading::answer::{CaughtUp, Conditions, answer};
use query_api::social::follows::{IDS_LIMIT, Side};
use query_api::store_problem;
use serde::Serialize;
use serde_json::json;
use views::accounts::account::{self, Account};
use views::accounts::profiles::{AccountStatus, BY_USERNAME, Profile, VIEW};
use views::accounts::search::VIEW as NAMES;
use views::social::follows;
use views::social::notifications;
use views::social::posts::{self, Post};
use views::social::stories;
use views::{Query, ViewStoreExt};
use web::compat::{Caller, PathText, Refusal, Success};
use web::problem::Problem;

use super::Answer;
use super::feed::ProfilePost;
use super::notifications::Notification;
use super::stories::UserStory;

use crate::Apps;

/// Number of random users.
const RANDOM_USERS: usize = 5;
/// Maximum number of posts in a profile; the newest ones.
const POSTS_LIMIT: usize = 5000;

/// The views that a profile reads.
const VIEWS: [&str; 5] =
    [VIEW.name, follows::VIEW.name, posts::VIEW.name, stories::VIEW.name, account::VIEW.name];
/// Further views that only the own profile reads.
const OWN_VIEWS: [&str; 1] = [notifications::VIEW.name];

/// A user in a list.
#[derive(Debug, Serialize)]
struct Listed {
    #[serde(rename = "_id")]
    key: String,
    firstname: String,
    lastname: String,
    username: String,
    /// Only in the answer to its owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    bio: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<String>,
    /// Empty unless the caller is the owner.
    notifications: Vec<Notification>,
    stories: Vec<UserStory>,
}

/// A user in a list whose items have an `id`.
#[derive(Debug, Serialize)]
struct Found {
    id: String,
    #[serde(flatten)]
    listed: Listed,
}

/// A user with all fields of the app.
#[derive(Debug, Serialize)]
pub(super) struct FullUser {
    #[serde(flatten)]
    found: Found,
    followers: Vec<String>,
    followings: Vec<String>,
    posts: Vec<ProfilePost>,
    /// Not in the answers to commands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) active: Option<bool>,
}

#[derive(Serialize)]
struct OneUser {
    user: FullUser,
}

#[derive(Serialize)]
struct Users<T> {
    users: Vec<T>,
}

impl Apps {
    fn listed(&self, profile: &Profile, stories: Vec<UserStory>) -> Listed {
        let Profile { user, username, firstname, lastname, bio, photo, .. } = profile.clone();
        Listed {
            key: user,
            firstname,
            lastname,
            username,
            email: None,
            bio,
            photo: photo.map(|photo| self.queries.image_url(&photo.media, ImageVariant::PHOTO)),
            notifications: Vec::new(),
            stories,
        }
    }

    fn found(&self, profile: &Profile, stories: Vec<UserStory>) -> Found {
        Found { id: profile.user.clone(), listed: self.listed(profile, stories) }
    }

    /// Each of these users with their stories, converted by `shape`.
    async fn with_stories<T>(
        &self,
        people: &[Profile],
        shape: impl Fn(&Profile, Vec<UserStory>) -> T,
    ) -> Result<Vec<T>, Problem> {
        let stories = self.stories_of_users(people.iter().map(|profile| profile.user.clone()), None).await?;
        Ok(people.iter().zip(stories).map(|(profile, stories)| shape(profile, stories)).collect())
    }

    /// The posts of a user, oldest first.
    async fn profile_posts(&self, user: &str) -> Result<Vec<ProfilePost>, Problem> {
        let query = Query::new(&posts::VIEW, &posts::BY_AUTHOR, vec![json!(user)], POSTS_LIMIT);
        let mut found = self.queries.store().page_of::<Post>(query).await.map_err(store_problem)?.documents;
        found.retain(|post| !post.removed);
        found.reverse();
        self.posts_of_profile(found).await
    }

    async fn full_user(&self, profile: &Profile, viewer: Option<UserId>) -> Result<FullUser, Problem> {
        let user = &profile.user;
        let (followers, followings, posts, stories) = futures::try_join!(
            self.queries.newest_ids(Side::Followers, user, IDS_LIMIT),
            self.queries.newest_ids(Side::Followings, user, IDS_LIMIT),
            self.profile_posts(user),
            self.stories_of_users(std::iter::once(user.clone()), viewer),
        )?;
        let stories = stories.into_iter().flatten().collect();
        let active = Some(profile.status == AccountStatus::Active);
        Ok(FullUser { found: self.found(profile, stories), followers, followings, posts, active })
    }

    /// The user, with the fields that only they can see.
    pub(super) async fn current_user(
        &self,
        user: UserId,
        conditions: &Conditions,
    ) -> Result<(FullUser, CaughtUp), Problem> {
        let caught_up = self.queries.catch_up(conditions, &[&VIEWS[..], &OWN_VIEWS[..]].concat()).await;
        let id = user.to_string();
        let found = futures::try_join!(
            self.queries.store().get::<Account>(&id).map_err(store_problem),
            self.queries.store().get::<Profile>(&id).map_err(store_problem),
        )?;
        // A valid session belongs to an account; the views may be behind.
        let (Some(account), Some(profile)) = found else {
            return Err(Problem::overloaded(
                "Your account is not ready yet: try again a little later",
                "the views do not include the account yet",
            ));
        };
        let (mut full, notifications) =
            futures::try_join!(self.full_user(&profile, Some(user)), self.single_notifications(user))?;
        full.found.listed.email = Some(account.email);
        full.found.listed.notifications = notifications;
        Ok((full, caught_up))
    }

    async fn answer_profile(&self, conditions: &Conditions, profile: Option<Profile>) -> Answer {
        let profile = profile.ok_or_else(|| Refusal::not_found("User not found."))?;
        if profile.status != AccountStatus::Active {
            return Err(Refusal::not_found("That user is no longer active."));
        }
        let caught_up = self.queries.catch_up(conditions, &VIEWS).await;
        let user = self.full_user(&profile, None).await?;
        Ok(answer(conditions, caught_up, &Success::of(OneUser { user }))?)
    }
}

pub(super) async fn by_id(
    State(apps): State<Apps>,
    PathText(id): PathText,
    conditions: Conditions,
) -> Answer {
    apps.queries.catch_up(&conditions, &VIEWS).await;
    let found = match id.parse::<UserId>() {
        Ok(id) => apps.queries.store().get(&id.to_string()).await.map_err(store_problem)?,
        Err(_) => None,
    };
    apps.answer_profile(&conditions, found).await
}

pub(super) async fn by_username(
    State(apps): State<Apps>,
    PathText(username): PathText,
    conditions: Conditions,
) -> Answer {
    apps.queries.catch_up(&conditions, &VIEWS).await;
    let query = Query::new(&VIEW, &BY_USERNAME, vec![json!(fold_name(&username))], 1);
    let page = apps.queries.store().page_of::<Profile>(query).await.map_err(store_problem)?;
    // Letter case matters to the app.
    let found = page.documents.into_iter().find(|profile| profile.username == username);
    apps.answer_profile(&conditions, found).await
}

pub(super) async fn current(State(apps): State<Apps>, caller: Caller, conditions: Conditions) -> Answer {
    let (user, caught_up) = apps.current_user(caller.user, &conditions).await?;
    Ok(answer(&conditions, caught_up, &Success::of(OneUser { user }))?)
}

pub(super) async fn random(State(apps): State<Apps>, conditions: Conditions) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &[VIEW.name, NAMES.name]).await;
    let found = apps.queries.random_users(RANDOM_USERS).await?;
    let users = apps.with_stories(&found, |profile, stories| apps.listed(profile, stories)).await?;
    let count = users.len();
    Ok(answer(&conditions, caught_up, &Success::of(Users { users }).counting(count))?)
}

pub(super) async fn search(
    State(apps): State<Apps>,
    PathText(text): PathText,
    conditions: Conditions,
) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &[VIEW.name, NAMES.name]).await;
    let (found, _complete) = apps.queries.people_by_username_part(&text).await?;
    let users = apps.with_stories(&found, |profile, stories| apps.found(profile, stories)).await?;
    let count = users.len();
    Ok(answer(&conditions, caught_up, &Success::of(Users { users }).counting(count))?)
}
