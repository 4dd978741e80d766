use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::{Failure, Mail, MailError};

/// Marks the mail as generated, so that other programs do not answer it (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Parses a sender: an address, or a name and an address in angle brackets.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|problem| format!("`{text}` is not a valid sender address: {problem}"))
}

fn no_such_address(problem: String) -> MailError {
    MailError::new(Failure::Refused, "no such address", problem)
}

/// # Errors
/// [`Failure::Refused`] for an invalid address.
pub(super) fn recipient(mail: &Mail) -> Result<Address, MailError> {
    // Mail services only accept ASCII.
    if !mail.to.is_ascii() {
        return Err(no_such_address("it is not ASCII".to_owned()));
    }
    mail.to.parse().map_err(|e: lettre::address::AddressError| no_such_address(e.to_string()))
}

/// The `Message-ID`. It is the same for every attempt, so that recipients can detect duplicates.
pub(super) fn message_id(mail: &Mail, from: &Mailbox) -> String {
    format!("<{}.{}@{}>", mail.event, mail.template, from.email.domain())
}

/// The encoded message (RFC 5322, MIME), with text and HTML as alternatives.
///
/// # Errors
/// [`Failure::Refused`] for an invalid address. Headers contain no other user input.
pub(super) fn message(mail: &Mail, from: &Mailbox) -> Result<Vec<u8>, MailError> {
    let message = Message::builder()
        .message_id(Some(message_id(mail, from)))
        .date(mail.date.into())
        .from(from.clone())
        .to(Mailbox::new(None, recipient(mail)?))
        .subject(&mail.subject)
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
        .map_err(|e| no_such_address(e.to_string()))?;
    Ok(message.formatted())
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::DateTime;
    use events::{EventId, MailTemplate};
    use uuid::Uuid;

    use super::*;

    pub(crate) fn mail(to: &str) -> Mail {
        Mail {
            event: EventId::new(Uuid::from_u128(0xe)),
            template: MailTemplate::Welcome,
            to: to.to_owned(),
            subject: "Wellcome 🥳".to_owned(),
            text: "Hello, Ann\r\nBcc: eve@example.org\r\n\r\n👋".to_owned(),
            html: "<p>Hello, Ann 👋</p>".to_owned(),
            date: DateTime::UNIX_EPOCH,
        }
    }

    fn headers(mail: &Mail) -> Vec<String> {
        let bytes = message(mail, &mailbox("Chorus <no-reply@chorus.example>").unwrap()).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        head.lines().map(str::to_owned).collect()
    }

    #[test]
    fn mail_has_sender_and_auto_submitted_headers() {
        let mut lines = headers(&mail("ann@example.org"));
        lines.sort();
        let boundary = lines.iter().position(|line| line.starts_with(" boundary=")).unwrap();
        lines.remove(boundary);
        assert_eq!(
            lines,
            [
                "Auto-Submitted: auto-generated",
                "Content-Type: multipart/alternative;",
                "Date: Thu, 01 Jan 1970 00:00:00 +0000",
                "From: Chorus <no-reply@chorus.example>",
                "MIME-Version: 1.0",
                "Message-ID: <0000000000000000000000000000000e.welcome@chorus.example>",
                "Subject: Wellcome =?utf-8?b?8J+lsw==?=",
                "To: ann@example.org",
            ]
        );
    }

    #[test]
    fn user_input_never_becomes_a_header() {
        let from = mailbox("no-reply@chorus.example").unwrap();
        for to in [
            "ann@example.org\r\nBcc: eve@example.org",
            "ann@example.org\nBcc: eve@example.org",
            "\"ann\r\nBcc: eve@example.org\"@example.org",
            "ann@example.org, eve@example.org",
            "ann@example.org\0",
            "änn@example.org",
            "ann@exämple.org",
            "ann",
            "",
        ] {
            let refused = message(&mail(to), &from).unwrap_err();
            assert_eq!(refused.failure, Failure::Refused, "{to:?}");
            assert!(
                !to.contains('@') || !format!("{refused} {refused:?}").contains("example.org"),
                "{refused:?}"
            );
        }
        let mut injected = mail("ann@example.org");
        injected.subject = "Hello\r\nBcc: eve@example.org".to_owned();
        assert!(headers(&injected).iter().all(|line| !line.starts_with("Bcc")), "{:?}", headers(&injected));
    }

    #[test]
    fn sender_is_exactly_one_address() {
        for bad in ["", "Chorus", "Chorus <no-reply>", "a@b.example, c@d.example"] {
            assert!(mailbox(bad).is_err(), "{bad}");
        }
    }
}
