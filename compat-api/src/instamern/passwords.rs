//! Reset and change of the password.

use axum::extract::State;
use command_api::accounts::account::LinkRejected;
use command_api::accounts::claims::ClaimKind;
use command_api::accounts::passwords::prepare;
use command_api::accounts::sessions::ClientNote;
use command_api::pipeline::context::Context;
use command_api::pipeline::errors::{CommandError, log_problem};
use command_api::pipeline::text;
use events::App;
use http::{HeaderMap, StatusCode};
use web::compat::{Caller, Fields, PathText, Refusal, Success};
use web::http::ClientAddress;
use web::limits::Attempt;

use super::accounts::{current_password, wrong_password};
use super::{Answer, rules};
use crate::Apps;
use crate::session::UserSession;

const CHANGED: &str = "Your password has been updated successfully.";

/// Unlike on `/v1`, the answer reveals whether the address belongs to an account.
pub(super) async fn forgot(
    State(apps): State<Apps>,
    context: Context,
    from: ClientAddress,
    fields: Fields,
) -> Answer {
    let missing = || Refusal::forbidden("Please type your email address to reset your password.");
    let email = fields.filled("email").ok_or_else(missing)?;
    let email = text::email(&email).map_err(|_| Refusal::forbidden("Please type a valid email address."))?;
    let mailbox = apps.commands.mailbox(&email);
    apps.commands.limits().check(Attempt::Mail { mailboxes: &[mailbox], from: Some(from) })?;
    let context = context.without_idempotency_key();
    let found = apps.commands.find(ClaimKind::Email, &email).await.map_err(log_problem)?;
    if !apps.commands.request_password_reset(&context, found, App::Instamern).await? {
        return Err(Refusal::not_found("User not found with that email."));
    }
    let message = "The password reset link has been sent to your email address.";
    Ok(apps.answer(StatusCode::OK, &[], Success::saying(message)).await)
}

fn no_link(error: CommandError<LinkRejected>) -> Refusal {
    let broken = "The password reset link has expired or has broken. Please try again later.";
    Refusal::rename(error.into(), &[(StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, broken)])
}

pub(super) async fn reset(
    State(apps): State<Apps>,
    PathText(token): PathText,
    context: Context,
    from: ClientAddress,
    headers: HeaderMap,
    fields: Fields,
) -> Answer {
    apps.commands.limit_link(&token, from)?;
    let context = context.without_idempotency_key();
    apps.commands.reset_link_account(&context, &token).await.map_err(no_link)?;
    let password = rules::new_password(&fields)?;
    let (user, outcome) = apps.commands.reset_password(&context, &token, password).await.map_err(no_link)?;
    let note = ClientNote::of(&headers, from);
    let (signed_in, started) = apps.commands.start_session(&context.with_actor(user), user, note).await?;
    let session = UserSession { user, token: signed_in.token, expires: signed_in.expires, renewed: true };
    apps.answer_signed_in(session, &[outcome, started], Success::saying(CHANGED)).await
}

/// The session continues with its current token.
pub(super) async fn change(
    State(apps): State<Apps>,
    caller: Caller,
    context: Context,
    from: ClientAddress,
    fields: Fields,
) -> Answer {
    let user = caller.user;
    let current = current_password(&fields, "Please confirm your current password.")?;
    if !fields.says("password") {
        return Err(Refusal::forbidden("Please set your new password."));
    }
    let wrong = wrong_password("Your current password doesn't match.");
    let (_, checked) = apps.commands.confirm_password(user, from, current.clone()).await.map_err(wrong)?;
    if fields.text("password").is_some_and(|text| prepare(&text) == prepare(&current)) {
        let same = "Your new password cannot be the same as your previous password.";
        return Err(Refusal::conflict(same));
    }
    let password = rules::new_password(&fields)?;
    let context = context.without_idempotency_key().with_actor(user);
    let kept = Some(caller.session);
    let wrong = wrong_password("Your current password doesn't match.");
    let changed = apps.commands.change_password(&context, user, &checked, password, kept).await;
    let outcome = changed.map_err(wrong)?;
    let session = UserSession { user, token: caller.token, expires: caller.expires, renewed: true };
    apps.answer_signed_in(session, &[outcome], Success::saying(CHANGED)).await
}
