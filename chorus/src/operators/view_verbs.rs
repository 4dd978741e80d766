//! `chorus views`: how far each view is, and why it does not move.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use events::{EventLog, Kind, Position, RawEvent, UnknownEvent};
use projector::{OnFailure, Projection, projections};
use serde_json::json;
use service::clock::{Clock, SystemClock};
use service::config::{FeedSettings, LogUrlSettings, PlaceSettings, ViewSettings};
use service::telemetry::with_causes;
use views::{Parked, ViewSize, ViewStore, Views};

use super::output::{bytes, printable};
use super::search::Pages;
use super::{open_log, open_views, unless_reader_left};

/// Maximum number of events that are examined to count those that wait for a projection.
const EXAMINED: u64 = 10_000;
/// Parked events that are counted per projection.
const PARKED: usize = 1000;
/// A view with older waiting events is watched, to see whether it moves.
const STANDSTILL: TimeDelta = TimeDelta::seconds(30);
/// How long it is watched.
const WATCHED: Duration = Duration::from_secs(1);

/// Takes the same settings as the server, which may be running.
#[derive(Debug, Args)]
pub struct Settings {
    /// One JSON object per line, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogUrlSettings,
    #[command(flatten)]
    views: ViewSettings,
}

/// The state of one projection.
#[derive(Debug)]
struct Status {
    name: &'static str,
    /// Of the family, and of the generation that serves; none if none does.
    version: u32,
    generation: Option<u64>,
    views: Vec<&'static str>,
    checkpoint: u64,
    /// Events after the checkpoint, of any kind.
    behind: u64,
    /// Events after the checkpoint that it takes; none if there are too many to examine.
    waiting: Option<u64>,
    /// Age of the oldest event that waits.
    lag: TimeDelta,
    /// Events per second while it was watched.
    rate: Option<u64>,
    parked: Vec<Parked>,
    /// Why it does not move.
    problem: Option<String>,
}

/// # Errors
/// If log or views cannot be read.
pub async fn run(settings: Settings) -> Result<()> {
    let Settings { json, place, log, views } = settings;
    let (log_url, views_url) = (log.url(&place), views.url(&place));
    let log = open_log(&log_url, log.nats_credentials_file.clone()).await?.log;
    let store = open_views(&views_url).await?;
    let statuses = statuses(&*log, &store).await?;
    let report = Report {
        head: log.head().await?,
        sizes: store.sizes().await?,
        reactions: reactions(&store).await?,
        statuses,
    };
    unless_reader_left(if json { report.print_json() } else { report.print_text() })
}

/// The checkpoints of reactions.
async fn reactions(store: &Views) -> Result<BTreeMap<String, u64>> {
    let mut checkpoints = store.checkpoints().await?;
    for projection in projections(&FeedSettings::default()) {
        checkpoints.remove(projection.name());
    }
    Ok(checkpoints)
}

async fn statuses(log: &dyn EventLog, store: &Views) -> Result<Vec<Status>> {
    let checkpoints = store.checkpoints().await?;
    let head = log.head().await?;
    let last_examined = Position(head.0.saturating_sub(EXAMINED));
    let mut recent = Vec::new();
    let mut pages = Pages::new(log, last_examined, head);
    while let Some(page) = pages.next().await? {
        recent.extend(page);
    }
    let now = SystemClock.now();
    let mut statuses = Vec::new();
    for projection in projections(&FeedSettings::default()) {
        let checkpoint = checkpoints.get(projection.name()).copied().unwrap_or(0);
        let older =
            if checkpoint < last_examined.0 { log.raw(Position(checkpoint), 1).await? } else { Vec::new() };
        let family = store.family(projection.name())?;
        let mut status = Status::new(&projection, checkpoint, head, (&older, &recent), now);
        status.version = family.version;
        match store.of_family(family).await {
            Ok((number, generation)) => {
                status.generation = Some(number);
                status.parked = generation.parked(projection.name(), PARKED).await?;
            }
            Err(error) => status.problem = Some(with_causes(&error)),
        }
        statuses.push(status);
    }
    watch(store, &mut statuses).await?;
    Ok(statuses)
}

/// Watches views with old waiting events for a moment.
async fn watch(store: &Views, statuses: &mut [Status]) -> Result<()> {
    let is_suspect = |status: &Status| status.problem.is_none() && status.lag > STANDSTILL;
    if !statuses.iter().any(is_suspect) {
        return Ok(());
    }
    tokio::time::sleep(WATCHED).await;
    let checkpoints = store.checkpoints().await?;
    for status in statuses.iter_mut().filter(|status| is_suspect(status)) {
        let now = checkpoints.get(status.name).copied().unwrap_or(0);
        let moved = now.saturating_sub(status.checkpoint) / WATCHED.as_secs();
        status.rate = Some(moved);
        if moved == 0 {
            status.problem = Some(format!(
                "events wait since {} s and it does not move: no projector runs, or it has stopped or cannot reach the \
                 stores (see /readyz and its log)",
                status.lag.num_seconds()
            ));
        }
    }
    Ok(())
}

impl Status {
    fn new(
        projection: &Arc<dyn Projection>,
        checkpoint: u64,
        head: Position,
        (older, recent): (&[RawEvent], &[RawEvent]),
        now: DateTime<Utc>,
    ) -> Self {
        let kinds: &[Kind] = projection.kinds();
        let takes = |event: &&RawEvent| event.kind().is_some_and(|kind| kinds.contains(&kind));
        let waiting = recent.iter().filter(|event| event.position.0 > checkpoint).filter(takes);
        let (next, waiting) = match older.first() {
            Some(event) => (Some(event), None),
            None => (waiting.clone().next(), Some(waiting.count() as u64)),
        };
        let lag =
            next.and_then(|event| event.attributes.as_ref().ok()).map(|attributes| now - attributes.time);
        Self {
            name: projection.name(),
            version: 1,
            generation: None,
            views: projection.views(),
            checkpoint,
            behind: head.0.saturating_sub(checkpoint),
            waiting,
            lag: lag.unwrap_or_default().max(TimeDelta::zero()),
            rate: None,
            parked: Vec::new(),
            problem: next.filter(takes).and_then(|event| obstacle(event, projection.on_failure())),
        }
    }
}

/// Why a projection cannot get past an event, if it cannot.
fn obstacle(event: &RawEvent, on_failure: OnFailure) -> Option<String> {
    let problem = event.problem()?;
    // An event of a newer version is never parked.
    let is_newer = UnknownEvent::is(&event.event_type);
    (is_newer || on_failure == OnFailure::Stop).then(|| {
        format!("it stops before the event at {} (`{}`): {problem}", event.position, event.event_type)
    })
}

struct Report {
    head: Position,
    sizes: BTreeMap<String, ViewSize>,
    reactions: BTreeMap<String, u64>,
    statuses: Vec<Status>,
}

impl Report {
    /// The views with the projections that write them.
    fn views(&self) -> impl Iterator<Item = (&'static str, &Status, Option<ViewSize>)> {
        let views =
            self.statuses.iter().flat_map(|status| status.views.iter().map(move |&view| (view, status)));
        views.map(|(view, status)| (view, status, self.sizes.get(view).copied()))
    }

    fn print_json(&self) -> Result<()> {
        let mut out = std::io::stdout();
        for (view, status, size) in self.views() {
            let line = json!({
                "view": view,
                "projection": status.name,
                "version": status.version,
                "generation": status.generation,
                "checkpoint": status.checkpoint,
                "head": self.head,
                "behind": status.behind,
                "waiting": status.waiting,
                "lag_seconds": status.lag.num_seconds(),
                "events_per_second": status.rate,
                "documents": size.map(|size| size.documents),
                "bytes": size.map(|size| size.bytes),
                "parked": status.parked.len(),
                "problem": status.problem,
            });
            writeln!(out, "{line}")?;
        }
        for (name, checkpoint) in &self.reactions {
            let behind = self.head.0.saturating_sub(*checkpoint);
            writeln!(
                out,
                "{}",
                json!({ "reaction": name, "checkpoint": checkpoint, "head": self.head, "behind": behind })
            )?;
        }
        Ok(())
    }

    fn print_text(&self) -> Result<()> {
        let mut out = std::io::stdout();
        writeln!(out, "the log ends at {}\n", self.head)?;
        writeln!(
            out,
            "{:<22} {:<16} {:>10} {:>10} {:>8} {:>8} {:>7} {:>10} {:>11} {:>6}",
            "VIEW",
            "PROJECTION",
            "GENERATION",
            "CHECKPOINT",
            "BEHIND",
            "WAITING",
            "LAG",
            "DOCUMENTS",
            "BYTES",
            "PARKED"
        )?;
        for (view, status, size) in self.views() {
            writeln!(
                out,
                "{view:<22} {:<16} {:>10} {:>10} {:>8} {:>8} {:>7} {:>10} {:>11} {:>6}",
                status.name,
                status.generation.map_or("-".to_owned(), |number| format!("v{}g{number}", status.version)),
                status.checkpoint,
                status.behind,
                status.waiting.map_or("many".to_owned(), |waiting| waiting.to_string()),
                format!("{} s", status.lag.num_seconds()),
                size.map_or("-".to_owned(), |size| size.documents.to_string()),
                size.map_or("-".to_owned(), |size| bytes(size.bytes)),
                counted(status.parked.len()),
            )?;
        }
        writeln!(out, "\n{:<22} {:>10} {:>8}", "REACTION", "CHECKPOINT", "BEHIND")?;
        for (name, checkpoint) in &self.reactions {
            writeln!(out, "{name:<22} {checkpoint:>10} {:>8}", self.head.0.saturating_sub(*checkpoint))?;
        }
        for status in &self.statuses {
            if let Some(problem) = &status.problem {
                writeln!(out, "\n! {}: {}", status.name, printable(problem))?;
            }
            if let Some(rate) = status.rate.filter(|rate| *rate > 0) {
                writeln!(out, "\n  {}: catches up with {rate} events per second", status.name)?;
            }
            if let Some(last) = status.parked.last() {
                writeln!(
                    out,
                    "\n! {}: {} events are parked, such as the one at {} (`{}`): {}",
                    status.name,
                    counted(status.parked.len()),
                    last.position,
                    printable(&last.event_type),
                    printable(&last.error)
                )?;
            }
        }
        writeln!(
            out,
            "\nBEHIND counts all events after the checkpoint, WAITING those that the projection takes, LAG is the age of the \
             oldest of these."
        )?;
        Ok(())
    }
}

fn counted(parked: usize) -> String {
    if parked < PARKED { parked.to_string() } else { format!("{parked}+") }
}
