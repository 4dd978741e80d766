//! The state of an account, as all decisions about it see it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    AccountEvent, AccountsEvent, App, ClaimHash, Event, LogError, MailTemplate, NewPerson,
    PasswordChangeReason, Recorded, Role, SessionId, Subject, UserId,
};
use http::StatusCode;
use uuid::Uuid;
use web::problem::Problem;

use crate::Commands;
use crate::pipeline::execute::Fold;

/// How long a released username is reserved for the account that had it. The name of an erased account is reserved as long,
/// although that account never returns.
const FORMER_USERNAME_RESERVED: TimeDelta = TimeDelta::days(30);

// -------------------------------------------------------------------- state

/// The state that decisions about an account need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    pub(crate) status: AccountStatus,
    pub(crate) username: Option<ClaimHash>,
    pub(crate) email: Option<ClaimHash>,
    pub(crate) email_verified: bool,
    pub(crate) password_hash: Option<String>,
    pub(crate) roles: HashSet<Role>,
    pub(crate) abandoned: HashSet<ClaimHash>,
    /// Earlier usernames of the account, and when it last released each.
    pub(crate) former_usernames: HashMap<ClaimHash, DateTime<Utc>>,
    /// The latest mailed link of each kind, sent or still to be sent.
    pub(crate) verification: Option<MailedLink>,
    pub(crate) reset: Option<MailedLink>,
    pub(crate) wanted_email: Option<WantedEmail>,
    pub(crate) words: OwnWords,
}

/// The names and the address of a person, which their password must not contain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnWords {
    username: String,
    email: String,
    firstname: String,
    lastname: String,
    full_name: String,
}

/// A mailed link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MailedLink {
    pub(crate) request: Uuid,
    pub(crate) until: DateTime<Utc>,
}

impl MailedLink {
    fn new(request: Uuid, asked: DateTime<Utc>, template: MailTemplate) -> Self {
        Self { request, until: asked + template.link_lifetime().unwrap_or_default() }
    }

    /// Whether a token opens the link at this time. `is_token_of` says whether it is the token of a request.
    pub(crate) fn opens(self, now: DateTime<Utc>, is_token_of: impl Fn(Uuid) -> bool) -> bool {
        now < self.until && is_token_of(self.request)
    }
}

/// The link has expired, was used, or never existed. Clients cannot distinguish these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRejected;

impl From<LinkRejected> for Problem {
    fn from(_: LinkRejected) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-link", "This link has expired or was used: request a new one")
    }
}

pub(crate) fn no_user() -> Problem {
    Problem::not_found("There is no such user")
}

/// The token is good, but its account has been erased since it was checked.
pub(crate) fn no_account() -> Problem {
    Problem::unauthorized("account-erased", "This account has been erased")
}

/// A new address that is not confirmed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedEmail {
    pub(crate) link: MailedLink,
    pub(crate) email: ClaimHash,
    /// None if the person is erased.
    pub(crate) address: Option<String>,
    pub(crate) session: Option<SessionId>,
    pub(crate) app: App,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccountStatus {
    #[default]
    None,
    Active,
    Deactivated,
    Suspended,
    Erased,
}

impl Account {
    pub(crate) fn exists(&self) -> bool {
        !matches!(self.status, AccountStatus::None | AccountStatus::Erased)
    }

    /// Words that the password must not be.
    pub(crate) fn own_words(&self) -> [&str; 5] {
        let OwnWords { username, email, firstname, lastname, full_name } = &self.words;
        [username, email, firstname, lastname, full_name]
    }

    /// The username in its owner's spelling.
    pub fn username(&self) -> &str {
        &self.words.username
    }

    /// The address in its owner's spelling.
    pub fn address(&self) -> &str {
        &self.words.email
    }

    pub(crate) fn uses(&self, claim: ClaimHash) -> bool {
        self.exists() && (self.username == Some(claim) || self.email == Some(claim))
    }

    /// True while a username that this account released is reserved for it.
    pub(crate) fn reserves(&self, username: ClaimHash, now: DateTime<Utc>) -> bool {
        let given_up = self.former_usernames.get(&username);
        given_up.is_some_and(|&given_up| now - given_up < FORMER_USERNAME_RESERVED)
    }
}

impl Fold for AccountStatus {
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
        self.status.apply(recorded);
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
                // A link that resets the password was sent to the previous address.
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
                    // The change of address may have been requested by an attacker who knew the old password.
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

// -------------------------------------------------------------------- reads

impl Commands {
    pub async fn account(&self, user: UserId) -> Result<Account, LogError> {
        self.read_state(Subject::Account(user)).await
    }

    /// The status of an account, from the cache if that says `Active`: any other status is read from the log.
    pub async fn account_status(&self, user: UserId) -> Result<AccountStatus, LogError> {
        let subject = Subject::Account(user);
        match self.read_cached_state::<AccountStatus>(subject).await? {
            AccountStatus::Active => Ok(AccountStatus::Active),
            AccountStatus::None
            | AccountStatus::Deactivated
            | AccountStatus::Suspended
            | AccountStatus::Erased => self.read_state(subject).await,
        }
    }
}

/// Accounts for the tests of decisions about accounts.
#[cfg(test)]
pub(crate) mod testing {
    use uuid::Uuid;

    use super::*;

    pub(crate) const ANN: UserId = UserId::new(Uuid::from_u128(0xa));

    /// Statuses that hide a user and their content.
    pub(crate) const UNSEEN: [AccountStatus; 4] =
        [AccountStatus::None, AccountStatus::Deactivated, AccountStatus::Suspended, AccountStatus::Erased];

    pub(crate) fn hash(n: u128) -> ClaimHash {
        Uuid::from_u128(n).simple().to_string().parse().unwrap()
    }

    pub(crate) fn signed_up() -> Account {
        Account {
            status: AccountStatus::Active,
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
    use events::{Personal, SignedUp, UsernameChanged};

    use super::testing::{ANN, hash};
    use super::*;

    fn signed_up_event() -> SignedUp {
        SignedUp { user: ANN, username: hash(1), email: hash(2), app: App::Chorus, person: Personal::Erased }
    }

    /// Folds events that are a day apart.
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
    fn username_is_reserved_from_its_last_release() {
        let change = |n| UsernameChanged { user: ANN, username: hash(n), spelling: Personal::Erased }.into();
        let day = |n| DateTime::UNIX_EPOCH + TimeDelta::days(n);
        let first = Event::from(signed_up_event());
        let account = folded([first.clone(), change(1), change(3), change(1), change(4)]);
        assert!(account.reserves(hash(1), day(4 + 29)) && !account.reserves(hash(1), day(4 + 30)));
        assert!(account.reserves(hash(3), day(3 + 29)) && !account.reserves(hash(3), day(3 + 30)));
        assert!(!account.reserves(hash(4), day(5)), "in use");
        let erased = folded([first, events::Erased { user: ANN }.into()]);
        assert!(erased.reserves(hash(1), day(1 + 29)) && !erased.reserves(hash(1), day(1 + 30)));
    }
}
