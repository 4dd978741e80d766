use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fetched;
use super::process::{ServerProcess, free_port};
use crate::folder::Folder;

/// The login of servers that require one. The `@` must be escaped in a URL.
const USER: &str = "chorus@example.org";
const PASSWORD: &str = "correct horse: battery/staple@";

/// Encryption of connections to an SMTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpEncryption {
    None,
    /// By `STARTTLS`, with a login.
    StartTls,
    /// From the start of the connection, with a login.
    Implicit,
}

/// A mail server, by aiosmtpd.
#[derive(Debug)]
pub struct SmtpServer {
    // Dropped before its folder.
    process: ServerProcess,
    port: u16,
    encryption: SmtpEncryption,
    replies: BTreeMap<String, Value>,
    folder: Folder,
}

impl SmtpServer {
    pub async fn start(encryption: SmtpEncryption) -> Result<Self> {
        let (folder, port) = (Folder::new()?, free_port()?);
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        std::fs::write(folder.path().join("certificate.pem"), made.cert.pem())?;
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem())?;
        std::fs::write(folder.path().join("password"), format!("{PASSWORD}\n"))?;
        let process = Self::spawn(&folder, port, encryption)?;
        let mut server = Self { process, port, encryption, replies: BTreeMap::new(), folder };
        server.process.listens_on(port).await?;
        Ok(server)
    }

    fn spawn(folder: &Folder, port: u16, encryption: SmtpEncryption) -> Result<ServerProcess> {
        let program = fetched("smtp", "smtp/complete")?.with_file_name("bin").join("python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/smtp_server.py");
        let (script, port) = (script.display().to_string(), port.to_string());
        let name = match encryption {
            SmtpEncryption::None => "none",
            SmtpEncryption::StartTls => "starttls",
            SmtpEncryption::Implicit => "implicit",
        };
        let path = folder.path().display().to_string();
        let mut arguments = vec![&*script, "--port", &port, "--folder", &path, "--encryption", name];
        if encryption != SmtpEncryption::None {
            arguments.extend(["--user", USER]);
        }
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        ServerProcess::start(&program, &arguments, &[], &folder.path().join("smtp.log"))
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts again and keeps its mails.
    pub async fn start_again(&mut self) -> Result<()> {
        self.process = Self::spawn(&self.folder, self.port, self.encryption)?;
        self.process.listens_on(self.port).await
    }

    /// Value for `CHORUS_MAIL`.
    pub fn mail_url(&self) -> String {
        let (port, user) = (self.port, USER.replace('@', "%40"));
        let ca_file = self.folder.path().join("certificate.pem").display().to_string();
        match self.encryption {
            SmtpEncryption::None => format!("smtp://127.0.0.1:{port}"),
            SmtpEncryption::StartTls => {
                format!("smtp://{user}@127.0.0.1:{port}?tls=required&ca_file={ca_file}")
            }
            SmtpEncryption::Implicit => format!("smtps://{user}@127.0.0.1:{port}?ca_file={ca_file}"),
        }
    }

    /// The password of the login, if the server requires one.
    pub fn password(&self) -> Option<&'static str> {
        (self.encryption != SmtpEncryption::None).then_some(PASSWORD)
    }

    /// A file with that password.
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// Changes the password that the server accepts.
    pub fn change_password(&self, password: &str) -> Result<()> {
        Ok(std::fs::write(self.password_file(), password)?)
    }

    /// Replies with this to `RCPT` for the address.
    pub fn refuse(&mut self, address: &str, reply: &str) -> Result<()> {
        self.replies.insert(address.to_owned(), json!({ "rcpt": reply }));
        self.write_replies()
    }

    /// Replies with this to `DATA` of each mail to the address.
    pub fn refuse_text(&mut self, address: &str, reply: &str) -> Result<()> {
        self.replies.insert(address.to_owned(), json!({ "data": reply }));
        self.write_replies()
    }

    /// Accepts mails to the address but closes the connection instead of replying.
    pub fn hang_up_after(&mut self, address: &str) -> Result<()> {
        self.refuse_text(address, "hang up")
    }

    /// Accepts all mails to the address again.
    pub fn accept(&mut self, address: &str) -> Result<()> {
        self.replies.remove(address);
        self.write_replies()
    }

    /// Replaces the file atomically.
    fn write_replies(&self) -> Result<()> {
        let new_file = self.folder.path().join(".replies.json");
        std::fs::write(&new_file, serde_json::to_vec(&self.replies)?)?;
        Ok(std::fs::rename(new_file, self.folder.path().join("replies.json"))?)
    }

    /// The accepted mails, in order.
    pub fn mails(&self) -> Result<Vec<SmtpMail>> {
        let Ok(lines) = std::fs::read_to_string(self.folder.path().join("mails")) else {
            return Ok(Vec::new());
        };
        lines.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// A mail as sent to an SMTP server.
#[derive(Debug, Clone, Deserialize)]
pub struct SmtpMail {
    /// The client's port: the same for all mails over one connection.
    pub connection: u16,
    pub encrypted: bool,
    /// The login of the client.
    pub user: Option<String>,
    pub from: String,
    pub to: Vec<String>,
    /// The message with its headers.
    pub content: String,
}
