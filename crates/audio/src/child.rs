//! The child process: it limits itself, reads one file, and prints one line.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::probe::{Failure, probe};
use crate::{Answer, Refusal};

/// The hidden subcommand of the programs that run probes.
pub const COMMAND: &str = "probe";
/// Memory in bytes that a probe may map beyond what the program has mapped at its start. Tags have covers of 20 MB, which
/// some parsers copy.
const MEMORY_LIMIT: u64 = 512 * 1024 * 1024;
/// Seconds of CPU time: a long symphony in FLAC takes some ten.
const CPU_LIMIT: u64 = 120;
const PAGE: u64 = 4096;

/// The exit code if this process was started as `<program> probe <file>`. Programs call this before anything else: the child
/// must have no threads, secrets or settings.
pub fn run_child() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != COMMAND {
        return None;
    }
    Some(match arguments.next() {
        Some(file) => answer(&file),
        None => ExitCode::from(2),
    })
}

fn answer(file: &OsString) -> ExitCode {
    let found = limit_resources().map_err(Failure::Unreadable).and_then(|()| probe(Path::new(file)));
    let answer = match found {
        Ok(probed) => Answer::Probed(Box::new(probed)),
        Err(Failure::Refused(refusal)) => Answer::Refused(refusal),
        Err(Failure::Unreadable(error)) => Answer::Failed(error.to_string()),
    };
    let line = serde_json::to_string(&answer).unwrap_or_else(|_| "{\"refused\":\"crashed\"}".to_owned());
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn limit_resources() -> std::io::Result<()> {
    let mapped = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = mapped.and_then(|text| text.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0);
    let exactly = |limit| Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::As, exactly(pages * PAGE + MEMORY_LIMIT))?;
    setrlimit(Resource::Cpu, exactly(CPU_LIMIT))?;
    // It writes no file, and a crash leaves no core dump with someone's song.
    setrlimit(Resource::Fsize, exactly(0))?;
    setrlimit(Resource::Core, exactly(0))?;
    Ok(())
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
