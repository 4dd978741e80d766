//! `chorus events`: the log as it is stored.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use events::{EventLog, LogError, Position, RawEvent, RevealedScope};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use service::telemetry::with_causes;

use super::filter::{EventFilter, FilterSettings, parse_duration};
use super::output::{OutputSettings, Printer, precise};
use super::reveal::{Bodies, RevealSettings};
use super::search::{self, End, Pages};
use super::stats::Stats;
use super::trace::{self, Target, Trace};
use super::{LogAccess, unless_reader_left};

/// Number of past events that `tail` shows without a position or a time to start from.
const SHOWN_FIRST: u64 = 10;
/// Page of the history of one subject.
const HISTORY_PAGE: usize = 500;

const NOTES: &str = "Looks at the log beside a running server, or in its files at rest, and changes nothing. Takes the \
    settings of the server (CHORUS_DATA, CHORUS_LOG, …).\n\nEvents that this program does not know and events with an \
    unreadable envelope are shown with their position. Sealed fields are masked as `▒ sealed`.";

#[derive(Debug, Subcommand)]
#[command(after_help = NOTES)]
pub enum Command {
    /// Show events as they are appended
    ///
    /// Begins with the last 10 events, or at --from or --since, and goes on until it is interrupted, or until --until or
    /// --limit.
    #[command(after_help = NOTES)]
    Tail(Box<TailSettings>),
    /// Show one event with its body
    #[command(after_help = NOTES)]
    Show(Box<ShowSettings>),
    /// Show the whole history of one subject
    #[command(after_help = NOTES)]
    Of(Box<OfSettings>),
    /// Show the events of a request and what they caused, as a tree
    #[command(after_help = NOTES)]
    Trace(Box<TraceSettings>),
    /// Count events by type and subject
    #[command(after_help = NOTES)]
    Stats(Box<StatsSettings>),
}

#[derive(Debug, Args)]
pub struct TailSettings {
    /// Begin with the event at this position
    #[arg(long, value_name = "POSITION", conflicts_with = "since")]
    from: Option<u64>,

    /// Stop after this many events
    #[arg(long, value_name = "EVENTS")]
    limit: Option<u64>,

    /// Stop at the end of the log
    #[arg(long)]
    no_follow: bool,

    #[command(flatten)]
    filter: FilterSettings,
    #[command(flatten)]
    output: OutputSettings,
    #[command(flatten)]
    access: LogAccess,
}

#[derive(Debug, Args)]
pub struct ShowSettings {
    /// Position of the event
    position: u64,

    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reveal: RevealSettings,
    #[command(flatten)]
    access: LogAccess,
}

#[derive(Debug, Args)]
pub struct OfSettings {
    /// The subject, such as `post.<id>`; or `username:<name>` or `email:<address>`, whose claims are shown
    subject: String,

    #[command(flatten)]
    output: OutputSettings,
    #[command(flatten)]
    reveal: RevealSettings,
    #[command(flatten)]
    access: LogAccess,
}

#[derive(Debug, Args)]
pub struct TraceSettings {
    /// The position of one of its events, or its correlation (a UUID, also the request id in logs and problem documents)
    request: Target,

    /// How long after the beginning of the request to search
    #[arg(long, value_name = "DURATION", default_value = "10min", value_parser = parse_duration)]
    window: TimeDelta,

    #[command(flatten)]
    output: OutputSettings,
    #[command(flatten)]
    reveal: RevealSettings,
    #[command(flatten)]
    access: LogAccess,
}

#[derive(Debug, Args)]
pub struct StatsSettings {
    /// Number of subjects to list
    #[arg(long, value_name = "SUBJECTS", default_value_t = 10)]
    top: usize,

    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    filter: FilterSettings,
    #[command(flatten)]
    access: LogAccess,
}

/// # Errors
/// If the log cannot be read, or has no such event.
pub async fn run(command: Command) -> Result<()> {
    unless_reader_left(match command {
        Command::Tail(settings) => tail(*settings).await,
        Command::Show(settings) => show(*settings).await,
        Command::Of(settings) => of(*settings).await,
        Command::Trace(settings) => trace(*settings).await,
        Command::Stats(settings) => stats(*settings).await,
    })
}

/// The event at a position.
///
/// # Errors
/// If there is none.
pub async fn at(log: &dyn EventLog, position: Position) -> Result<RawEvent> {
    let before = position.0.checked_sub(1).context("the first event is at position 1")?;
    let found = log.raw(Position(before), 1).await?.pop().filter(|event| event.position == position);
    match found {
        Some(event) => Ok(event),
        None => bail!("there is no event at position {position}: the log ends at {}", log.head().await?),
    }
}

async fn show(settings: ShowSettings) -> Result<()> {
    let ShowSettings { position, json, reveal, access } = settings;
    let log = access.open().await?.log;
    let event = at(&*log, Position(position)).await?;
    let bodies = reveal.bodies(&access, RevealedScope::Event { position: event.position }).await?;
    let printer = Printer::new(OutputSettings { json, bodies: true }, bodies);
    Ok(writeln!(std::io::stdout(), "{}", printer.detail(&event).await?)?)
}

async fn of(settings: OfSettings) -> Result<()> {
    let OfSettings { subject, output, reveal, access } = settings;
    let named = &subject;
    refuse_kind(named)?;
    let log = access.open().await?.log;
    let subject = access.subject(named).await?;
    let mut events = log.raw_of(&subject, Position::START, HISTORY_PAGE).await?;
    ensure!(!events.is_empty(), "the log has no event about {named} ({subject})");
    let bodies = reveal.bodies(&access, RevealedScope::Subject { subject: subject.clone() }).await?;
    let printer = Printer::new(output, bodies);
    let mut out = std::io::stdout();
    printer.heading(&mut out)?;
    while let Some(last) = events.last().map(|event| event.position) {
        for event in &events {
            writeln!(out, "{}", printer.event(event).await?)?;
        }
        events = log.raw_of(&subject, last, HISTORY_PAGE).await?;
    }
    Ok(())
}

/// A kind such as `post` is the beginning of many subjects, but none itself.
fn refuse_kind(named: &str) -> Result<()> {
    ensure!(
        named.contains(['.', ':']),
        "`{named}` is not a whole subject: expected a kind with ids such as post.<id>, username:<name> or \
         email:<address>; `chorus events tail --subject <kind>` shows all events of a kind"
    );
    Ok(())
}

async fn tail(settings: TailSettings) -> Result<()> {
    let TailSettings { from, limit, no_follow, filter, output, access } = settings;
    let now = SystemClock.now();
    let log = access.open().await?.log;
    let filter = filter.resolve(&access, now).await?;
    let head = log.head().await?;
    let after = match (from, filter.since) {
        (Some(from), _) => Position(from.saturating_sub(1)),
        (None, Some(since)) => search::before(&*log, since).await?,
        (None, None) => Position(head.0.saturating_sub(SHOWN_FIRST)),
    };
    let printer = Printer::new(output, Bodies::Masked);
    printer.heading(&mut std::io::stdout())?;
    let mut tail = Tail { printer, left: limit, filter };
    if no_follow || tail.filter.until.is_some_and(|until| until <= now) {
        return tail.show_up_to(&*log, after, head).await;
    }
    match tail.filter.until.and_then(|until| (until - now).to_std().ok()) {
        Some(left) => tokio::time::timeout(left, tail.follow(&*log, after)).await.unwrap_or(Ok(())),
        None => tail.follow(&*log, after).await,
    }
}

struct Tail {
    printer: Printer,
    /// How many events may still be shown.
    left: Option<u64>,
    filter: EventFilter,
}

impl Tail {
    async fn show_up_to(&mut self, log: &dyn EventLog, after: Position, last: Position) -> Result<()> {
        let (mut pages, mut end) = (Pages::new(log, after, last), End::at(self.filter.until));
        while let Some(page) = pages.next().await? {
            for event in page {
                if self.is_full() || end.is_passed(&event) {
                    return Ok(());
                }
                self.show(&event).await?;
            }
        }
        Ok(())
    }

    async fn follow(&mut self, log: &dyn EventLog, after: Position) -> Result<()> {
        let mut follow = log.raw_follow(after);
        let mut outage = false;
        while !self.is_full() {
            match follow.next().await.context("the log is no longer readable")? {
                Ok(event) => {
                    outage = false;
                    self.show(&event).await?;
                }
                Err(error @ LogError::Corrupt { .. }) => return Err(error.into()),
                Err(error) => {
                    if !outage {
                        writeln!(std::io::stderr(), "waiting for the log: {}", with_causes(&error))?;
                    }
                    outage = true;
                }
            }
        }
        Ok(())
    }

    async fn show(&mut self, event: &RawEvent) -> Result<()> {
        if !self.filter.takes(event) {
            return Ok(());
        }
        writeln!(std::io::stdout(), "{}", self.printer.event(event).await?)?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(())
    }

    const fn is_full(&self) -> bool {
        matches!(self.left, Some(0))
    }
}

async fn trace(settings: TraceSettings) -> Result<()> {
    let TraceSettings { request, window, output, reveal, access } = settings;
    let log = access.open().await?.log;
    let (correlation, begin) = trace::request(&*log, request).await?;
    let trace = trace::find(&*log, correlation, begin, window).await?;
    let Trace { after, last, until, .. } = &trace;
    let searched = format!("positions {} to {last}, until {}", after.0 + 1, precise(*until));
    ensure!(
        !trace.events.is_empty(),
        "no event of request {correlation} is in the searched window ({searched}): it may have appended none, or give a \
         longer --window"
    );
    let bodies = reveal.bodies(&access, RevealedScope::Request { correlation }).await?;
    let printer = Printer::new(output, bodies);
    let mut out = std::io::stdout();
    if printer.json {
        for (depth, event) in trace.tree() {
            let mut value: Value = serde_json::from_str(&printer.event(event).await?)?;
            value["depth"] = json!(depth);
            writeln!(out, "{value}")?;
        }
        return Ok(());
    }
    writeln!(out, "request {correlation}, started {}", precise(begin))?;
    for (depth, event) in trace.tree() {
        writeln!(out, "{}", branch(&printer, depth, event, begin).await?)?;
    }
    writeln!(out, "{} events; searched {searched}", trace.events.len())?;
    Ok(())
}

/// One event in the tree of causes, with its time since the beginning.
async fn branch(printer: &Printer, depth: usize, event: &RawEvent, begin: DateTime<Utc>) -> Result<String> {
    let since =
        event.attributes.as_ref().map_or(0, |attributes| (attributes.time - begin).num_milliseconds());
    let indent = "   ".repeat(depth);
    let lines = printer.event(event).await?;
    let mut lines = lines.lines();
    let first = lines.next().unwrap_or_default().trim_start();
    let mut text = format!("{indent}└─ {since:>+6} ms  {first}");
    for line in lines {
        write!(text, "\n{indent}   {line}")?;
    }
    Ok(text)
}

async fn stats(settings: StatsSettings) -> Result<()> {
    let StatsSettings { top, json, filter, access } = settings;
    let log = access.open().await?.log;
    let filter = filter.resolve(&access, SystemClock.now()).await?;
    let head = log.head().await?;
    let after = match filter.since {
        Some(since) => search::before(&*log, since).await?,
        None => Position::START,
    };
    let style =
        ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} events ({per_sec}, {eta} left)")?;
    let bar = ProgressBar::new(head.0.saturating_sub(after.0)).with_style(style);
    let mut stats = Stats::default();
    let (mut pages, mut end) = (Pages::new(&*log, after, head), End::at(filter.until));
    'pages: while let Some(page) = pages.next().await? {
        bar.inc(page.len() as u64);
        for event in page {
            if end.is_passed(&event) {
                break 'pages;
            }
            if filter.takes(&event) {
                stats.add(event);
            }
        }
    }
    bar.finish_and_clear();
    let mut out = std::io::stdout();
    if json {
        writeln!(out, "{}", stats.to_json(top))?;
    } else {
        write!(out, "{}", stats.to_text(top)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_alone_is_not_a_subject() {
        for whole in ["post.3f", "like.3f.7a", "username:ann", "email:ann@example.org"] {
            refuse_kind(whole).unwrap();
        }
        for part in ["post", "01a229130ed97c65934b529ffeec2bf8", ""] {
            let problem = refuse_kind(part).unwrap_err().to_string();
            assert!(problem.contains("expected a kind with ids such as post.<id>"), "{problem}");
        }
    }
}
