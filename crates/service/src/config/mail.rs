use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::apps::check_app_url;
use super::{PlaceSettings, Problems, SecretFile};

/// Settings of mail.
#[derive(Debug, Clone, Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help as it stands")]
pub struct MailSettings {
    /// How mail is sent: outbox:<folder>,
    /// smtp://[<user>@]<host>[:<port>][?tls=<required|none>&ca_file=<file>] (TLS by STARTTLS),
    /// smtps://[<user>@]<host>[:<port>][?ca_file=<file>] (implicit TLS), or
    /// ses://<region>[?endpoint=<url>&credentials_file=<file>&configuration_set=<name>&feedback_queue=<url>]
    /// [default in development: outbox:<data>/outbox]
    #[arg(long, env = "CHORUS_MAIL", value_name = "URL", hide_env_values = true)]
    pub mail: Option<String>,

    /// File with the password of the user in an smtp:// or smtps:// URL
    // An empty value counts as none, as for the other mail settings.
    #[arg(long, env = "CHORUS_MAIL_PASSWORD_FILE", value_name = "FILE",
          value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub mail_password_file: Option<PathBuf>,

    /// Sender of mails: an address, or a name and <an address>
    #[arg(long, env = "CHORUS_MAIL_FROM", value_name = "MAILBOX")]
    pub mail_from: Option<String>,

    /// Base URL of the links in mails: the app that opens them [default: the public URL]
    #[arg(long, env = "CHORUS_APP_URL", value_name = "URL")]
    pub app_url: Option<String>,
}

/// The default sender for the outbox: these mails are not delivered.
const FROM_IN_OUTBOX: &str = "Chorus <no-reply@localhost>";

impl MailSettings {
    pub fn url(&self, place: &PlaceSettings) -> String {
        let given = self.mail.clone().filter(|url| !url.is_empty());
        given.unwrap_or_else(|| place.local("outbox", "outbox"))
    }

    pub fn from(&self) -> &str {
        self.given_from().unwrap_or(FROM_IN_OUTBOX)
    }

    fn given_from(&self) -> Option<&str> {
        self.mail_from.as_deref().filter(|from| !from.is_empty())
    }

    /// The file with the password for the mail server, if configured.
    pub fn password_file(&self) -> Option<SecretFile<'_>> {
        let named = self.mail_password_file.as_deref().filter(|file| !file.as_os_str().is_empty())?;
        let variable = "CHORUS_MAIL_PASSWORD_FILE";
        Some(SecretFile { variable, named: Some(named), default_name: "mail-password" })
    }

    /// Without a trailing slash.
    pub fn app_url(&self, public_url: &str) -> String {
        let given = self.app_url.as_deref().filter(|url| !url.is_empty()).unwrap_or(public_url);
        given.trim_end_matches('/').to_owned()
    }

    pub fn check(&self, place: &PlaceSettings, problems: &mut Problems) {
        let url = self.url(place);
        if url.starts_with("outbox:") {
            if place.in_production() {
                problems.add(
                    "CHORUS_MAIL: an outbox keeps mail on this machine, where nobody reads it; production sends it \
                     (smtp://, smtps:// or ses://)",
                );
            }
        } else if self.given_from().is_none() {
            problems.add("CHORUS_MAIL_FROM: mail that is sent needs an address that it is from");
        }
        if place.in_production() && url.starts_with("smtp:") && asks_for_no_tls(&url) {
            problems.add(
                "CHORUS_MAIL: with tls=none, links as good as passwords cross the network in the clear; production \
                 needs TLS (a loopback address needs neither TLS nor tls=none)",
            );
        }
        check_app_url("CHORUS_APP_URL", self.app_url.as_deref().unwrap_or_default(), place, problems);
    }
}

fn asks_for_no_tls(url: &str) -> bool {
    url.split_once('?').is_some_and(|(_, query)| query.split('&').any(|option| option == "tls=none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn problems(env: Environment, mail: Option<&str>, from: Option<&str>, app_url: Option<&str>) -> String {
        let settings = MailSettings {
            mail: mail.map(str::to_owned),
            mail_password_file: None,
            mail_from: from.map(str::to_owned),
            app_url: app_url.map(str::to_owned),
        };
        let mut problems = Problems::default();
        settings.check(&PlaceSettings { env, data: "data".into() }, &mut problems);
        problems.none_or().err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn production_requires_a_mail_server_and_a_sender() {
        let (development, production) = (Environment::Development, Environment::Production);
        for mail in [None, Some(""), Some("outbox:/tmp/o")] {
            assert_eq!(problems(development, mail, None, None), "");
            assert!(
                problems(production, mail, Some("a@b.example"), None).contains("CHORUS_MAIL:"),
                "{mail:?}"
            );
        }
        assert_eq!(problems(production, Some("ses://eu-west-1"), Some("Chorus <a@b.example>"), None), "");
        for env in [development, production] {
            assert!(problems(env, Some("ses://eu-west-1"), None, None).contains("CHORUS_MAIL_FROM"));
        }
        for (env, refused) in [(development, false), (production, true)] {
            let found =
                problems(env, Some("ses://eu-west-1"), Some("a@b.example"), Some("http://app.example"));
            assert_eq!(found.contains("CHORUS_APP_URL"), refused, "{found}");
        }
        let found = problems(production, None, None, Some("app.example"));
        assert!(found.contains("CHORUS_MAIL:") && found.contains("CHORUS_APP_URL: `app.example`"), "{found}");
    }

    #[test]
    fn production_rejects_smtp_without_tls() {
        let from = Some("a@b.example");
        for (mail, refused) in [
            ("smtp://mail.example:587", false),
            ("smtps://mail.example", false),
            ("smtp://127.0.0.1:25", false),
            ("smtp://mail.example:25?tls=none", true),
            ("smtp://mail.example:25?ca_file=/ca.pem&tls=none", true),
        ] {
            assert_eq!(problems(Environment::Development, Some(mail), from, None), "");
            let found = problems(Environment::Production, Some(mail), from, None);
            assert_eq!(found.contains("tls=none"), refused, "{mail}: {found}");
        }
    }
}
