//! Unique usernames and addresses. Each is a separate subject, claimed before an account uses it.

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    AccountsEvent, ClaimAbandoned, ClaimHash, EmailClaimed, EmailEvent, EmailReleased, Event, LogError,
    Recorded, Subject, UserId, UsernameClaimed, UsernameEvent, UsernameReleased,
};
use service::mailbox;
use uuid::Uuid;
use web::problem::{FieldCode, FieldProblem, Problem};

use crate::Commands;
use crate::accounts::account::{Account, no_account};
use crate::pipeline::context::Context;
use crate::pipeline::errors::CommandError;
use crate::pipeline::execute::Fold;

/// Time within which the holder of a claim must use it.
const CLAIM_HOLDS: TimeDelta = TimeDelta::minutes(10);
/// Attempts at a claim while other accounts claim it too.
const CLAIM_ATTEMPTS: usize = 5;

// ---------------------------------------------------------------- decisions

/// Why a username or an address cannot be claimed or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimRejected {
    UsernameTaken,
    UsernameAndEmailTaken,
    /// It is on the list of reserved names.
    UsernameReserved,
    EmailTaken,
    /// The claim was not used in time and another account has taken it over.
    Lost,
    NoAccount,
}

impl From<ClaimRejected> for Problem {
    fn from(rejected: ClaimRejected) -> Self {
        let taken = |field| FieldProblem::new(field, FieldCode::Taken, "is taken");
        match rejected {
            ClaimRejected::UsernameTaken => {
                Self::conflict("username-taken", "This username is taken").in_fields(vec![taken("username")])
            }
            ClaimRejected::UsernameAndEmailTaken => {
                let detail = "This username and this email address are taken";
                Self::conflict("username-and-email-taken", detail)
                    .in_fields(vec![taken("username"), taken("email")])
            }
            ClaimRejected::UsernameReserved => {
                let message = "is reserved: choose another one";
                Self::invalid(vec![FieldProblem::new("username", FieldCode::Reserved, message)])
            }
            ClaimRejected::EmailTaken => {
                Self::conflict("email-taken", "This email address is taken").in_fields(vec![taken("email")])
            }
            ClaimRejected::Lost => {
                Self::conflict("claim-lost", "This took too long and was abandoned: try again")
            }
            ClaimRejected::NoAccount => no_account(),
        }
    }
}

fn abandon_claim(account: &Account, user: UserId, claim: ClaimHash) -> Result<Option<Event>, HolderUsesIt> {
    if account.uses(claim) {
        return Err(HolderUsesIt);
    }
    let is_abandoned = account.abandoned.contains(&claim);
    Ok((!is_abandoned).then(|| ClaimAbandoned { user, claim }.into()))
}

/// The holder has started to use the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HolderUsesIt;

/// The holder of a username or an address and the time of the claim; after the release of a username its last holder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Claim {
    holder: Option<(UserId, DateTime<Utc>)>,
    last_holder: Option<UserId>,
}

impl Claim {
    fn held_by(user: UserId, since: DateTime<Utc>) -> Self {
        Self { holder: Some((user, since)), last_holder: None }
    }
}

impl Fold for Claim {
    fn apply(&mut self, recorded: &Recorded) {
        let since = recorded.envelope.time;
        match &recorded.event {
            Event::Accounts(AccountsEvent::Username(UsernameEvent::UsernameClaimed(event))) => {
                *self = Self::held_by(event.user, since);
            }
            Event::Accounts(AccountsEvent::Email(EmailEvent::EmailClaimed(event))) => {
                *self = Self::held_by(event.user, since);
            }
            Event::Accounts(AccountsEvent::Username(UsernameEvent::UsernameReleased(event))) => {
                *self = Self { holder: None, last_holder: Some(event.user) };
            }
            Event::Accounts(AccountsEvent::Email(EmailEvent::EmailReleased(_))) => *self = Self::default(),
            Event::Accounts(
                AccountsEvent::Account(_) | AccountsEvent::Session(_) | AccountsEvent::Profile(_),
            )
            | Event::Social(_)
            | Event::Music(_)
            | Event::Mail(_)
            | Event::Operations(_) => {}
        }
    }
}

/// A username or an address and its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    hash: ClaimHash,
    holder: Option<UserId>,
}

impl Found {
    /// The key of the rate limit of log-ins: one for all names of an account.
    pub fn budget(self) -> Uuid {
        self.holder.map_or(self.hash.uuid(), UserId::uuid)
    }

    pub(crate) const fn is_held(self) -> bool {
        self.holder.is_some()
    }

    /// The holder. Their account says whether they use it.
    pub(crate) const fn holder(self) -> Option<UserId> {
        self.holder
    }

    pub(crate) fn is_used_by(self, account: &Account) -> bool {
        account.uses(self.hash)
    }
}

/// Why the account of another user must be read before the claim can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claimed {
    /// They hold it.
    HeldBy(UserId, DateTime<Utc>),
    /// They held it last and may have used it.
    ReleasedBy(UserId),
}

/// A claim can be made if it is free, held by this user, or held by a user (`given_up`) whose account does not use it.
fn claim(
    claim: &Claim,
    kind: ClaimKind,
    hash: ClaimHash,
    user: UserId,
    given_up: Option<UserId>,
) -> Result<Option<Event>, Claimed> {
    match (claim.holder, claim.last_holder) {
        (Some((holder, _)), _) if holder == user => Ok(None),
        (Some((holder, since)), _) if Some(holder) != given_up => Err(Claimed::HeldBy(holder, since)),
        (None, Some(last)) if last != user && Some(last) != given_up => Err(Claimed::ReleasedBy(last)),
        (Some(_) | None, _) => Ok(Some(kind.claimed(hash, user))),
    }
}

/// Whether a claim of another user can be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takeover {
    Refused,
    /// Its holder never used it: the takeover is recorded on their account first.
    AfterAbandoning,
    Free,
}

/// Decides on a takeover by the account of the present or last holder. A name that was in use is reserved for its last
/// owner, even if a crash prevented its release.
fn takeover(account: &Account, claimed: Claimed, hash: ClaimHash, now: DateTime<Utc>) -> Takeover {
    if account.uses(hash) || account.reserves(hash, now) {
        return Takeover::Refused;
    }
    match claimed {
        Claimed::HeldBy(_, since) if now - since < CLAIM_HOLDS => Takeover::Refused,
        Claimed::HeldBy(..) => Takeover::AfterAbandoning,
        Claimed::ReleasedBy(_) => Takeover::Free,
    }
}

/// Has no effect unless the user holds the claim.
fn release(claim: &Claim, kind: ClaimKind, hash: ClaimHash, user: UserId) -> Option<Event> {
    claim.holder.filter(|(holder, _)| *holder == user).map(|_| kind.released(hash, user))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimKind {
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
    /// Claims a username or an address for a user. A claim left over from a crash is taken over, which is recorded on the
    /// account of its holder first, so that a late last step of the holder gets a conflict there.
    pub(crate) async fn claim(
        &self,
        context: &Context,
        kind: ClaimKind,
        hash: ClaimHash,
        user: UserId,
    ) -> Result<(), CommandError<ClaimRejected>> {
        let subject = kind.subject(hash);
        let mut given_up = None;
        for _ in 0..CLAIM_ATTEMPTS {
            let claimed =
                self.execute(context, subject, &[], |state| claim(state, kind, hash, user, given_up)).await;
            let Err(failure) = claimed else { return Ok(()) };
            let claimed = failure.into_rejection()?;
            let (Claimed::HeldBy(holder, _) | Claimed::ReleasedBy(holder)) = claimed;
            let account = Subject::Account(holder);
            match takeover(&self.read_state(account).await?, claimed, hash, context.now) {
                Takeover::Refused => return Err(CommandError::Rejected(kind.taken())),
                Takeover::AfterAbandoning => {}
                Takeover::Free => {
                    given_up = Some(holder);
                    continue;
                }
            }
            match self.execute(context, account, &[], |state| abandon_claim(state, holder, hash)).await {
                Ok(_) => given_up = Some(holder),
                Err(failure) => {
                    let HolderUsesIt = failure.into_rejection()?;
                    return Err(CommandError::Rejected(kind.taken()));
                }
            }
        }
        Err(CommandError::Contended)
    }

    /// Releases a claim. If that fails, the claim expires.
    pub(crate) async fn release(&self, context: &Context, kind: ClaimKind, hash: ClaimHash, user: UserId) {
        let decide = |state: &Claim| Ok::<_, std::convert::Infallible>(release(state, kind, hash, user));
        if let Err(failure) = self.execute(context, kind.subject(hash), &[], decide).await {
            tracing::warn!(?failure, %user, ?kind, "a claim could not be released; it expires");
        }
    }

    /// Finds the holder of a username or an address, in any spelling. The number of reads is the same if there is none.
    pub async fn find(&self, kind: ClaimKind, text: &str) -> Result<Found, LogError> {
        let (current, earlier) = self.claim_hashes(kind, text);
        let first = self.found(kind, current).await?;
        let mut all = vec![first];
        for hash in earlier {
            all.push(self.found(kind, hash).await?);
        }
        // Earlier versions allowed two spellings of one address: the account with the spelling in the request is preferred.
        let typed = self.log.keys().claim_hash(text);
        let held = || all.iter().filter(|found| found.is_held());
        let found = held().find(|found| found.hash == typed).or_else(|| held().next());
        Ok(found.copied().unwrap_or(first))
    }

    async fn found(&self, kind: ClaimKind, hash: ClaimHash) -> Result<Found, LogError> {
        let claim: Claim = self.read_state(kind.subject(hash)).await?;
        Ok(Found { hash, holder: claim.holder.map(|(user, _)| user) })
    }

    /// The hash under which a name is claimed, and the hashes under which earlier versions may have claimed it: these claimed
    /// an address with an internationalised domain as typed.
    fn claim_hashes(&self, kind: ClaimKind, text: &str) -> (ClaimHash, Vec<ClaimHash>) {
        let keys = self.log.keys();
        let typed = keys.claim_hash(text);
        let Some(ascii) = mailbox::ascii_form(text).filter(|_| kind == ClaimKind::Email) else {
            return (typed, Vec::new());
        };
        let current = keys.claim_hash(&ascii);
        let mut earlier = Vec::new();
        let unicode = mailbox::unicode_form(&ascii).map(|unicode| keys.claim_hash(&unicode));
        for hash in unicode.into_iter().chain([typed]) {
            if hash != current && !earlier.contains(&hash) {
                earlier.push(hash);
            }
        }
        (current, earlier)
    }

    /// Claims an address for a user under its hash, unless another account uses it under a hash of an earlier version.
    pub(crate) async fn claim_email(
        &self,
        context: &Context,
        (hash, address): (ClaimHash, &str),
        user: UserId,
    ) -> Result<(), CommandError<ClaimRejected>> {
        let (current, earlier) = self.claim_hashes(ClaimKind::Email, address);
        for earlier in earlier.into_iter().chain([current]).filter(|other| *other != hash) {
            let claim: Claim = self.read_state(Subject::Email(earlier)).await?;
            let Some((holder, _)) = claim.holder.filter(|(holder, _)| *holder != user) else { continue };
            if self.read_state::<Account>(Subject::Account(holder)).await?.uses(earlier) {
                return Err(CommandError::Rejected(ClaimRejected::EmailTaken));
            }
        }
        self.claim(context, ClaimKind::Email, hash, user).await
    }

    /// Like [`find`](Self::find), for a username or an address.
    pub(crate) async fn find_login(&self, login: &str) -> Result<Found, LogError> {
        let kind = if login.contains('@') { ClaimKind::Email } else { ClaimKind::Username };
        self.find(kind, login).await
    }

    /// The account that uses a name; none if there is none, or if its sign-up is not complete.
    pub async fn owner(&self, found: Found) -> Result<Option<(UserId, Account)>, LogError> {
        let Some(user) = found.holder else { return Ok(None) };
        let account = self.account(user).await?;
        Ok(found.is_used_by(&account).then_some((user, account)))
    }

    /// The user with a username in exactly this spelling.
    pub async fn user_called(&self, username: &str) -> Result<Option<(UserId, Account)>, LogError> {
        let found = self.find(ClaimKind::Username, username).await?;
        let owner = self.owner(found).await?;
        Ok(owner.filter(|(_, account)| account.username() == username))
    }

    /// The key of the rate limit of mails to an address.
    pub fn mailbox(&self, address: &str) -> Uuid {
        let ascii = mailbox::ascii_form(address);
        self.log.keys().claim_hash(ascii.as_deref().unwrap_or(address)).uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::account::AccountStatus;
    use crate::accounts::account::testing::{ANN, abandoned, hash, signed_up};

    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

    #[test]
    fn claim_is_taken_if_it_is_free_or_given_up() {
        let held = |holder| Claim::held_by(holder, DateTime::UNIX_EPOCH);
        let released = |holder| Claim { holder: None, last_holder: Some(holder) };
        let claimed = Ok(Some(UsernameClaimed { username: hash(1), user: ANN }.into()));
        let by_ann = |state: &Claim, given_up| claim(state, ClaimKind::Username, hash(1), ANN, given_up);
        assert_eq!(by_ann(&Claim::default(), None), claimed);
        assert_eq!(by_ann(&held(ANN), None), Ok(None));
        assert_eq!(by_ann(&held(BOB), None), Err(Claimed::HeldBy(BOB, DateTime::UNIX_EPOCH)));
        assert_eq!(by_ann(&released(ANN), None), claimed);
        assert_eq!(by_ann(&released(BOB), None), Err(Claimed::ReleasedBy(BOB)));
        assert_eq!(by_ann(&released(BOB), Some(BOB)), claimed);
        assert_eq!(by_ann(&held(BOB), Some(BOB)), claimed);
        assert_eq!(
            by_ann(&held(BOB), Some(UserId::new(Uuid::nil()))),
            Err(Claimed::HeldBy(BOB, DateTime::UNIX_EPOCH))
        );
    }

    #[test]
    fn released_username_is_reserved_for_30_days() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(100);
        let released = |account: &Account| takeover(account, Claimed::ReleasedBy(BOB), hash(7), now);
        let given_up = |age| Account { former_usernames: [(hash(7), now - age)].into(), ..signed_up() };
        let almost = TimeDelta::days(30) - TimeDelta::seconds(1);
        assert_eq!(released(&given_up(almost)), Takeover::Refused);
        assert_eq!(released(&given_up(TimeDelta::days(30))), Takeover::Free);
        let erased = Account { status: AccountStatus::Erased, ..given_up(almost) };
        assert_eq!(released(&erased), Takeover::Refused, "reserved, although the account is erased");
        // A failed sign-up or change never used the name.
        assert_eq!(released(&signed_up()), Takeover::Free);
        assert_eq!(released(&Account::default()), Takeover::Free);
    }

    #[test]
    fn unused_claim_is_free_after_ten_minutes() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(100);
        let held = |account: &Account, age| takeover(account, Claimed::HeldBy(BOB, now - age), hash(1), now);
        assert_eq!(held(&signed_up(), TimeDelta::days(1)), Takeover::Refused, "in use");
        let unused = Account { username: Some(hash(9)), ..signed_up() };
        assert_eq!(held(&unused, TimeDelta::minutes(9)), Takeover::Refused);
        assert_eq!(held(&unused, TimeDelta::minutes(10)), Takeover::AfterAbandoning);
        // The change to another name was recorded, but a crash prevented the release.
        let former = [(hash(1), now - TimeDelta::days(1))].into();
        assert_eq!(
            held(&Account { former_usernames: former, ..unused }, TimeDelta::days(9)),
            Takeover::Refused
        );
    }

    #[test]
    fn only_the_holder_releases_a_claim() {
        let held = Claim::held_by(ANN, DateTime::UNIX_EPOCH);
        let released = Some(EmailReleased { email: hash(2), user: ANN }.into());
        assert_eq!(release(&held, ClaimKind::Email, hash(2), ANN), released);
        assert_eq!(release(&held, ClaimKind::Email, hash(2), BOB), None);
        assert_eq!(release(&Claim::default(), ClaimKind::Email, hash(2), ANN), None);
    }

    #[test]
    fn claim_in_use_is_not_abandoned() {
        assert_eq!(abandon_claim(&signed_up(), ANN, hash(1)), Err(HolderUsesIt));
        let event = ClaimAbandoned { user: ANN, claim: hash(5) }.into();
        assert_eq!(abandon_claim(&signed_up(), ANN, hash(5)), Ok(Some(event)));
        assert_eq!(abandon_claim(&abandoned(hash(5)), ANN, hash(5)), Ok(None));
    }
}
