//! The user, in the app's format.

use axum::extract::State;
use command_api::accounts::sign_up::SignUp;
use command_api::pipeline::errors::log_problem;
use events::{ProfileDetails, UserId};
use query_api::reading::answer::{Conditions, answer};
use serde_json::{Value, json};
use views::music::{library, songs};
use web::compat::{Caller, Refusal, Success};

use crate::{Answer, Apps};

/// Maximum number of liked songs of a user: the newest ones.
const LIKED_LIMIT: usize = 1000;

/// The views that the liked songs are read from.
const VIEWS: [&str; 2] = [library::VIEW.name, songs::VIEW.name];

/// A user who has just signed up.
pub(super) fn new_user(user: UserId, command: &SignUp) -> Value {
    let SignUp { username, email, firstname, lastname, .. } = command;
    json!({
        "_id": user, "firstname": firstname, "lastname": lastname,
        "username": username, "email": email, "likedSongs": [],
    })
}

impl Apps {
    /// The user from the log, so that a new one is there at once, and the liked songs from the views.
    pub(super) async fn spotifymern_user(&self, user: UserId) -> Result<Value, Refusal> {
        let account = self.commands.account(user).await.map_err(log_problem)?;
        let (details, _) = self.commands.profile(user).await.map_err(log_problem)?;
        let liked = self.queries.visible_liked_songs(user, LIKED_LIMIT).await?;
        let ProfileDetails { firstname, lastname, bio: _ } = details;
        Ok(json!({
            "_id": user, "firstname": firstname, "lastname": lastname,
            "username": account.username(), "email": account.address(), "likedSongs": liked,
        }))
    }
}

pub(super) async fn current(State(apps): State<Apps>, caller: Caller, conditions: Conditions) -> Answer {
    let caught_up = apps.queries.catch_up(&conditions, &VIEWS).await;
    let user = apps.spotifymern_user(caller.user).await?;
    Ok(answer(&conditions, caught_up, &Success::of(json!({ "user": user })))?)
}
