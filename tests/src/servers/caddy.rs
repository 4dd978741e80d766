use std::path::{Path, PathBuf};

use anyhow::Result;

use super::fetched;
use super::process::{ServerProcess, free_port};
use crate::folder::Folder;

/// The proxy with the shipped configuration: terminates TLS and routes to the services.
#[derive(Debug)]
pub struct CaddyServer {
    // Dropped before its folder.
    _process: ServerProcess,
    port: u16,
    folder: Folder,
}

impl CaddyServer {
    pub async fn start(command_api: &str, query_api: &str, compat_api: &str) -> Result<Self> {
        let (folder, port, http_port) = (Folder::new()?, free_port()?, free_port()?);
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/Caddyfile");
        let arguments =
            ["run", "--config", &config.display().to_string(), "--adapter", "caddyfile"].map(str::to_owned);
        let home = folder.path().display().to_string();
        let environment = [
            ("CHORUS_SITE", format!("https://localhost:{port}")),
            ("CHORUS_HTTP_PORT", http_port.to_string()),
            ("CHORUS_COMMAND_API", command_api.to_owned()),
            ("CHORUS_QUERY_API", query_api.to_owned()),
            ("CHORUS_COMPAT_API", compat_api.to_owned()),
            ("XDG_DATA_HOME", home.clone()),
            ("XDG_CONFIG_HOME", home),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let program = fetched("caddy", "caddy")?;
        let mut process =
            ServerProcess::start(&program, &arguments, &environment, &folder.path().join("caddy.log"))?;
        process.listens_on(port).await?;
        let server = Self { _process: process, port, folder };
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The certificate of the authority that Caddy has created.
    pub fn root_certificate(&self) -> PathBuf {
        self.folder.path().join("caddy/pki/authorities/local/root.crt")
    }
}
