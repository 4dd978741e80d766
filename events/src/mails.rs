use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{ClaimHash, EventId, Personal, Subject, UserId};

event_enum! {
    /// `mail.<event>.<template>`: the send ledger of one mail. Mail services do not deduplicate, so this does: events
    /// are appended before and after each send.
    MailEvent {
        MailReserved = "mail.reserved.v1",
        MailSent = "mail.sent.v1",
        MailFailed = "mail.failed.v1",
        MailGivenUp = "mail.given_up.v2",
    }
}

event_enum! {
    /// `mailbox.<keyed hash>`: whether an address accepts mail.
    MailboxEvent {
        MailBounced = "mailbox.bounced.v1",
        MailComplained = "mailbox.complained.v1",
    }
}

macro_rules! templates {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// The content of a mail and its recipient.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum MailTemplate {
            $($(#[$doc])* $variant,)+
        }

        impl MailTemplate {
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

templates! {
    /// With the link to verify an address.
    EmailVerification = "email_verification",
    Welcome = "welcome",
    /// With the link to set a new password.
    PasswordReset = "password_reset",
    /// Notice of a changed password.
    PasswordChanged = "password_changed",
    /// To the new address, with the link to confirm it.
    EmailChangeConfirmation = "email_change_confirmation",
    /// To the current address: a change was requested.
    EmailChangeNotice = "email_change_notice",
    /// To the former address: it was replaced.
    EmailChanged = "email_changed",
    /// Notice of a log-in with a new device.
    NewDevice = "new_device",
}

impl MailTemplate {
    /// How long the link is valid, counted from the event; none without a link.
    pub const fn link_lifetime(self) -> Option<TimeDelta> {
        match self {
            Self::EmailVerification => Some(TimeDelta::hours(24)),
            Self::PasswordReset => Some(TimeDelta::minutes(10)),
            Self::EmailChangeConfirmation => Some(TimeDelta::hours(1)),
            Self::Welcome
            | Self::PasswordChanged
            | Self::EmailChangeNotice
            | Self::EmailChanged
            | Self::NewDevice => None,
        }
    }
}

impl fmt::Display for MailTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not a known template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a template that this program knows")]
pub struct UnknownTemplate;

impl FromStr for MailTemplate {
    type Err = UnknownTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|template| template.as_str() == text).ok_or(UnknownTemplate)
    }
}

/// The mail is reserved for a send. Without a later event, it is unknown whether it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailReserved {
    /// The event that caused the mail.
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    pub recipient: ClaimHash,
    /// 1, 2, 3 …
    pub attempt: u32,
}

/// The mail service accepted the mail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailSent {
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    /// The mail service's id of the mail.
    pub message_id: String,
}

/// The mail service was unavailable, deferred the mail, or its answer was lost; there will be another attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailFailed {
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    /// The number of attempts so far.
    pub attempt: u32,
    /// The error of the mail service; it may contain the address.
    pub error: Personal<String>,
}

/// There will be no further attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailGivenUp {
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    pub reason: MailGivenUpReason,
    /// The number of attempts so far.
    pub attempts: u32,
    /// The error of the mail service; it may contain the address.
    pub error: Personal<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailGivenUpReason {
    /// The mail service rejected this mail.
    Refused,
    /// The address has bounced or complained before.
    Suppressed,
    /// The deadline has passed: the link has expired.
    TooLate,
    /// The mail may have been sent before a crash or a lost answer, and a duplicate would be worse than none.
    Unknown,
}

impl MailGivenUpReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Suppressed => "suppressed",
            Self::TooLate => "too_late",
            Self::Unknown => "unknown",
        }
    }
}

/// The recipient's server rejected the address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailBounced {
    pub email: ClaimHash,
    /// False if the address may accept mail later, such as a full mailbox.
    pub permanent: bool,
    /// The mail service's id of the bounced mail.
    pub message_id: String,
}

/// The recipient marked the mail as spam.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailComplained {
    pub email: ClaimHash,
    /// The mail service's id of the mail.
    pub message_id: String,
}

impl MailEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::MailReserved(event) => Subject::Mail(event.event, event.template),
            Self::MailSent(event) => Subject::Mail(event.event, event.template),
            Self::MailFailed(event) => Subject::Mail(event.event, event.template),
            Self::MailGivenUp(event) => Subject::Mail(event.event, event.template),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::MailFailed(event) => Some((event.user, &mut event.error)),
            Self::MailGivenUp(event) => Some((event.user, &mut event.error)),
            Self::MailReserved(_) | Self::MailSent(_) => None,
        }
    }
}

impl MailboxEvent {
    pub const fn subject(&self) -> Subject {
        match self {
            Self::MailBounced(event) => Subject::Mailbox(event.email),
            Self::MailComplained(event) => Subject::Mailbox(event.email),
        }
    }

    pub(crate) fn personal(&mut self) -> Option<(UserId, &mut dyn Sealable)> {
        match self {
            Self::MailBounced(_) | Self::MailComplained(_) => None,
        }
    }
}
