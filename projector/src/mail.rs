//! Outgoing mail: the [`Mailer`] port and its adapters `outbox` (a folder, for one machine), `smtp` and `ses`.
//! `reactions/mails` decides what is sent and when.

mod feedback;
#[cfg(feature = "ses")]
mod feedback_queue;
mod message;
mod outbox;
#[cfg(feature = "ses")]
mod ses;
mod smtp;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use events::{EventId, MailTemplate};
use lettre::message::Mailbox;
use service::config::{MailSettings, PlaceSettings, Problems, Secret};

pub use feedback::{Feedback, FeedbackSource, QueuedNotice, Verdict};
#[cfg(feature = "ses")]
pub use feedback_queue::FeedbackQueue;
pub use outbox::Outbox;
#[cfg(feature = "ses")]
pub use ses::{Ses, SesSettings};
pub use smtp::{Smtp, SmtpSettings};

/// A mail to one recipient. It has no `Debug`, since it holds an address and secrets.
#[derive(Clone)]
pub struct Mail {
    /// The event that caused the mail.
    pub event: EventId,
    pub template: MailTemplate,
    /// The address without a name.
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub date: DateTime<Utc>,
}

/// What is known after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was sent, and a later attempt may succeed: an outage or a rate limit.
    Unavailable,
    /// The mail service rejects this mail: retries do not help.
    Refused,
    /// The answer was lost: the mail may have been sent.
    Unknown,
}

/// Why the mail service did not accept a mail.
#[derive(thiserror::Error)]
#[error("the mail service did not take the mail ({code})")]
pub struct MailError {
    pub failure: Failure,
    /// The kind of problem, safe to log.
    pub code: String,
    /// The full error text. It may contain the address, so it is only stored sealed.
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

/// A mail service.
#[async_trait]
pub trait Mailer: fmt::Debug + Send + Sync + 'static {
    /// Sends a mail. Returns the mail service's id of it.
    async fn send(&self, mail: &Mail) -> Result<String, MailError>;

    /// Whether the address is on the suppression list of the mail service.
    async fn is_suppressed(&self, address: &str) -> Result<bool, MailError>;
}

/// The mail adapter that a `CHORUS_MAIL` setting names.
#[derive(Debug)]
pub struct OpenedMail {
    pub mailer: Arc<dyn Mailer>,
    /// Where the mail service reports bounces and complaints, if it does.
    pub feedback: Option<Arc<dyn FeedbackSource>>,
}

/// A configured mail adapter that is not open yet.
#[derive(Debug)]
pub struct MailTransport {
    from: Mailbox,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Outbox(PathBuf),
    Smtp(SmtpSettings),
    #[cfg(feature = "ses")]
    Ses(SesSettings),
}

impl MailTransport {
    /// Validates the mail settings and adds errors to the problems.
    pub fn configured(
        settings: &MailSettings,
        place: &PlaceSettings,
        problems: &mut Problems,
    ) -> Option<Self> {
        settings.check(place, problems);
        let password = match settings.password_file() {
            None => None,
            // A configured file is only read, never created.
            Some(file) => Some(file.read(place, || Secret::new(""), first_line, problems)?),
        };
        let transport = Self::parse(&settings.url(place), settings.from(), password.as_ref());
        transport.map_err(|problem| problems.add(format!("CHORUS_MAIL: {problem}"))).ok()
    }

    /// Parses a `CHORUS_MAIL` setting, whose scheme selects the adapter, and a `CHORUS_MAIL_FROM`. The password is
    /// for mail servers that require one.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn parse(setting: &str, from: &str, password: Option<&Secret>) -> Result<Self, String> {
        let from = message::mailbox(from)?;
        let kind = match setting.split_once(':') {
            Some(("outbox", folder)) if !folder.is_empty() => Kind::Outbox(folder.into()),
            Some(("smtp" | "smtps", _)) => Kind::Smtp(SmtpSettings::parse(setting, password)?),
            #[cfg(not(feature = "ses"))]
            Some(("ses", _)) => {
                return Err("this program was built without Amazon SES: build it with the feature `distributed`, or use \
                     smtp://<host>:<port>"
                    .to_owned());
            }
            #[cfg(feature = "ses")]
            Some(("ses", rest)) => Kind::Ses(SesSettings::parse(rest)?),
            _ => {
                return Err(
                    "expected outbox:<folder>, smtp://<host>:<port>, smtps://<host>:<port> or ses://<region>"
                        .to_owned(),
                );
            }
        };
        Ok(Self { from, kind })
    }

    /// # Errors
    /// If the outbox folder cannot be created or a certificate file is invalid.
    pub async fn open(self) -> std::io::Result<OpenedMail> {
        match self.kind {
            Kind::Outbox(folder) => {
                Ok(OpenedMail { mailer: Arc::new(Outbox::open(&folder, self.from)?), feedback: None })
            }
            Kind::Smtp(settings) => {
                Ok(OpenedMail { mailer: Arc::new(Smtp::open(settings, self.from)?), feedback: None })
            }
            #[cfg(feature = "ses")]
            Kind::Ses(settings) => {
                let region = Some(settings.region.clone());
                let shared = service::aws::load(region, settings.credentials_file.as_deref()).await;
                let feedback = settings
                    .feedback_queue
                    .as_ref()
                    .map(|url| Arc::new(FeedbackQueue::open(&shared, url)) as Arc<dyn FeedbackSource>);
                Ok(OpenedMail { mailer: Arc::new(Ses::open(&shared, &settings, self.from)), feedback })
            }
        }
    }
}

/// Strips the line break that editors add at the end of a file.
#[expect(clippy::unnecessary_wraps, reason = "parsers of secret files are fallible")]
fn first_line(text: &Secret) -> Result<Secret, String> {
    Ok(Secret::new(text.reveal().trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use service::config::Environment;

    use super::*;

    /// The problems of a configuration with a password file.
    fn problems(mail: &str, password_file: Option<PathBuf>) -> String {
        let settings = MailSettings {
            mail: Some(mail.to_owned()),
            mail_password_file: password_file,
            mail_from: Some("Chorus <no-reply@chorus.example>".to_owned()),
            app_url: None,
        };
        let place = PlaceSettings { env: Environment::Production, data: "data".into() };
        let mut problems = Problems::default();
        let transport = MailTransport::configured(&settings, &place, &mut problems);
        let problems = problems.none_or().err().map(|problems| problems.to_string()).unwrap_or_default();
        assert!(transport.is_some() || !problems.is_empty(), "no transport and no problem");
        problems
    }

    #[test]
    fn smtp_user_requires_a_password_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, missing) = (folder.path().join("password"), folder.path().join("missing"));
        std::fs::write(&file, " s3 cret \r\n").unwrap();
        let text = Secret::new(std::fs::read_to_string(&file).unwrap());
        assert_eq!(first_line(&text).unwrap().reveal(), " s3 cret ");
        let (server, with_user) = ("smtp://mail.example:587", "smtp://ann@mail.example:587");
        assert_eq!(problems(with_user, Some(file.clone())), "");
        assert_eq!(problems(server, None), "");
        assert_eq!(problems(server, Some(PathBuf::new())), "");
        for (mail, password_file, expected) in [
            (with_user, None, "CHORUS_MAIL: a user needs a password"),
            (with_user, Some(missing), "CHORUS_MAIL_PASSWORD_FILE: "),
            (server, Some(file), "but no user"),
            ("smtp://ann:s3cret@mail.example", None, "CHORUS_MAIL: a password stands in the file"),
            ("smtp://mail.example?tls=none", None, "CHORUS_MAIL: with tls=none"),
            ("imap://mail.example", None, "CHORUS_MAIL: expected"),
        ] {
            let problems = problems(mail, password_file);
            assert!(problems.contains(expected) && problems.lines().count() == 2, "{mail}: {problems}");
            assert!(!problems.contains("s3cret"), "{problems}");
        }
    }
}
