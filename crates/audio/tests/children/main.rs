//! Real child processes: this program is the prober's child too. Its parser misbehaves for files with certain names, and is
//! the real one for all others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests say what went wrong by failing")]

mod encoders;
mod hostile;
mod limits;
mod real_files;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use audio::{Limits, ProbeError, Probed, Prober, Refusal};
use libtest_mimic::{Arguments, Trial};

/// Lower than those of the programs, so that they are reached at once.
const LIMITS: Limits = Limits { memory: 256 * 1024 * 1024, cpu: 1 };
const TIME_LIMIT: Duration = Duration::from_mins(1);
const FILES_PER_CHILD: u32 = 50;

fn main() -> ExitCode {
    // A developer may ask for the tests that are named like the child's command.
    if !std::io::stdin().is_terminal()
        && let Some(code) = audio::run_child_with(LIMITS, limits::parser)
    {
        return code;
    }
    let tests = [limits::trials(), real_files::trials(), encoders::trials(), hostile::trials()];
    libtest_mimic::run(&Arguments::from_args(), tests.into_iter().flatten().collect()).exit_code()
}

/// A test, in a runtime of its own.
fn trial<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::test(name, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(test());
        Ok(())
    })
}

fn prober(time_limit: Duration) -> Prober {
    Prober::of("/proc/self/exe".into(), time_limit)
}

fn batches() -> Prober {
    prober(TIME_LIMIT).with_files_per_child(FILES_PER_CHILD)
}

async fn outcome(prober: &Prober, file: &Path) -> Result<Probed, Refusal> {
    match prober.probe(file).await {
        Ok(probed) => Ok(probed),
        Err(ProbeError::Refused(refusal)) => Err(refusal),
        Err(ProbeError::Failed(error)) => panic!("{}: {error}", file.display()),
    }
}
