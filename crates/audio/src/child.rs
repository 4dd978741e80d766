//! The child process: it limits itself, then reads one file after another and answers one line for each. And how it is started.

use std::ffi::OsStr;
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::probe::{Failure, probe};
use crate::prober::{ProbeError, failed};
use crate::{Probed, Refusal, analysis, cover};

/// The hidden subcommand of the programs that run probes.
pub const COMMAND: &str = "probe";
const PAGE: u64 = 4096;

/// The program of this process, also if its file was replaced by an update meanwhile.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// Starts a program that calls [`run_child`], with a pipe for its output.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(COMMAND)
        // No secret of this process reaches the parser.
        .env_clear()
        // Ctrl-C in a terminal is for this process only.
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The answer about a file, one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Found(T),
    Refused(Refusal),
    /// The file could not be read: not its own fault.
    Failed(String),
}

/// Writes the answer to the output of this child process.
pub(crate) fn write_answer<T: Serialize>(found: Result<T, Failure>) -> std::io::Result<()> {
    let answer = match found {
        Ok(found) => Answer::Found(found),
        Err(Failure::Refused(refusal)) => Answer::Refused(refusal),
        Err(Failure::Unreadable(error)) => Answer::Failed(error.to_string()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    let mut output = std::io::stdout().lock();
    output.write_all(&line)?;
    output.flush()
}

/// Reads the answer of a child process.
pub(crate) fn read_answer<T: DeserializeOwned>(line: &[u8]) -> Result<T, ProbeError> {
    match serde_json::from_slice(line) {
        Ok(Answer::Found(found)) => Ok(found),
        Ok(Answer::Refused(refusal)) => Err(refusal.into()),
        Ok(Answer::Failed(cause)) => Err(failed(cause)),
        Err(error) => Err(failed(error)),
    }
}

/// What a child process may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that it may map beyond what the program has mapped at its start.
    pub memory: u64,
    /// Seconds of CPU time for each file.
    pub cpu: u64,
}

impl Default for Limits {
    /// Tags have covers of 20 MB, which some parsers copy; a long symphony in FLAC takes some ten seconds.
    fn default() -> Self {
        Self { memory: 512 * 1024 * 1024, cpu: 120 }
    }
}

/// The exit code if this process was started as `<program> probe`, to read a cover, or to analyse a file. Programs call this
/// before anything else: the child must have no threads, secrets or settings. Without an option it reads paths from its input,
/// each ended by a zero byte.
pub fn run_child() -> Option<ExitCode> {
    run_child_with(Limits::default(), probe)
}

/// As [`run_child`], with other limits and another parser: for tests of the limits.
pub fn run_child_with(limits: Limits, parser: impl Fn(&Path) -> Result<Probed, Failure>) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != COMMAND {
        return None;
    }
    let ended = match (arguments.next(), arguments.next()) {
        (Some(option), Some(file)) if option == cover::OPTION => cover::print(Path::new(&file)),
        (Some(option), Some(file)) if option == analysis::OPTION => analysis::print(Path::new(&file)),
        _ => limit_memory(limits).and_then(|()| answer_all(limits, parser)),
    };
    Some(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn answer_all(limits: Limits, parser: impl Fn(&Path) -> Result<Probed, Failure>) -> std::io::Result<()> {
    let mut input = std::io::stdin().lock();
    let mut path = Vec::new();
    loop {
        path.clear();
        input.read_until(0, &mut path)?;
        // The end of the input, also in the middle of a path.
        let Some((0, path)) = path.split_last() else { return Ok(()) };
        limit_cpu(limits)?;
        write_answer(parser(Path::new(OsStr::from_bytes(path))))?;
    }
}

/// The limits of a process for one file.
pub(crate) fn limit_resources() -> std::io::Result<()> {
    limit_memory(Limits::default())?;
    limit_cpu(Limits::default())
}

fn limit_memory(limits: Limits) -> std::io::Result<()> {
    let mapped = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = mapped.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    let exactly = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, exactly(pages * PAGE + limits.memory))?;
    // It writes no file, and a crash leaves no core dump with someone's song.
    setrlimit(Resource::Fsize, exactly(0))?;
    setrlimit(Resource::Core, exactly(0))?;
    Ok(())
}

/// Limits the CPU time of the next file. The system counts that of the whole process.
fn limit_cpu(limits: Limits) -> std::io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    let used = u64::try_from(used).map_err(std::io::Error::other)?;
    let maximum = getrlimit(Resource::Cpu).maximum;
    // The present second is not complete.
    let limit = used + 1 + limits.cpu;
    let current = Some(maximum.map_or(limit, |maximum| limit.min(maximum)));
    setrlimit(Resource::Cpu, Rlimit { current, maximum })?;
    Ok(())
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
