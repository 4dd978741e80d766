use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use super::{Failure, Mail, MailError};

/// Tells other programs that nobody is there to answer (RFC 3834).
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

/// Whom mail is from: an address, or a name and an address in angle brackets.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|problem| format!("`{text}` is no address that mail can be from: {problem}"))
}

fn no_such_address(problem: String) -> MailError {
    MailError::new(Failure::Refused, "no such address", problem)
}

/// # Errors
/// [`Failure::Refused`] for an address that is none.
pub(super) fn recipient(mail: &Mail) -> Result<Address, MailError> {
    // Mail services take ASCII alone.
    if !mail.to.is_ascii() {
        return Err(no_such_address("it is not ASCII".to_owned()));
    }
    mail.to.parse().map_err(|e: lettre::address::AddressError| no_such_address(e.to_string()))
}

/// The mail's own id (`Message-ID`). It is the same however often the mail is sent, so that the same mail sent twice can
/// be recognised by whoever gets it.
pub(super) fn message_id(mail: &Mail, from: &Mailbox) -> String {
    format!("<{}.{}@{}>", mail.event, mail.template, from.email.domain())
}

/// The mail as it travels (RFC 5322, MIME), with its text and its HTML as alternatives.
///
/// # Errors
/// [`Failure::Refused`] for an address that is none. Nothing else that a person wrote stands in a header.
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
    fn a_mail_says_whom_it_is_from_and_that_nobody_reads_answers() {
        let mut told = headers(&mail("ann@example.org"));
        told.sort();
        let boundary = told.iter().position(|line| line.starts_with(" boundary=")).unwrap();
        told.remove(boundary);
        assert_eq!(
            told,
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
    fn nothing_that_somebody_wrote_becomes_a_header() {
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
    fn mail_is_from_one_address() {
        for bad in ["", "Chorus", "Chorus <no-reply>", "a@b.example, c@d.example"] {
            assert!(mailbox(bad).is_err(), "{bad}");
        }
    }
}
