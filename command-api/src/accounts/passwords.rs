//! Changing the password, and setting a new one by a mailed link when it is forgotten.

mod forms;
mod hashing;
mod rules;
mod share;
mod threads;

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
use tokio::sync::oneshot;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use web::extract::{Json, Path};
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::{FieldProblem, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{Account, LinkRejected, Standing};
use crate::accounts::claims::{ClaimKind, Found};
use crate::pipeline::context::Context;
use crate::pipeline::execute::Done;
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::rejections::log_problem;
use crate::pipeline::text::{self, Fields};

pub(crate) use forms::prepare;
pub(crate) use hashing::{Comparison, Passwords, PasswordsBusy};
pub(crate) use rules::check;

/// When a request for a link is answered, whether there is somebody to send one to or not, and however long the history of their
/// account is: how long it took must not tell. Longer than an append usually takes, so that most failures can be told.
const REQUEST_ANSWERED_AFTER: Duration = Duration::from_millis(250);

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PasswordRejected {
    NoAccount,
    /// The present password is another one, or has become another one meanwhile.
    WrongPassword,
}

/// `checked` is the hash that the present password was compared with.
fn change(
    account: &Account,
    checked: &str,
    wish: &PasswordChanged,
) -> Result<Option<Event>, PasswordRejected> {
    if !account.exists() {
        return Err(PasswordRejected::NoAccount);
    }
    if account.password_hash.as_deref() != Some(checked) {
        return Err(PasswordRejected::WrongPassword);
    }
    Ok(Some(wish.clone().into()))
}

/// Who is suspended or gone gets no link; whoever asks is told nothing of it.
fn request_reset(account: &Account, wish: &PasswordResetRequested) -> Option<Event> {
    matches!(account.standing, Standing::Active | Standing::Deactivated).then(|| wish.clone().into())
}

/// `is_token_of` tells whether the link's token is the one of a request.
fn reset(
    account: &Account,
    now: DateTime<Utc>,
    is_token_of: impl Fn(Uuid) -> bool,
    wish: &PasswordChanged,
) -> Result<Option<Event>, LinkRejected> {
    if !matches!(account.standing, Standing::Active | Standing::Deactivated) {
        return Err(LinkRejected);
    }
    account.reset.as_ref().filter(|link| link.opens(now, is_token_of)).ok_or(LinkRejected)?;
    Ok(Some(wish.clone().into()))
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// The account, and the hash that its present password was found to match.
    pub(crate) async fn confirm_password(
        &self,
        user: UserId,
        from: ClientAddress,
        password: String,
    ) -> Result<(Account, String), Problem> {
        self.limits.check(Attempt::LogIn { account: user.uuid(), from })?;
        let account: Account = self.look_at(Subject::Account(user)).await.map_err(log_problem)?;
        let hash = account.password_hash.clone().ok_or(PasswordRejected::NoAccount)?;
        if self.passwords.compare(&password, Some(hash.clone())).await? == Comparison::Wrong {
            return Err(PasswordRejected::WrongPassword.into());
        }
        Ok((account, hash))
    }

    /// Sets a new password; every session but `kept` ends with it.
    pub(crate) async fn change_password(
        &self,
        context: &Context,
        user: UserId,
        checked: &str,
        password: String,
        kept: Option<SessionId>,
    ) -> Result<Done, Problem> {
        let hash = Personal::Open(self.passwords.hash(password).await?);
        let event = PasswordChanged { user, password_hash: hash, reason: PasswordChangeReason::Chosen, kept };
        let decide = |account: &Account| change(account, checked, &event);
        Ok(self.execute(context, Subject::Account(user), &[], decide).await?)
    }

    /// Hashes a password anew that was hashed with weaker parameters than today's, or in another form. Whoever is logging in is not
    /// kept from it if that cannot be done now.
    pub(crate) async fn strengthen(&self, context: &Context, user: UserId, checked: &str, password: String) {
        let hash = match self.passwords.hash(password).await {
            Ok(hash) => Personal::Open(hash),
            Err(problem) => {
                tracing::debug!(%problem, %user, "a password is hashed anew another time");
                return;
            }
        };
        let reason = PasswordChangeReason::Rehashed;
        let event = PasswordChanged { user, password_hash: hash, reason, kept: None };
        let decide = |account: &Account| change(account, checked, &event);
        if let Err(failure) = self.execute(context, Subject::Account(user), &[], decide).await {
            tracing::debug!(?failure, %user, "a password is hashed anew another time");
        }
    }

    /// Asks for the mail with a link, if the address is somebody's who may have one. Answers whether it is.
    pub(crate) async fn request_password_reset(
        &self,
        context: &Context,
        found: Found,
        app: App,
    ) -> Result<bool, Problem> {
        let Some(user) = found.holder() else { return Ok(false) };
        let request = MailedRequestId::new(context.new_id(self.log.keys(), "password reset"));
        let event = PasswordResetRequested { user, request, app };
        let decide = |account: &Account| {
            Ok::<_, Infallible>(request_reset(account, &event).filter(|_| found.is_used_by(account)))
        };
        Ok(self.execute(context, Subject::Account(user), &[], decide).await?.changed)
    }

    /// Counts an attempt to open a mailed link. Not as a log-in of its account: who uses up that budget for somebody must
    /// not keep them from a new password as well.
    pub(crate) fn limit_link(&self, token: &str, from: ClientAddress) -> Result<(), Problem> {
        self.limits.check(Attempt::LogIn { account: self.log.keys().claim_hash(token).uuid(), from })
    }

    /// Sets a new password by a mailed link; every session ends with it, and the link with them. What may be chosen,
    /// `accept` tells, once there is a link.
    pub(crate) async fn reset_password<E: From<Problem>>(
        &self,
        context: &Context,
        token: &str,
        accept: impl FnOnce(&Account) -> Result<String, E>,
    ) -> Result<(UserId, Done), E> {
        let no_link = || Problem::from(LinkRejected);
        let token = MailedToken::parse(token).ok_or_else(no_link)?;
        let user = token.user;
        let keys = self.log.keys();
        let is_token_of = |request: Uuid| keys.is_mailed_token(&token, LinkPurpose::ResetPassword, request);
        let account: Account = self.look_at(Subject::Account(user)).await.map_err(log_problem)?;
        // Before the password is looked at and hashed: whoever has no link learns nothing and costs nothing. One
        // that this very request has used up is told from others below.
        if !context.is_repeatable() {
            let open = account.reset.as_ref().filter(|link| link.opens(context.now, is_token_of));
            open.ok_or_else(no_link)?;
        }
        let password = accept(&account)?;
        let hash = Personal::Open(self.passwords.hash(password).await?);
        let reason = PasswordChangeReason::Reset;
        let event = PasswordChanged { user, password_hash: hash, reason, kept: None };
        let context = context.clone().by(user);
        let decide = |account: &Account| reset(account, context.now, is_token_of, &event);
        let done =
            self.execute(&context, Subject::Account(user), &[], decide).await.map_err(Problem::from)?;
        Ok((user, done))
    }
}

fn bad_password(message: String) -> Problem {
    Problem::invalid(vec![FieldProblem::new("password", message)])
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(put_password))
        .routes(routes!(post_password_reset))
        .routes(routes!(put_password_reset))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[schema(format = "password", max_length = 128, example = "correct horse battery")]
    current_password: String,
    #[schema(format = "password", min_length = 8, max_length = 128, example = "staple correct horse")]
    password: String,
}

/// Change my password
///
/// This session goes on, all others end.
#[utoipa::path(
    put, path = "/v1/me/password", tag = "accounts", request_body = PasswordChange, security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn put_password(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    Json(PasswordChange { current_password, password }): Json<PasswordChange>,
) -> Result<Response, Problem> {
    let user = session.user;
    let context = context.by(user).saying([current_password.as_bytes(), password.as_bytes()]);
    let (account, checked) = commands.confirm_password(user, from, current_password).await?;
    let password = check(&password, &account.own_words()).map_err(bad_password)?;
    let kept = Some(session.session);
    let done = commands.change_password(&context, user, &checked, password, kept).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordResetWish {
    #[schema(format = "email", max_length = 254, example = "ann@example.org")]
    email: String,
}

/// Ask for a link that sets a new password
///
/// The answer is the same whether the address belongs to an account or not. The link is good for ten minutes, once.
#[utoipa::path(
    post, path = "/v1/password-resets", tag = "accounts", request_body = PasswordResetWish,
    params(CommandHeaders),
    responses((status = 202, description = "If the address belongs to an account, a mail is on its way"), Problems)
)]
async fn post_password_reset(
    State(commands): State<Commands>,
    context: Context,
    from: ClientAddress,
    Json(PasswordResetWish { email }): Json<PasswordResetWish>,
) -> Result<StatusCode, Problem> {
    let answer_at = Instant::now() + REQUEST_ANSWERED_AFTER;
    let mut fields = Fields::default();
    let email = fields.take("email", text::email(&email));
    fields.finish()?;
    let context = context.saying([email.as_bytes()]);
    // Counted by the address, so that whether there is such an account makes no difference.
    commands.limits.check(Attempt::Mail { mailboxes: &[commands.mailbox(&email)], from: Some(from) })?;
    // The same reads for every address; what depends on its account is not waited for.
    let found = commands.find(ClaimKind::Email, &email).await?;
    let (done, outcome) = oneshot::channel();
    let request = {
        let commands = commands.clone();
        async move {
            let outcome = commands.request_password_reset(&context, found, App::Chorus).await;
            if let Err(Err(problem)) = done.send(outcome) {
                tracing::warn!(%problem, "a password reset that was answered for could not be requested");
            }
        }
    };
    commands.tasks.spawn("password reset", request);
    let outcome = outcome_at(answer_at, outcome).await;
    outcome.map_or(Ok(StatusCode::ACCEPTED), |outcome| outcome.map(|_is_somebodys| StatusCode::ACCEPTED))
}

/// What has come of some work at a moment, which is waited for in any case; none if it goes on.
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

/// Set a new password by a mailed link
///
/// All sessions end; log in with the new password.
#[utoipa::path(
    put, path = "/v1/password-resets/{token}", tag = "accounts", request_body = NewPassword,
    params(("token" = String, Path, pattern = "^[0-9a-f]{64}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn put_password_reset(
    State(commands): State<Commands>,
    Path(token): Path<String>,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    Json(NewPassword { password }): Json<NewPassword>,
) -> Result<Response, Problem> {
    let context = context.saying([password.as_bytes()]);
    commands.limit_link(&token, from)?;
    let accept = |account: &Account| check(&password, &account.own_words()).map_err(bad_password);
    let (_, done) = commands.reset_password(&context, &token, accept).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::accounts::account::MailedLink;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const REQUEST: Uuid = Uuid::from_u128(7);

    fn wish(reason: PasswordChangeReason) -> PasswordChanged {
        PasswordChanged { user: ANN, password_hash: Personal::Open("new".into()), reason, kept: None }
    }

    fn ann() -> Account {
        let until = DateTime::UNIX_EPOCH + TimeDelta::minutes(10);
        Account {
            standing: Standing::Active,
            password_hash: Some("old".into()),
            reset: Some(MailedLink { request: REQUEST, until }),
            ..Account::default()
        }
    }

    #[test]
    fn a_password_is_changed_by_who_knows_the_present_one() {
        let wish = wish(PasswordChangeReason::Chosen);
        assert_eq!(change(&ann(), "old", &wish), Ok(Some(wish.clone().into())));
        assert_eq!(change(&ann(), "older", &wish), Err(PasswordRejected::WrongPassword));
        let erased = Account { standing: Standing::Erased, ..ann() };
        assert_eq!(change(&erased, "old", &wish), Err(PasswordRejected::NoAccount));
    }

    #[test]
    fn a_link_resets_the_password_in_time_and_once() {
        let wish = wish(PasswordChangeReason::Reset);
        let in_time = DateTime::UNIX_EPOCH + TimeDelta::minutes(9);
        let right = |request| request == REQUEST;
        assert_eq!(reset(&ann(), in_time, right, &wish), Ok(Some(wish.clone().into())));
        assert_eq!(reset(&ann(), in_time, |_| false, &wish), Err(LinkRejected));
        let late = DateTime::UNIX_EPOCH + TimeDelta::minutes(10);
        assert_eq!(reset(&ann(), late, right, &wish), Err(LinkRejected));
        let used = Account { reset: None, ..ann() };
        assert_eq!(reset(&used, in_time, right, &wish), Err(LinkRejected));
        let suspended = Account { standing: Standing::Suspended, ..ann() };
        assert_eq!(reset(&suspended, in_time, right, &wish), Err(LinkRejected));
    }

    #[tokio::test]
    async fn a_request_for_a_link_is_answered_while_its_work_goes_on() {
        let soon = || Instant::now() + Duration::from_millis(5);
        let (_never_done, unfinished) = oneshot::channel::<()>();
        assert_eq!(outcome_at(soon(), unfinished).await, None);
        let (done, finished) = oneshot::channel();
        done.send(7).unwrap();
        let moment = soon();
        assert_eq!(outcome_at(moment, finished).await, Some(7));
        assert!(Instant::now() >= moment, "not before");
    }

    #[test]
    fn who_is_suspended_or_gone_gets_no_link() {
        let wish =
            PasswordResetRequested { user: ANN, request: MailedRequestId::new(REQUEST), app: App::Chorus };
        for (standing, asked) in [
            (Standing::Active, true),
            (Standing::Deactivated, true),
            (Standing::Suspended, false),
            (Standing::Erased, false),
            (Standing::None, false),
        ] {
            assert_eq!(request_reset(&Account { standing, ..ann() }, &wish).is_some(), asked, "{standing:?}");
        }
    }
}
