//! Runs probes in child processes, a few at a time.

use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::child::{THIS_PROGRAM, command, read_answer};
use crate::{Probed, Refusal};

/// Child processes at the same time: each may use one core and some hundred mebibytes.
const AT_ONCE: usize = 2;
/// Files that one child reads of a folder that the operator imports. The memory of a child that leaks is given back then.
const FILES_OF_A_BATCH: u32 = 500;
/// Wall-clock time of a file. It has CPU time for less, but may wait for a busy machine or disk.
pub(crate) const TIME_LIMIT: Duration = Duration::from_mins(4);
/// Longest answer of a child in bytes: tags are limited, also lyrics.
pub(crate) const ANSWER_LIMIT: u64 = 1024 * 1024;
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
    files_per_child: u32,
    places: Semaphore,
    idle: Mutex<Vec<Worker>>,
}

/// A child process that waits for the next path.
#[derive(Debug)]
struct Worker {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    files: u32,
}

impl Default for Prober {
    /// For untrusted files: a process for each, so that none can change the answer about another. Runs the program of this
    /// process.
    fn default() -> Self {
        Self::of(THIS_PROGRAM.into(), TIME_LIMIT)
    }
}

impl Prober {
    /// A process for each file.
    pub fn of(program: PathBuf, time_limit: Duration) -> Self {
        let (files_per_child, idle) = (1, Mutex::default());
        Self { program, time_limit, files_per_child, places: Semaphore::new(AT_ONCE), idle }
    }

    /// For many files of one owner: a process reads one after another, and every core has a process.
    pub fn of_batches() -> Self {
        let cores = std::thread::available_parallelism().map_or(AT_ONCE, NonZero::get);
        let places = Semaphore::new(cores);
        Self { files_per_child: FILES_OF_A_BATCH, places, ..Self::default() }
    }

    /// Lets a process read this many files.
    #[must_use]
    pub fn with_files_per_child(self, files_per_child: u32) -> Self {
        Self { files_per_child, ..self }
    }

    /// Probes a file. Whatever its parser does, this process goes on.
    pub async fn probe(&self, file: &Path) -> Result<Probed, ProbeError> {
        let _place = self.places.acquire().await.map_err(failed)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(worker) = idle {
            match self.ask(worker, file).await {
                // An earlier file may be the cause.
                Err(ProbeError::Refused(Refusal::Crashed | Refusal::TooMuchMemory)) => {}
                answered => return answered,
            }
        }
        self.ask(self.start()?, file).await
    }

    fn start(&self) -> Result<Worker, ProbeError> {
        let mut process = command(&self.program).stdin(Stdio::piped()).spawn().map_err(ProbeError::Failed)?;
        let input = process.stdin.take().ok_or_else(|| failed("the child has no input"))?;
        let output = process.stdout.take().ok_or_else(|| failed("the child has no output"))?;
        Ok(Worker { process, input, output: BufReader::new(output), files: 0 })
    }

    async fn ask(&self, mut worker: Worker, file: &Path) -> Result<Probed, ProbeError> {
        let (line, status) = match timeout(self.time_limit, worker.answer(file)).await {
            Ok(ended) => ended.map_err(ProbeError::Failed)?,
            Err(_elapsed) => {
                worker.process.kill().await.map_err(ProbeError::Failed)?;
                return Err(Refusal::TooLong.into());
            }
        };
        if let Some(status) = status {
            tracing::warn!(%status, "a probe of an audio file crashed or was stopped");
            return Err(cause(status).into());
        }
        worker.files += 1;
        if worker.files < self.files_per_child {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
        }
        read_answer(&line)
    }
}

impl Worker {
    /// The line that the child answers, or its end.
    async fn answer(&mut self, file: &Path) -> std::io::Result<(Vec<u8>, Option<ExitStatus>)> {
        let path = [file.as_os_str().as_bytes(), b"\0"].concat();
        let mut line = Vec::new();
        // A child that is dead takes no path: its status says why.
        if self.input.write_all(&path).await.is_ok() {
            (&mut self.output).take(ANSWER_LIMIT).read_until(b'\n', &mut line).await?;
        }
        let status = if line.ends_with(b"\n") { None } else { Some(self.process.wait().await?) };
        Ok((line, status))
    }
}

/// Why a child ended without an answer. Rust programs abort when an allocation fails.
pub(crate) fn cause(status: ExitStatus) -> Refusal {
    match status.signal() {
        Some(SIGNAL_CPU_TIME) => Refusal::TooLong,
        Some(SIGNAL_ABORTED | SIGNAL_KILLED) => Refusal::TooMuchMemory,
        Some(_) | None => Refusal::Crashed,
    }
}

pub(crate) fn failed(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ProbeError {
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
