//! Received mail, parsed by a library that shares no code with the sender.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use mail_parser::MessageParser;

use crate::servers::{SentMail, SmtpMail};

/// A received mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// Its `Message-ID`, without angle brackets.
    pub id: String,
    pub to: String,
    pub from: String,
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl ReceivedMail {
    pub fn parse(raw: &[u8]) -> Result<Self> {
        let message = MessageParser::default().parse(raw).context("not a mail message")?;
        let address = |list: Option<&mail_parser::Address<'_>>| {
            let address =
                list.and_then(|list| list.first()).and_then(|one| one.address()).unwrap_or_default();
            address.to_owned()
        };
        ensure!(
            message.text_body_count() == 1 && message.html_body_count() == 1,
            "not one text and one HTML"
        );
        Ok(Self {
            id: message.message_id().unwrap_or_default().to_owned(),
            to: address(message.to()),
            from: address(message.from()),
            subject: message.subject().unwrap_or_default().to_owned(),
            text: message.body_text(0).unwrap_or_default().into_owned(),
            html: message.body_html(0).unwrap_or_default().into_owned(),
        })
    }

    /// The link of the mail, which must be on its own line in the text and also in the HTML.
    pub fn link(&self) -> Option<&str> {
        let link = self.text.lines().map(str::trim).find(|line| line.starts_with("http"))?;
        self.html.contains(&format!("href=\"{link}\"")).then_some(link)
    }

    /// The token at the end of the link.
    pub fn token(&self) -> Option<&str> {
        self.link()?.rsplit('/').next().filter(|token| !token.is_empty())
    }
}

/// The mails in an outbox, in the order in which they were sent.
pub fn outbox(folder: &Path) -> Result<Vec<ReceivedMail>> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    files.retain(|file| file.file_name().to_string_lossy().ends_with(".eml"));
    files.sort_by_key(std::fs::DirEntry::file_name);
    files.iter().map(|file| ReceivedMail::parse(&std::fs::read(file.path())?)).collect()
}

/// The mails that SES has accepted, in order. Checks that each was sent to its `To` address.
pub fn taken_by_ses(mails: &[SentMail]) -> Result<Vec<ReceivedMail>> {
    let read = |mail: &SentMail| {
        let received = ReceivedMail::parse(mail.raw_data.as_bytes())?;
        ensure!(mail.destinations.iter().all(|to| *to == received.to), "{:?}", mail.destinations);
        Ok(received)
    };
    mails.iter().map(read).collect()
}

/// The mails that an SMTP server has accepted, in order. Checks that envelope and header addresses agree.
pub fn taken_by_smtp(mails: &[SmtpMail]) -> Result<Vec<ReceivedMail>> {
    let read = |mail: &SmtpMail| {
        let received = ReceivedMail::parse(mail.content.as_bytes())?;
        ensure!(mail.to == [received.to.as_str()] && mail.from == received.from, "{mail:?}");
        Ok(received)
    };
    mails.iter().map(read).collect()
}
