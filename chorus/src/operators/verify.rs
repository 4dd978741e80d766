//! `chorus verify`: folds the log from its beginning, and compares every document with the views. The views may move on
//! meanwhile: documents that differ at first are compared again at one position.

mod comparison;
mod faults;
mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use clap::Args;
use events::LogError;
use projector::reactions::media::{MediaFailed, audit};
use service::clock::{Clock, SystemClock};
use service::config::MediaSettings;
use service::telemetry::with_causes;
use views::View;
use views::generations::Generations;

use self::comparison::{Comparison, fold_near};
use self::faults::Faults;
use self::report::{print_json, print_shadow, print_text};
use super::documents::{FoldAccess, FoldShare, fold_bar, scratch_family};
use super::generation_verbs::family_named;
use super::unless_reader_left;
use crate::media::open_existing;

/// The server deletes unreferenced files that are older than a day by itself.
const MEDIA_GRACE: TimeDelta = TimeDelta::days(2);

const NOTES: &str = "Folds the log from its beginning into temporary files, and compares every document with the views, \
    beside a running server, or with its files at rest. Changes nothing. Takes the settings of the server (CHORUS_DATA, \
    CHORUS_LOG, CHORUS_VIEWS, CHORUS_MEDIA, CHORUS_FAN_OUT_LIMIT, …).\n\nThe exit code is 1 if a document or a parked event \
    differs, a count does not equal its list, the key of an erased user is not destroyed, a file is missing or unreferenced \
    in the media store, or the log has lost an event or holds one that is damaged. Events of types that this version does \
    not know, as newer programs append them, are only listed.";

#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct Settings {
    /// Families of views to compare, or single views, with all that their projection writes [default: all, and the media
    /// store]
    #[arg(value_name = "FAMILY")]
    families: Vec<String>,

    /// Do not compare the media store with the log
    #[arg(long)]
    without_media: bool,

    /// One JSON object per line, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    share: FoldShare,
    #[command(flatten)]
    access: FoldAccess,
    #[command(flatten)]
    media: MediaSettings,
}

const SHADOW_NOTES: &str = "Folds the log with the code of this program into temporary files, up to where the other version's \
    generation is, and compares every document. So a new version is tried on real data, beside the running servers of the old \
    one, before anything is switched. Changes nothing.\n\nThe exit code is 1 if a document differs.";

#[derive(Debug, Args)]
#[command(after_help = SHADOW_NOTES)]
pub struct ShadowSettings {
    /// The family of views
    family: String,

    /// The version to compare with [default: the highest other version that serves]
    #[arg(long)]
    version: Option<u32>,

    /// One JSON object per line, for scripts
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    share: FoldShare,
    #[command(flatten)]
    access: FoldAccess,
}

/// # Errors
/// If log or views cannot be read.
pub async fn run(settings: Settings) -> Result<ExitCode> {
    let Settings { families, without_media, json, share, access, media } = settings;
    let (log, store) = access.open().await?;
    let media = if families.is_empty() && !without_media {
        Some(open_existing(&media.url(&access.log.place)).await?)
    } else {
        None
    };
    let folder = access.scratch_folder()?;
    let mut chosen = access.projections();
    let mut unknown: Vec<&String> = families.iter().collect();
    chosen.retain(|projection| {
        let is_meant =
            |name: &String| *name == projection.name() || projection.views().contains(&name.as_str());
        unknown.retain(|name| !is_meant(name));
        families.is_empty() || families.iter().any(is_meant)
    });
    ensure!(unknown.is_empty(), "there is no family or view `{}`: `chorus views` lists all", unknown[0]);
    let mut comparisons = Vec::new();
    let cache = share.cache() / chosen.len();
    for projection in chosen {
        comparisons
            .push(Comparison::new(scratch_family(projection, folder.path(), cache).await?, share.options()));
    }
    let bar = fold_bar("log ")?;
    let mut faults = Faults::find(&log, &bar).await?;
    bar.set_message("fold");
    fold_near(&log, &*store, &mut comparisons, &bar).await?;
    bar.finish_and_clear();
    for comparison in &mut comparisons {
        comparison.compare(&log, &*store).await?;
        comparison.count().await?;
    }
    if let Some(media) = media {
        let times = (SystemClock.now(), MEDIA_GRACE);
        match audit(&**log.raw(), &*media, times, &|_, _| ()).await {
            Ok(audit) => faults.media = Some(audit),
            // Which files an event claims that cannot be read, nobody knows.
            Err(MediaFailed::Log(error @ LogError::Corrupt { .. })) => {
                faults.media_problem = Some(with_causes(&error));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let differs = faults.count() > 0 || comparisons.iter().any(|comparison| comparison.differences() > 0);
    unless_reader_left(if json {
        print_json(&comparisons, &faults)
    } else {
        print_text(&comparisons, &faults, "all views equal the log, and all counts their lists")
    })?;
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// # Errors
/// If log or views cannot be read, or no other version serves.
pub async fn shadow(settings: ShadowSettings) -> Result<ExitCode> {
    let ShadowSettings { family, version, json, share, access } = settings;
    let (log, views) = access.open_views().await?;
    let own = family_named(&family)?;
    let serving = |(id, record): (String, Generations)| {
        let version: u32 = id.strip_prefix(own.name)?.strip_prefix(".v")?.parse().ok()?;
        Some((version, record.serving?))
    };
    let serving: BTreeMap<u32, u64> = views.records().into_iter().filter_map(serving).collect();
    let other = serving.keys().copied().rfind(|version| *version != own.version);
    let version = version.or(other).with_context(|| {
        format!("no other version of {} serves; that of this program is {}", own.name, own.version)
    })?;
    let number = serving.get(&version).with_context(|| {
        format!("version {version} of {} does not serve: `chorus generations` lists what there is", own.name)
    })?;
    let live = views.open(&views::Family { version, ..*own }, *number).await?;
    let folder = access.scratch_folder()?;
    let projection = access.projections().into_iter().find(|projection| projection.name() == own.name);
    let projection = projection.context("the family has no projection")?;
    let scratch = scratch_family(projection, folder.path(), share.cache()).await?;
    let mut comparison = Comparison::new(scratch, share.options());
    let there = live.sizes().await?;
    let (shared, new) = comparison.views.iter().partition(|view| there.contains_key(view.name));
    let new: Vec<&View> = new;
    comparison.views = shared;
    let bar = fold_bar("fold")?;
    let mut comparisons = [comparison];
    fold_near(&log, &*live, &mut comparisons, &bar).await?;
    bar.finish_and_clear();
    for comparison in &mut comparisons {
        comparison.compare(&log, &*live).await?;
    }
    let differs = comparisons.iter().any(|comparison| comparison.differences() > 0);
    unless_reader_left(if json {
        print_json(&comparisons, &Faults::default())
    } else {
        print_shadow(own, version, *number, &new).and_then(|()| {
            print_text(&comparisons, &Faults::default(), "both versions make the same documents")
        })
    })?;
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
