//! Sign-up and log-in.

use std::ops::RangeInclusive;

use axum::extract::State;
use command_api::accounts::sign_up::SignUp;
use command_api::pipeline::context::Context;
use command_api::pipeline::text;
use events::App;
use http::{HeaderMap, StatusCode};
use web::compat::{Fields, Refusal, Success};
use web::http::ClientAddress;

use crate::accounts::{LogInTexts, RequestClient};
use crate::rules::{self, Messages, given};
use crate::{Answer, Apps};

/// The app's name of the field.
const USERNAME: &str = "Username";
const LOG_IN: LogInTexts = LogInTexts {
    incomplete: "Please type your @username and password.",
    unknown_user: "User not found. You can signup with that user.",
    wrong_password: "Password doesn't  match.",
};

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
    let body = Success::saying("You've signed up successfully.");
    let user = super::users::new_user(session.user, &shown);
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
    let message = format!("Wellcome back {username}!");
    let user = apps.spotifymern_user(session.user).await?;
    apps.answer_with_session(StatusCode::OK, &session, &outcomes, Success::saying(message), user).await
}
