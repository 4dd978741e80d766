//! The content of mails: texts here, layout in `projector/templates`. The templates escape all user input.

use askama::Template;
use chrono::{DateTime, Utc};
use events::{App, MailTemplate};
use service::config::{AppSettings, MailSettings};

/// Maximum length of a name or device in a mail, in characters.
const REPEATED_LIMIT: usize = 120;

/// Base URLs of the links for each app, without a trailing slash.
#[derive(Debug, Clone)]
pub struct AppUrls {
    pub chorus: String,
    pub instamern: String,
    pub spotifymern: String,
}

impl AppUrls {
    pub fn of(settings: &MailSettings, apps: &AppSettings, public_url: &str) -> Self {
        let whole = |url: &str| url.trim_end_matches('/').to_owned();
        Self {
            chorus: settings.app_url(public_url),
            instamern: whole(&apps.instamern_url),
            spotifymern: whole(&apps.spotifymern_url),
        }
    }

    fn base(&self, app: App) -> &str {
        match app {
            App::Chorus => &self.chorus,
            App::Instamern => &self.instamern,
            App::Spotifymern => &self.spotifymern,
        }
    }

    /// The link with a token. Of the other apps only InstaMERN has such a page, for password resets.
    fn with_token(&self, app: App, template: MailTemplate, token: &str) -> Option<String> {
        let (base, page) = match (template, app) {
            (MailTemplate::PasswordReset, App::Instamern) => (&self.instamern, "reset-password"),
            (MailTemplate::PasswordReset, _) => (&self.chorus, "reset-password"),
            (MailTemplate::EmailVerification, _) => (&self.chorus, "verify-email"),
            (MailTemplate::EmailChangeConfirmation, _) => (&self.chorus, "confirm-email"),
            (
                MailTemplate::Welcome
                | MailTemplate::PasswordChanged
                | MailTemplate::EmailChangeNotice
                | MailTemplate::EmailChanged
                | MailTemplate::NewDevice,
                _,
            ) => return None,
        };
        Some(format!("{base}/{page}/{token}"))
    }
}

/// The input of a mail template.
pub(super) struct TemplateInput<'a> {
    pub(super) template: MailTemplate,
    pub(super) app: App,
    /// Whether the recipient has confirmed the address. Otherwise it may belong to anybody, and the mail must not
    /// contain text from the account owner: sign-ups must not be usable to send messages to strangers.
    pub(super) is_confirmed: bool,
    pub(super) firstname: &'a str,
    /// The token of the link.
    pub(super) token: Option<String>,
    /// The time of the event.
    pub(super) happened: DateTime<Utc>,
    /// The device of a new session, as reported by the client.
    pub(super) device: Option<&'a str>,
}

/// A rendered mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RenderedMail {
    pub(super) subject: String,
    pub(super) html: String,
    pub(super) text: String,
}

struct Button {
    label: &'static str,
    url: String,
}

/// The context of the templates.
struct Content<'a> {
    from: &'a str,
    heading: &'a str,
    greeting: &'a str,
    paragraphs: &'a [String],
    button: Option<&'a Button>,
    validity: Option<&'a str>,
    why: &'a str,
    not_you: &'a str,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    mail: &'a Content<'a>,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Text<'a> {
    mail: &'a Content<'a>,
}

/// The texts of one mail.
struct Texts {
    subject: String,
    paragraphs: Vec<String>,
    button: Option<&'static str>,
    why: String,
    not_you: &'static str,
}

const IGNORE_IT: &str =
    "If this was not you, you can ignore this mail: nothing happens unless the link is opened.";
const SECURE_IT: &str = "If this was not you, somebody else may have your password: set a new one at once, and end all other sessions.";

impl TemplateInput<'_> {
    /// # Errors
    /// If a template cannot be rendered.
    pub(super) fn render(&self, urls: &AppUrls) -> Result<RenderedMail, askama::Error> {
        let from = name(self.app);
        let Texts { subject, paragraphs, button, why, not_you } = self.texts();
        let greeting = match one_line(self.firstname) {
            none if none.is_empty() || !self.is_confirmed => "Hello 👋".to_owned(),
            firstname => format!("Hello, {firstname} 👋"),
        };
        let url = match &self.token {
            Some(token) => urls.with_token(self.app, self.template, token),
            None => Some(format!("{}/", urls.base(self.app))),
        };
        let button = button.zip(url).map(|(label, url)| Button { label, url });
        let validity = self.template.link_lifetime().map(|lifetime| {
            let (minutes, until) = (lifetime.num_minutes(), timer(self.happened + lifetime));
            let length =
                if minutes < 120 { format!("{minutes} minutes") } else { format!("{} hours", minutes / 60) };
            format!("The link works once, and for {length}: until {until}.")
        });
        let mail = &Content {
            from,
            heading: &subject,
            greeting: &greeting,
            paragraphs: &paragraphs,
            button: button.as_ref(),
            validity: validity.as_deref(),
            why: &why,
            not_you,
        };
        let (html, text) = (Html { mail }.render()?, Text { mail }.render()?);
        Ok(RenderedMail { subject, html, text })
    }

    #[expect(clippy::too_many_lines, reason = "a list of texts")]
    fn texts(&self) -> Texts {
        let (app, when) = (name(self.app), timer(self.happened));
        let you_have = format!("You get this mail because you have an account at {app}.");
        let texts = |subject: &str, paragraph: String, button, why: String, not_you| Texts {
            subject: subject.to_owned(),
            paragraphs: vec![paragraph],
            button,
            why,
            not_you,
        };
        match (self.template, self.app) {
            (MailTemplate::EmailVerification, _) => texts(
                "Confirm your email address",
                format!(
                    "Please confirm that this address is yours, so that {app} can reach you when it matters."
                ),
                Some("Confirm this address"),
                format!(
                    "You get this mail because this address was given for an account at {app}, on {when}."
                ),
                IGNORE_IT,
            ),
            // The subjects of these two keep the spelling of the original apps.
            (MailTemplate::Welcome, App::Instamern) => texts(
                "Wellcome to InstaMERN",
                "We're glad to have you! 🥳".to_owned(),
                Some("Open InstaMERN"),
                "You get this mail because somebody has signed up at InstaMERN with this address.".to_owned(),
                "If this was not you, you can ignore this mail.",
            ),
            (MailTemplate::Welcome, App::Spotifymern) => texts(
                "Wellcome to SpotifyMERN",
                "We're glad to have you! 🥳".to_owned(),
                Some("Open SpotifyMERN"),
                "You get this mail because somebody has signed up at SpotifyMERN with this address."
                    .to_owned(),
                "If this was not you, you can ignore this mail.",
            ),
            (MailTemplate::Welcome, App::Chorus) => texts(
                "Welcome to Chorus",
                "Your address is confirmed and your account is ready. We're glad to have you!".to_owned(),
                Some("Open Chorus"),
                you_have,
                "If this was not you, you can ignore this mail.",
            ),
            (MailTemplate::PasswordReset, _) => texts(
                "Reset your password",
                format!(
                    "We received a request to reset your password for your {app} account. To proceed with the password \
                     reset, please click on the link below."
                ),
                Some("Reset your password"),
                format!("You get this mail because a new password was asked for at {app}, on {when}."),
                "If this was not you, you can ignore this mail: your password stays as it is.",
            ),
            (MailTemplate::PasswordChanged, _) => texts(
                "Your password has changed",
                format!(
                    "The password of your {app} account was changed on {when}. All other sessions have ended."
                ),
                None,
                you_have,
                SECURE_IT,
            ),
            (MailTemplate::EmailChangeConfirmation, _) => texts(
                "Confirm your new email address",
                format!("Please confirm that this is to be the new address of your {app} account."),
                Some("Confirm this address"),
                format!(
                    "You get this mail because this address was given for an account at {app}, on {when}."
                ),
                IGNORE_IT,
            ),
            (MailTemplate::EmailChangeNotice, _) => texts(
                "Another email address was asked for",
                format!(
                    "Somebody who is logged in to your {app} account asked on {when} that it gets another email address. \
                     It stays as it is until the new address is confirmed."
                ),
                None,
                you_have,
                SECURE_IT,
            ),
            (MailTemplate::EmailChanged, _) => texts(
                "Your email address has changed",
                format!(
                    "Your {app} account has another email address since {when}. This one gets no more mail for it."
                ),
                None,
                format!("You get this mail because this was the address of an account at {app}."),
                SECURE_IT,
            ),
            (MailTemplate::NewDevice, _) => {
                let end = if self.is_confirmed { ':' } else { '.' };
                let mut texts = texts(
                    "A new device has logged in",
                    format!(
                        "Somebody logged in to your {app} account on {when}, with a device not seen there before{end}"
                    ),
                    None,
                    you_have,
                    SECURE_IT,
                );
                if self.is_confirmed {
                    let device = one_line(self.device.unwrap_or_default());
                    let unknown = || "It did not say what it is".to_owned();
                    texts.paragraphs.push(if device.is_empty() { unknown() } else { device });
                }
                texts
            }
        }
    }
}

const fn name(app: App) -> &'static str {
    match app {
        App::Chorus => "Chorus",
        App::Instamern => "InstaMERN",
        App::Spotifymern => "SpotifyMERN",
    }
}

fn timer(time: DateTime<Utc>) -> String {
    time.format("%-d %B %Y, %H:%M UTC").to_string()
}

/// Limits user input to one line and a maximum length, so that a name cannot imitate a paragraph.
fn one_line(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REPEATED_LIMIT).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPS: [App; 3] = [App::Chorus, App::Instamern, App::Spotifymern];
    const TOKEN: &str = "0000000000000000000000000000000a0123456789abcdef0123456789abcdef";

    fn rendered(template: MailTemplate, app: App, firstname: &str, device: &str) -> RenderedMail {
        let first_to_an_address = match template {
            MailTemplate::EmailVerification | MailTemplate::EmailChangeConfirmation => true,
            MailTemplate::Welcome => app != App::Chorus,
            MailTemplate::PasswordReset
            | MailTemplate::PasswordChanged
            | MailTemplate::EmailChangeNotice
            | MailTemplate::EmailChanged
            | MailTemplate::NewDevice => false,
        };
        rendered_to(!first_to_an_address, template, app, firstname, device)
    }

    fn rendered_to(
        is_confirmed: bool,
        template: MailTemplate,
        app: App,
        firstname: &str,
        device: &str,
    ) -> RenderedMail {
        let urls = AppUrls {
            chorus: "https://chorus.example".into(),
            instamern: "https://instamern.netlify.app".into(),
            spotifymern: "https://spotifymern.vercel.app".into(),
        };
        let input = TemplateInput {
            template,
            app,
            is_confirmed,
            firstname,
            token: template.link_lifetime().map(|_| TOKEN.to_owned()),
            happened: DateTime::from_timestamp_secs(1_800_000_000).unwrap(),
            device: Some(device),
        };
        input.render(&urls).unwrap()
    }

    #[test]
    fn templates_match_their_snapshots_in_each_app() {
        for &template in MailTemplate::ALL {
            for app in APPS {
                let RenderedMail { subject, html, text } = rendered(template, app, "Ann", "Firefox on Linux");
                // For the other templates, the mail contains the app's name.
                let own = matches!(template, MailTemplate::Welcome | MailTemplate::PasswordReset);
                if app == App::Chorus || own {
                    let app = name(app).to_lowercase();
                    insta::assert_snapshot!(
                        format!("{template}.{app}.txt"),
                        format!("Subject: {subject}\n\n{text}")
                    );
                    insta::assert_snapshot!(format!("{template}.{app}.html"), html);
                } else {
                    assert!(
                        html.matches(name(app)).count() >= 3 && !html.contains("Chorus"),
                        "{template} {app:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn link_leads_to_the_page_for_its_token() {
        for (template, app, link) in [
            (MailTemplate::PasswordReset, App::Instamern, "https://instamern.netlify.app/reset-password/"),
            (MailTemplate::PasswordReset, App::Spotifymern, "https://chorus.example/reset-password/"),
            (MailTemplate::PasswordReset, App::Chorus, "https://chorus.example/reset-password/"),
            (MailTemplate::EmailVerification, App::Instamern, "https://chorus.example/verify-email/"),
            (MailTemplate::EmailChangeConfirmation, App::Chorus, "https://chorus.example/confirm-email/"),
        ] {
            let RenderedMail { html, text, .. } = rendered(template, app, "Ann", "");
            assert!(text.contains(&format!("\n{link}{TOKEN}\n")), "{text}");
            assert_eq!(html.matches(&format!("href=\"{link}{TOKEN}\"")).count(), 2, "{html}");
        }
    }

    #[test]
    fn user_input_is_escaped_and_kept_on_one_line() {
        let name = "<b>Ann</b>\"\r\nBcc: eve@example.org";
        let device = "<script>alert('x')</script>\n\nOpen https://evil.example";
        let RenderedMail { subject, html, text } =
            rendered(MailTemplate::NewDevice, App::Chorus, name, device);
        assert!(!html.contains("<b>") && !html.contains("<script>"), "{html}");
        assert!(!subject.contains("Ann"));
        assert!(text.contains("\nHello, <b>Ann</b>\" Bcc: eve@example.org 👋\n"), "{text}");
        assert!(text.contains("\n<script>alert('x')</script> Open https://evil.example\n"), "{text}");
        let long = rendered(MailTemplate::Welcome, App::Chorus, &"x".repeat(5000), "").text;
        assert!(long.lines().all(|line| line.chars().count() < REPEATED_LIMIT + 20), "{long}");
        assert!(rendered(MailTemplate::Welcome, App::Chorus, " \n", "").text.contains("\nHello 👋\n"));
    }

    #[test]
    fn mail_to_an_unconfirmed_address_contains_no_user_input() {
        for &template in MailTemplate::ALL {
            for app in APPS {
                let RenderedMail { subject, html, text } =
                    rendered_to(false, template, app, "Buy at evil.example", "Open https://evil.example");
                assert!(!format!("{subject}{html}{text}").contains("evil.example"), "{template} {app:?}");
                assert!(text.contains("\nHello 👋\n"), "{text}");
            }
        }
    }

    #[test]
    fn mail_loads_no_resources_and_has_a_complete_text_part() {
        for &template in MailTemplate::ALL {
            let RenderedMail { html, text, .. } = rendered(template, App::Chorus, "Ann", "Firefox");
            for loads in ["<img", "src=", "url(", "<link", "<script"] {
                assert!(!html.contains(loads), "{template} has {loads}");
            }
            assert!(html.contains("lang=\"en\"") && html.contains("If this was not you"), "{html}");
            assert!(text.contains("Chorus") && text.contains("If this was not you"), "{text}");
            assert_eq!(text.contains("works once"), template.link_lifetime().is_some(), "{template}");
        }
    }
}
