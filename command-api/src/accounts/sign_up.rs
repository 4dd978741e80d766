//! Sign-up: claims a username and an address, then makes the account that uses them.

use axum::extract::State;
use axum::response::Response;
use events::{App, Event, LogError, NewPerson, Personal, SignedUp, Subject, UserId};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use web::extract::Json;
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::{Problem, Problems};

use crate::Commands;
use crate::accounts::account::{Account, AccountStatus};
use crate::accounts::claims::{ClaimKind, ClaimRejected};
use crate::accounts::passwords;
use crate::accounts::sessions::{ClientNote, SessionRejected, SignedIn};
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::{CommandHeaders, Prefer};
use crate::pipeline::text::{self, Fields};

// ---------------------------------------------------------------- decisions

/// Why a sign-up was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUpRejected {
    Claim(ClaimRejected),
    /// The request is a replay and its password no longer logs the user in.
    LogIn(SessionRejected),
}

impl From<SignUpRejected> for Problem {
    fn from(rejected: SignUpRejected) -> Self {
        match rejected {
            SignUpRejected::Claim(rejected) => rejected.into(),
            SignUpRejected::LogIn(rejected) => rejected.into(),
        }
    }
}

impl From<CommandError<ClaimRejected>> for CommandError<SignUpRejected> {
    fn from(error: CommandError<ClaimRejected>) -> Self {
        error.map_rejection(SignUpRejected::Claim)
    }
}

impl From<CommandError<SessionRejected>> for CommandError<SignUpRejected> {
    fn from(error: CommandError<SessionRejected>) -> Self {
        error.map_rejection(SignUpRejected::LogIn)
    }
}

fn sign_up(account: &Account, event: &SignedUp) -> Result<Option<Event>, ClaimRejected> {
    let lost = account.abandoned.contains(&event.username) || account.abandoned.contains(&event.email);
    match account.status {
        _ if lost => Err(ClaimRejected::Lost),
        AccountStatus::None => Ok(Some(event.clone().into())),
        AccountStatus::Erased => Err(ClaimRejected::NoAccount),
        AccountStatus::Active | AccountStatus::Deactivated | AccountStatus::Suspended => Ok(None),
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    pub async fn sign_up(
        &self,
        context: &Context,
        command: SignUp,
    ) -> Result<(UserId, Outcome), CommandError<SignUpRejected>> {
        if self.reserved_usernames.contains(&command.username) {
            return Err(CommandError::Rejected(SignUpRejected::Claim(ClaimRejected::UsernameReserved)));
        }
        let keys = self.log.keys();
        let (username, email) = (keys.claim_hash(&command.username), keys.claim_hash(&command.email));
        let user = UserId::new(context.new_id(keys, &format!("user {username}")));
        let by_user = context.clone().with_actor(user);
        // A replay logs the user in, so the password must be the current one.
        if let Some((_, outcome)) =
            self.replayed_event::<ClaimRejected>(&by_user, Subject::Account(user)).await?
        {
            self.check_sign_up_again(user, &command.password).await?;
            return Ok((user, outcome));
        }
        let password_hash = self.passwords.hash(command.password).await?;
        if let Err(failure) = self.claim(context, ClaimKind::Username, username, user).await {
            let rejected = failure.into_rejection::<SignUpRejected>()?;
            return Err(self.with_taken_email(rejected, &command.email).await?);
        }
        if let Err(failure) = self.claim_email(context, (email, &command.email), user).await {
            self.release(context, ClaimKind::Username, username, user).await;
            return Err(failure.into());
        }
        // The first mail goes to an address that may belong to a stranger.
        if let Err(exceeded) = self.limits.check(Attempt::Mail { mailboxes: &[email.uuid()], from: None }) {
            self.release(context, ClaimKind::Username, username, user).await;
            self.release(context, ClaimKind::Email, email, user).await;
            return Err(exceeded.into());
        }
        let SignUp { username: spelling, email: address, firstname, lastname, app, .. } = command;
        let person = NewPerson { username: spelling, email: address, password_hash, firstname, lastname };
        let event = SignedUp { user, username, email, app, person: Personal::Open(person) };
        let signed_up =
            self.execute_new(&by_user, Subject::Account(user), &[], |account| sign_up(account, &event)).await;
        if let Err(CommandError::Rejected(_)) = signed_up {
            self.release(context, ClaimKind::Username, username, user).await;
            self.release(context, ClaimKind::Email, email, user).await;
        }
        Ok((user, signed_up?))
    }
}

impl Commands {
    /// The rejection of a username, or of username and address if both are taken: a form shows both at once.
    async fn with_taken_email(
        &self,
        rejected: ClaimRejected,
        email: &str,
    ) -> Result<CommandError<SignUpRejected>, LogError> {
        let found = self.find(ClaimKind::Email, email).await?;
        let both = rejected == ClaimRejected::UsernameTaken && self.owner(found).await?.is_some();
        let rejected = if both { ClaimRejected::UsernameAndEmailTaken } else { rejected };
        Ok(CommandError::Rejected(SignUpRejected::Claim(rejected)))
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(create_account))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// 3 to 30 ASCII letters, digits, `_` and `.`. Usernames that differ only in letter case are the same name.
    #[schema(min_length = 3, max_length = 30, pattern = "^[A-Za-z0-9][A-Za-z0-9_.]*$", example = "ann.lee")]
    username: String,
    #[schema(format = "email", max_length = 254, example = "ann@example.org")]
    email: String,
    #[schema(format = "password", min_length = 8, max_length = 128, example = "correct horse battery")]
    password: String,
    #[serde(default)]
    #[schema(max_length = 50, example = "Ann")]
    firstname: String,
    #[serde(default)]
    #[schema(max_length = 50, example = "Lee")]
    lastname: String,
}

/// A sign-up whose fields have been checked.
#[derive(Clone)]
pub struct SignUp {
    pub username: String,
    pub email: String,
    pub password: String,
    pub firstname: String,
    pub lastname: String,
    pub app: App,
}

impl NewAccount {
    fn check(self) -> Result<SignUp, Problem> {
        let mut fields = Fields::default();
        let full_name = format!("{} {}", self.firstname, self.lastname);
        let own = [&*self.username, &self.email, &self.firstname, &self.lastname, &full_name];
        let command = SignUp {
            username: fields.take("username", text::username(&self.username)),
            email: fields.take("email", text::email(&self.email)),
            password: fields.take("password", passwords::check(&self.password, &own)),
            firstname: fields.take("firstname", text::line(&self.firstname, text::NAME_LIMIT)),
            lastname: fields.take("lastname", text::line(&self.lastname, text::NAME_LIMIT)),
            app: App::Chorus,
        };
        fields.finish()?;
        Ok(command)
    }
}

/// Sign up
///
/// Creates an account and starts a session: returns its token and sets the session cookie.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "accounts", request_body = NewAccount,
    params(CommandHeaders),
    responses((status = 201, body = SignedIn), (status = 202, body = SignedIn), Problems)
)]
async fn create_account(
    State(commands): State<Commands>,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    headers: HeaderMap,
    Json(new): Json<NewAccount>,
) -> Result<Response, Problem> {
    commands.authenticator.session_cookies().check_log_in(&headers)?;
    let command = new.check()?;
    let found = commands.find(ClaimKind::Username, &command.username).await.map_err(log_problem)?;
    // A replay returns a session to any client that has the password, so it counts as a log-in.
    let attempt = match context.has_idempotency_key() && found.is_held() {
        true => Attempt::LogIn { account: found.budget(), from },
        false => Attempt::SignUp { from },
    };
    commands.limits.check(attempt)?;
    let SignUp { username, email, password, firstname, lastname, app: _ } = &command;
    let context =
        context.with_payload([username, email, password, firstname, lastname].map(String::as_bytes));
    let (user, signed_up) = commands.sign_up(&context, command).await?;
    let note = ClientNote::of(&headers, from);
    let context = context.with_actor(user);
    let (signed_in, started) = commands.start_session(&context, user, note).await?;
    commands.signed_in(context, prefer, &headers, signed_in, &[signed_up, started]).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::account::testing::{ANN, abandoned, hash, signed_up};

    fn signed_up_event() -> SignedUp {
        SignedUp { user: ANN, username: hash(1), email: hash(2), app: App::Chorus, person: Personal::Erased }
    }

    #[test]
    fn sign_up_has_an_effect_once() {
        assert_eq!(sign_up(&Account::default(), &signed_up_event()), Ok(Some(signed_up_event().into())));
        assert_eq!(sign_up(&signed_up(), &signed_up_event()), Ok(None));
        let erased = Account { status: AccountStatus::Erased, ..signed_up() };
        assert_eq!(sign_up(&erased, &signed_up_event()), Err(ClaimRejected::NoAccount));
    }

    #[test]
    fn late_sign_up_is_rejected_if_a_claim_was_taken_over() {
        assert_eq!(sign_up(&abandoned(hash(1)), &signed_up_event()), Err(ClaimRejected::Lost));
        assert_eq!(sign_up(&abandoned(hash(2)), &signed_up_event()), Err(ClaimRejected::Lost));
        assert!(sign_up(&abandoned(hash(3)), &signed_up_event()).is_ok());
    }
}
