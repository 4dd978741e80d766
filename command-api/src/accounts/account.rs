//! Signing up and changing the username; and what all decisions about an account know of it.

use std::collections::{HashMap, HashSet};

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use events::{
    AccountEvent, AccountsEvent, App, ClaimHash, Event, MailTemplate, NewPerson, PasswordChangeReason,
    Personal, Recorded, Role, SessionId, SignedUp, Subject, UserId, UsernameChanged,
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use web::extract::Json;
use web::http::ClientAddress;
use web::limits::Attempt;
use web::problem::{Problem, Problems};
use web::sessions::Session;

use crate::Commands;
use crate::accounts::claims::{ClaimKind, ClaimRejected};
use crate::accounts::passwords;
use crate::accounts::sessions::{ClientNote, SignedIn};
use crate::pipeline::context::Context;
use crate::pipeline::execute::{Done, Failure, Fold};
use crate::pipeline::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::pipeline::rejections::log_problem;
use crate::pipeline::text::{self, Fields};

/// How long a username that an account gave up is kept for that account alone; an erased account never returns, so its
/// name is kept for nobody.
const FORMER_USERNAME_RESERVED: TimeDelta = TimeDelta::days(30);

// ---------------------------------------------------------------- decisions

/// What decisions about an account need of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Account {
    pub(crate) standing: Standing,
    pub(crate) username: Option<ClaimHash>,
    pub(crate) email: Option<ClaimHash>,
    pub(crate) email_verified: bool,
    pub(crate) password_hash: Option<String>,
    pub(crate) roles: HashSet<Role>,
    pub(crate) abandoned: HashSet<ClaimHash>,
    /// Usernames that the account had before, and when it gave each up at last.
    pub(crate) former_usernames: HashMap<ClaimHash, DateTime<Utc>>,
    /// The latest link of each kind that was mailed, or is on its way.
    pub(crate) verification: Option<MailedLink>,
    pub(crate) reset: Option<MailedLink>,
    pub(crate) wanted_email: Option<WantedEmail>,
    pub(crate) words: OwnWords,
}

/// What a person calls themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnWords {
    username: String,
    email: String,
    firstname: String,
    lastname: String,
    full_name: String,
}

/// What a mailed link stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MailedLink {
    pub(crate) request: Uuid,
    pub(crate) until: DateTime<Utc>,
}

impl MailedLink {
    fn new(request: Uuid, asked: DateTime<Utc>, template: MailTemplate) -> Self {
        Self { request, until: asked + template.link_lifetime().unwrap_or_default() }
    }

    /// Whether a token, of which `is_token_of` tells whose it is, opens this at a time.
    pub(crate) fn opens(self, now: DateTime<Utc>, is_token_of: impl Fn(Uuid) -> bool) -> bool {
        now < self.until && is_token_of(self.request)
    }
}

/// The link has expired, was used, or never was one. Which of them, nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkRejected;

/// An address that the account is to have once its owner confirms it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedEmail {
    pub(crate) link: MailedLink,
    pub(crate) email: ClaimHash,
    /// None once the person is erased.
    pub(crate) address: Option<String>,
    pub(crate) session: Option<SessionId>,
    pub(crate) app: App,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    #[default]
    None,
    Active,
    Deactivated,
    Suspended,
    Erased,
}

impl Account {
    pub(crate) fn exists(&self) -> bool {
        !matches!(self.standing, Standing::None | Standing::Erased)
    }

    /// What a password must not be.
    pub(crate) fn own_words(&self) -> [&str; 5] {
        let OwnWords { username, email, firstname, lastname, full_name } = &self.words;
        [username, email, firstname, lastname, full_name]
    }

    /// The username as its owner spells it.
    pub(crate) fn username(&self) -> &str {
        &self.words.username
    }

    /// The address as its owner spells it.
    pub(crate) fn address(&self) -> &str {
        &self.words.email
    }

    pub(crate) fn uses(&self, claim: ClaimHash) -> bool {
        self.exists() && (self.username == Some(claim) || self.email == Some(claim))
    }

    /// True while a username that this account gave up is kept from everybody else.
    pub(crate) fn reserves(&self, username: ClaimHash, now: DateTime<Utc>) -> bool {
        let given_up = self.former_usernames.get(&username);
        given_up.is_some_and(|&given_up| now - given_up < FORMER_USERNAME_RESERVED)
    }
}

impl Fold for Standing {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Accounts(AccountsEvent::Account(event)) = &recorded.event else { return };
        *self = match event {
            AccountEvent::SignedUp(_) | AccountEvent::Reactivated(_) | AccountEvent::Reinstated(_) => {
                Self::Active
            }
            AccountEvent::Deactivated(_) => Self::Deactivated,
            AccountEvent::Suspended(_) => Self::Suspended,
            AccountEvent::Erased(_) => Self::Erased,
            AccountEvent::UsernameChanged(_)
            | AccountEvent::EmailVerificationRequested(_)
            | AccountEvent::EmailVerified(_)
            | AccountEvent::EmailChangeRequested(_)
            | AccountEvent::EmailChanged(_)
            | AccountEvent::PasswordResetRequested(_)
            | AccountEvent::PasswordChanged(_)
            | AccountEvent::RoleGranted(_)
            | AccountEvent::RoleRevoked(_)
            | AccountEvent::ClaimAbandoned(_)
            | AccountEvent::SessionsEnded(_) => return,
        };
    }
}

impl Fold for Account {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Accounts(AccountsEvent::Account(event)) = &recorded.event else { return };
        self.standing.apply(recorded);
        let (id, time) = (recorded.envelope.id.uuid(), recorded.envelope.time);
        match event {
            AccountEvent::SignedUp(event) => {
                self.username = Some(event.username);
                self.email = Some(event.email);
                self.verification = Some(MailedLink::new(id, time, MailTemplate::EmailVerification));
                if let Some(person) = event.person.open() {
                    self.password_hash = Some(person.password_hash.clone());
                    self.words = OwnWords::of(person);
                }
            }
            AccountEvent::UsernameChanged(event) => {
                let before = self.username.replace(event.username);
                if let Some(before) = before.filter(|before| *before != event.username) {
                    self.former_usernames.insert(before, time);
                }
                self.words.username = event.spelling.open().cloned().unwrap_or_default();
            }
            AccountEvent::EmailVerificationRequested(event) => {
                let template = MailTemplate::EmailVerification;
                self.verification = Some(MailedLink::new(event.request.uuid(), time, template));
            }
            AccountEvent::EmailVerified(_) => self.email_verified = true,
            AccountEvent::EmailChangeRequested(event) => {
                let template = MailTemplate::EmailChangeConfirmation;
                self.wanted_email = Some(WantedEmail {
                    link: MailedLink::new(event.request.uuid(), time, template),
                    email: event.email,
                    address: event.address.open().cloned(),
                    session: event.session,
                    app: event.app,
                });
            }
            AccountEvent::EmailChanged(event) => {
                self.email = Some(event.email);
                self.email_verified = event.verified;
                self.words.email = event.address.open().cloned().unwrap_or_default();
                self.wanted_email = None;
                // A link that resets the password went to the address before.
                self.reset = None;
                self.verification = Some(MailedLink::new(id, time, MailTemplate::EmailVerification));
            }
            AccountEvent::PasswordResetRequested(event) => {
                let link = MailedLink::new(event.request.uuid(), time, MailTemplate::PasswordReset);
                self.reset = Some(link);
            }
            AccountEvent::PasswordChanged(event) => {
                self.password_hash = event.password_hash.open().cloned();
                if event.reason != PasswordChangeReason::Rehashed {
                    self.reset = None;
                    // Whoever knew the password before may have asked for another address.
                    self.wanted_email = None;
                }
            }
            AccountEvent::RoleGranted(event) => {
                self.roles.insert(event.role);
            }
            AccountEvent::RoleRevoked(event) => {
                self.roles.remove(&event.role);
            }
            AccountEvent::ClaimAbandoned(event) => {
                self.abandoned.insert(event.claim);
            }
            AccountEvent::Deactivated(_)
            | AccountEvent::Suspended(_)
            | AccountEvent::Reactivated(_)
            | AccountEvent::Reinstated(_)
            | AccountEvent::SessionsEnded(_) => {}
            AccountEvent::Erased(_) => {
                if let Some(username) = self.username {
                    self.former_usernames.insert(username, time);
                }
            }
        }
    }
}

impl OwnWords {
    fn of(person: &NewPerson) -> Self {
        let NewPerson { username, email, firstname, lastname, .. } = person.clone();
        let full_name = format!("{firstname} {lastname}");
        Self { username, email, firstname, lastname, full_name }
    }
}

fn sign_up(account: &Account, wish: &SignedUp) -> Result<Option<Event>, ClaimRejected> {
    let lost = account.abandoned.contains(&wish.username) || account.abandoned.contains(&wish.email);
    match account.standing {
        _ if lost => Err(ClaimRejected::Lost),
        Standing::None => Ok(Some(wish.clone().into())),
        Standing::Erased => Err(ClaimRejected::NoAccount),
        Standing::Active | Standing::Deactivated | Standing::Suspended => Ok(None),
    }
}

fn change_username(account: &Account, wish: &UsernameChanged) -> Result<Option<Event>, ClaimRejected> {
    if !account.exists() {
        return Err(ClaimRejected::NoAccount);
    }
    if account.abandoned.contains(&wish.username) && account.username != Some(wish.username) {
        return Err(ClaimRejected::Lost);
    }
    Ok(Some(wish.clone().into()))
}

// ----------------------------------------------------------------- commands

impl Commands {
    pub(crate) async fn sign_up(&self, context: &Context, wish: SignUp) -> Result<(UserId, Done), Problem> {
        if self.reserved_usernames.contains(&wish.username) {
            return Err(ClaimRejected::UsernameReserved.into());
        }
        let keys = self.log.keys();
        let (username, email) = (keys.claim_hash(&wish.username), keys.claim_hash(&wish.email));
        let user = UserId::new(context.new_id(keys, &format!("user {username}")));
        let by_user = context.clone().by(user);
        // Sent again, under its key: it is a way to log in, so the password must be the present one.
        if let Some((_, done)) = self.event_before::<ClaimRejected>(&by_user, Subject::Account(user)).await? {
            self.check_sign_up_again(user, &wish.password).await?;
            return Ok((user, done));
        }
        let password_hash = self.passwords.hash(wish.password).await?;
        self.claim(context, ClaimKind::Username, username, user).await?;
        if let Err(failure) = self.claim_email(context, (email, &wish.email), user).await {
            self.release(context, ClaimKind::Username, username, user).await;
            return Err(failure.into());
        }
        // Its first mail goes to an address that may be anybody's.
        if let Err(problem) = self.limits.check(Attempt::Mail { mailboxes: &[email.uuid()], from: None }) {
            self.release(context, ClaimKind::Username, username, user).await;
            self.release(context, ClaimKind::Email, email, user).await;
            return Err(problem);
        }
        let SignUp { username: spelling, email: address, firstname, lastname, app, .. } = wish;
        let person = NewPerson { username: spelling, email: address, password_hash, firstname, lastname };
        let event = SignedUp { user, username, email, app, person: Personal::Open(person) };
        let signed_up =
            self.begin(&by_user, Subject::Account(user), &[], |account| sign_up(account, &event)).await;
        if let Err(Failure::Rejected(_)) = signed_up {
            self.release(context, ClaimKind::Username, username, user).await;
            self.release(context, ClaimKind::Email, email, user).await;
        }
        Ok((user, signed_up?))
    }

    pub(crate) async fn account(&self, user: UserId) -> Result<Account, Problem> {
        self.look_at(Subject::Account(user)).await.map_err(log_problem)
    }

    /// Whether somebody's account is active, by what is remembered of it; what would refuse a request is looked up.
    pub(crate) async fn standing(&self, user: UserId) -> Result<Standing, Problem> {
        let subject = Subject::Account(user);
        match self.look_at_remembered::<Standing>(subject).await.map_err(log_problem)? {
            Standing::Active => Ok(Standing::Active),
            Standing::None | Standing::Deactivated | Standing::Suspended | Standing::Erased => {
                self.look_at(subject).await.map_err(log_problem)
            }
        }
    }

    pub(crate) async fn rename(
        &self,
        context: &Context,
        user: UserId,
        spelling: String,
    ) -> Result<Done, Problem> {
        let username = self.log.keys().claim_hash(&spelling);
        let account: Account = self.look_at(Subject::Account(user)).await.map_err(log_problem)?;
        let old = account.username;
        // An account that has a reserved name may still change its spelling.
        if old != Some(username) && self.reserved_usernames.contains(&spelling) {
            return Err(ClaimRejected::UsernameReserved.into());
        }
        self.claim(context, ClaimKind::Username, username, user).await?;
        let event = UsernameChanged { user, username, spelling: Personal::Open(spelling) };
        let done = self
            .execute(context, Subject::Account(user), &[], |account| change_username(account, &event))
            .await?;
        // The same name in another spelling stays claimed.
        if let Some(old) = old.filter(|old| *old != username) {
            self.release(context, ClaimKind::Username, old, user).await;
        }
        Ok(done)
    }
}

// ------------------------------------------------------------------- routes

pub(crate) fn routes() -> OpenApiRouter<Commands> {
    OpenApiRouter::new().routes(routes!(post_account)).routes(routes!(put_username))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// 3 to 30 letters, digits, `_` and `.`; letter case makes no difference to others.
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
pub(crate) struct SignUp {
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) firstname: String,
    pub(crate) lastname: String,
    pub(crate) app: App,
}

impl NewAccount {
    fn check(self) -> Result<SignUp, Problem> {
        let mut fields = Fields::default();
        let full_name = format!("{} {}", self.firstname, self.lastname);
        let own = [&*self.username, &self.email, &self.firstname, &self.lastname, &full_name];
        let wish = SignUp {
            username: fields.take("username", text::username(&self.username)),
            email: fields.take("email", text::email(&self.email)),
            password: fields.take("password", passwords::check(&self.password, &own)),
            firstname: fields.take("firstname", text::line(&self.firstname, text::NAME_LIMIT)),
            lastname: fields.take("lastname", text::line(&self.lastname, text::NAME_LIMIT)),
            app: App::Chorus,
        };
        fields.finish()?;
        Ok(wish)
    }
}

/// Sign up
///
/// Makes an account and logs in.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "accounts", request_body = NewAccount,
    params(CommandHeaders),
    responses((status = 201, body = SignedIn), (status = 202, body = SignedIn), Problems)
)]
async fn post_account(
    State(commands): State<Commands>,
    context: Context,
    prefer: Prefer,
    from: ClientAddress,
    headers: HeaderMap,
    Json(new): Json<NewAccount>,
) -> Result<Response, Problem> {
    commands.authenticator.browsers().check_log_in(&headers)?;
    let wish = new.check()?;
    let found = commands.find(ClaimKind::Username, &wish.username).await?;
    // Sent again under its key it answers a session to whoever knows the password, so it counts as a log-in.
    let attempt = match context.is_repeatable() && found.is_held() {
        true => Attempt::LogIn { account: found.budget(), from },
        false => Attempt::SignUp { from },
    };
    commands.limits.check(attempt)?;
    let SignUp { username, email, password, firstname, lastname, app: _ } = &wish;
    let context = context.saying([username, email, password, firstname, lastname].map(String::as_bytes));
    let (user, signed_up) = commands.sign_up(&context, wish).await?;
    let note = ClientNote::of(&headers, from);
    let context = context.by(user);
    let (signed_in, started) = commands.start_session(&context, user, note).await?;
    commands.signed_in(context, prefer, &headers, signed_in, &[signed_up, started]).await
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Username {
    #[schema(min_length = 3, max_length = 30, pattern = "^[A-Za-z0-9][A-Za-z0-9_.]*$", example = "ann")]
    username: String,
}

/// Take another username
///
/// For 30 days nobody else can have the name that I had before.
#[utoipa::path(
    put, path = "/v1/me/username", tag = "accounts", request_body = Username, security(("token" = [])),
    params(CommandHeaders),
    responses(ReceiptAnswers, Problems)
)]
async fn put_username(
    State(commands): State<Commands>,
    session: Session,
    context: Context,
    prefer: Prefer,
    Json(Username { username }): Json<Username>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let username = fields.take("username", text::username(&username));
    fields.finish()?;
    let user = session.user;
    let context = context.by(user).saying([username.as_bytes()]);
    let done = commands.rename(&context, user, username).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

/// Accounts for the tests of whatever is decided about accounts.
#[cfg(test)]
pub(crate) mod testing {
    use uuid::Uuid;

    use super::*;

    pub(crate) const ANN: UserId = UserId::new(Uuid::from_u128(0xa));

    /// Of those whom nobody is shown.
    pub(crate) const UNSEEN: [Standing; 4] =
        [Standing::None, Standing::Deactivated, Standing::Suspended, Standing::Erased];

    pub(crate) fn hash(n: u128) -> ClaimHash {
        Uuid::from_u128(n).simple().to_string().parse().unwrap()
    }

    pub(crate) fn signed_up() -> Account {
        Account {
            standing: Standing::Active,
            username: Some(hash(1)),
            email: Some(hash(2)),
            ..Account::default()
        }
    }

    pub(crate) fn abandoned(claim: ClaimHash) -> Account {
        Account { abandoned: [claim].into(), ..Account::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{ANN, abandoned, hash, signed_up};
    use super::*;

    fn wish() -> SignedUp {
        SignedUp { user: ANN, username: hash(1), email: hash(2), app: App::Chorus, person: Personal::Erased }
    }

    /// The account that events make, a day from one to the next.
    fn folded(history: impl IntoIterator<Item = Event>) -> Account {
        let mut account = Account::default();
        for (event, day) in history.into_iter().zip(0..) {
            let envelope = events::Envelope {
                id: events::EventId::new(Uuid::nil()),
                event_type: event.wire_name().into(),
                source: "test".into(),
                time: DateTime::UNIX_EPOCH + TimeDelta::days(day),
                subject: event.subject(),
                actor: None,
                correlation: Uuid::nil(),
                causation: None,
                traceparent: None,
            };
            account.apply(&Recorded { position: events::Position(1), envelope, event });
        }
        account
    }

    #[test]
    fn an_account_reserves_a_username_from_when_it_was_given_up_at_last() {
        let change = |n| UsernameChanged { user: ANN, username: hash(n), spelling: Personal::Erased }.into();
        let day = |n| DateTime::UNIX_EPOCH + TimeDelta::days(n);
        let first = Event::from(wish());
        let account = folded([first.clone(), change(1), change(3), change(1), change(4)]);
        assert!(account.reserves(hash(1), day(4 + 29)) && !account.reserves(hash(1), day(4 + 30)));
        assert!(account.reserves(hash(3), day(3 + 29)) && !account.reserves(hash(3), day(3 + 30)));
        assert!(!account.reserves(hash(4), day(5)), "in use");
        let erased = folded([first, events::Erased { user: ANN }.into()]);
        assert!(erased.reserves(hash(1), day(1 + 29)) && !erased.reserves(hash(1), day(1 + 30)));
    }

    #[test]
    fn somebody_signs_up_once() {
        assert_eq!(sign_up(&Account::default(), &wish()), Ok(Some(wish().into())));
        assert_eq!(sign_up(&signed_up(), &wish()), Ok(None));
        let erased = Account { standing: Standing::Erased, ..signed_up() };
        assert_eq!(sign_up(&erased, &wish()), Err(ClaimRejected::NoAccount));
    }

    #[test]
    fn a_late_last_step_of_a_sign_up_finds_its_claim_lost() {
        assert_eq!(sign_up(&abandoned(hash(1)), &wish()), Err(ClaimRejected::Lost));
        assert_eq!(sign_up(&abandoned(hash(2)), &wish()), Err(ClaimRejected::Lost));
        assert!(sign_up(&abandoned(hash(3)), &wish()).is_ok());
    }

    #[test]
    fn a_late_last_step_of_a_rename_finds_its_claim_lost() {
        let rename = |account: &Account, username| {
            change_username(account, &UsernameChanged { user: ANN, username, spelling: Personal::Erased })
                .map(drop)
        };
        assert_eq!(rename(&signed_up(), hash(5)), Ok(()));
        assert_eq!(rename(&signed_up(), hash(1)), Ok(()), "another spelling of the same name");
        let late = Account { abandoned: [hash(5)].into(), ..signed_up() };
        assert_eq!(rename(&late, hash(5)), Err(ClaimRejected::Lost));
        assert_eq!(rename(&Account::default(), hash(5)), Err(ClaimRejected::NoAccount));
    }
}
