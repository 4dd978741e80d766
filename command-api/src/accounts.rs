//! Signing up, and the names and addresses that belong to one account only.

use std::collections::HashSet;

use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use events::{
    AccountEvent, App, ClaimAbandoned, ClaimHash, EmailClaimed, EmailEvent, EmailReleased, Event, NewPerson,
    Personal, Recorded, SignedUp, Subject, UserId, UsernameChanged, UsernameClaimed, UsernameEvent,
    UsernameReleased,
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use service::extract::Json;
use service::problem::{Problem, Problems};
use service::sessions::Session;
use std::net::SocketAddr;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Commands;
use crate::context::Context;
use crate::execute::{Done, Failure, Fold};
use crate::receipt::{CommandHeaders, Prefer, ReceiptAnswers};
use crate::rejections::log_problem;
use crate::sessions::{ClientNote, SignedIn};
use crate::text::{self, Fields};

/// How long somebody who has claimed a name may take to use it.
const CLAIM_HOLDS: TimeDelta = TimeDelta::minutes(10);
/// Attempts at a claim that others are after at the same time.
const CLAIM_ATTEMPTS: usize = 5;

// ---------------------------------------------------------------- decisions

/// Why a name or an address cannot be had, or not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimRejected {
    UsernameTaken,
    EmailTaken,
    /// It took so long that somebody else has taken it over.
    Lost,
    NoAccount,
}

/// What decisions about an account need of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Account {
    pub(crate) standing: Standing,
    pub(crate) username: Option<ClaimHash>,
    pub(crate) email: Option<ClaimHash>,
    pub(crate) password_hash: Option<String>,
    pub(crate) abandoned: HashSet<ClaimHash>,
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

    fn uses(&self, claim: ClaimHash) -> bool {
        self.exists() && (self.username == Some(claim) || self.email == Some(claim))
    }
}

impl Fold for Account {
    fn apply(&mut self, recorded: &Recorded) {
        let Event::Account(event) = &recorded.event else { return };
        match event {
            AccountEvent::SignedUp(event) => {
                self.standing = Standing::Active;
                self.username = Some(event.username);
                self.email = Some(event.email);
                self.password_hash = event.person.open().map(|person| person.password_hash.clone());
            }
            AccountEvent::UsernameChanged(event) => self.username = Some(event.username),
            AccountEvent::EmailChanged(event) => self.email = Some(event.email),
            AccountEvent::PasswordChanged(event) => self.password_hash = event.password_hash.open().cloned(),
            AccountEvent::Deactivated(_) => self.standing = Standing::Deactivated,
            AccountEvent::Suspended(_) => self.standing = Standing::Suspended,
            AccountEvent::Reactivated(_) | AccountEvent::Reinstated(_) => self.standing = Standing::Active,
            AccountEvent::Erased(_) => self.standing = Standing::Erased,
            AccountEvent::ClaimAbandoned(event) => {
                self.abandoned.insert(event.claim);
            }
            AccountEvent::EmailVerified(_)
            | AccountEvent::EmailVerificationRequested(_)
            | AccountEvent::SessionsEnded(_)
            | AccountEvent::PasswordResetRequested(_)
            | AccountEvent::EmailChangeRequested(_)
            | AccountEvent::RoleGranted(_)
            | AccountEvent::RoleRevoked(_) => {}
        }
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

fn abandon_claim(account: &Account, user: UserId, claim: ClaimHash) -> Result<Option<Event>, HolderUsesIt> {
    if account.uses(claim) {
        return Err(HolderUsesIt);
    }
    let done = account.abandoned.contains(&claim);
    Ok((!done).then(|| ClaimAbandoned { user, claim }.into()))
}

/// The holder has come to use the claim after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HolderUsesIt;

/// Who holds a name or an address, since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Claim {
    holder: Option<(UserId, DateTime<Utc>)>,
}

impl Fold for Claim {
    fn apply(&mut self, recorded: &Recorded) {
        let since = recorded.envelope.time;
        match &recorded.event {
            Event::Username(UsernameEvent::UsernameClaimed(event)) => self.holder = Some((event.user, since)),
            Event::Email(EmailEvent::EmailClaimed(event)) => self.holder = Some((event.user, since)),
            Event::Username(UsernameEvent::UsernameReleased(_))
            | Event::Email(EmailEvent::EmailReleased(_)) => {
                self.holder = None;
            }
            Event::Account(_)
            | Event::Session(_)
            | Event::Profile(_)
            | Event::Post(_)
            | Event::Comment(_)
            | Event::Like(_)
            | Event::Follow(_)
            | Event::Mail(_)
            | Event::Mailbox(_) => {}
        }
    }
}

/// Somebody else holds the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeldBy(UserId, DateTime<Utc>);

/// The claim is free, or held by this user, or by somebody whose hold has been given up.
fn claim(
    claim: &Claim,
    kind: ClaimKind,
    hash: ClaimHash,
    user: UserId,
    given_up: Option<UserId>,
) -> Result<Option<Event>, HeldBy> {
    match claim.holder {
        Some((holder, _)) if holder == user => Ok(None),
        Some((holder, since)) if Some(holder) != given_up => Err(HeldBy(holder, since)),
        Some(_) | None => Ok(Some(kind.claimed(hash, user))),
    }
}

/// Whoever does not hold it has nothing to release.
fn release(claim: &Claim, kind: ClaimKind, hash: ClaimHash, user: UserId) -> Option<Event> {
    claim.holder.filter(|(holder, _)| *holder == user).map(|_| kind.released(hash, user))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClaimKind {
    Username,
    Email,
}

impl ClaimKind {
    const fn subject(self, hash: ClaimHash) -> Subject {
        match self {
            Self::Username => Subject::Username(hash),
            Self::Email => Subject::Email(hash),
        }
    }

    fn claimed(self, hash: ClaimHash, user: UserId) -> Event {
        match self {
            Self::Username => UsernameClaimed { username: hash, user }.into(),
            Self::Email => EmailClaimed { email: hash, user }.into(),
        }
    }

    fn released(self, hash: ClaimHash, user: UserId) -> Event {
        match self {
            Self::Username => UsernameReleased { username: hash, user }.into(),
            Self::Email => EmailReleased { email: hash, user }.into(),
        }
    }

    const fn taken(self) -> ClaimRejected {
        match self {
            Self::Username => ClaimRejected::UsernameTaken,
            Self::Email => ClaimRejected::EmailTaken,
        }
    }
}

// ----------------------------------------------------------------- commands

impl Commands {
    /// Claims a name or an address for a user. One that a crash has left behind is taken over, after its holder has
    /// been told on their own subject, where a late last step of theirs then meets a conflict.
    async fn claim(
        &self,
        context: &Context,
        kind: ClaimKind,
        hash: ClaimHash,
        user: UserId,
    ) -> Result<(), Failure<ClaimRejected>> {
        let subject = kind.subject(hash);
        let mut given_up = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let claimed =
                self.execute(context, subject, &[], |state| claim(state, kind, hash, user, given_up)).await;
            let HeldBy(holder, since) = match claimed {
                Ok(_) => return Ok(()),
                Err(Failure::Rejected(held)) => held,
                Err(Failure::KeyReused) => return Err(Failure::KeyReused),
                Err(Failure::Contended) => return Err(Failure::Contended),
                Err(Failure::Log(error)) => return Err(Failure::Log(error)),
            };
            let uses_it = self.look_at::<Account>(Subject::Account(holder)).await?.uses(hash);
            if uses_it || context.now - since < CLAIM_HOLDS {
                return Err(Failure::Rejected(kind.taken()));
            }
            let account = Subject::Account(holder);
            match self.execute(context, account, &[], |state| abandon_claim(state, holder, hash)).await {
                Ok(_) => given_up = Some(holder),
                Err(Failure::Rejected(HolderUsesIt)) => return Err(Failure::Rejected(kind.taken())),
                Err(Failure::KeyReused) => return Err(Failure::KeyReused),
                Err(Failure::Contended) => return Err(Failure::Contended),
                Err(Failure::Log(error)) => return Err(Failure::Log(error)),
            }
        }
        Err(Failure::Contended)
    }

    /// Gives a claim back. If that cannot be done now, its time runs out by itself.
    async fn release(&self, context: &Context, kind: ClaimKind, hash: ClaimHash, user: UserId) {
        let decide = |state: &Claim| Ok::<_, std::convert::Infallible>(release(state, kind, hash, user));
        if let Err(failure) = self.execute(context, kind.subject(hash), &[], decide).await {
            tracing::warn!(?failure, %user, ?kind, "a claim could not be given back; it runs out by itself");
        }
    }

    async fn sign_up(&self, context: &Context, wish: SignUp) -> Result<(UserId, Done), Problem> {
        let keys = self.log.keys();
        let (username, email) = (keys.claim_hash(&wish.username), keys.claim_hash(&wish.email));
        let user = UserId::new(context.new_id(keys, &format!("user {username}")));
        let password_hash = self.passwords.hash(wish.password).await?;
        self.claim(context, ClaimKind::Username, username, user).await?;
        if let Err(failure) = self.claim(context, ClaimKind::Email, email, user).await {
            self.release(context, ClaimKind::Username, username, user).await;
            return Err(failure.into());
        }
        let SignUp { username: spelling, email: address, firstname, lastname, .. } = wish;
        let person = NewPerson { username: spelling, email: address, password_hash, firstname, lastname };
        let event = SignedUp { user, username, email, app: App::Chorus, person: Personal::Open(person) };
        let by_user = context.clone().by(user);
        let signed_up =
            self.execute(&by_user, Subject::Account(user), &[], |account| sign_up(account, &event)).await;
        if let Err(Failure::Rejected(_)) = signed_up {
            self.release(context, ClaimKind::Username, username, user).await;
            self.release(context, ClaimKind::Email, email, user).await;
        }
        Ok((user, signed_up?))
    }

    async fn rename(&self, context: &Context, user: UserId, spelling: String) -> Result<Done, Problem> {
        let username = self.log.keys().claim_hash(&spelling);
        let account: Account = self.look_at(Subject::Account(user)).await.map_err(log_problem)?;
        let old = account.username;
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

    /// Whose a username or an address is; none if it is nobody's, or still being signed up.
    pub(crate) async fn owner_of(&self, login: &str) -> Result<Option<(UserId, Account)>, Problem> {
        let hash = self.log.keys().claim_hash(login);
        let kind = if login.contains('@') { ClaimKind::Email } else { ClaimKind::Username };
        let claim: Claim = self.look_at(kind.subject(hash)).await.map_err(log_problem)?;
        let Some((user, _)) = claim.holder else { return Ok(None) };
        let account: Account = self.look_at(Subject::Account(user)).await.map_err(log_problem)?;
        Ok(account.uses(hash).then_some((user, account)))
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
struct SignUp {
    username: String,
    email: String,
    password: String,
    firstname: String,
    lastname: String,
}

impl NewAccount {
    fn check(self) -> Result<SignUp, Problem> {
        let mut fields = Fields::default();
        let wish = SignUp {
            username: fields.take("username", text::username(&self.username)),
            email: fields.take("email", text::email(&self.email)),
            password: fields.take("password", text::password(&self.password)),
            firstname: fields.take("firstname", text::line(&self.firstname, text::NAME_LIMIT)),
            lastname: fields.take("lastname", text::line(&self.lastname, text::NAME_LIMIT)),
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
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(new): Json<NewAccount>,
) -> Result<Response, Problem> {
    let wish = new.check()?;
    let context = context.saying([wish.username.as_bytes(), wish.email.as_bytes(), wish.password.as_bytes()]);
    let (user, signed_up) = commands.sign_up(&context, wish).await?;
    let note = ClientNote::of(&headers, address);
    let (signed_in, started) = commands.start_session(&context.by(user), user, note).await?;
    Ok(commands
        .settle(prefer, &[signed_up, started])
        .await
        .answer(StatusCode::CREATED, axum::Json(signed_in)))
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Username {
    #[schema(min_length = 3, max_length = 30, pattern = "^[A-Za-z0-9][A-Za-z0-9_.]*$", example = "ann")]
    username: String,
}

/// Take another username
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
    let user = UserId::new(session.user);
    let context = context.by(user).saying([username.as_bytes()]);
    let done = commands.rename(&context, user, username).await?;
    Ok(commands.receipt(prefer, done, StatusCode::OK, None).await)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

    fn hash(n: u128) -> ClaimHash {
        Uuid::from_u128(n).simple().to_string().parse().unwrap()
    }

    fn wish() -> SignedUp {
        SignedUp { user: ANN, username: hash(1), email: hash(2), app: App::Chorus, person: Personal::Erased }
    }

    fn signed_up() -> Account {
        Account {
            standing: Standing::Active,
            username: Some(hash(1)),
            email: Some(hash(2)),
            ..Account::default()
        }
    }

    fn abandoned(claim: ClaimHash) -> Account {
        Account { abandoned: [claim].into(), ..Account::default() }
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

    #[test]
    fn a_claim_is_taken_if_it_is_free_or_given_up() {
        let held = |holder| Claim { holder: Some((holder, DateTime::UNIX_EPOCH)) };
        let claimed = Ok(Some(UsernameClaimed { username: hash(1), user: ANN }.into()));
        let by_ann = |state: &Claim, given_up| claim(state, ClaimKind::Username, hash(1), ANN, given_up);
        assert_eq!(by_ann(&Claim::default(), None), claimed);
        assert_eq!(by_ann(&held(ANN), None), Ok(None));
        assert_eq!(by_ann(&held(BOB), None), Err(HeldBy(BOB, DateTime::UNIX_EPOCH)));
        assert_eq!(by_ann(&held(BOB), Some(BOB)), claimed);
        assert_eq!(
            by_ann(&held(BOB), Some(UserId::new(Uuid::nil()))),
            Err(HeldBy(BOB, DateTime::UNIX_EPOCH))
        );
    }

    #[test]
    fn only_the_holder_releases_a_claim() {
        let held = Claim { holder: Some((ANN, DateTime::UNIX_EPOCH)) };
        let released = Some(EmailReleased { email: hash(2), user: ANN }.into());
        assert_eq!(release(&held, ClaimKind::Email, hash(2), ANN), released);
        assert_eq!(release(&held, ClaimKind::Email, hash(2), BOB), None);
        assert_eq!(release(&Claim::default(), ClaimKind::Email, hash(2), ANN), None);
    }

    #[test]
    fn a_claim_in_use_is_not_abandoned() {
        assert_eq!(abandon_claim(&signed_up(), ANN, hash(1)), Err(HolderUsesIt));
        let event = ClaimAbandoned { user: ANN, claim: hash(5) }.into();
        assert_eq!(abandon_claim(&signed_up(), ANN, hash(5)), Ok(Some(event)));
        assert_eq!(abandon_claim(&abandoned(hash(5)), ANN, hash(5)), Ok(None));
    }
}
