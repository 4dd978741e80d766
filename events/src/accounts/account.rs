use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{ClaimHash, MailedRequestId, Personal, SessionId, Subject, UserId};

event_enum! {
    /// `account.<user>`: identity, credentials and status of a user.
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
    /// `username.<keyed hash>`: the owner of a username.
    UsernameEvent {
        UsernameClaimed = "username.claimed.v1",
        UsernameReleased = "username.released.v1",
    }
}

event_enum! {
    /// `email.<keyed hash>`: the owner of an address.
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

/// The app that a user came from: mails use its name and link to it.
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

/// The personal data of a sign-up.
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
    /// As the user spells it.
    pub spelling: Personal<String>,
}

/// The user requests another verification mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailVerificationRequested {
    pub user: UserId,
    /// The token in the mailed link is derived from it.
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
    /// The session that stays valid.
    pub kept: Option<SessionId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordChangeReason {
    /// Changed by the user.
    Chosen,
    /// Set with a mailed link.
    Reset,
    /// The same password, rehashed with stronger parameters.
    Rehashed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PasswordResetRequested {
    pub user: UserId,
    /// The token in the mailed link is derived from it.
    pub request: MailedRequestId,
    pub app: App,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailChangeRequested {
    pub user: UserId,
    /// The token in the mailed link is derived from it.
    pub request: MailedRequestId,
    pub email: ClaimHash,
    pub address: Personal<String>,
    /// The session that requested it; it stays valid when the address changes.
    pub session: Option<SessionId>,
    pub app: App,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmailChanged {
    pub user: UserId,
    pub email: ClaimHash,
    pub address: Personal<String>,
    /// Whether the owner of the new address has confirmed it with a link.
    pub verified: bool,
    /// The session that stays valid.
    pub kept: Option<SessionId>,
    pub app: App,
}

/// The user has ended all other sessions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionsEnded {
    pub user: UserId,
    pub kept: Option<SessionId>,
}

/// Permissions beyond those of every user.
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

/// Deactivated by its owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deactivated {
    pub user: UserId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reactivated {
    pub user: UserId,
}

/// Suspended by a moderator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suspended {
    pub user: UserId,
    pub reason: Personal<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reinstated {
    pub user: UserId,
}

/// Another user takes over a claim of this user that a crash left behind. If the last step of this user's own sign-up
/// or rename is still in flight, this event makes it a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClaimAbandoned {
    pub user: UserId,
    pub claim: ClaimHash,
}

/// The user is erased: the key is destroyed, and their views and media are deleted.
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
    /// Whether an event ends sessions: all that started before it, except the one inside, if any. A change of roles
    /// ends them too, so that the permissions of a session never change.
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
