//! What the verbs of operators take in a long log, and what users notice while all views are rebuilt under them.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use events::Position;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rand::seq::IndexedRandom;
use tests::chorus::Chorus;
use tests::client::{Api, User};

use super::{Findings, progress};
use crate::deployment::Engine;
use crate::load::{Connection, LoadRequest, histogram, micros};
use crate::table::{self, Bound, Ratio, latency};
use crate::world::{self, World};

/// Events per person: each has some posts, followers and likes.
const EVENTS_PER_PERSON: usize = 50;
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

pub(crate) async fn operators(engine: Engine, length: usize, findings: &mut Findings) -> Result<()> {
    let (chorus, name) = (engine.start().await?, engine.name());
    progress(&format!("{name}: appending {length} events"));
    let log = chorus.log().await?;
    let mut world = World::new(3);
    world::append(&log, world.sign_up((length / EVENTS_PER_PERSON).max(10))).await?;
    world::append(&log, world.publish(1)).await?;
    world::append(&log, world.history(length)).await?;
    progress(&format!("{name}: waiting for the views"));
    chorus.settle().await?;
    let popular = world.posts.first().context("a post")?.0.to_string();
    let api = chorus.api();
    let user = api.sign_up("ann").await;
    for n in 0..EVENTS_OF_SUBJECT {
        toggle_like(&api, &user, &popular, n).await?;
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
    let load = Load { chorus: &chorus, engine, posts: &posts, user: &user };
    let quiet = load.run_beside(tokio::time::sleep(QUIET)).await?.0;
    progress(&format!("{name}: requests while all views are rebuilt"));
    let mut rebuild = chorus.cli(&["rebuild", "--all"])?;
    let started = Instant::now();
    let (busy, rebuilt) = load.run_beside(tokio::task::spawn_blocking(move || rebuild.output())).await?;
    let taken = started.elapsed();
    let rebuilt = rebuilt??;
    ensure!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));

    let of = |latencies: &Histogram<u64>| {
        format!("p50 {}, p99 {}", latency(latencies, 0.5), latency(latencies, 0.99))
    };
    #[expect(clippy::cast_precision_loss, reason = "microseconds of requests")]
    let value = busy.reads.value_at_quantile(0.99) as f64 / quiet.reads.value_at_quantile(0.99) as f64;
    findings.ratios.push(Ratio {
        what: format!("p99 of reads while all views over {length} events are rebuilt, against without"),
        engine: name,
        chorus: of(&busy.reads),
        baseline: of(&quiet.reads),
        value,
        bound: Bound::AtMost(2.0),
        goal: None,
    });
    let commands = |what: &str, measured: &Latencies| {
        let longest = table::micros(measured.commands.max());
        (
            format!("commands {what}: {}", measured.commands.len()),
            name,
            format!("{}, longest {longest}", of(&measured.commands)),
        )
    };
    findings.figures.push(commands("without a rebuild", &quiet));
    findings.figures.push(commands("while all views are rebuilt and switched", &busy));
    findings.figures.push((
        format!("`chorus rebuild --all` beside this load, {length} events"),
        name,
        format!("{} s", taken.as_secs()),
    ));
    Ok(())
}

async fn toggle_like(api: &Api, user: &User, post: &str, n: usize) -> Result<()> {
    let method = if n.is_multiple_of(2) { Method::PUT } else { Method::DELETE };
    let request = api.request(method, &format!("/v1/posts/{post}/like")).bearer_auth(&user.token);
    let answer = api.send(request).await;
    ensure!(answer.status == StatusCode::OK, "{}: {}", answer.status, answer.text());
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

/// Latencies in microseconds.
struct Latencies {
    reads: Histogram<u64>,
    commands: Histogram<u64>,
}

/// Readers of pages and posts, and writers of likes who wait until the views have them.
struct Load<'a> {
    chorus: &'a Chorus,
    engine: Engine,
    posts: &'a [String],
    user: &'a User,
}

impl Load<'_> {
    /// Runs until the other future ends.
    async fn run_beside<F: Future>(&self, other: F) -> Result<(Latencies, F::Output)> {
        let ended = Cell::new(false);
        let port = |service| self.chorus.port(service).context("no such service");
        let (reader, writer) = (port(self.engine.reader())?, port(self.engine.writer())?);
        let readers = try_join_all((0..READERS).map(|_| self.client(reader, &ended, |n| self.read(n))));
        let writers = try_join_all(
            (0..WRITERS).map(|first| self.client(writer, &ended, move |n| self.command(first, n))),
        );
        let other = async {
            let output = other.await;
            ended.set(true);
            anyhow::Ok(output)
        };
        let (readers, writers, output) = futures::try_join!(readers, writers, other)?;
        let sum = |all: Vec<Histogram<u64>>| -> Result<Histogram<u64>> {
            let mut latencies = histogram()?;
            for of_one in all {
                latencies.add(of_one)?;
            }
            Ok(latencies)
        };
        Ok((Latencies { reads: sum(readers)?, commands: sum(writers)? }, output))
    }

    async fn client(
        &self,
        port: u16,
        ended: &Cell<bool>,
        request: impl Fn(usize) -> Result<LoadRequest>,
    ) -> Result<Histogram<u64>> {
        let mut connection = Connection::open(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        let mut latencies = histogram()?;
        for n in 0.. {
            if ended.get() {
                break;
            }
            let request = request(n)?;
            let sent = Instant::now();
            let (status, body) = connection.send(request).await?;
            latencies.record(micros(sent.elapsed()))?;
            ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
            tokio::time::sleep(PAUSE).await;
        }
        Ok(latencies)
    }

    fn read(&self, n: usize) -> Result<LoadRequest> {
        let post = self.posts.choose(&mut rand::rng()).context("no posts")?;
        let path =
            if n.is_multiple_of(2) { "/v1/posts?limit=20".to_owned() } else { format!("/v1/posts/{post}") };
        self.request(Method::GET, path)
    }

    /// Each writer likes and unlikes posts of its own, one after the other.
    fn command(&self, writer: usize, n: usize) -> Result<LoadRequest> {
        let post = &self.posts[(n / 2 * WRITERS + writer) % self.posts.len()];
        let method = if n.is_multiple_of(2) { Method::PUT } else { Method::DELETE };
        self.request(method, format!("/v1/posts/{post}/like"))
    }

    fn request(&self, method: Method, path: String) -> Result<LoadRequest> {
        let token = HeaderValue::try_from(format!("Bearer {}", self.user.token))?;
        Ok(LoadRequest {
            method,
            path,
            headers: HeaderMap::from_iter([(header::AUTHORIZATION, token)]),
            body: Bytes::new(),
        })
    }
}
