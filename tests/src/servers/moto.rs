use anyhow::Result;
use tempfile::TempDir;

use super::fetched;
use super::process::{ServerProcess, free_port};

/// The APIs of Amazon over HTTP, by moto: S3 and SES among them.
#[derive(Debug)]
pub struct MotoServer {
    // Stopped before its folder goes.
    process: ServerProcess,
    port: u16,
    folder: TempDir,
}

impl MotoServer {
    pub async fn start() -> Result<Self> {
        let (folder, port) = (tempfile::tempdir()?, free_port()?);
        let credentials = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n";
        std::fs::write(folder.path().join("credentials"), credentials)?;
        let mut server = Self { process: Self::spawn(&folder, port)?, port, folder };
        server.process.listens_on(port).await?;
        Ok(server)
    }

    fn spawn(folder: &TempDir, port: u16) -> Result<ServerProcess> {
        let program = fetched("moto", "moto/bin/moto_server")?;
        let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        ServerProcess::start(&program, &arguments, &[], &folder.path().join("moto.log"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Value for `CHORUS_MEDIA`: a bucket on the server, and a file with what lets one in.
    pub fn media_url(&self, bucket: &str) -> String {
        let credentials = self.folder.path().join("credentials");
        format!("s3://{bucket}?endpoint={}&credentials_file={}", self.endpoint(), credentials.display())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts again, empty.
    pub async fn start_again(&mut self) -> Result<()> {
        self.process = Self::spawn(&self.folder, self.port)?;
        self.process.listens_on(self.port).await
    }
}
