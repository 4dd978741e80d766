//! Benchmarks of Chorus against a baseline that does the same work on the same engines. Ratios hold on any machine, absolute
//! figures for this one. `docs/performance.md` has the results of a run.

mod baseline;
mod benchmarks;
mod dataset;
mod deployment;
mod load;
mod table;
mod world;

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::benchmarks::Findings;
use crate::deployment::{Deployment, Engine};

/// That of the programs: some benchmarks run their code in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure Chorus against a baseline on the same engines, and print tables in Markdown
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Engines to measure on
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::Standalone, Engine::Distributed])]
    engines: Vec<Engine>,

    /// Benchmarks to run
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Http, Part::Accounts, Part::Photos, Part::Music, Part::Uploads, Part::CatchUp, Part::Rebuild, Part::Operators, Part::Scaling])]
    parts: Vec<Part>,

    /// Of the comparisons under load, run only those with this text in their name
    #[arg(long)]
    only: Option<String>,

    /// Length of each round of load over HTTP, in seconds
    #[arg(long, default_value_t = 4)]
    seconds: u64,

    /// Users in the photo app's dataset
    #[arg(long, default_value_t = 20_000)]
    people: usize,

    /// Posts in the photo app's dataset
    #[arg(long, default_value_t = 200_000)]
    posts: usize,

    /// Events of the catch-up
    #[arg(long, default_value_t = 200_000)]
    events: usize,

    /// Events of the rebuild and of the log that operators look at
    #[arg(long, default_value_t = 1_000_000)]
    rebuild_events: usize,

    /// Lengths of the log at which to measure scaling
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    sizes: Vec<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The baseline server, started by the benchmark itself
    #[command(hide = true)]
    Baseline(baseline::Settings),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Likes, pages and posts over HTTP, and the delay until a command is visible
    Http,
    /// Log-ins, their effect on other requests, and checks of tokens
    Accounts,
    /// Requests of the photo app, on a dataset in which a few users are followed by half of all
    Photos,
    /// Songs: search, the routes of the music app, streaming beside nginx, uploads, playlists and imports
    Music,
    /// Publishing images, compared with sharp if Node finds it (`NODE_PATH`)
    Uploads,
    /// Building views from a long log
    CatchUp,
    /// Rebuilding all views, and comparing them with the log
    Rebuild,
    /// Verbs of operators in a long log, and requests while all views are rebuilt
    Operators,
    /// Changes while the log grows
    Scaling,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if let Some(Command::Baseline(settings)) = arguments.command.take() {
        return baseline::serve(settings).await;
    }
    let mut findings = Findings { only: arguments.only.take(), ..Findings::default() };
    // What was measured before a failure is shown, too.
    let done = run(arguments, &mut findings).await;
    #[expect(clippy::print_stdout, reason = "the output of the program")]
    {
        println!("{}\n{}", table::ratios(&findings.ratios), table::figures(&findings.figures));
    }
    done
}

async fn run(arguments: Arguments, findings: &mut Findings) -> Result<()> {
    let Arguments { engines, parts, seconds, people, posts, events, rebuild_events, sizes, .. } = arguments;
    if parts.contains(&Part::Accounts) {
        benchmarks::tokens(findings).await?;
    }
    for engine in engines {
        if parts.contains(&Part::Http) {
            let deployment = Deployment::start(engine).await?;
            benchmarks::freshness(&deployment, findings).await?;
            benchmarks::http_load(&deployment, Duration::from_secs(seconds), findings).await?;
        }
        if parts.contains(&Part::Accounts) {
            let deployment = Deployment::start(engine).await?;
            benchmarks::accounts(&deployment, Duration::from_secs(seconds), findings).await?;
        }
        if parts.contains(&Part::Photos) {
            let deployment = Deployment::start(engine).await?;
            let size = (people, posts);
            benchmarks::photos(&deployment, size, Duration::from_secs(seconds), findings).await?;
        }
        if parts.contains(&Part::Music) {
            let mut deployment = Deployment::start(engine).await?;
            benchmarks::music(&mut deployment, Duration::from_secs(seconds), findings).await?;
        }
        if parts.contains(&Part::Uploads) {
            benchmarks::uploads(&engine.start().await?, engine, findings).await?;
        }
        if parts.contains(&Part::CatchUp) {
            benchmarks::catch_up(engine, events, findings).await?;
        }
        if parts.contains(&Part::Rebuild) {
            benchmarks::rebuild(engine, rebuild_events, findings).await?;
        }
        if parts.contains(&Part::Operators) {
            benchmarks::operators(engine, rebuild_events, findings).await?;
        }
        if parts.contains(&Part::Scaling) {
            benchmarks::scaling(engine, &sizes, findings).await?;
        }
    }
    Ok(())
}
