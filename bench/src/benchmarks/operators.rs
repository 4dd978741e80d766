//! What the verbs of operators take in a long log, and what users notice while all views are rebuilt under them.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use events::Position;
use http::{HeaderMap, Method, StatusCode};
use rand::seq::IndexedRandom;
use tests::chorus::Chorus;

use super::http_load::authorized;
use super::{Findings, progress};
use crate::deployment::Engine;
use crate::load::{LoadRequest, Measured, load_while, micros};
use crate::table::{self, Bound, Ratio, latency};
use crate::world;

/// Runs of each verb.
const RUNS: usize = 25;
/// Events of the subject whose history is shown.
const EVENTS_OF_SUBJECT: usize = 50;
const READERS: usize = 4;
const WRITERS: usize = 2;
/// Pause of each client after an answer: the machine must have time to spare, or the clients measure each other.
const PAUSE: Duration = Duration::from_millis(10);
/// Duration of the load without a rebuild.
const QUIET: Duration = Duration::from_secs(30);
/// Switches, there and back, of the views that the commands of the load wait for.
const ROLLBACKS: usize = 10;

pub(crate) async fn operators(engine: Engine, length: usize, findings: &mut Findings) -> Result<()> {
    let (chorus, name) = (engine.start().await?, engine.name());
    progress(&format!("{name}: appending {length} events"));
    let log = chorus.log().await?;
    let world = world::append_history(&log, length).await?;
    progress(&format!("{name}: waiting for the views"));
    chorus.settle().await?;
    let popular = world.posts.first().context("a post")?.0.to_string();
    let api = chorus.api();
    let user = api.sign_up("ann").await;
    for _ in 0..EVENTS_OF_SUBJECT / 2 {
        api.like(&user, &popular).await.expect(200);
        api.delete_as(&user, &format!("/v1/posts/{popular}/like")).await.expect(200);
    }
    let head = log.raw().head().await?;
    let last = log.raw().raw(Position(head.0 - 1), 1).await?.pop().context("the last event")?;
    chorus.settle().await?;

    progress(&format!("{name}: single verbs"));
    let floor = run_repeatedly(&chorus, |_| vec!["--version".to_owned()])?;
    let position = |n: usize| (head.0 * (n as u64 + 1) / (RUNS as u64 + 1)).to_string();
    let shown = run_repeatedly(&chorus, |n| ["events", "show", &position(n)].map(str::to_owned).to_vec())?;
    let listed = run_repeatedly(&chorus, |_| ["events", "of", &last.subject].map(str::to_owned).to_vec())?;
    let explained = run_repeatedly(&chorus, |_| ["why", "posts", &popular].map(str::to_owned).to_vec())?;
    for (what, taken) in [
        ("`chorus events show` of a position".to_owned(), shown),
        (format!("`chorus events of` a subject with {EVENTS_OF_SUBJECT} events"), listed),
        ("`chorus why` of a post that is liked often".to_owned(), explained),
    ] {
        let (median, fastest) =
            (taken.median.saturating_sub(floor.median), taken.fastest.saturating_sub(floor.fastest));
        let figure =
            format!("median {}, fastest {}", table::micros(micros(median)), table::micros(micros(fastest)));
        findings.figures.push((format!("{what}, {length} events, less `--version`"), name, figure));
    }

    progress(&format!("{name}: requests without a rebuild"));
    let posts: Vec<String> = world.posts.iter().map(|(post, _)| post.to_string()).collect();
    let port = |service| chorus.port(service).context("no such service");
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let load = Load {
        reader: address(port(engine.reader())?),
        writer: address(port(engine.writer())?),
        posts: &posts,
        headers: authorized(&user)?,
    };
    let quiet = load.run_beside(tokio::time::sleep(QUIET)).await?.0;
    progress(&format!("{name}: requests while all views are rebuilt"));
    let mut rebuild = chorus.cli(&["rebuild", "--all"])?;
    let started = Instant::now();
    let (busy, rebuilt) = load.run_beside(tokio::task::spawn_blocking(move || rebuild.output())).await?;
    let taken = started.elapsed();
    let rebuilt = rebuilt??;
    ensure!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
    progress(&format!("{name}: requests while views are switched"));
    let mut rollback = chorus.cli(&["rollback", "posts"])?;
    let switches = move || (0..ROLLBACKS).map(|_| rollback.output()).collect::<std::io::Result<Vec<_>>>();
    let (switched, rolled_back) = load.run_beside(tokio::task::spawn_blocking(switches)).await?;
    for one in rolled_back?? {
        ensure!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
    }

    let of = |measured: &Measured| {
        format!("p50 {}, p99 {}", latency(&measured.latencies, 0.5), latency(&measured.latencies, 0.99))
    };
    let p99 = |measured: &Measured| measured.latencies.value_at_quantile(0.99);
    #[expect(clippy::cast_precision_loss, reason = "microseconds of requests")]
    let value = p99(&busy.reads) as f64 / p99(&quiet.reads) as f64;
    findings.ratios.push(Ratio {
        what: format!("p99 of reads while all views over {length} events are rebuilt, against without"),
        engine: name,
        chorus: of(&busy.reads),
        baseline: of(&quiet.reads),
        value,
        bound: Bound::AtMost(2.0),
        goal: None,
    });
    let commands = |what: &str, measured: &Measured| {
        let longest = table::micros(measured.latencies.max());
        let what = format!("commands {what}: {}", measured.latencies.len());
        (what, name, format!("{}, longest {longest}", of(measured)))
    };
    findings.figures.push(commands("without a rebuild", &quiet.commands));
    findings.figures.push(commands("while all views are rebuilt and switched", &busy.commands));
    let switches = format!("during {ROLLBACKS} rollbacks of `posts`, there and back");
    findings.figures.push(commands(&switches, &switched.commands));
    findings.figures.push((
        format!("`chorus rebuild --all` beside this load, {length} events"),
        name,
        format!("{} s", taken.as_secs()),
    ));
    Ok(())
}

/// Times of one verb, from the start of the process to its end.
struct Taken {
    median: Duration,
    fastest: Duration,
}

fn run_repeatedly(chorus: &Chorus, arguments: impl Fn(usize) -> Vec<String>) -> Result<Taken> {
    let mut times = Vec::with_capacity(RUNS);
    for n in 0..RUNS {
        let arguments = arguments(n);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut verb = chorus.cli(&arguments)?;
        let started = Instant::now();
        let output = verb.output()?;
        times.push(started.elapsed());
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    times.sort_unstable();
    Ok(Taken { median: times[RUNS / 2], fastest: times[0] })
}

/// Readers of pages and posts, and writers of likes who wait until the views have them.
struct Load<'a> {
    reader: SocketAddr,
    writer: SocketAddr,
    posts: &'a [String],
    headers: HeaderMap,
}

/// What readers and writers noticed.
struct Noticed {
    reads: Measured,
    commands: Measured,
}

impl Load<'_> {
    /// Runs until the other future ends.
    async fn run_beside<F: Future>(&self, other: F) -> Result<(Noticed, F::Output)> {
        let ended = Cell::new(false);
        let goes_on = |_| !ended.get();
        let readers = (0..READERS).map(|_| self.reads()).collect();
        let writers = (0..WRITERS).map(|writer| self.commands(writer)).collect();
        let other = async {
            let output = other.await;
            ended.set(true);
            anyhow::Ok(output)
        };
        let (reads, commands, output) = futures::try_join!(
            load_while(self.reader, StatusCode::OK, PAUSE, goes_on, readers),
            load_while(self.writer, StatusCode::OK, PAUSE, goes_on, writers),
            other
        )?;
        Ok((Noticed { reads, commands }, output))
    }

    /// Pages and single posts in turn.
    fn reads(&self) -> impl FnMut() -> Result<LoadRequest> {
        let mut pages = [true, false].into_iter().cycle();
        move || {
            let post = self.posts.choose(&mut rand::rng()).context("no posts")?;
            let is_page = pages.next() == Some(true);
            let path = if is_page { "/v1/posts?limit=20".to_owned() } else { format!("/v1/posts/{post}") };
            Ok(self.request(Method::GET, path))
        }
    }

    /// Each writer likes and unlikes posts of its own, one after the other.
    fn commands(&self, writer: usize) -> impl FnMut() -> Result<LoadRequest> {
        let posts = self.posts.iter().cycle().skip(writer).step_by(WRITERS);
        let mut acts = posts.flat_map(|post| [(Method::PUT, post), (Method::DELETE, post)]);
        move || {
            let (method, post) = acts.next().context("no posts")?;
            Ok(self.request(method, format!("/v1/posts/{post}/like")))
        }
    }

    fn request(&self, method: Method, path: String) -> LoadRequest {
        LoadRequest { method, path, headers: self.headers.clone(), body: Bytes::new() }
    }
}
