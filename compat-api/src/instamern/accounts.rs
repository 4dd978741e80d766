//! Sign-up, log-in and log-out, change of the email address, deactivation and erasure.

use axum::extract::State;
use command_api::accounts::account::AccountStatus;
use command_api::accounts::sign_up::SignUp;
use command_api::pipeline::context::Context;
use command_api::pipeline::errors::log_problem;
use command_api::pipeline::text;
use events::{App, SessionEndReason};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use web::compat::{Caller, Fields, Refusal, Success, forget_cookie};
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::Problem;
use web::sessions::Session;

use super::signed_in::new_user;
use super::{Answer, rules};
use crate::Apps;
use crate::accounts::{LogInTexts, RequestClient, taken};
use crate::rules::Messages;
use crate::session::UserSession;

/// The app's name of the field.
pub(super) const USERNAME: &str = "@username";
const LOG_IN: LogInTexts = LogInTexts {
    incomplete: "Please type your username and password.",
    unknown_user: "User not found. You can signup with that user.",
    wrong_password: "Password doesn't match.",
};

/// The refusal of a wrong current password, with this text.
pub(super) fn wrong_password<E: Into<Problem>>(text: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| {
        let renamed = (StatusCode::UNPROCESSABLE_ENTITY, StatusCode::UNAUTHORIZED, text);
        Refusal::rename(error.into(), &[renamed])
    }
}

fn sign_up_command(fields: &Fields) -> Result<SignUp, Refusal> {
    let mut messages = Messages::default();
    let command = SignUp {
        firstname: messages.take(rules::firstname(fields)),
        lastname: messages.take(rules::lastname(fields)),
        username: messages.take(rules::username(fields)),
        email: messages.take(rules::email(fields)),
        password: messages.take(rules::password(fields)),
        app: App::Instamern,
    };
    messages.take(rules::confirmation(fields));
    messages.finish()?;
    Ok(command)
}

pub(super) async fn sign_up(
    State(apps): State<Apps>,
    context: Context,
    from: ClientAddress,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    let command = sign_up_command(&fields)?;
    let shown = command.clone();
    let client = RequestClient { from, headers: &headers };
    let (session, outcomes) = apps.sign_up(context, client, command, USERNAME).await?;
    let body = Success::saying("You've signed up successfully. Welcome to InstaMERN!");
    let user = new_user(session.user, &shown);
    apps.answer_with_session(StatusCode::CREATED, &session, &outcomes, body, user).await
}

pub(super) async fn log_in(
    State(apps): State<Apps>,
    context: Context,
    from: ClientAddress,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    let client = RequestClient { from, headers: &headers };
    let (session, username, outcomes) = apps.log_in(context, client, &fields, LOG_IN).await?;
    let message = format!("Welcome back {username}!");
    apps.answer_signed_in(session, &outcomes, Success::saying(message)).await
}

pub(super) async fn log_out(State(apps): State<Apps>, caller: Caller, context: Context) -> Answer {
    let (user, session) = (caller.user, caller.session);
    let context = context.without_idempotency_key().with_actor(user);
    let outcome = apps.commands.end_session(&context, user, session, SessionEndReason::LoggedOut).await?;
    let body = Success::saying("You're logged out successfully.").with(Value::Null);
    let mut answer = apps.answer(StatusCode::OK, &[outcome], body).await;
    answer.headers_mut().insert(header::SET_COOKIE, forget_cookie());
    Ok(answer)
}

pub(super) async fn change_email(
    State(apps): State<Apps>,
    caller: Caller,
    context: Context,
    from: ClientAddress,
    fields: Fields,
) -> Answer {
    let user = caller.user;
    let current = current_password(&fields, "Please confirm your current password.")?;
    let wrong = wrong_password("Your current password doesn't match.");
    let (account, _) = apps.commands.confirm_password(user, from, current).await.map_err(wrong)?;
    let missing = || Refusal::forbidden("Please set your new email address.");
    let email = fields.filled("email").ok_or_else(missing)?;
    let email = text::email(&email).map_err(|_| Refusal::forbidden("Please type a valid email address."))?;
    if email == account.address() {
        return Err(Refusal::forbidden("That email address is already the same as the existing one."));
    }
    let mailboxes = [apps.commands.mailbox(account.address()), apps.commands.mailbox(&email)];
    apps.commands.limits().check(Attempt::Mail { mailboxes: &mailboxes, from: Some(from) })?;
    let session = Session { user: caller.user, session: caller.session, expires: caller.expires };
    let context = context.without_idempotency_key().with_actor(user);
    let outcome = apps.commands.take_email(&context, session, email, App::Instamern).await;
    let outcome = outcome.map_err(taken(USERNAME))?;
    let session = UserSession { user, token: caller.token, expires: caller.expires, renewed: true };
    let body = Success::saying("Your email address has been changed successfully.");
    apps.answer_signed_in(session, &[outcome], body).await
}

pub(super) async fn deactivate(
    State(apps): State<Apps>,
    caller: Caller,
    context: Context,
    from: ClientAddress,
    fields: Fields,
) -> Answer {
    let user = caller.user;
    if apps.commands.account_status(user).await.map_err(log_problem)? == AccountStatus::Deactivated {
        return Err(Refusal::forbidden("Your account is already inactive."));
    }
    let current = current_password(&fields, "Please confirm your password.")?;
    let wrong = wrong_password("Password doesn't match.");
    apps.commands.confirm_password(user, from, current).await.map_err(wrong)?;
    let context = context.without_idempotency_key().with_actor(user);
    let outcome = apps.commands.deactivate(&context, user).await?;
    let message = "Your account has been deactivated successfully. To activate again, please login.";
    let mut answer = apps.answer(StatusCode::OK, &[outcome], Success::saying(message)).await;
    answer.headers_mut().insert(header::SET_COOKIE, forget_cookie());
    Ok(answer)
}

pub(super) async fn erase(
    State(apps): State<Apps>,
    caller: Caller,
    context: Context,
    from: ClientAddress,
    fields: Fields,
) -> Answer {
    let user = caller.user;
    let current = current_password(&fields, "Please confirm your password.")?;
    let wrong = wrong_password("Password doesn't match.");
    apps.commands.confirm_password(user, from, current).await.map_err(wrong)?;
    let outcome = apps.commands.erase(&context.without_idempotency_key().with_actor(user), user).await?;
    let mut answer = apps.answer_nothing(&[outcome]).await;
    answer.headers_mut().insert(header::SET_COOKIE, forget_cookie());
    Ok(answer)
}

pub(super) fn current_password(fields: &Fields, missing: &'static str) -> Result<String, Refusal> {
    fields.filled("currentPassword").ok_or_else(|| Refusal::forbidden(missing))
}
