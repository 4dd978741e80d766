//! `chorus media`: the operator audits and cleans the media store.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use events::{EventLog, Position};
use indicatif::{ProgressBar, ProgressStyle};
use media::MediaStore;
use projector::reactions::media::{Audit, Collected, Limit, audit, collect};
use service::clock::{Clock, SystemClock};
use service::config::{LogUrlSettings, MediaSettings, PlaceSettings};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compare the media store with the log: report missing and unreferenced files
    ///
    /// Changes nothing; the server may be running. Ends with exit code 1 and a list if files are missing or unreferenced. The
    /// server deletes unreferenced files that are older than a day by itself.
    Audit(AuditSettings),
    /// Delete unreferenced pictures and audio files that are older than a day, up to a limit
    ///
    /// The server does so by itself, unless they are more than a small share of the store: find the cause first. The server
    /// may be running.
    Clean(CleanSettings),
}

/// Takes the same settings as the server whose media it deletes.
#[derive(Debug, Args)]
pub struct CleanSettings {
    /// Delete nothing if there are more
    #[arg(long, value_name = "FILES")]
    limit: usize,

    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogUrlSettings,
    #[command(flatten)]
    media: MediaSettings,
}

/// Takes the same settings as the server whose media it audits.
#[derive(Debug, Args)]
pub struct AuditSettings {
    /// Minutes for which a file may be unreferenced, since its upload may be in progress
    #[arg(long, value_name = "MINUTES", default_value_t = 10)]
    grace: u32,

    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogUrlSettings,
    #[command(flatten)]
    media: MediaSettings,
}

/// # Errors
/// If files are missing or unreferenced, or the store cannot be read.
pub async fn run(command: Command) -> Result<()> {
    match command {
        Command::Audit(settings) => run_audit(settings).await,
        Command::Clean(settings) => clean(settings).await,
    }
}

async fn open(
    place: &PlaceSettings,
    log: &LogUrlSettings,
    media: &MediaSettings,
) -> Result<(Arc<dyn EventLog>, Arc<dyn MediaStore>)> {
    let credentials = log.nats_credentials_file.clone();
    let events::Opened { log, .. } =
        events::open_read_only(&log.url(place), credentials).await.context("opening the event log")?;
    Ok((log, open_existing(&media.url(place)).await?))
}

/// Opens a media store that is there.
pub(crate) async fn open_existing(url: &str) -> Result<Arc<dyn MediaStore>> {
    let opened = media::open_existing(url).await.map_err(anyhow::Error::msg);
    opened.context("opening the media store: are CHORUS_DATA and CHORUS_MEDIA set as for the server?")
}

async fn clean(settings: CleanSettings) -> Result<()> {
    let CleanSettings { limit, place, log, media } = settings;
    let (log, media) = open(&place, &log, &media).await?;
    let Collected { checked, deleted } =
        collect(&*log, &*media, SystemClock.now(), Limit::Files(limit)).await?;
    let mut out = std::io::stdout().lock();
    for file in &deleted {
        writeln!(out, "deleted  {file}")?;
    }
    writeln!(
        out,
        "deleted {} of {checked} pictures and audio files: no event refers to them",
        deleted.len()
    )?;
    Ok(())
}

async fn run_audit(settings: AuditSettings) -> Result<()> {
    let AuditSettings { grace, place, log, media } = settings;
    let (log, media) = open(&place, &log, &media).await?;
    let style = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} events ({eta})")?;
    let bar = ProgressBar::no_length().with_style(style);
    let show_progress = |passed: Position, head: Position| {
        bar.set_length(head.0);
        bar.set_position(passed.0);
    };
    let times = (SystemClock.now(), TimeDelta::minutes(grace.into()));
    let audited = audit(&*log, &*media, times, &show_progress).await;
    bar.finish_and_clear();
    report(&audited.context("the audit failed")?)
}

fn report(audit: &Audit) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for missing in &audit.missing {
        writeln!(out, "missing       {}  (of {})", missing.key, missing.referenced_by)?;
    }
    for name in &audit.unreferenced {
        writeln!(out, "unreferenced  {name}")?;
    }
    writeln!(
        out,
        "{} pictures are referenced, {} files are stored, {} unreferenced ones are within the grace period",
        audit.pictures, audit.files, audit.young
    )?;
    if !audit.is_clean() {
        bail!("{} files are missing, {} are unreferenced", audit.missing.len(), audit.unreferenced.len());
    }
    writeln!(out, "nothing is missing, nothing is unreferenced")?;
    Ok(())
}
