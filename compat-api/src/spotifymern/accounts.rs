//! Sign-up and log-in.

use std::ops::RangeInclusive;

use axum::extract::State;
use command_api::accounts::claims::ClaimKind;
use command_api::accounts::sessions::ClientNote;
use command_api::accounts::sign_up::SignUp;
use command_api::pipeline::context::Context;
use command_api::pipeline::errors::log_problem;
use command_api::pipeline::text;
use events::App;
use http::{HeaderMap, StatusCode};
use web::compat::{Fields, Refusal, Success};
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::Problem;

use crate::rules::{self, Messages, given};
use crate::session::UserSession;
use crate::{Answer, Apps};

/// Length in characters.
const PASSWORD: RangeInclusive<usize> = 8..=32;

/// A required text of one line, within the limit of `/v1`.
fn name(fields: &Fields, field: &str, label: &str) -> Result<String, String> {
    let text = text::tidy(&given(fields, field, label)?);
    if text.is_empty() {
        return Err(format!("{label} is required."));
    }
    text::line(&text, text::NAME_LIMIT).map_err(|problem| format!("{label} {problem}."))
}

/// A username by the rules of `/v1`.
fn username(fields: &Fields) -> Result<String, String> {
    let text = given(fields, "username", "Username")?;
    if text.trim().is_empty() {
        return Err("Username is required.".to_owned());
    }
    text::username(&text).map_err(|problem| format!("Username {problem}."))
}

fn sign_up_command(fields: &Fields) -> Result<SignUp, Refusal> {
    let mut messages = Messages::default();
    let command = SignUp {
        firstname: messages.take(name(fields, "firstname", "Firstname")),
        lastname: messages.take(name(fields, "lastname", "Lastname")),
        username: messages.take(username(fields)),
        email: messages.take(rules::email(fields)),
        password: messages.take(rules::password(fields, &PASSWORD, "less")),
        app: App::Spotifymern,
    };
    messages.take(rules::confirmation(fields));
    messages.finish()?;
    Ok(command)
}

/// The refusal of a username or an address that another account uses or that is reserved.
fn taken(error: impl Into<Problem>) -> Refusal {
    const TAKEN: (StatusCode, StatusCode, &str) =
        (StatusCode::CONFLICT, StatusCode::CONFLICT, "This user already exists.");
    let problem = error.into();
    let reserved = problem.fields.first().filter(|_| problem.status == StatusCode::UNPROCESSABLE_ENTITY);
    match reserved.filter(|field| field.field == "username") {
        Some(field) => Refusal::forbidden(format!("Username {}.", field.message)),
        None => Refusal::rename(problem, &[TAKEN]),
    }
}

pub(super) async fn sign_up(
    State(apps): State<Apps>,
    context: Context,
    from: ClientAddress,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    let command = sign_up_command(&fields)?;
    apps.commands.limits().check(Attempt::SignUp { from })?;
    let context = context.without_idempotency_key();
    let shown = command.clone();
    let (user, signed_up) = apps.commands.sign_up(&context, command).await.map_err(taken)?;
    let note = ClientNote::of(&headers, from);
    let (signed_in, started) = apps.commands.start_session(&context.with_actor(user), user, note).await?;
    let session = UserSession { user, token: signed_in.token, expires: signed_in.expires, renewed: false };
    let body = Success::saying("You've signed up successfully.");
    let user = super::users::new_user(user, &shown);
    apps.answer_with_session(StatusCode::CREATED, &session, &[signed_up, started], body, user).await
}

pub(super) async fn log_in(
    State(apps): State<Apps>,
    context: Context,
    from: ClientAddress,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    let incomplete = || Refusal::forbidden("Please type your @username and password.");
    let (username, password) =
        fields.filled("username").zip(fields.filled("password")).ok_or_else(incomplete)?;
    let found = apps.commands.find(ClaimKind::Username, &username).await.map_err(log_problem)?;
    apps.commands.limits().check(Attempt::LogIn { account: found.budget(), from })?;
    let owner = apps.commands.owner(found).await.map_err(log_problem)?;
    // Only in exactly this spelling.
    let owner = owner.filter(|(_, account)| account.username() == username.trim());
    let unknown = || Refusal::not_found("User not found. You can signup with that user.");
    let (user, account) = owner.ok_or_else(unknown)?;
    let message = format!("Wellcome back {}!", account.username());
    let note = ClientNote::of(&headers, from);
    let wrong = (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED, "Password doesn't  match.");
    let owner = Some((user, account));
    let logged_in = apps.commands.log_in_as(&context.without_idempotency_key(), owner, password, note).await;
    let (signed_in, outcomes) = logged_in.map_err(|error| Refusal::rename(error.into(), &[wrong]))?;
    let session = UserSession { user, token: signed_in.token, expires: signed_in.expires, renewed: false };
    let user = apps.spotifymern_user(user).await?;
    apps.answer_with_session(StatusCode::OK, &session, &outcomes, Success::saying(message), user).await
}
