use std::fmt;
use std::str::FromStr;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::event::event_enum;
use crate::personal::Sealable;
use crate::{ClaimHash, EventId, Personal, Subject, UserId};

event_enum! {
    /// `mail.<event>.<template>`: what became of one mail. Nothing in a mail service keeps a mail from being sent twice;
    /// this does: it is written before the mail is handed over, and after.
    MailEvent {
        MailReserved = "mail.reserved.v1",
        MailSent = "mail.sent.v1",
        MailFailed = "mail.failed.v1",
        MailGivenUp = "mail.given_up.v2",
    }
}

event_enum! {
    /// `mailbox.<keyed hash>`: what is known of an address as a place that mail goes to.
    MailboxEvent {
        MailBounced = "mailbox.bounced.v1",
        MailComplained = "mailbox.complained.v1",
    }
}

macro_rules! templates {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)+) => {
        /// What a mail is about, and to whom of those concerned it goes.
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
    /// With the link that verifies an address.
    EmailVerification = "email_verification",
    Welcome = "welcome",
    /// With the link that sets a new password.
    PasswordReset = "password_reset",
    /// That the password has changed.
    PasswordChanged = "password_changed",
    /// To a new address, with the link that confirms it.
    EmailChangeConfirmation = "email_change_confirmation",
    /// To the present address: that another one is wanted.
    EmailChangeNotice = "email_change_notice",
    /// To the former address: that it is no longer the account's.
    EmailChanged = "email_changed",
    /// That somebody has logged in with a device not seen before.
    NewDevice = "new_device",
}

impl MailTemplate {
    /// How long the link in it is good, from the event that it is a consequence of; none without a link.
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

/// The text names no template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a template that this program knows")]
pub struct UnknownTemplate;

impl FromStr for MailTemplate {
    type Err = UnknownTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|template| template.as_str() == text).ok_or(UnknownTemplate)
    }
}

/// The mail is about to be handed over. Without an event after this one, nobody knows whether it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailReserved {
    /// The event that the mail is a consequence of.
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    pub recipient: ClaimHash,
    /// 1, 2, 3 …
    pub attempt: u32,
}

/// The mail service has taken it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailSent {
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    /// What the mail service calls it.
    pub message_id: String,
}

/// The mail service was not there, asked to try again later, or its answer was lost; it will be tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailFailed {
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    /// How many attempts there have been.
    pub attempt: u32,
    /// What the mail service said; it may quote the address.
    pub error: Personal<String>,
}

/// It will not be tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailGivenUp {
    pub event: EventId,
    pub template: MailTemplate,
    pub user: UserId,
    pub reason: MailGivenUpReason,
    /// How many attempts there have been.
    pub attempts: u32,
    /// What the mail service said; it may quote the address.
    pub error: Personal<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailGivenUpReason {
    /// The mail service refused this very mail.
    Refused,
    /// The address has bounced or complained before.
    Suppressed,
    /// It came too late to be of use: its link has expired.
    TooLate,
    /// It may have been sent before a crash, or before the answer was lost, and twice would be worse than not at all.
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

/// The address does not take mail: the server there has said so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailBounced {
    pub email: ClaimHash,
    /// False where it may take mail again later, such as a mailbox that is full.
    pub permanent: bool,
    /// Of the mail that came back, as the mail service calls it.
    pub message_id: String,
}

/// Whoever reads the mail of the address has called ours unwanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MailComplained {
    pub email: ClaimHash,
    /// Of the mail complained about, as the mail service calls it.
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
