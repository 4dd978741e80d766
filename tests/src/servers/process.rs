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

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long a server that was asked to stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Ports that no system gives to a connection on its way out: one of those could be taken again before a server listens
/// there, or while it is started anew.
const PORTS: Range<u16> = 12_000..32_000;
/// Ports that are tried.
const PORTS_TRIED: usize = 1000;

/// A port that nobody listens on and that this process has given to nobody else lately.
pub fn free_port() -> Result<u16> {
    /// How many have been given, from a random one on: tests of another process begin elsewhere.
    static GIVEN: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::rng().random_range(PORTS)));
    let (first, count) = (PORTS.start, PORTS.end - PORTS.start);
    (0..PORTS_TRIED)
        .map(|_| first + GIVEN.fetch_add(1, Ordering::Relaxed) % count)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .context("no free port")
}

/// A server process. A shell stands between it and the test and holds a pipe from it: when the test process ends,
/// in whatever way, the pipe closes and the shell kills the server.
#[derive(Debug)]
pub struct ServerProcess {
    shell: Option<Child>,
    pid_file: PathBuf,
    log: PathBuf,
}

/// Descriptor 3 is the pipe, because a background job of sh has no standard input of its own.
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
    /// Starts a program; what it prints goes to `log`.
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

    /// Waits until the port takes connections.
    pub async fn listens_on(&mut self, port: u16) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.until("listen", || async move { TcpStream::connect(address).await.is_ok() }).await
    }

    /// Waits for a state of the server, as long as it runs.
    pub async fn until<F: Future<Output = bool>>(&mut self, what: &str, there: impl Fn() -> F) -> Result<()> {
        let log = self.log.clone();
        let asked = waiting::answer(START_LIMIT, || {
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
        let reached = asked.await?;
        reached
            .with_context(|| format!("the server did not {what} within {START_LIMIT:?}:\n{}", self.printed()))
    }

    /// What the server printed so far.
    pub fn printed(&self) -> String {
        text(&self.log)
    }

    /// Kills the server on the spot, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.signal("KILL")?;
        self.wait()
    }

    /// Asks the server to stop and waits until it has.
    pub fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        self.wait()
    }

    pub fn signal(&self, signal: &str) -> Result<()> {
        Command::new("kill").arg(format!("-{signal}")).arg(self.pid()?).status().context("kill")?;
        Ok(())
    }

    /// Lets the server make no file longer than this, in bytes: writing beyond it fails.
    pub fn limit_files(&self, length: u64) -> Result<()> {
        let limit = format!("--fsize={length}:{length}");
        let status = Command::new("prlimit").arg(limit).arg("--pid").arg(self.pid()?).status();
        ensure!(status.context("prlimit")?.success(), "prlimit failed");
        Ok(())
    }

    fn pid(&self) -> Result<String> {
        // Written by the shell a moment after its start.
        let written = waiting::answer_blocking(START_LIMIT, || {
            let pid = std::fs::read_to_string(&self.pid_file).ok();
            anyhow::Ok(pid.filter(|pid| pid.ends_with('\n')))
        });
        let pid = written?.with_context(|| format!("no pid in {}", self.pid_file.display()))?;
        Ok(pid.trim().to_owned())
    }

    /// The memory it has at present, in bytes. Of a file that several connections have mapped each page counts once, other
    /// than in `VmRSS`.
    pub fn resident_memory(&self) -> Result<u64> {
        let sums = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()?))?;
        let line = sums.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// The processor time it has taken so far, of all its threads.
    pub fn processor_time(&self) -> Result<Duration> {
        /// Of a tick: 100 a second on every Linux (`USER_HZ`).
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        // The name, in brackets, may hold spaces; behind it user and system time are the 12th and 13th field.
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
