use clap::Args;

use super::apps::check_app_url;
use super::{PlaceSettings, Problems};

/// How mail goes out, and where the links in it lead.
#[derive(Debug, Clone, Args)]
#[expect(clippy::doc_markdown, reason = "shown by --help as it stands")]
pub struct MailSettings {
    /// How mail goes out: outbox:<folder>, or
    /// ses://<region>[?endpoint=<url>&credentials_file=<file>&configuration_set=<name>&feedback_queue=<url>]
    /// [default in development: outbox:<data>/outbox]
    #[arg(long, env = "CHORUS_MAIL", value_name = "URL", hide_env_values = true)]
    pub mail: Option<String>,

    /// Whom mail is from: an address, or a name and <an address>
    #[arg(long, env = "CHORUS_MAIL_FROM", value_name = "MAILBOX")]
    pub mail_from: Option<String>,

    /// What the links in mails begin with: the app that opens them [default: the public URL]
    #[arg(long, env = "CHORUS_APP_URL", value_name = "URL")]
    pub app_url: Option<String>,
}

/// Whom mail in the outbox is from, if nobody says: it goes nowhere.
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

    /// Without a slash at its end.
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
                     (ses://<region>)",
                );
            }
        } else if self.given_from().is_none() {
            problems.add("CHORUS_MAIL_FROM: mail that is sent needs an address that it is from");
        }
        check_app_url("CHORUS_APP_URL", self.app_url.as_deref().unwrap_or_default(), place, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn problems(env: Environment, mail: Option<&str>, from: Option<&str>, app_url: Option<&str>) -> String {
        let settings = MailSettings {
            mail: mail.map(str::to_owned),
            mail_from: from.map(str::to_owned),
            app_url: app_url.map(str::to_owned),
        };
        let mut problems = Problems::default();
        settings.check(&PlaceSettings { env, data: "data".into() }, &mut problems);
        problems.none_or().err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn production_sends_its_mail_and_says_whom_it_is_from() {
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
            let told =
                problems(env, Some("ses://eu-west-1"), Some("a@b.example"), Some("http://app.example"));
            assert_eq!(told.contains("CHORUS_APP_URL"), refused, "{told}");
        }
        let told = problems(production, None, None, Some("app.example"));
        assert!(told.contains("CHORUS_MAIL:") && told.contains("CHORUS_APP_URL: `app.example`"), "{told}");
    }
}
