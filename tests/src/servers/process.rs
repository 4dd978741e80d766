use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use tokio::net::TcpStream;

use crate::waiting;

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long a graceful stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Outside the ephemeral ports: an outgoing connection could take one of those before a server listens there or while it
/// restarts.
const PORTS: Range<u16> = 12_000..32_000;
/// How many ports are tried.
const PORTS_TRIED: usize = 1000;

/// A free port that this process has not used recently.
pub fn free_port() -> Result<u16> {
    /// Starts at a random port, so that tests of other processes use others.
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::rng().random_range(PORTS)));
    let (first, count) = (PORTS.start, PORTS.end - PORTS.start);
    (0..PORTS_TRIED)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % count)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .context("no free port")
}

/// A server process, started by a shell that holds a pipe from the test. When the test process ends, however it ends, the
/// pipe closes and the shell kills the server.
#[derive(Debug)]
pub struct ServerProcess {
    shell: Option<Child>,
    pid_file: PathBuf,
    log: PathBuf,
}

/// Descriptor 3 is the pipe, because a background job of sh has no standard input.
const GUARD: &str = r#"
    exec 3<&0
    "$@" 3<&- & pid=$!
    echo $pid >"$PID_FILE"
    (read -r _ <&3; kill -9 $pid) & guard=$!
    wait $pid; status=$?
    kill $guard
    exit $status
"#;

impl ServerProcess {
    /// Starts a program with its output in `log`.
    pub fn start(
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> Result<Self> {
        let pid_file = log.with_extension("pid");
        let _ = std::fs::remove_file(&pid_file);
        let output = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let shell = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("PID_FILE", &pid_file)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self { shell: Some(shell), pid_file, log: log.to_owned() })
    }

    /// Waits until the port accepts connections.
    pub async fn listens_on(&mut self, port: u16) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.until("listen", || async move { TcpStream::connect(address).await.is_ok() }).await
    }

    /// Waits for a state of the server; fails if the server ends.
    pub async fn until<F: Future<Output = bool>>(&mut self, what: &str, there: impl Fn() -> F) -> Result<()> {
        let log = self.log.clone();
        let state = waiting::answer(START_LIMIT, || {
            let ended = self.shell.as_mut().map(Child::try_wait).transpose();
            let (is_there, log) = (there(), &log);
            async move {
                if is_there.await {
                    return Ok(Some(()));
                }
                if let Some(status) = ended?.flatten() {
                    bail!("the server ended ({status}) before it could {what}:\n{}", text(log));
                }
                Ok(None)
            }
        });
        let reached = state.await?;
        reached
            .with_context(|| format!("the server did not {what} within {START_LIMIT:?}:\n{}", self.printed()))
    }

    /// The output of the server so far.
    pub fn printed(&self) -> String {
        text(&self.log)
    }

    /// Kills the server without warning, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.signal("KILL")?;
        self.wait()
    }

    /// Stops the server gracefully and waits until it has ended.
    pub fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        self.wait()
    }

    pub fn signal(&self, signal: &str) -> Result<()> {
        Command::new("kill").arg(format!("-{signal}")).arg(self.pid()?).status().context("kill")?;
        Ok(())
    }

    /// Limits the length of the server's files, in bytes: writes beyond it fail.
    pub fn limit_files(&self, length: u64) -> Result<()> {
        let limit = format!("--fsize={length}:{length}");
        let status = Command::new("prlimit").arg(limit).arg("--pid").arg(self.pid()?).status();
        ensure!(status.context("prlimit")?.success(), "prlimit failed");
        Ok(())
    }

    fn pid(&self) -> Result<String> {
        // The shell writes it shortly after its start.
        let written = waiting::answer_blocking(START_LIMIT, || {
            let pid = std::fs::read_to_string(&self.pid_file).ok();
            anyhow::Ok(pid.filter(|pid| pid.ends_with('\n')))
        });
        let pid = written?.with_context(|| format!("no pid in {}", self.pid_file.display()))?;
        Ok(pid.trim().to_owned())
    }

    /// The memory it uses now, in bytes (`Pss`). Unlike in `VmRSS`, pages of a file that several connections map count once.
    pub fn resident_memory(&self) -> Result<u64> {
        let sums = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()?))?;
        let line = sums.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// The processor time of all its threads so far.
    pub fn processor_time(&self) -> Result<Duration> {
        /// 100 ticks a second on every Linux (`USER_HZ`).
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        // The name, in brackets, may contain spaces; after it, user and system time are the 12th and 13th field.
        let (_, fields) = stat.rsplit_once(") ").context("no name")?;
        let ticks: Vec<u32> = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("no times")?;
        Ok(TICK * ticks.into_iter().sum())
    }

    /// Waits until the server has ended.
    pub(super) fn wait(&mut self) -> Result<()> {
        let Some(mut shell) = self.shell.take() else { return Ok(()) };
        if waiting::answer_blocking(STOP_LIMIT, || shell.try_wait())?.is_none() {
            let printed = self.printed();
            shell.kill()?;
            bail!("the server did not stop within {STOP_LIMIT:?}:\n{printed}");
        }
        Ok(())
    }
}

fn text(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if self.shell.is_some()
            && let Err(error) = self.kill()
        {
            eprintln!("{error:#}");
        }
    }
}
