//! Temporary folders of tests.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// A temporary folder that is removed with its owner, or when the test process ends, however it ends: statics are never
/// dropped, and a deployment fills hundreds of megabytes. A shell holds a pipe from the process and removes the folder
/// when the pipe closes.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
    guard: Child,
}

/// Retries for some seconds, since a server that is being killed may still write.
const GUARD: &str = r#"
    read -r _
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        rm -rf "$1" 2>/dev/null && exit
        sleep 1
    done
"#;

impl Folder {
    /// # Errors
    /// If the folder cannot be created or there is no shell.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh"]).arg(folder.path());
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = guard.spawn().context("starting the guard of a folder")?;
        Ok(Self { folder, guard })
    }

    /// A folder with the `data` of version 0.1.0: see `tests/fixtures`.
    ///
    /// # Errors
    /// If there is no Python to unpack it.
    pub fn of_earlier_version() -> Result<Self> {
        let folder = Self::new()?;
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/0.1.0/data.tar.xz");
        let mut unpack = Command::new("python3");
        let unpacked = unpack.args(["-m", "tarfile", "-e"]).args([&data, folder.path()]).output()?;
        ensure!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
        Ok(folder)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The shell and the folder's own drop both remove it; either may be first.
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
