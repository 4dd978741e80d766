//! Mail by SMTP, through an own or a provider's mail server.
//!
//! Uses the protocol implementation of lettre but not its pool: the pool reuses a connection after a cancelled
//! attempt, and the next mail then reads replies to the previous one. Here a connection is reused only after a
//! complete reply. The step of a failure also tells whether the mail may have been sent.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Category;
use lettre::transport::smtp::{Error, SUBMISSION_PORT, SUBMISSIONS_PORT};
use percent_encoding::percent_decode_str;
use service::config::Secret;
use service::telemetry::with_causes;
use tokio::time::{Instant, timeout};
use url::{Host, Url};

use super::message::{message, message_id, recipient};
use super::{Failure, Mail, MailError, Mailer};

/// Timeout until the server is ready for the text of a mail. Nothing is sent before that, so it must end before the
/// ledger's own timeout, after which a mail counts as possibly sent.
const PREPARATION_LIMIT: Duration = Duration::from_secs(10);
/// Timeout of the reset after a refused mail.
const RESET_LIMIT: Duration = Duration::from_secs(1);
/// Maximum number of idle connections.
const IDLE_CONNECTIONS: usize = 4;
/// How long a connection stays idle. Servers close connections after a minute or later.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// Maximum number of mails per connection. Many servers allow at most a hundred.
const MAILS_PER_CONNECTION: u32 = 50;

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    Never,
    /// With STARTTLS; a server without it gets no mail.
    Upgraded,
    FromTheStart,
}

/// The mail server and how to reach it.
#[derive(Debug)]
pub struct SmtpSettings {
    host: String,
    port: u16,
    encryption: Encryption,
    /// Its `Debug` output is empty.
    credentials: Option<Credentials>,
    /// Certificates of additional trusted authorities.
    ca_file: Option<PathBuf>,
}

impl SmtpSettings {
    /// Parses `smtp://[<user>@]<host>[:<port>][?tls=<required|none>&ca_file=<file>]` or `smtps://…`. Without `tls`,
    /// connections are encrypted unless the address is a loopback address.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(setting: &str, password: Option<&Secret>) -> Result<Self, String> {
        // Errors do not quote the URL: it may contain a password.
        let url =
            Url::parse(setting).map_err(|problem| format!("not the URL of a mail server: {problem}"))?;
        let is_implicit = url.scheme() == "smtps";
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        };
        if host.is_empty() || !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err("mail by SMTP is written smtp://<host>:<port> or smtps://<host>:<port>".to_owned());
        }
        if url.password().is_some() {
            return Err(
                "a password stands in the file of CHORUS_MAIL_PASSWORD_FILE, not in the URL".to_owned()
            );
        }
        let mut encryption = match (is_implicit, is_loopback(&host)) {
            (true, _) => Encryption::FromTheStart,
            (false, true) => Encryption::Never,
            (false, false) => Encryption::Upgraded,
        };
        let mut ca_file = None;
        for (name, value) in url.query_pairs() {
            match (name.as_ref(), value.as_ref()) {
                ("tls", "required") if !is_implicit => encryption = Encryption::Upgraded,
                ("tls", "none") if !is_implicit => encryption = Encryption::Never,
                ("ca_file", file) if !file.is_empty() => ca_file = Some(file.into()),
                (name, _) => {
                    return Err(format!("`{name}` is not a setting of smtp://, or has an invalid value"));
                }
            }
        }
        let user = percent_decode_str(url.username()).decode_utf8().map_err(|_| "the user is no UTF-8")?;
        let credentials = match (user.as_ref(), password) {
            ("", None) => None,
            ("", Some(_)) => {
                return Err("there is a password (CHORUS_MAIL_PASSWORD_FILE), but no user".to_owned());
            }
            (_, None) => return Err("a user needs a password: CHORUS_MAIL_PASSWORD_FILE".to_owned()),
            (user, Some(password)) => Some(Credentials::new(user.to_owned(), password.reveal().to_owned())),
        };
        let port = url.port().unwrap_or(if is_implicit { SUBMISSIONS_PORT } else { SUBMISSION_PORT });
        Ok(Self { host, port, encryption, credentials, ca_file })
    }

    fn tls(&self) -> std::io::Result<Option<TlsParameters>> {
        if self.encryption == Encryption::Never {
            return Ok(None);
        }
        let mut tls = TlsParametersBuilder::new(self.host.clone());
        if let Some(file) = &self.ca_file {
            let invalid = |problem: String| std::io::Error::other(format!("{}: {problem}", file.display()));
            let text = std::fs::read(file).map_err(|error| invalid(error.to_string()))?;
            let certificate = Certificate::from_pem(&text).map_err(|e| invalid(with_causes(&e)))?;
            tls = tls.add_root_certificate(certificate);
        }
        tls.build().map(Some).map_err(std::io::Error::other)
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Mail by SMTP (RFC 5321), submitted (RFC 6409) to one server.
pub struct Smtp {
    settings: SmtpSettings,
    tls: Option<TlsParameters>,
    from: Mailbox,
    /// The name in EHLO.
    client: ClientId,
    idle: Mutex<Vec<Connection>>,
}

struct Connection {
    smtp: AsyncSmtpConnection,
    mails: u32,
    used: Instant,
}

/// A step of the SMTP conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connecting,
    LogIn,
    Sender,
    Recipient,
    /// The text of the mail was sent, at least partly.
    Text,
}

impl Smtp {
    /// # Errors
    /// If the configured certificates are invalid.
    pub(super) fn open(settings: SmtpSettings, from: Mailbox) -> std::io::Result<Self> {
        let tls = settings.tls()?;
        let client = ClientId::Domain(from.email.domain().to_owned());
        Ok(Self { settings, tls, from, client, idle: Mutex::default() })
    }

    /// Opens or reuses a connection and advances it to where the server expects the text of the mail.
    async fn prepared(&self, to: Address) -> Result<Connection, MailError> {
        let mut connection = self.connection().await?;
        let sender = commands::Mail::new(Some(self.from.email.clone()), Vec::new());
        connection.smtp.command(sender).await.map_err(|error| mail_error(Step::Sender, &error))?;
        let accepted = async {
            connection.smtp.command(commands::Rcpt::new(to, Vec::new())).await?;
            connection.smtp.command(commands::Data).await
        };
        match accepted.await {
            Ok(_) => Ok(connection),
            Err(error) => {
                self.put_back_after_refusal(connection, &error).await;
                Err(mail_error(Step::Recipient, &error))
            }
        }
    }

    async fn connection(&self) -> Result<Connection, MailError> {
        while let Some(mut connection) = self.take() {
            if connection.smtp.test_connected().await {
                return Ok(connection);
            }
        }
        let smtp = self.connect().await?;
        Ok(Connection { smtp, mails: 0, used: Instant::now() })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, MailError> {
        let SmtpSettings { host, port, encryption, credentials, .. } = &self.settings;
        let from_the_start = self.tls.clone().filter(|_| *encryption == Encryption::FromTheStart);
        let server = (host.as_str(), *port);
        let connected = async {
            let limit = Some(PREPARATION_LIMIT);
            let mut smtp =
                AsyncSmtpConnection::connect_tokio1(server, limit, &self.client, from_the_start, None)
                    .await?;
            if let Some(tls) = self.tls.clone().filter(|_| *encryption == Encryption::Upgraded) {
                smtp.starttls(tls, &self.client).await?;
            }
            Ok(smtp)
        };
        let mut smtp = connected.await.map_err(|error| mail_error(Step::Connecting, &error))?;
        if let Some(credentials) = credentials {
            let logged_in = smtp.auth(DEFAULT_MECHANISMS, credentials).await;
            logged_in.map_err(|error| mail_error(Step::LogIn, &error))?;
        }
        Ok(smtp)
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| connection.used.elapsed() < IDLE_LIMIT);
        idle.pop()
    }

    /// Keeps a connection on which the server waits for the next mail.
    fn put_back(&self, mut connection: Connection) {
        connection.mails += 1;
        connection.used = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS && connection.mails < MAILS_PER_CONNECTION {
            idle.push(connection);
        }
    }

    /// Keeps a connection after the server refused a mail, if it still answers.
    async fn put_back_after_refusal(&self, mut connection: Connection, error: &Error) {
        if error.status().is_none() {
            return;
        }
        if let Ok(Ok(_)) = timeout(RESET_LIMIT, connection.smtp.command(commands::Rset)).await {
            self.put_back(connection);
        }
    }
}

#[async_trait]
impl Mailer for Smtp {
    /// Returns the mail's `Message-ID`, which the server logs too: the server's reply may contain the address.
    async fn send(&self, mail: &Mail) -> Result<String, MailError> {
        let (to, text) = (recipient(mail)?, message(mail, &self.from)?);
        let prepared = timeout(PREPARATION_LIMIT, self.prepared(to)).await;
        let mut connection = prepared.unwrap_or_else(|_| {
            Err(MailError::new(Failure::Unavailable, "the mail server did not answer in time", ""))
        })?;
        match connection.smtp.message(&text).await {
            Ok(_) => {
                self.put_back(connection);
                Ok(message_id(mail, &self.from))
            }
            Err(error) => {
                self.put_back_after_refusal(connection, &error).await;
                Err(mail_error(Step::Text, &error))
            }
        }
    }

    /// SMTP has no suppression list.
    async fn is_suppressed(&self, _: &str) -> Result<bool, MailError> {
        Ok(false)
    }
}

fn mail_error(step: Step, error: &Error) -> MailError {
    let failed = match step {
        Step::Connecting => "no connection to the mail server",
        Step::LogIn => "the mail server refused the log-in",
        Step::Sender => "the mail server refused the sender",
        Step::Recipient => "the mail server refused the recipient",
        Step::Text => "the mail server did not take the text",
    };
    let code = error.status().map_or_else(|| failed.to_owned(), |code| format!("{failed}: {code}"));
    MailError::new(failure(step, error), code, with_causes(error))
}

fn failure(step: Step, error: &Error) -> Failure {
    /// Bad sequence of commands: some servers use it to require a log-in.
    const BAD_SEQUENCE: u16 = 503;
    let Some(code) = error.status() else {
        // The server received the whole mail, or may have.
        return if step == Step::Text { Failure::Unknown } else { Failure::Unavailable };
    };
    // A refusal before the recipient was named applies to every mail. x3x codes are about log-in and encryption.
    let is_about_this_mail = matches!(step, Step::Recipient | Step::Text)
        && code.category != Category::Unspecified3
        && u16::from(code) != BAD_SEQUENCE;
    if error.is_permanent() && is_about_this_mail { Failure::Refused } else { Failure::Unavailable }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(setting: &str) -> Result<SmtpSettings, String> {
        SmtpSettings::parse(setting, None)
    }

    #[test]
    fn settings_are_parsed_from_their_url() {
        let settings = parse("smtp://mail.example:2525?ca_file=/etc/ca.pem").unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("mail.example", 2525));
        assert_eq!(settings.ca_file, Some("/etc/ca.pem".into()));
        assert_eq!(settings.credentials, None);
        let password = Secret::new("s3cret");
        for user in ["ann%40a.example", "ann@a.example"] {
            let settings =
                SmtpSettings::parse(&format!("smtps://{user}@mail.example"), Some(&password)).unwrap();
            let right = Credentials::new("ann@a.example".to_owned(), "s3cret".to_owned());
            assert_eq!(settings.credentials.as_ref(), Some(&right));
            assert!(!format!("{settings:?}").contains("s3cret"));
        }
        for bad in [
            "smtp:",
            "smtp://",
            "smtp://:25",
            "smtp://h:99999",
            "smtp://h/path",
            "smtp://h?tls=maybe",
            "smtps://h?tls=none",
            "smtp://h?user=x",
            "smtp://ann@h",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(SmtpSettings::parse("smtp://h", Some(&password)).unwrap_err().contains("no user"));
    }

    #[test]
    fn password_in_the_url_is_rejected_and_not_quoted() {
        for bad in ["smtp://ann:s3cret@h", "smtp://ann:s3cret@h:x"] {
            let error = SmtpSettings::parse(bad, Some(&Secret::new("x"))).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn tls_is_the_default_except_for_loopback_addresses() {
        for (setting, port, encryption) in [
            ("smtp://mail.example", 587, Encryption::Upgraded),
            ("smtp://mail.example?tls=none", 587, Encryption::Never),
            ("smtp://localhost:25", 25, Encryption::Never),
            ("smtp://127.0.0.1:25", 25, Encryption::Never),
            ("smtp://[::1]:25", 25, Encryption::Never),
            ("smtp://localhost.example:25", 25, Encryption::Upgraded),
            ("smtp://127.0.0.1:25?tls=required", 25, Encryption::Upgraded),
            ("smtps://mail.example", 465, Encryption::FromTheStart),
            ("smtps://127.0.0.1", 465, Encryption::FromTheStart),
        ] {
            let settings = parse(setting).unwrap();
            assert_eq!((settings.port, settings.encryption), (port, encryption), "{setting}");
        }
    }
}
