//! Chorus against the bare engines doing the same work, in one run: ratios that mean something on any machine, and
//! absolute figures that hold for this one. `docs/performance.md` keeps a run.

mod bare;
mod column;
mod graph;
mod load;
mod measures;
mod table;
mod world;

use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::column::{Column, Engine};
use crate::measures::Findings;

/// Measure Chorus against the bare engines, and print tables in Markdown
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    /// Engines to measure on
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Engine::OneMachine, Engine::Distributed])]
    engines: Vec<Engine>,

    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Http, Part::Accounts, Part::Photos, Part::Uploads, Part::CatchUp, Part::Scaling])]
    parts: Vec<Part>,

    /// Of what is measured under load, only what has this text in its name
    #[arg(long)]
    only: Option<String>,

    /// Length of each round of load over HTTP, in seconds
    #[arg(long, default_value_t = 4)]
    seconds: u64,

    /// People in the photo app's graph
    #[arg(long, default_value_t = 20_000)]
    people: usize,

    /// Posts in the photo app's graph
    #[arg(long, default_value_t = 200_000)]
    posts: usize,

    /// Events to catch up over
    #[arg(long, default_value_t = 200_000)]
    events: usize,

    /// Lengths of the log at which to look how things scale
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    sizes: Vec<usize>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The bare server that Chorus is compared with; started by the bench itself
    #[command(hide = true)]
    Bare(bare::Settings),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Likes, pages and posts over HTTP, and how soon a command is seen
    Http,
    /// Log-ins, what others feel of them, and checks of tokens
    Accounts,
    /// What the photo app asks for, on a graph in which a few are followed by half of everybody
    Photos,
    /// Pictures that are published, beside sharp where Node finds it (`NODE_PATH`)
    Uploads,
    /// Views that take in a long log
    CatchUp,
    /// What changes while the log grows
    Scaling,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { command, engines, parts, only, seconds, people, posts, events, sizes } =
        Arguments::parse();
    if let Some(Command::Bare(settings)) = command {
        return bare::serve(settings).await;
    }
    let mut findings = Findings { only, ..Findings::default() };
    if parts.contains(&Part::Accounts) {
        measures::tokens(&mut findings).await?;
    }
    for engine in engines {
        if parts.contains(&Part::Http) {
            let column = Column::start(engine).await?;
            measures::freshness(&column, &mut findings).await?;
            measures::http_load(&column, Duration::from_secs(seconds), &mut findings).await?;
        }
        if parts.contains(&Part::Accounts) {
            let column = Column::start(engine).await?;
            measures::accounts(&column, Duration::from_secs(seconds), &mut findings).await?;
        }
        if parts.contains(&Part::Photos) {
            let column = Column::start(engine).await?;
            measures::photos(&column, (people, posts), Duration::from_secs(seconds), &mut findings).await?;
        }
        if parts.contains(&Part::Uploads) {
            measures::uploads(&engine.start().await?, engine, &mut findings).await?;
        }
        if parts.contains(&Part::CatchUp) {
            measures::catch_up(engine, events, &mut findings).await?;
        }
        if parts.contains(&Part::Scaling) {
            measures::scaling(engine, &sizes, &mut findings).await?;
        }
    }
    #[expect(clippy::print_stdout, reason = "what it is run for")]
    {
        println!("{}\n{}", table::ratios(&findings.ratios), table::figures(&findings.figures));
    }
    Ok(())
}
