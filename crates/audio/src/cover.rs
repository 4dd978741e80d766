//! The cover in the tags of a file, read by a child process like the rest of it: `<program> probe --cover <file>` prints it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::child::{THIS_PROGRAM, command, limit_resources};
use crate::probe::{Failure, front_cover};

/// The argument before the file.
pub(crate) const OPTION: &str = "--cover";
/// Largest cover in bytes.
const COVER_LIMIT: u64 = 20 * 1024 * 1024;
/// Child processes at the same time, apart from those that decode.
const AT_ONCE: usize = 2;
/// Wall-clock time to read a cover, with the wait for a place: nothing is decoded.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The child process: prints the bytes of the cover, or nothing if the file has none.
pub(crate) fn print(file: &Path) -> std::io::Result<()> {
    limit_resources()?;
    let cover = match front_cover(file) {
        Ok(cover) => cover.unwrap_or_default(),
        Err(Failure::Refused(refusal)) => return Err(std::io::Error::other(refusal)),
        Err(Failure::Unreadable(error)) => return Err(error),
    };
    std::io::stdout().write_all(&cover)
}

/// Reads covers in child processes: runs a program that calls [`run_child`](crate::run_child).
#[derive(Debug)]
pub struct Covers {
    program: PathBuf,
    places: Semaphore,
}

impl Default for Covers {
    /// Runs the program of this process.
    fn default() -> Self {
        Self::of(THIS_PROGRAM.into())
    }
}

impl Covers {
    pub fn of(program: PathBuf) -> Self {
        Self { program, places: Semaphore::new(AT_ONCE) }
    }

    /// The front cover, or else any picture, as it is in the file. None if there is none of at most 20 MB, or if it cannot be
    /// read: a cover is no reason to refuse a song.
    pub async fn read(&self, file: &Path) -> Option<Vec<u8>> {
        match timeout(TIME_LIMIT, self.run(file)).await {
            Ok(Ok(cover)) => cover,
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the cover of an audio file cannot be read"
                );
                None
            }
            Err(_elapsed) => {
                tracing::warn!("reading the cover of an audio file took too long");
                None
            }
        }
    }

    async fn run(&self, file: &Path) -> std::io::Result<Option<Vec<u8>>> {
        let _place = self.places.acquire().await.map_err(std::io::Error::other)?;
        let mut child = command(&self.program).arg(OPTION).arg(file).stdin(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("the child has no output"))?;
        let mut cover = Vec::new();
        let length = stdout.take(COVER_LIMIT + 1).read_to_end(&mut cover).await?;
        if length as u64 > COVER_LIMIT {
            child.kill().await?;
            return Ok(None);
        }
        let status = child.wait().await?;
        if !status.success() {
            return Err(std::io::Error::other(format!("the child ended with {status}")));
        }
        Ok(Some(cover).filter(|cover| !cover.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The cover as a program prints it.
    async fn printed_by(script: &str) -> Option<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("parser");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        Covers::of(program).read(Path::new("song")).await
    }

    #[tokio::test]
    async fn cover_that_cannot_be_read_or_is_too_large_is_none() {
        assert_eq!(printed_by("printf picture").await.as_deref(), Some(&b"picture"[..]));
        for script in ["true", "printf half; exit 1", "kill -SEGV $$", "yes"] {
            assert_eq!(printed_by(script).await, None, "{script}");
        }
    }
}
