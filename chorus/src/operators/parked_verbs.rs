//! `chorus parked`: the events that projections and reactions could not process.

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use events::{Position, RevealedScope};
use projector::{PARKED_LIMIT, projections};
use serde_json::{Value, json};
use service::config::{FeedSettings, ViewSettings};
use views::{Parked, ViewStore};

use super::event_verbs::at;
use super::output::{OutputSettings, Printer, printable};
use super::reveal::RevealSettings;
use super::{LogAccess, open_views, unless_reader_left};

/// Default of `--limit`.
const LISTED: usize = 1000;

const NOTES: &str = "A projection parks an event that it cannot take in, and later events of the same subject behind it; \
    others go on. Only a rebuild takes parked events in. Reactions park single events.\n\nLooks at the view store beside \
    running servers, or in its files at rest, and changes nothing. Takes the settings of the server (CHORUS_DATA, \
    CHORUS_LOG, CHORUS_VIEWS, …).";

#[derive(Debug, Subcommand)]
#[command(after_help = NOTES)]
pub enum Command {
    /// List parked events with their errors, oldest first
    #[command(after_help = NOTES)]
    List(Box<ListSettings>),
    /// Show one parked event with its body and its error; sealed fields are masked
    #[command(after_help = NOTES)]
    Show(Box<ShowSettings>),
}

#[derive(Debug, Args)]
pub struct ListSettings {
    /// The projection or reaction, such as `posts`; all by default
    family: Option<String>,

    /// Maximum number of events of each projection or reaction
    #[arg(long, value_name = "EVENTS", default_value_t = LISTED)]
    limit: usize,

    /// One JSON object per line, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    access: LogAccess,
    #[command(flatten)]
    views: ViewSettings,
}

#[derive(Debug, Args)]
pub struct ShowSettings {
    /// The projection or reaction, such as `posts`
    family: String,

    /// Position of the event; the oldest parked one by default
    position: Option<u64>,

    /// One JSON object, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    reveal: RevealSettings,
    #[command(flatten)]
    access: LogAccess,
    #[command(flatten)]
    views: ViewSettings,
}

/// # Errors
/// If log or views cannot be read, or there is no such event.
pub async fn run(command: Command) -> Result<()> {
    unless_reader_left(match command {
        Command::List(settings) => list(*settings).await,
        Command::Show(settings) => show(*settings).await,
    })
}

/// All projections, and the reactions that have a checkpoint.
async fn families(store: &dyn ViewStore) -> Result<BTreeSet<String>> {
    let mut names: BTreeSet<String> = store.checkpoints().await?.into_keys().collect();
    names.extend(projections(&FeedSettings::default()).iter().map(|projection| projection.name().to_owned()));
    Ok(names)
}

async fn named(store: &dyn ViewStore, family: String) -> Result<String> {
    let families = families(store).await?;
    if families.contains(&family) {
        return Ok(family);
    }
    let known: Vec<String> = families.into_iter().collect();
    bail!("there is no projection or reaction `{family}`; there are {}", known.join(", "))
}

async fn list(settings: ListSettings) -> Result<()> {
    let ListSettings { family, limit, json, access, views } = settings;
    let store = open_views(&views.url(&access.place)).await?;
    let families = match family {
        Some(family) => BTreeSet::from([named(&store, family).await?]),
        None => families(&store).await?,
    };
    let mut out = std::io::stdout();
    if !json {
        writeln!(out, "{:>9}  {:<16} {:<33} {:<44} ERROR", "POSITION", "FAMILY", "TYPE", "SUBJECT")?;
    }
    for family in families {
        for parked in store.parked(&family, limit).await? {
            let line = if json { json_of(&family, &parked).to_string() } else { line(&family, &parked) };
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

async fn show(settings: ShowSettings) -> Result<()> {
    let ShowSettings { family, position, json, reveal, access, views } = settings;
    let store = open_views(&views.url(&access.place)).await?;
    let family = named(&store, family).await?;
    let all = store.parked(&family, PARKED_LIMIT).await?;
    ensure!(!all.is_empty(), "no event of {family} is parked");
    let wanted = |parked: &&Parked| position.is_none_or(|position| parked.position == position);
    let Some(parked) = all.iter().find(wanted) else {
        bail!("the event at position {} is not parked by {family}", position.unwrap_or_default());
    };
    let is_behind = |other: &&Parked| {
        other.position > parked.position && other.subject.is_some() && other.subject == parked.subject
    };
    let behind = all.iter().filter(is_behind).count();
    let log = access.open().await?.log;
    let event = at(&*log, Position(parked.position)).await?;
    let bodies = reveal.bodies(&access, RevealedScope::Event { position: event.position }).await?;
    let printer = Printer::new(OutputSettings { json, bodies: true }, bodies);
    let shown = printer.detail(&event).await?;
    let mut out = std::io::stdout();
    if json {
        let mut value = json_of(&family, parked);
        value["events_behind"] = behind.into();
        value["event"] = serde_json::from_str(&shown)?;
        writeln!(out, "{value}")?;
    } else {
        writeln!(out, "parked by    {family}, with {behind} later events of its subject behind it")?;
        writeln!(out, "error        {}", printable(&parked.error))?;
        writeln!(out, "{shown}")?;
    }
    Ok(())
}

fn line(family: &str, parked: &Parked) -> String {
    let Parked { position, event_type, subject, error } = parked;
    let subject = subject.as_deref().unwrap_or("-");
    format!(
        "{position:>9}  {family:<16} {:<33} {:<44} {}",
        printable(event_type),
        printable(subject),
        printable(error)
    )
}

fn json_of(family: &str, parked: &Parked) -> Value {
    let Parked { position, event_type, subject, error } = parked;
    json!({ "family": family, "position": position, "type": event_type, "subject": subject, "error": error })
}
