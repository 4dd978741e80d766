//! Verification and change of an account's address, both by mailed links.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{
    App, ClaimHash, EmailChangeRequested, EmailChanged, EmailVerificationRequested, EmailVerified, Event,
    LinkPurpose, MailedRequestId, MailedToken, Personal, Subject, UserId,
};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use web::extract::{Json, Path};
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::{FieldCode, FieldProblem, Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::account::{Account, LinkRejected, WantedEmail, no_account};
use crate::accounts::claims::{ClaimKind, ClaimRejected};
use crate::pipeline::context::Context;
use crate::pipeline::errors::{CommandError, log_problem};
use crate::pipeline::execute::Outcome;
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::text::{self, Fields};

// ---------------------------------------------------------------- decisions

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailRejected {
    NoAccount,
    /// The account has this address already.
    Same,
    Link(LinkRejected),
    Claim(ClaimRejected),
}

impl From<EmailRejected> for Problem {
    fn from(rejected: EmailRejected) -> Self {
        match rejected {
            EmailRejected::NoAccount => no_account(),
            EmailRejected::Same => {
                let message = "is already your email address";
                Self::conflict("same-email", "This is already your email address")
                    .in_fields(vec![FieldProblem::new("email", FieldCode::Unchanged, message)])
            }
            EmailRejected::Link(rejected) => rejected.into(),
            EmailRejected::Claim(rejected) => rejected.into(),
        }
    }
}

impl From<CommandError<ClaimRejected>> for CommandError<EmailRejected> {
    fn from(error: CommandError<ClaimRejected>) -> Self {
        error.map_rejection(EmailRejected::Claim)
    }
}

const NO_LINK: CommandError<EmailRejected> = CommandError::Rejected(EmailRejected::Link(LinkRejected));

/// Has no effect if the address is verified.
fn request_verification(
    account: &Account,
    event: &EmailVerificationRequested,
) -> Result<Option<Event>, EmailRejected> {
    match (account.exists(), account.email_verified) {
        (false, _) => Err(EmailRejected::NoAccount),
        (true, true) => Ok(None),
        (true, false) => Ok(Some(event.clone().into())),
    }
}

/// `is_token_of` says whether the link's token is the token of a request. Following the link twice succeeds twice.
fn verify(
    account: &Account,
    user: UserId,
    now: DateTime<Utc>,
    is_token_of: impl Fn(Uuid) -> bool,
) -> Result<Option<Event>, EmailRejected> {
    let opens = account.verification.as_ref().is_some_and(|link| link.opens(now, is_token_of));
    match account.email.filter(|_| opens && account.exists()) {
        None => Err(EmailRejected::Link(LinkRejected)),
        Some(_) if account.email_verified => Ok(None),
        Some(email) => Ok(Some(EmailVerified { user, email }.into())),
    }
}

fn request_change(account: &Account, event: &EmailChangeRequested) -> Result<Option<Event>, EmailRejected> {
    if !account.exists() {
        return Err(EmailRejected::NoAccount);
    }
    if account.email == Some(event.email) {
        return Err(EmailRejected::Same);
    }
    Ok(Some(event.clone().into()))
}

/// Changes the address without a link, for apps that have none. The new address is not verified.
fn take(account: &Account, event: &EmailChanged) -> Result<Option<Event>, EmailRejected> {
    if !account.exists() {
        return Err(EmailRejected::NoAccount);
    }
    if account.abandoned.contains(&event.email) && account.email != Some(event.email) {
        return Err(EmailRejected::Claim(ClaimRejected::Lost));
    }
    Ok(Some(event.clone().into()))
}

/// The address that a link confirms.
fn wanted(
    account: &Account,
    now: DateTime<Utc>,
    is_token_of: impl Fn(Uuid) -> bool,
) -> Result<&WantedEmail, EmailRejected> {
    let wanted = account.wanted_email.as_ref().filter(|_| account.exists());
    wanted.filter(|wanted| wanted.link.opens(now, is_token_of)).ok_or(EmailRejected::Link(LinkRejected))
}

fn change(
    account: &Account,
    user: UserId,
    now: DateTime<Utc>,
    is_token_of: impl Fn(Uuid) -> bool,
) -> Result<Option<Event>, EmailRejected> {
    let WantedEmail { email, address, session, app, .. } = wanted(account, now, is_token_of)?;
    if account.abandoned.contains(email) {
        return Err(EmailRejected::Claim(ClaimRejected::Lost));
    }
    let address = address.clone().ok_or(EmailRejected::NoAccount)?;
    Ok(Some(
        EmailChanged {
            user,
            email: *email,
            address: Personal::Open(address),
            verified: true,
            kept: *session,
            app: *app,
        }
        .into(),
    ))
}

// ----------------------------------------------------------------- commands

impl Commands {
    async fn request_email_verification(
        &self,
        context: &Context,
        user: UserId,
    ) -> Result<Outcome, CommandError<EmailRejected>> {
        let request = MailedRequestId::new(context.new_id(self.log.keys(), "email verification"));
        let event = EmailVerificationRequested { user, request, app: App::Chorus };
        let decide = |account: &Account| request_verification(account, &event);
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    async fn verify_email(
        &self,
        context: &Context,
        token: &str,
    ) -> Result<Outcome, CommandError<EmailRejected>> {
        let token = MailedToken::parse(token).ok_or(NO_LINK)?;
        let keys = self.log.keys();
        let is_token_of = |request: Uuid| keys.is_mailed_token(&token, LinkPurpose::VerifyEmail, request);
        let context = context.clone().with_actor(token.user);
        let decide = |account: &Account| verify(account, token.user, context.now, is_token_of);
        self.execute(&context, Subject::Account(token.user), &[], decide).await
    }

    pub(crate) async fn request_email_change(
        &self,
        context: &Context,
        session: Session,
        address: String,
        app: App,
    ) -> Result<Outcome, CommandError<EmailRejected>> {
        let user = session.user;
        let event = EmailChangeRequested {
            user,
            request: MailedRequestId::new(context.new_id(self.log.keys(), "email change")),
            email: self.log.keys().claim_hash(&address),
            address: Personal::Open(address),
            session: Some(session.session),
            app,
        };
        let decide = |account: &Account| request_change(account, &event);
        self.execute(context, Subject::Account(user), &[], decide).await
    }

    /// Changes to the address that a link confirms, unless another account has claimed it meanwhile.
    async fn change_email(
        &self,
        context: &Context,
        token: &str,
    ) -> Result<Outcome, CommandError<EmailRejected>> {
        let token = MailedToken::parse(token).ok_or(NO_LINK)?;
        let (user, keys) = (token.user, self.log.keys());
        let is_token_of = |request: Uuid| keys.is_mailed_token(&token, LinkPurpose::ChangeEmail, request);
        let account = self.account(user).await?;
        let WantedEmail { email, address, .. } =
            wanted(&account, context.now, is_token_of).map_err(CommandError::Rejected)?;
        let new = (*email, address.as_deref().unwrap_or_default());
        let context = context.clone().with_actor(user);
        let decide = |account: &Account| change(account, user, context.now, is_token_of);
        self.change_claimed_email(&context, user, (account.email, new), decide).await
    }

    /// Changes the address at once, without confirmation.
    pub async fn take_email(
        &self,
        context: &Context,
        session: Session,
        address: String,
        app: App,
    ) -> Result<Outcome, CommandError<EmailRejected>> {
        let user = session.user;
        let account = self.account(user).await?;
        let email = self.log.keys().claim_hash(&address);
        let kept = Some(session.session);
        let address_of_event = Personal::Open(address.clone());
        let event = EmailChanged { user, email, address: address_of_event, verified: false, kept, app };
        let decide = |account: &Account| take(account, &event);
        self.change_claimed_email(context, user, (account.email, (email, &address)), decide).await
    }

    async fn change_claimed_email(
        &self,
        context: &Context,
        user: UserId,
        (old, (new, address)): (Option<ClaimHash>, (ClaimHash, &str)),
        decide: impl Fn(&Account) -> Result<Option<Event>, EmailRejected>,
    ) -> Result<Outcome, CommandError<EmailRejected>> {
        self.claim_email(context, (new, address), user).await?;
        let changed = self.execute(context, Subject::Account(user), &[], decide).await;
        let free: Option<ClaimHash> = match &changed {
            Ok(_) => old.filter(|old| *old != new),
            Err(CommandError::Rejected(_)) => Some(new).filter(|new| old != Some(*new)),
            Err(_) => None,
        };
        if let Some(free) = free {
            self.release(context, ClaimKind::Email, free, user).await;
        }
        changed
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new()
        .routes(routes!(request_email_verification))
        .routes(routes!(confirm_email))
        .routes(routes!(request_email_change))
        .routes(routes!(confirm_email_change))
}

/// Request another verification mail
///
/// The mail goes to the address of the account. Has no effect if the address is already verified.
#[utoipa::path(
    post, path = "/v1/me/email-verification", tag = "accounts", security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn request_email_verification(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
) -> Result<Response, Problem> {
    let user = session.user;
    let account = commands.account(user).await.map_err(log_problem)?;
    commands
        .limits
        .check(Attempt::Mail { mailboxes: &[commands.mailbox(account.address())], from: Some(from) })?;
    let outcome = commands.request_email_verification(&context.with_actor(user), user).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Verify an email address with a mailed link
///
/// The token is the last part of the link. The link is valid for a day.
#[utoipa::path(
    put, path = "/v1/email-verifications/{token}", tag = "accounts",
    params(("token" = String, Path, pattern = "^[0-9a-f]{64}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn confirm_email(
    State(commands): State<Commands>,
    Path(token): Path<String>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let outcome = commands.verify_email(&context, &token).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewEmail {
    #[schema(format = "password", max_length = 128, example = "correct horse battery")]
    current_password: String,
    #[schema(format = "email", max_length = 254, example = "lee@example.org")]
    email: String,
}

/// Request a change of the email address
///
/// Mails a link to the new address and a notice to the current one. The address changes when the link is confirmed: then all
/// sessions except this one end.
#[utoipa::path(
    post, path = "/v1/me/email-change", tag = "accounts", request_body = NewEmail, security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn request_email_change(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    Json(NewEmail { current_password, email }): Json<NewEmail>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let email = fields.take("email", text::email(&email));
    fields.finish()?;
    let user = session.user;
    let context = context.with_actor(user).with_payload([current_password.as_bytes(), email.as_bytes()]);
    let (account, _) = commands.confirm_password(user, from, current_password).await?;
    // One mail goes to the current address, one to the new address, which may belong to a stranger.
    let mailboxes = [commands.mailbox(account.address()), commands.mailbox(&email)];
    commands.limits.check(Attempt::Mail { mailboxes: &mailboxes, from: Some(from) })?;
    let outcome = commands.request_email_change(&context, session, email, App::Chorus).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

/// Confirm a change of the email address with a mailed link
///
/// The token is the last part of the link. The link is valid for an hour and can be used once.
#[utoipa::path(
    put, path = "/v1/email-changes/{token}", tag = "accounts",
    params(("token" = String, Path, pattern = "^[0-9a-f]{64}$"), CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn confirm_email_change(
    State(commands): State<Commands>,
    Path(token): Path<String>,
    context: Context,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let outcome = commands.change_email(&context, &token).await?;
    Ok(commands.receipt(prefer, outcome).await)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::accounts::account::testing::{ANN, hash};
    use crate::accounts::account::{AccountStatus, MailedLink};

    const REQUEST: Uuid = Uuid::from_u128(7);

    fn minutes(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn ann() -> Account {
        let link = MailedLink { request: REQUEST, until: minutes(60) };
        Account {
            status: AccountStatus::Active,
            email: Some(hash(2)),
            verification: Some(link),
            wanted_email: Some(WantedEmail {
                link,
                email: hash(3),
                address: Some("lee@example.org".into()),
                session: None,
                app: App::Chorus,
            }),
            ..Account::default()
        }
    }

    fn right(request: Uuid) -> bool {
        request == REQUEST
    }

    #[test]
    fn address_is_verified_before_the_link_expires_and_twice_has_no_effect() {
        let verified = EmailVerified { user: ANN, email: hash(2) };
        assert_eq!(verify(&ann(), ANN, minutes(59), right), Ok(Some(verified.into())));
        let verified_account = Account { email_verified: true, ..ann() };
        assert_eq!(verify(&verified_account, ANN, minutes(59), right), Ok(None));
        let refused = Err(EmailRejected::Link(LinkRejected));
        assert_eq!(verify(&ann(), ANN, minutes(60), right), refused);
        assert_eq!(verify(&ann(), ANN, minutes(1), |_| false), refused);
        assert_eq!(verify(&Account::default(), ANN, minutes(1), right), refused);
    }

    #[test]
    fn verification_is_requested_until_the_address_is_verified() {
        let event = EmailVerificationRequested {
            user: ANN,
            request: MailedRequestId::new(REQUEST),
            app: App::Chorus,
        };
        assert_eq!(request_verification(&ann(), &event), Ok(Some(event.clone().into())));
        let verified = Account { email_verified: true, ..ann() };
        assert_eq!(request_verification(&verified, &event), Ok(None));
        assert_eq!(request_verification(&Account::default(), &event), Err(EmailRejected::NoAccount));
    }

    #[test]
    fn address_changes_to_the_one_requested_last() {
        let changed = EmailChanged {
            user: ANN,
            email: hash(3),
            address: Personal::Open("lee@example.org".into()),
            verified: true,
            kept: None,
            app: App::Chorus,
        };
        assert_eq!(change(&ann(), ANN, minutes(59), right), Ok(Some(changed.into())));
        let refused = Err(EmailRejected::Link(LinkRejected));
        assert_eq!(change(&ann(), ANN, minutes(60), right), refused);
        assert_eq!(change(&ann(), ANN, minutes(1), |_| false), refused);
        let changed_account = Account { wanted_email: None, ..ann() };
        assert_eq!(change(&changed_account, ANN, minutes(1), right), refused);
        let lost = Account { abandoned: [hash(3)].into(), ..ann() };
        assert_eq!(change(&lost, ANN, minutes(1), right), Err(EmailRejected::Claim(ClaimRejected::Lost)));
    }

    #[test]
    fn change_to_the_current_address_is_rejected() {
        let event = |email| EmailChangeRequested {
            user: ANN,
            request: MailedRequestId::new(REQUEST),
            email,
            address: Personal::Open("x@example.org".into()),
            session: None,
            app: App::Chorus,
        };
        assert_eq!(request_change(&ann(), &event(hash(2))), Err(EmailRejected::Same));
        assert_eq!(request_change(&ann(), &event(hash(5))), Ok(Some(event(hash(5)).into())));
        assert_eq!(request_change(&Account::default(), &event(hash(5))), Err(EmailRejected::NoAccount));
    }
}
