//! Changes of the password, and resets by a mailed link.

mod forms;
mod hashing;
mod rules;

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{
    App, Event, LinkPurpose, MailedRequestId, MailedToken, PasswordChangeReason, PasswordChanged,
    PasswordResetRequested, Personal, SessionId, Subject, UserId,
};
use http::StatusCode;
use serde::Deserialize;
use service::telemetry::with_causes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use web::extract::{Json, Path};
use web::http::ClientAddress;
use web::limits::{Attempt, TooManyAttempts};
use web::problem::{FieldCode, FieldProblem, Problem, Problems, Refused};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{Account, AccountStatus, LinkRejected, no_account};
use crate::accounts::claims::{ClaimKind, Found};
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

pub use forms::prepare;
use hashing::HashingError;
pub(crate) use hashing::{Comparison, Passwords};
pub(crate) use rules::check;

/// Time after which a request for a reset link is answered, so that the time does not reveal whether there is an account.
/// Longer than an append usually takes, so that most failures reach the client.
const REQUEST_ANSWERED_AFTER: Duration = Duration::from_millis(250);

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRejected {
    NoAccount,
    /// It is not the current password, or it was changed concurrently.
    WrongPassword,
}

impl From<PasswordRejected> for Problem {
    fn from(rejected: PasswordRejected) -> Self {
        match rejected {
            PasswordRejected::NoAccount => no_account(),
            PasswordRejected::WrongPassword => {
                let message = "is not your current password";
                Self::invalid(vec![FieldProblem::new("current_password", FieldCode::Incorrect, message)])
            }
        }
    }
}

impl<R> From<HashingError> for CommandError<R> {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy(busy) => Self::Busy { what: "Log-in", cause: busy.into() },
            HashingError::Failed(cause) => Self::Defect(cause),
        }
    }
}

/// `checked` is the hash that the current password was compared with.
fn change(
    account: &Account,
    checked: &str,
    event: &PasswordChanged,
) -> Result<Option<Event>, PasswordRejected> {
    if !account.exists() {
        return Err(PasswordRejected::NoAccount);
    }
    if account.password_hash.as_deref() != Some(checked) {
        return Err(PasswordRejected::WrongPassword);
    }
    Ok(Some(event.clone().into()))
}

/// Suspended and erased accounts get no link. The answer does not reveal this.
fn request_reset(account: &Account, event: &PasswordResetRequested) -> Option<Event> {
    matches!(account.status, AccountStatus::Active | AccountStatus::Deactivated).then(|| event.clone().into())
}

/// `is_token_of` says whether the link's token is the token of a request.
fn reset(
    account: &Account,
    now: DateTime<Utc>,
    is_token_of: impl Fn(Uuid) -> bool,
    event: &PasswordChanged,
) -> Result<Option<Event>, LinkRejected> {
    if !matches!(account.status, AccountStatus::Active | AccountStatus::Deactivated) {
        return Err(LinkRejected);
    }
    account.reset.as_ref().filter(|link| link.opens(now, is_token_of)).ok_or(LinkRejected)?;
    Ok(Some(event.clone().into()))
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// Checks the current password. Returns the account and the hash that matches.
    pub async fn confirm_password(
        &self,
        user: UserId,
        from: ClientAddress,
        password: String,
    ) -> Result<(Account, String), CommandError<PasswordRejected>> {
        self.limits.check(Attempt::LogIn { account: user.uuid(), from })?;
        let account = self.account(user).await?;
        let hash = account.password_hash.clone();
        let hash = hash.ok_or(CommandError::Rejected(PasswordRejected::NoAccount))?;
        if self.passwords.compare(&password, Some(hash.clone())).await? == Comparison::Wrong {
            return Err(CommandError::Rejected(PasswordRejected::WrongPassword));
        }
        Ok((account, hash))
    }

    /// Sets a new password and ends every session except `kept`.
    pub async fn change_password(
        &self,
        context: &Context,
        user: UserId,
        checked: &str,
        password: String,
        kept: Option<SessionId>,
    ) -> Result<Outcome, CommandError<PasswordRejected>> {
        let hash = Personal::Open(self.passwords.hash(password).await?);
        let event = PasswordChanged { user, password_hash: hash, reason: PasswordChangeReason::Chosen, kept };
        let decide = |account: &Account| change(account, checked, &event);
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    /// Rehashes a password that was hashed with weaker parameters or in an old form. A failure does not fail the log-in.
    pub(crate) async fn strengthen(&self, context: &Context, user: UserId, checked: &str, password: String) {
        let hash = match self.passwords.hash(password).await {
            Ok(hash) => Personal::Open(hash),
            Err(error) => {
                tracing::debug!(error = with_causes(&error), %user, "a password will be rehashed at another log-in");
                return;
            }
        };
        let reason = PasswordChangeReason::Rehashed;
        let event = PasswordChanged { user, password_hash: hash, reason, kept: None };
        let decide = |account: &Account| change(account, checked, &event);
        // Under the key of the log-in, its further events on the account would be taken for this one.
        let context = context.for_preparation();
        if let Err(failure) = self.execute(&context, Subject::Account(user), &[], decide).await {
            tracing::debug!(?failure, %user, "a password will be rehashed at another log-in");
        }
    }

    /// Requests the mail with a reset link, if the account that uses the address may have one. Returns whether it may.
    pub async fn request_password_reset(
        &self,
        context: &Context,
        found: Found,
        app: App,
    ) -> Result<bool, CommandError<Infallible>> {
        let Some(user) = found.holder() else { return Ok(false) };
        let request = MailedRequestId::new(context.new_id(self.log.keys(), "password reset"));
        let event = PasswordResetRequested { user, request, app };
        let decide = |account: &Account| {
            Ok::<_, Infallible>(request_reset(account, &event).filter(|_| found.is_used_by(account)))
        };
        Ok(self.execute(context, Subject::Account(user), &[], decide).await?.changed)
    }

    /// Counts an attempt to open a mailed link. It does not count as a log-in of the account: an attacker who exhausts that
    /// limit must not prevent a reset as well.
    pub fn limit_link(&self, token: &str, from: ClientAddress) -> Result<(), TooManyAttempts> {
        self.limits.check(Attempt::LogIn { account: self.log.keys().claim_hash(token).uuid(), from })
    }

    /// The account that a mailed link belongs to. The link is checked before the new password is validated and hashed, so
    /// that a request without a valid link reveals nothing and costs little.
    pub async fn reset_link_account(
        &self,
        context: &Context,
        token: &str,
    ) -> Result<Account, CommandError<LinkRejected>> {
        let token = MailedToken::parse(token).ok_or(CommandError::Rejected(LinkRejected))?;
        let account = self.account(token.user).await?;
        // A repeated request may have used the link itself: `reset_password` finds out.
        let is_open = account.reset.as_ref().is_some_and(|link| link.opens(context.now, self.resets(&token)));
        if is_open || context.has_idempotency_key() {
            Ok(account)
        } else {
            Err(CommandError::Rejected(LinkRejected))
        }
    }

    /// Sets a new password with a mailed link. This ends every session and invalidates the link.
    pub async fn reset_password(
        &self,
        context: &Context,
        token: &str,
        password: String,
    ) -> Result<(UserId, Outcome), CommandError<LinkRejected>> {
        let token = MailedToken::parse(token).ok_or(CommandError::Rejected(LinkRejected))?;
        let user = token.user;
        let hash = Personal::Open(self.passwords.hash(password).await?);
        let reason = PasswordChangeReason::Reset;
        let event = PasswordChanged { user, password_hash: hash, reason, kept: None };
        let context = context.clone().with_actor(user);
        let decide = |account: &Account| reset(account, context.now, self.resets(&token), &event);
        let outcome = self.execute(&context, Subject::Account(user), &[], decide).await?;
        Ok((user, outcome))
    }

    /// Whether a token resets the password that a request was made for.
    fn resets(&self, token: &MailedToken) -> impl Fn(Uuid) -> bool {
        move |request| self.log.keys().is_mailed_token(token, LinkPurpose::ResetPassword, request)
    }
}

fn bad_password(refused: Refused) -> Problem {
    Problem::invalid(vec![FieldProblem::of("password", refused)])
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(set_password))
        .routes(routes!(request_reset_link))
        .routes(routes!(confirm_password_reset))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[schema(format = "password", max_length = 128, example = "correct horse battery")]
    current_password: String,
    #[schema(format = "password", min_length = 8, max_length = 128, example = "staple correct horse")]
    password: String,
}

/// Change the password
///
/// All sessions except this one end.
#[utoipa::path(
    put, path = "/v1/me/password", tag = "accounts", request_body = PasswordChange, security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn set_password(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    Json(PasswordChange { current_password, password }): Json<PasswordChange>,
) -> Result<Response, Problem> {
    let user = session.user;
    let context = context.with_actor(user).with_payload([current_password.as_bytes(), password.as_bytes()]);
    let (account, checked) = commands.confirm_password(user, from, current_password).await?;
    let password = check(&password, &account.own_words()).map_err(bad_password)?;
    let kept = Some(session.session);
    let outcome = commands.change_password(&context, user, &checked, password, kept).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordResetRequest {
    #[schema(format = "email", max_length = 254, example = "ann@example.org")]
    email: String,
}

/// Request a password reset
///
/// Mails a link to the address. The answer is the same whether the address belongs to an account or not. The link is valid
/// for ten minutes and can be used once.
#[utoipa::path(
    post, path = "/v1/password-resets", tag = "accounts", request_body = PasswordResetRequest,
    params(CommandHeaders),
    responses((status = 202, description = "A mail is sent if the address belongs to an account"), Problems)
)]
async fn request_reset_link(
    State(commands): State<Commands>,
    context: Context,
    from: ClientAddress,
    Json(PasswordResetRequest { email }): Json<PasswordResetRequest>,
) -> Result<StatusCode, Problem> {
    let answer_at = Instant::now() + REQUEST_ANSWERED_AFTER;
    let mut fields = Fields::default();
    let email = fields.take("email", text::email(&email));
    fields.finish()?;
    let context = context.with_payload([email.as_bytes()]);
    // Counted by address, whether there is an account or not.
    commands.limits.check(Attempt::Mail { mailboxes: &[commands.mailbox(&email)], from: Some(from) })?;
    // The reads are the same for every address. Work that depends on the account continues in the background.
    let found = commands.find(ClaimKind::Email, &email).await.map_err(log_problem)?;
    let (answer, answered) = oneshot::channel();
    let request = {
        let commands = commands.clone();
        async move {
            let outcome = commands.request_password_reset(&context, found, App::Chorus).await;
            if let Err(Err(error)) = answer.send(outcome) {
                tracing::warn!(?error, "a password reset failed after its request was answered");
            }
        }
    };
    commands.tasks.spawn("password reset", request);
    let outcome = outcome_at(answer_at, answered).await;
    outcome.transpose()?;
    Ok(StatusCode::ACCEPTED)
}

/// Waits until a moment, then returns the outcome of background work; none if the work is not finished.
async fn outcome_at<T>(moment: Instant, mut outcome: oneshot::Receiver<T>) -> Option<T> {
    tokio::time::sleep_until(moment).await;
    outcome.try_recv().ok()
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    #[schema(format = "password", min_length = 8, max_length = 128, example = "staple correct horse")]
    password: String,
}

/// Set a new password with a mailed link
///
/// The token is the last part of the link. All sessions end: log in with the new password.
#[utoipa::path(
    put, path = "/v1/password-resets/{token}", tag = "accounts", request_body = NewPassword,
    params(("token" = String, Path, pattern = "^[0-9a-f]{64}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn confirm_password_reset(
    State(commands): State<Commands>,
    Path(token): Path<String>,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    Json(NewPassword { password }): Json<NewPassword>,
) -> Result<Response, Problem> {
    let context = context.with_payload([password.as_bytes()]);
    commands.limit_link(&token, from)?;
    let account = commands.reset_link_account(&context, &token).await?;
    let password = check(&password, &account.own_words()).map_err(bad_password)?;
    let (_, outcome) = commands.reset_password(&context, &token, password).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::accounts::account::MailedLink;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const REQUEST: Uuid = Uuid::from_u128(7);

    fn password_changed(reason: PasswordChangeReason) -> PasswordChanged {
        PasswordChanged { user: ANN, password_hash: Personal::Open("new".into()), reason, kept: None }
    }

    fn ann() -> Account {
        let until = DateTime::UNIX_EPOCH + TimeDelta::minutes(10);
        Account {
            status: AccountStatus::Active,
            password_hash: Some("old".into()),
            reset: Some(MailedLink { request: REQUEST, until }),
            ..Account::default()
        }
    }

    #[test]
    fn password_is_changed_with_the_current_one() {
        let event = password_changed(PasswordChangeReason::Chosen);
        assert_eq!(change(&ann(), "old", &event), Ok(Some(event.clone().into())));
        assert_eq!(change(&ann(), "older", &event), Err(PasswordRejected::WrongPassword));
        let erased = Account { status: AccountStatus::Erased, ..ann() };
        assert_eq!(change(&erased, "old", &event), Err(PasswordRejected::NoAccount));
    }

    #[test]
    fn link_resets_the_password_once_before_it_expires() {
        let event = password_changed(PasswordChangeReason::Reset);
        let in_time = DateTime::UNIX_EPOCH + TimeDelta::minutes(9);
        let right = |request| request == REQUEST;
        assert_eq!(reset(&ann(), in_time, right, &event), Ok(Some(event.clone().into())));
        assert_eq!(reset(&ann(), in_time, |_| false, &event), Err(LinkRejected));
        let late = DateTime::UNIX_EPOCH + TimeDelta::minutes(10);
        assert_eq!(reset(&ann(), late, right, &event), Err(LinkRejected));
        let used = Account { reset: None, ..ann() };
        assert_eq!(reset(&used, in_time, right, &event), Err(LinkRejected));
        let suspended = Account { status: AccountStatus::Suspended, ..ann() };
        assert_eq!(reset(&suspended, in_time, right, &event), Err(LinkRejected));
    }

    #[tokio::test]
    async fn reset_request_is_answered_after_a_fixed_time() {
        let soon = || Instant::now() + Duration::from_millis(5);
        let (_never_done, unfinished) = oneshot::channel::<()>();
        assert_eq!(outcome_at(soon(), unfinished).await, None);
        let (answer, finished) = oneshot::channel();
        answer.send(7).unwrap();
        let moment = soon();
        assert_eq!(outcome_at(moment, finished).await, Some(7));
        assert!(Instant::now() >= moment, "not before");
    }

    #[test]
    fn suspended_or_erased_account_gets_no_link() {
        let event =
            PasswordResetRequested { user: ANN, request: MailedRequestId::new(REQUEST), app: App::Chorus };
        for (status, asked) in [
            (AccountStatus::Active, true),
            (AccountStatus::Deactivated, true),
            (AccountStatus::Suspended, false),
            (AccountStatus::Erased, false),
            (AccountStatus::None, false),
        ] {
            assert_eq!(request_reset(&Account { status, ..ann() }, &event).is_some(), asked, "{status:?}");
        }
    }
}
