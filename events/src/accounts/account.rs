use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{ClaimHash, MailedRequestId, Personal, SessionId, Subject, UserId};

event_enum! {
    /// `account.<user>`: who somebody is to the system.
    AccountEvent {
        SignedUp = "account.signed_up.v2",
        UsernameChanged = "account.username_changed.v1",
        EmailVerificationRequested = "account.email_verification_requested.v1",
        EmailVerified = "account.email_verified.v1",
        PasswordChanged = "account.password_changed.v2",
        PasswordResetRequested = "account.password_reset_requested.v2",
        EmailChangeRequested = "account.email_change_requested.v2",
        EmailChanged = "account.email_changed.v2",
        SessionsEnded = "account.sessions_ended.v1",
        RoleGranted = "account.role_granted.v1",
        RoleRevoked = "account.role_revoked.v1",
        Deactivated = "account.deactivated.v1",
        Reactivated = "account.reactivated.v1",
        Suspended = "account.suspended.v1",
        Reinstated = "account.reinstated.v1",
        ClaimAbandoned = "account.claim_abandoned.v1",
        Erased = "account.erased.v1",
    }
}

event_enum! {
    /// `username.<keyed hash>`: who holds a name.
    UsernameEvent {
        UsernameClaimed = "username.claimed.v1",
        UsernameReleased = "username.released.v1",
    }
}

event_enum! {
    /// `email.<keyed hash>`: who holds an address.
    EmailEvent {
        EmailClaimed = "email.claimed.v1",
        EmailReleased = "email.released.v1",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedUp {
    pub user: UserId,
    pub username: ClaimHash,
    pub email: ClaimHash,
    pub app: App,
    pub person: Personal<NewPerson>,
}

/// Through which app somebody came: mails speak in its name and lead back to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum App {
    /// `/v1`
    #[default]
    Chorus,
    /// `/instamern`
    Instamern,
    /// `/spotifymern`
    Spotifymern,
}

/// What somebody says of themselves when they sign up.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPerson {
    pub username: String,
    pub email: String,
    /// PHC string of Argon2id.
    pub password_hash: String,
    pub firstname: String,
    pub lastname: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsernameChanged {
    pub user: UserId,
    pub username: ClaimHash,
    /// As the person spells it.
    pub spelling: Personal<String>,
}

/// Somebody wants the mail with the link that verifies their address once more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailVerificationRequested {
    pub user: UserId,
    /// What the token in the mailed link is derived from.
    pub request: MailedRequestId,
    pub app: App,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailVerified {
    pub user: UserId,
    pub email: ClaimHash,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PasswordChanged {
    pub user: UserId,
    /// PHC string of Argon2id.
    pub password_hash: Personal<String>,
    pub reason: PasswordChangeReason,
    /// The one session that goes on.
    pub kept: Option<SessionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordChangeReason {
    /// Its owner wanted another one.
    Chosen,
    /// By a mailed link.
    Reset,
    /// The same password, hashed anew with stronger parameters.
    Rehashed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PasswordResetRequested {
    pub user: UserId,
    /// What the token in the mailed link is derived from.
    pub request: MailedRequestId,
    pub app: App,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailChangeRequested {
    pub user: UserId,
    /// What the token in the mailed link is derived from.
    pub request: MailedRequestId,
    pub email: ClaimHash,
    pub address: Personal<String>,
    /// The session that asked for it: it goes on when the address has changed.
    pub session: Option<SessionId>,
    pub app: App,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailChanged {
    pub user: UserId,
    pub email: ClaimHash,
    pub address: Personal<String>,
    /// Whoever reads the mail of the new address has agreed, by a link.
    pub verified: bool,
    /// The one session that goes on.
    pub kept: Option<SessionId>,
    pub app: App,
}

/// Its owner has ended all sessions but one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionsEnded {
    pub user: UserId,
    pub kept: Option<SessionId>,
}

/// What somebody may do beyond what everybody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Artist,
    Moderator,
    Admin,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleGranted {
    pub user: UserId,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoleRevoked {
    pub user: UserId,
    pub role: Role,
}

/// Its owner has put the account to rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deactivated {
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reactivated {
    pub user: UserId,
}

/// A moderator has locked the account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suspended {
    pub user: UserId,
    pub reason: Personal<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reinstated {
    pub user: UserId,
}

/// Somebody else takes over a claim of this user that a crash left behind: a late last step of the user's own
/// sign-up or rename meets this event as a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimAbandoned {
    pub user: UserId,
    pub claim: ClaimHash,
}

/// The person is gone: their key is destroyed, their views and media follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Erased {
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsernameClaimed {
    pub username: ClaimHash,
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsernameReleased {
    pub username: ClaimHash,
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailClaimed {
    pub email: ClaimHash,
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailReleased {
    pub email: ClaimHash,
    pub user: UserId,
}

impl AccountEvent {
    /// The sessions that an event ends: all that began before it, but the one named inside, if one is. A change of
    /// what somebody may do ends them too, so that a session never changes its power while it goes on.
    pub const fn ends_sessions_but(&self) -> Option<Option<SessionId>> {
        match self {
            Self::PasswordChanged(PasswordChanged { reason: PasswordChangeReason::Rehashed, .. }) => None,
            Self::PasswordChanged(event) => Some(event.kept),
            Self::EmailChanged(event) => Some(event.kept),
            Self::SessionsEnded(event) => Some(event.kept),
            Self::RoleGranted(_) | Self::RoleRevoked(_) | Self::Suspended(_) | Self::Erased(_) => Some(None),
            Self::SignedUp(_)
            | Self::UsernameChanged(_)
            | Self::EmailVerificationRequested(_)
            | Self::EmailVerified(_)
            | Self::PasswordResetRequested(_)
            | Self::EmailChangeRequested(_)
            | Self::Deactivated(_)
            | Self::Reactivated(_)
            | Self::Reinstated(_)
            | Self::ClaimAbandoned(_) => None,
        }
    }

    pub const fn user(&self) -> UserId {
        match self {
            Self::SignedUp(event) => event.user,
            Self::UsernameChanged(event) => event.user,
            Self::EmailVerificationRequested(event) => event.user,
            Self::EmailVerified(event) => event.user,
            Self::PasswordChanged(event) => event.user,
            Self::PasswordResetRequested(event) => event.user,
            Self::EmailChangeRequested(event) => event.user,
            Self::EmailChanged(event) => event.user,
            Self::SessionsEnded(event) => event.user,
            Self::RoleGranted(event) => event.user,
            Self::RoleRevoked(event) => event.user,
            Self::Deactivated(event) => event.user,
            Self::Reactivated(event) => event.user,
            Self::Suspended(event) => event.user,
            Self::Reinstated(event) => event.user,
            Self::ClaimAbandoned(event) => event.user,
            Self::Erased(event) => event.user,
        }
    }

    pub const fn subject(&self) -> Subject {
        Subject::Account(self.user())
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::SignedUp(event) => Some((event.user, &mut event.person)),
            Self::UsernameChanged(event) => Some((event.user, &mut event.spelling)),
            Self::PasswordChanged(event) => Some((event.user, &mut event.password_hash)),
            Self::EmailChangeRequested(event) => Some((event.user, &mut event.address)),
            Self::EmailChanged(event) => Some((event.user, &mut event.address)),
            Self::Suspended(event) => Some((event.user, &mut event.reason)),
            Self::EmailVerificationRequested(_)
            | Self::EmailVerified(_)
            | Self::PasswordResetRequested(_)
            | Self::SessionsEnded(_)
            | Self::RoleGranted(_)
            | Self::RoleRevoked(_)
            | Self::Deactivated(_)
            | Self::Reactivated(_)
            | Self::Reinstated(_)
            | Self::ClaimAbandoned(_)
            | Self::Erased(_) => None,
        }
    }
}

impl UsernameEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::UsernameClaimed(event) => Subject::Username(event.username),
            Self::UsernameReleased(event) => Subject::Username(event.username),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::UsernameClaimed(_) | Self::UsernameReleased(_) => None,
        }
    }
}

impl EmailEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::EmailClaimed(event) => Subject::Email(event.email),
            Self::EmailReleased(event) => Subject::Email(event.email),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::EmailClaimed(_) | Self::EmailReleased(_) => None,
        }
    }
}
