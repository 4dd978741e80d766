use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lettre::message::Mailbox;

use super::message::message;
use super::{Failure, Mail, MailError, Mailer};

/// Writes each mail as an `.eml` file into a folder instead of sending it.
#[derive(Debug)]
pub struct Outbox {
    folder: PathBuf,
    from: Mailbox,
}

impl Outbox {
    /// Opens or creates the folder with mode 0700, since links in mails are as good as passwords.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub(super) fn open(folder: &Path, from: Mailbox) -> std::io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned(), from })
    }
}

#[async_trait]
impl Mailer for Outbox {
    async fn send(&self, mail: &Mail) -> Result<String, MailError> {
        let content = message(mail, &self.from)?;
        let name = format!("{}-{}-{}.eml", mail.date.format("%Y%m%dT%H%M%S%.3fZ"), mail.template, mail.event);
        let path = self.folder.join(&name);
        let unavailable = |problem: String| {
            MailError::new(Failure::Unavailable, "the folder cannot be written to", problem)
        };
        let written = tokio::task::spawn_blocking(move || write(&path, &content)).await;
        written.map_err(|e| unavailable(e.to_string()))?.map_err(|e| unavailable(e.to_string()))?;
        Ok(name)
    }

    async fn is_suppressed(&self, _: &str) -> Result<bool, MailError> {
        Ok(false)
    }
}

/// Writes a temporary file, syncs it and renames it, so that a file is complete or absent. Temporary files are
/// created with mode 0600 and keep it.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut aside = tempfile::Builder::new().prefix(".part-").tempfile_in(folder)?;
    aside.write_all(content)?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::mail::message::mailbox;
    use crate::mail::message::tests::mail;

    #[tokio::test]
    async fn mails_are_private_files_named_in_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("data/outbox");
        let outbox = Outbox::open(&folder, mailbox("no-reply@chorus.example").unwrap()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        let mut later = mail("ann@example.org");
        later.date += chrono::TimeDelta::milliseconds(1_000_001);
        let (second, first) =
            (outbox.send(&later).await.unwrap(), outbox.send(&mail("ann@example.org")).await.unwrap());
        assert!(first < second);
        assert_eq!(first, "19700101T000000.000Z-welcome-0000000000000000000000000000000e.eml");
        assert_eq!(mode(&folder.join(&first)), 0o600);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "no temporary file remains");
        let text = std::fs::read_to_string(folder.join(first)).unwrap();
        assert!(text.contains("To: ann@example.org\r\n") && text.trim_end().ends_with("--"), "{text}");
    }

    #[tokio::test]
    async fn deleted_folder_is_an_outage() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(folder.path(), mailbox("no-reply@chorus.example").unwrap()).unwrap();
        drop(folder);
        let error = outbox.send(&mail("ann@example.org")).await.unwrap_err();
        assert_eq!(error.failure, Failure::Unavailable);
    }
}
