//! Mail on its way out: the [`Mailer`] port and its adapters: `outbox` (a folder, for one machine), `smtp` and
//! `ses`. What mails say, and when they are due, is not decided here (`reactions/mails`).

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
    pub feedback: Option<Arc<dyn FeedbackSource>>,
}

/// How mail goes out, as the settings name it.
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
    /// Checks the settings of mail, and adds what is wrong with them to the problems.
    pub fn configured(
        settings: &MailSettings,
        place: &PlaceSettings,
        problems: &mut Problems,
    ) -> Option<Self> {
        settings.check(place, problems);
        let password = match settings.password_file() {
            None => None,
            // A file that was named is read, never made.
            Some(file) => Some(file.read(place, || Secret::new(""), first_line, problems)?),
        };
        let transport = Self::parse(&settings.url(place), settings.from(), password.as_ref());
        transport.map_err(|problem| problems.add(format!("CHORUS_MAIL: {problem}"))).ok()
    }

    /// Reads a `CHORUS_MAIL` setting, whose scheme picks the adapter, and a `CHORUS_MAIL_FROM`. The password is for a
    /// mail server that asks for one.
    ///
    /// # Errors
    /// What is wrong with them.
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
    /// If the folder of an outbox cannot be made, or a file with certificates cannot be used.
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

/// Editors end a file with a line break, which is no part of a password.
#[expect(clippy::unnecessary_wraps, reason = "what reads a file of secrets may fail")]
fn first_line(text: &Secret) -> Result<Secret, String> {
    Ok(Secret::new(text.reveal().trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use service::config::Environment;

    use super::*;

    /// What is wrong with a mail server that asks for a password, which stands in this file.
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
        assert!(transport.is_some() || !problems.is_empty(), "no transport, and nobody says why");
        problems
    }

    #[test]
    fn a_user_of_a_mail_server_has_a_password_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, missing) = (folder.path().join("password"), folder.path().join("missing"));
        std::fs::write(&file, " s3 cret \r\n").unwrap();
        let text = Secret::new(std::fs::read_to_string(&file).unwrap());
        assert_eq!(first_line(&text).unwrap().reveal(), " s3 cret ");
        let (server, with_user) = ("smtp://mail.example:587", "smtp://ann@mail.example:587");
        assert_eq!(problems(with_user, Some(file.clone())), "");
        assert_eq!(problems(server, None), "");
        assert_eq!(problems(server, Some(PathBuf::new())), "");
        for (mail, password_file, told) in [
            (with_user, None, "CHORUS_MAIL: a user needs a password"),
            (with_user, Some(missing), "CHORUS_MAIL_PASSWORD_FILE: "),
            (server, Some(file), "but no user"),
            ("smtp://ann:s3cret@mail.example", None, "CHORUS_MAIL: a password stands in the file"),
            ("smtp://mail.example?tls=none", None, "CHORUS_MAIL: with tls=none"),
            ("imap://mail.example", None, "CHORUS_MAIL: expected"),
        ] {
            let problems = problems(mail, password_file);
            assert!(problems.contains(told) && problems.lines().count() == 2, "{mail}: {problems}");
            assert!(!problems.contains("s3cret"), "{problems}");
        }
    }
}
