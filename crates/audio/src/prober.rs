//! Runs probes in child processes, a few at a time.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::child::COMMAND;
use crate::{Answer, Probed, Refusal};

/// Child processes at the same time: each may use one core and some hundred mebibytes.
const AT_ONCE: usize = 2;
/// Wall-clock time of a child process. It has CPU time for less, but may wait for a busy machine or disk.
const TIME_LIMIT: Duration = Duration::from_mins(4);
/// Longest answer of a child in bytes: tags are limited, also lyrics.
const ANSWER_LIMIT: u64 = 1024 * 1024;
const SIGNAL_ABORTED: i32 = 6;
const SIGNAL_KILLED: i32 = 9;
const SIGNAL_CPU_TIME: i32 = 24;

#[derive(Debug, Error)]
pub enum ProbeError {
    /// The file is at fault.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file could not be checked now.
    #[error("the file could not be checked")]
    Failed(#[source] std::io::Error),
}

/// Runs a program that calls [`run_child`](crate::run_child).
#[derive(Debug)]
pub struct Prober {
    program: PathBuf,
    time_limit: Duration,
    places: Semaphore,
}

impl Default for Prober {
    /// Runs the program of this process, also if its file was replaced by an update meanwhile.
    fn default() -> Self {
        Self::of("/proc/self/exe".into(), TIME_LIMIT)
    }
}

impl Prober {
    pub fn of(program: PathBuf, time_limit: Duration) -> Self {
        Self { program, time_limit, places: Semaphore::new(AT_ONCE) }
    }

    /// Probes a file. Whatever its parser does, this process goes on.
    pub async fn probe(&self, file: &Path) -> Result<Probed, ProbeError> {
        let _place = self.places.acquire().await.map_err(failed)?;
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .arg(file)
            // No secret of this process reaches the parser.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(ProbeError::Failed)?;
        let stdout = child.stdout.take().ok_or_else(|| failed("the child has no output"))?;
        let run = async {
            let mut line = Vec::new();
            stdout.take(ANSWER_LIMIT).read_to_end(&mut line).await?;
            Ok((line, child.wait().await?))
        };
        let (line, status) = match timeout(self.time_limit, run).await {
            Ok(ended) => ended.map_err(ProbeError::Failed)?,
            Err(_elapsed) => {
                child.kill().await.map_err(ProbeError::Failed)?;
                return Err(Refusal::TooLong.into());
            }
        };
        if !status.success() {
            tracing::warn!(%status, "a probe of an audio file crashed or was stopped");
            return Err(cause(status).into());
        }
        match serde_json::from_slice(&line) {
            Ok(Answer::Probed(probed)) => Ok(*probed),
            Ok(Answer::Refused(refusal)) => Err(refusal.into()),
            Ok(Answer::Failed(cause)) => Err(failed(cause)),
            Err(error) => Err(failed(error)),
        }
    }
}

/// Why a child ended without an answer. Rust programs abort when an allocation fails.
fn cause(status: ExitStatus) -> Refusal {
    match status.signal() {
        Some(SIGNAL_CPU_TIME) => Refusal::TooLong,
        Some(SIGNAL_ABORTED | SIGNAL_KILLED) => Refusal::TooMuchMemory,
        Some(_) | None => Refusal::Crashed,
    }
}

fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProbeError {
    ProbeError::Failed(std::io::Error::other(cause))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The refusal of a file by a program that misbehaves like a parser.
    async fn refused_by(script: &str, time_limit: Duration) -> Refusal {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("parser");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        match Prober::of(program, time_limit).probe(Path::new("song")).await {
            Err(ProbeError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn parser_that_hangs_or_dies_refuses_the_file() {
        let long = Duration::from_mins(1);
        assert_eq!(refused_by("exec sleep 60", Duration::from_millis(200)).await, Refusal::TooLong);
        assert_eq!(refused_by("kill -XCPU $$", long).await, Refusal::TooLong);
        assert_eq!(refused_by("kill -ABRT $$", long).await, Refusal::TooMuchMemory);
        assert_eq!(refused_by("kill -SEGV $$", long).await, Refusal::Crashed);
        assert_eq!(refused_by("exit 101", long).await, Refusal::Crashed);
    }
}
