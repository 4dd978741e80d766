//! Mail on its way out: the [`Mailer`] port and its adapters, `outbox` (a folder, for one machine) and `ses`. What
//! mails say, and when they are due, is not decided here (`reactions/mails`).

mod feedback;
mod message;
mod outbox;
mod ses;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::{EventId, MailTemplate};
use lettre::message::Mailbox;

pub use feedback::{Feedback, FeedbackQueue, Verdict};
pub use outbox::Outbox;
pub use ses::{Ses, SesSettings};

/// One mail to one person, ready to go. It has no `Debug`: it holds an address and secrets.
#[derive(Clone)]
pub struct Mail {
    /// The event that it is a consequence of.
    pub event: EventId,
    pub template: MailTemplate,
    /// The bare address.
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub date: DateTime<Utc>,
}

/// What is known after a mail was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was sent, and the same mail may be taken later: an outage, or too much at once.
    Unavailable,
    /// This very mail is not wanted: no repetition helps.
    Refused,
    /// The answer was lost: it may have been sent.
    Unknown,
}

/// Why a mail was not taken.
#[derive(thiserror::Error)]
#[error("the mail service did not take the mail ({code})")]
pub struct MailError {
    pub failure: Failure,
    /// The kind of problem, fit for a log line.
    pub code: String,
    /// All that was said. It may quote the address, so it is for nobody but under seal.
    pub detail: String,
}

impl MailError {
    pub fn new(failure: Failure, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { failure, code: code.into(), detail: detail.into() }
    }
}

impl fmt::Debug for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailError({:?}, {})", self.failure, self.code)
    }
}

/// Who takes mail to its readers.
#[async_trait]
pub trait Mailer: fmt::Debug + Send + Sync + 'static {
    /// Hands one mail over; answers what the mail service calls it.
    async fn send(&self, mail: &Mail) -> Result<String, MailError>;

    /// Whether the mail service knows that the address takes no mail.
    async fn is_suppressed(&self, address: &str) -> Result<bool, MailError>;
}

/// What a `CHORUS_MAIL` setting names.
#[derive(Debug)]
pub struct OpenedMail {
    pub mailer: Arc<dyn Mailer>,
    /// Where the mail service tells of bounces and complaints, if it does.
    pub feedback: Option<FeedbackQueue>,
}

/// A way for mail, as the settings name it.
#[derive(Debug)]
pub struct Way {
    from: Mailbox,
    by: By,
}

#[derive(Debug)]
enum By {
    Outbox(PathBuf),
    Ses(SesSettings),
}

impl Way {
    /// Reads a `CHORUS_MAIL` setting, whose scheme picks the adapter, and a `CHORUS_MAIL_FROM`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(setting: &str, from: &str) -> Result<Self, String> {
        let from = message::mailbox(from)?;
        let by = match setting.split_once(':') {
            Some(("outbox", folder)) if !folder.is_empty() => By::Outbox(folder.into()),
            Some(("ses", rest)) => By::Ses(SesSettings::parse(rest)?),
            _ => {
                return Err("the setting names no way for mail: expected outbox:<folder> or ses://<region>"
                    .to_owned());
            }
        };
        Ok(Self { from, by })
    }

    /// # Errors
    /// If the folder of an outbox cannot be made.
    pub async fn open(self) -> std::io::Result<OpenedMail> {
        match self.by {
            By::Outbox(folder) => {
                Ok(OpenedMail { mailer: Arc::new(Outbox::open(&folder, self.from)?), feedback: None })
            }
            By::Ses(settings) => {
                let region = Some(settings.region.clone());
                let shared = service::aws::load(region, settings.credentials_file.as_deref()).await;
                let feedback = settings.feedback_queue.as_ref().map(|url| FeedbackQueue::open(&shared, url));
                Ok(OpenedMail { mailer: Arc::new(Ses::open(&shared, &settings, self.from)), feedback })
            }
        }
    }
}
