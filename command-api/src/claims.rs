//! Names and addresses that belong to one account only. Each is a subject of its own, claimed before its account uses it.

use chrono::{DateTime, TimeDelta, Utc};
use events::{
    ClaimAbandoned, ClaimHash, EmailClaimed, EmailEvent, EmailReleased, Event, Recorded, Subject, UserId,
    UsernameClaimed, UsernameEvent, UsernameReleased,
};
use service::mailbox;
use service::problem::Problem;
use uuid::Uuid;

use crate::Commands;
use crate::accounts::Account;
use crate::context::Context;
use crate::execute::{Failure, Fold};
use crate::rejections::log_problem;

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
            | Event::Story(_)
            | Event::StoryView(_)
            | Event::Notifications(_)
            | Event::Save(_)
            | Event::Collection(_)
            | Event::Mail(_)
            | Event::Mailbox(_) => {}
        }
    }
}

/// A username or an address, and who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    hash: ClaimHash,
    holder: Option<UserId>,
}

impl Found {
    /// What log-ins under this name are counted by: one budget for all names of an account.
    pub(crate) fn budget(self) -> Uuid {
        self.holder.map_or(self.hash.uuid(), UserId::uuid)
    }

    pub(crate) const fn is_held(self) -> bool {
        self.holder.is_some()
    }

    /// Who holds it; whether they use it, their account tells.
    pub(crate) const fn holder(self) -> Option<UserId> {
        self.holder
    }

    pub(crate) fn is_used_by(self, account: &Account) -> bool {
        account.uses(self.hash)
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
pub(crate) enum ClaimKind {
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
    pub(crate) async fn claim(
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
            let Err(failure) = claimed else { return Ok(()) };
            let HeldBy(holder, since) = failure.rejection()?;
            let uses_it = self.look_at::<Account>(Subject::Account(holder)).await?.uses(hash);
            if uses_it || context.now - since < CLAIM_HOLDS {
                return Err(Failure::Rejected(kind.taken()));
            }
            let account = Subject::Account(holder);
            match self.execute(context, account, &[], |state| abandon_claim(state, holder, hash)).await {
                Ok(_) => given_up = Some(holder),
                Err(failure) => {
                    let HolderUsesIt = failure.rejection()?;
                    return Err(Failure::Rejected(kind.taken()));
                }
            }
        }
        Err(Failure::Contended)
    }

    /// Gives a claim back. If that cannot be done now, its time runs out by itself.
    pub(crate) async fn release(&self, context: &Context, kind: ClaimKind, hash: ClaimHash, user: UserId) {
        let decide = |state: &Claim| Ok::<_, std::convert::Infallible>(release(state, kind, hash, user));
        if let Err(failure) = self.execute(context, kind.subject(hash), &[], decide).await {
            tracing::warn!(?failure, %user, ?kind, "a claim could not be given back; it runs out by itself");
        }
    }

    /// Finds who holds a username or an address, in whatever spelling. It reads as much whether somebody does or not.
    pub(crate) async fn find(&self, kind: ClaimKind, text: &str) -> Result<Found, Problem> {
        let mut all = Vec::new();
        for hash in self.claim_hashes(kind, text) {
            let claim: Claim = self.look_at(kind.subject(hash)).await.map_err(log_problem)?;
            all.push(Found { hash, holder: claim.holder.map(|(user, _)| user) });
        }
        // Of two accounts that earlier versions let have one address, the one whose spelling was typed.
        let typed = self.log.keys().claim_hash(text);
        let held = || all.iter().filter(|found| found.is_held());
        let found = held().find(|found| found.hash == typed).or_else(|| held().next()).or(all.first());
        found.copied().ok_or_else(|| Problem::internal("a name without a hash"))
    }

    /// The hashes under which a name may have been claimed, today's first. Earlier versions claimed an address with an
    /// internationalised domain as it was typed.
    fn claim_hashes(&self, kind: ClaimKind, text: &str) -> Vec<ClaimHash> {
        let typed = self.log.keys().claim_hash(text);
        let Some(ascii) = mailbox::ascii_form(text).filter(|_| kind == ClaimKind::Email) else {
            return vec![typed];
        };
        let mut hashes = vec![self.log.keys().claim_hash(&ascii)];
        let unicode = mailbox::unicode_form(&ascii).map(|unicode| self.log.keys().claim_hash(&unicode));
        for hash in unicode.into_iter().chain([typed]) {
            if !hashes.contains(&hash) {
                hashes.push(hash);
            }
        }
        hashes
    }

    /// Claims an address for a user under its hash, unless somebody has it under one of an earlier version.
    pub(crate) async fn claim_email(
        &self,
        context: &Context,
        (hash, address): (ClaimHash, &str),
        user: UserId,
    ) -> Result<(), Failure<ClaimRejected>> {
        for earlier in self.claim_hashes(ClaimKind::Email, address).into_iter().filter(|other| *other != hash)
        {
            let claim: Claim = self.look_at(Subject::Email(earlier)).await?;
            let Some((holder, _)) = claim.holder.filter(|(holder, _)| *holder != user) else { continue };
            if self.look_at::<Account>(Subject::Account(holder)).await?.uses(earlier) {
                return Err(Failure::Rejected(ClaimRejected::EmailTaken));
            }
        }
        self.claim(context, ClaimKind::Email, hash, user).await
    }

    /// As [`find`](Self::find), where either may have been typed.
    pub(crate) async fn find_login(&self, login: &str) -> Result<Found, Problem> {
        let kind = if login.contains('@') { ClaimKind::Email } else { ClaimKind::Username };
        self.find(kind, login).await
    }

    /// The account of a name; none if it is nobody's, or still being signed up.
    pub(crate) async fn owner(&self, found: Found) -> Result<Option<(UserId, Account)>, Problem> {
        let Some(user) = found.holder else { return Ok(None) };
        let account: Account = self.look_at(Subject::Account(user)).await.map_err(log_problem)?;
        Ok(found.is_used_by(&account).then_some((user, account)))
    }

    /// Who has a username in this very spelling.
    pub(crate) async fn user_called(&self, username: &str) -> Result<Option<(UserId, Account)>, Problem> {
        let found = self.find(ClaimKind::Username, username).await?;
        let owner = self.owner(found).await?;
        Ok(owner.filter(|(_, account)| account.username() == username))
    }

    /// What mails to an address are counted by.
    pub(crate) fn mailbox(&self, address: &str) -> Uuid {
        let ascii = mailbox::ascii_form(address);
        self.log.keys().claim_hash(ascii.as_deref().unwrap_or(address)).uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::testing::{ANN, abandoned, hash, signed_up};

    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));

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
