//! Changes of the profile, and follows.

use axum::extract::{Request, State};
use command_api::accounts::profiles::Edit;
use command_api::pipeline::context::Context;
use command_api::pipeline::errors::{CommandError, log_problem};
use command_api::social::follows::FollowRejected;
use events::UserId;
use http::StatusCode;
use media::ImageVariant;
use serde_json::{Value, json};
use web::compat::{Fields, PathText, Refusal, Success};
use web::problem::Problem;

use super::accounts::USERNAME;
use super::caller::ActiveCaller;
use super::posts::{Upload, not_stored};
use super::{Answer, rules};
use crate::Apps;
use crate::accounts::taken;
use crate::rules::Messages;

/// Fields that this route refuses: they have their own routes, or none.
const REFUSED_FIELDS: [&str; 5] = ["email", "password", "passwordConfirm", "photo", "active"];

pub(super) async fn update(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    context: Context,
    fields: Fields,
) -> Answer {
    if REFUSED_FIELDS.iter().any(|field| fields.says(field)) {
        return Err(Refusal::forbidden("You cannot update these fields."));
    }
    let mut messages = Messages::default();
    let mut sent = |field, rule: fn(&Fields) -> Result<String, String>| {
        fields.has(field).then(|| messages.take(rule(&fields)))
    };
    let (firstname, lastname) = (sent("firstname", rules::firstname), sent("lastname", rules::lastname));
    let (username, bio) = (sent("username", rules::username), sent("bio", rules::bio));
    messages.finish()?;
    let user = caller.user;
    let context = context.without_idempotency_key().with_actor(user);
    let mut outcomes = Vec::new();
    // First, since it is the only step that may fail because of other users.
    if let Some(username) = username
        && apps.commands.account(user).await.map_err(log_problem)?.username() != username
    {
        outcomes.push(apps.commands.rename(&context, user, username).await.map_err(taken(USERNAME))?);
    }
    let command = Edit { firstname, lastname, bio };
    outcomes.push(apps.commands.edit_profile(&context, user, &command).await?);
    let body = Success::saying("Your profile has been updated successfully.");
    Ok(apps.answer(StatusCode::OK, &outcomes, body).await)
}

pub(super) async fn upload_photo(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    context: Context,
    request: Request,
) -> Answer {
    let user = caller.user;
    let _slot = apps.commands.begin_upload(user).map_err(Problem::from)?;
    let upload = Upload::read(request, "photo").await?;
    let missing = || Refusal::forbidden("No photo found to upload.");
    let picture = upload.picture.ok_or_else(missing)?;
    let context = context.without_idempotency_key().with_actor(user);
    let stored = apps.commands.change_photo(&context, user, picture).await;
    let (media, outcome) = stored.map_err(not_stored("Couldn't uploaded photo"))?;
    let url = ImageVariant::PHOTO.url(apps.queries.public_url(), &media.to_string());
    let body = Success::saying("Profile photo has been updated successfully.").with(json!({ "url": url }));
    Ok(apps.answer(StatusCode::OK, &[outcome], body).await)
}

pub(super) async fn remove_photo(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    context: Context,
) -> Answer {
    let user = caller.user;
    let context = context.without_idempotency_key().with_actor(user);
    let outcome = apps.commands.remove_photo(&context, user).await?;
    let message = match outcome.changed {
        true => "Your profile picture has been removed successfully.",
        false => "No profile picture found. Nothing to delete.",
    };
    Ok(apps.answer(StatusCode::OK, &[outcome], Success::saying(message).with(Value::Null)).await)
}

/// The user with the username in a path.
async fn user_named(apps: &Apps, username: &str) -> Result<UserId, Refusal> {
    let found = apps.commands.user_called(username).await.map_err(log_problem)?;
    found.map(|(user, _)| user).ok_or_else(|| Refusal::not_found("User not found."))
}

fn refused(error: CommandError<FollowRejected>) -> Refusal {
    Refusal::rename(
        error.into(),
        &[
            (StatusCode::CONFLICT, StatusCode::FORBIDDEN, "You cannot follow yourself."),
            (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, "User not found."),
        ],
    )
}

pub(super) async fn follow(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    PathText(username): PathText,
    context: Context,
) -> Answer {
    let (follower, followee) = (caller.user, user_named(&apps, &username).await?);
    let context = context.without_idempotency_key().with_actor(follower);
    let followed = apps.commands.follow(&context, follower, followee).await;
    let (_, outcome) = followed.map_err(refused)?;
    let body = Success::saying(format!("Now, you are following {username}"));
    Ok(apps.answer(StatusCode::OK, &[outcome], body).await)
}

pub(super) async fn unfollow(
    State(apps): State<Apps>,
    ActiveCaller(caller): ActiveCaller,
    PathText(username): PathText,
    context: Context,
) -> Answer {
    let (follower, followee) = (caller.user, user_named(&apps, &username).await?);
    if follower == followee {
        return Err(Refusal::forbidden("You cannot follow yourself."));
    }
    let context = context.without_idempotency_key().with_actor(follower);
    let outcome = apps.commands.unfollow(&context, follower, followee).await?;
    let body = Success::saying(format!("Now, you aren't following {username}"));
    Ok(apps.answer(StatusCode::OK, &[outcome], body).await)
}
