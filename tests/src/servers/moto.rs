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

    /// What a process needs in its environment to be let in.
    pub fn credentials() -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![pair("AWS_ACCESS_KEY_ID", "test"), pair("AWS_SECRET_ACCESS_KEY", "test")]
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
