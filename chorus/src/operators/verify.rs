//! `chorus verify`: folds the log from its beginning, and compares every document with the views. The views may move on
//! meanwhile: documents that differ at first are compared again at one position.

use std::collections::BTreeMap;
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chrono::TimeDelta;
use clap::Args;
use events::{Position, SealedLog, Subject, UserId};
use futures::StreamExt;
use indicatif::ProgressBar;
use projector::fold::{Family, FoldError, FoldOptions, fold};
use projector::reactions::media::{Audit, audit};
use serde_json::{Value, json};
use service::clock::{Clock, SystemClock};
use service::config::MediaSettings;
use views::counts::{COUNTS, WrongCount};
use views::generations::Generations;
use views::{Parked, View, ViewStore};

use super::documents::{
    Fields, FoldAccess, PERSONAL_MARK, changed, fields, fold_bar, follow_fold, scratch_family, views_of,
};
use super::output::printable;
use super::search::pages_up_to;
use super::unless_reader_left;
use crate::media::open_existing;

/// Documents per page of a comparison.
const PAGE: usize = 1000;
/// Documents of one family that may differ at first, before no more are looked for.
const SUSPECTS: usize = 100_000;
/// Suspects that are compared together, at one position.
const TOGETHER: usize = 200;
/// Attempts to read suspects while their view does not move.
const ATTEMPTS: usize = 500;
/// The fold is continued this often before the comparison, as the views move on during it.
const ROUNDS: usize = 5;
/// It is near enough when the views are at most this many events ahead.
const NEAR: u64 = 1000;
/// Parked events that are compared per family.
const PARKED: usize = 10_000;
/// Faults of the log that are listed.
const FAULTS: usize = 1000;
/// The server deletes unreferenced files that are older than a day by itself.
const MEDIA_GRACE: TimeDelta = TimeDelta::days(2);
/// A key is destroyed this soon after the event of the erasure, unless the vault cannot be reached.
const DESTRUCTION: Duration = Duration::from_secs(2);
/// The type of the event that erases a user.
const ERASED: &str = "account.erased.v1";
/// Differences of each family that are listed as text; as JSON all are.
const LISTED: usize = 20;

const NOTES: &str = "Folds the log from its beginning into temporary files, and compares every document with the views, \
    beside a running server, or with its files at rest. Changes nothing. Takes the settings of the server (CHORUS_DATA, \
    CHORUS_LOG, CHORUS_VIEWS, CHORUS_MEDIA, CHORUS_FAN_OUT_LIMIT, …).\n\nThe exit code is 1 if a document or a parked event \
    differs, a count does not equal its list, the key of an erased user is not destroyed, a file is missing or unreferenced \
    in the media store, or the log has lost an event. Events that no program of this version can read are listed.";

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
    access: FoldAccess,
}

/// The comparison of one family.
struct Comparison {
    family: Family,
    views: Vec<&'static View>,
    /// Why the fold ended before an event, if it did.
    stopped: Option<String>,
    suspects: Vec<(&'static View, String)>,
    documents: u64,
    differences: Vec<Difference>,
    /// Numbers in the fold that do not equal the lists in the fold: this program counts wrongly.
    wrong_counts: Vec<WrongCount>,
    parked: Vec<Parked>,
    /// Positions that are parked in the views only, or in the fold only.
    parked_apart: Vec<u64>,
    position: u64,
}

/// A document that is not the same.
#[derive(Debug)]
struct Difference {
    view: &'static str,
    key: String,
    kind: &'static str,
    fields: Vec<String>,
}

/// What is wrong beside the views.
#[derive(Debug, Default)]
struct Faults {
    /// First and last position of each gap.
    gaps: Vec<(u64, u64)>,
    /// Position, type and problem.
    unreadable: Vec<(u64, String, String)>,
    /// Erased users whose key can still be read.
    undestroyed: Vec<UserId>,
    /// None if the media store is not compared.
    media: Option<Audit>,
}

/// # Errors
/// If log or views cannot be read.
pub async fn run(settings: Settings) -> Result<ExitCode> {
    let Settings { families, without_media, json, access, media } = settings;
    let (log, store) = access.open().await?;
    let media = if families.is_empty() && !without_media {
        Some(open_existing(&media.url(&access.log.place)).await?)
    } else {
        None
    };
    let folder = access.scratch_folder()?;
    let mut comparisons = Vec::new();
    let mut unknown: Vec<&String> = families.iter().collect();
    for projection in access.projections() {
        let is_meant =
            |name: &String| *name == projection.name() || projection.views().contains(&name.as_str());
        if families.is_empty() || families.iter().any(is_meant) {
            unknown.retain(|name| !is_meant(name));
            comparisons.push(Comparison::new(scratch_family(projection, folder.path()).await?));
        }
    }
    ensure!(unknown.is_empty(), "there is no family or view `{}`: `chorus views` lists all", unknown[0]);
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
        faults.media = Some(audit(&**log.raw(), &*media, times, &|_, _| ()).await?);
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
    let ShadowSettings { family, version, json, access } = settings;
    let (log, views) = access.open_views().await?;
    let own = views.family(&family)?;
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
    let mut comparison = Comparison::new(scratch_family(projection, folder.path()).await?);
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

fn print_shadow(own: &views::Family, version: u32, number: u64, new: &[&View]) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "version {} of {}, folded by this program, against generation {number} of version {version}",
        own.version, own.name
    )?;
    for view in new {
        writeln!(out, "  the other version has no view {}", view.name)?;
    }
    Ok(writeln!(out)?)
}

/// Folds each family to where its view is, and on while the views have moved far meanwhile.
async fn fold_near(
    log: &SealedLog,
    store: &dyn ViewStore,
    comparisons: &mut [Comparison],
    bar: &ProgressBar,
) -> Result<()> {
    for _ in 0..ROUNDS {
        let checkpoints = store.checkpoints().await?;
        let mut targets: BTreeMap<u64, usize> = BTreeMap::new();
        let mut furthest = 0;
        for comparison in comparisons.iter_mut().filter(|comparison| comparison.stopped.is_none()) {
            let name = comparison.family.projection.name();
            let live = checkpoints.get(name).copied().unwrap_or(0);
            furthest = furthest.max(live.saturating_sub(comparison.position));
            *targets.entry(live).or_default() += 1;
        }
        // The log is read once: those whose views are further ahead go on from where the others are.
        for target in targets.into_keys() {
            let checkpoint = |name: &str| checkpoints.get(name).copied().unwrap_or(0);
            let ahead = comparisons
                .iter_mut()
                .filter(|comparison| checkpoint(comparison.family.projection.name()) >= target);
            fold_to(log, ahead.collect(), target, bar).await?;
        }
        if furthest <= NEAR {
            return Ok(());
        }
    }
    Ok(())
}

/// Folds to a position. A family that an event stops is left out of all later folds.
async fn fold_to(
    log: &SealedLog,
    mut comparisons: Vec<&mut Comparison>,
    target: u64,
    bar: &ProgressBar,
) -> Result<()> {
    comparisons.retain(|comparison| comparison.stopped.is_none() && comparison.position < target);
    while !comparisons.is_empty() {
        let families: Vec<Family> = comparisons.iter().map(|comparison| comparison.family.clone()).collect();
        let folded = fold(log, &families, Position(target), &FoldOptions::default(), &follow_fold(bar)).await;
        match folded {
            Err(FoldError::Stopped { projection, position, event_type, error }) => {
                let stopped = comparisons
                    .iter_mut()
                    .find(|comparison| comparison.family.projection.name() == projection)
                    .context("a projection that is not folded has stopped")?;
                stopped.stopped = Some(format!("before the event at {position} (`{event_type}`): {error}"));
                stopped.position = stopped.family.store.checkpoint(projection).await?;
                comparisons.retain(|comparison| comparison.stopped.is_none());
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {
                for comparison in comparisons {
                    comparison.position = target;
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

impl Comparison {
    fn new(family: Family) -> Self {
        Self {
            views: views_of(&*family.projection),
            family,
            stopped: None,
            suspects: Vec::new(),
            documents: 0,
            differences: Vec::new(),
            wrong_counts: Vec::new(),
            parked: Vec::new(),
            parked_apart: Vec::new(),
            position: 0,
        }
    }

    fn name(&self) -> &'static str {
        self.family.projection.name()
    }

    fn differences(&self) -> usize {
        // A family that the fold could not reach is one: the view has passed the event.
        self.differences.len()
            + self.wrong_counts.len()
            + self.parked_apart.len()
            + usize::from(self.stopped.is_some())
    }

    /// Compares documents and parked events.
    async fn compare(&mut self, log: &SealedLog, live: &dyn ViewStore) -> Result<()> {
        self.find_suspects(live).await?;
        self.compare_suspects(log, live).await?;
        self.compare_parked(live).await
    }

    /// Compares all documents while the view may move on.
    async fn find_suspects(&mut self, live: &dyn ViewStore) -> Result<()> {
        for &view in &self.views {
            let mut after: Option<String> = None;
            while self.suspects.len() < SUSPECTS {
                let ours = self.family.store.scan(view, after.as_deref(), PAGE).await?;
                let theirs = live.scan(view, after.as_deref(), PAGE).await?;
                // Compared up to where both pages reach.
                let end_of = |page: &[views::StoredDocument]| {
                    (page.len() == PAGE).then(|| page.last().map(|last| last.key.clone())).flatten()
                };
                let end = match (end_of(&ours), end_of(&theirs)) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
                let mut both: BTreeMap<String, [Option<Fields>; 2]> = BTreeMap::new();
                for (side, page) in [ours, theirs].iter().enumerate() {
                    for document in page {
                        if end.as_ref().is_none_or(|end| document.key <= *end) {
                            both.entry(document.key.clone()).or_default()[side] = Some(fields(document)?);
                        }
                    }
                }
                self.documents += both.len() as u64;
                let apart = both.into_iter().filter(|(_, [one, other])| one != other);
                self.suspects.extend(apart.map(|(key, _)| (view, key)));
                after = end;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Compares suspects again, some at a time, each time at the position of the view.
    async fn compare_suspects(&mut self, log: &SealedLog, live: &dyn ViewStore) -> Result<()> {
        let suspects = std::mem::take(&mut self.suspects);
        for together in suspects.chunks(TOGETHER) {
            let (position, theirs) = self.read_at_one_position(live, together).await?;
            ensure!(
                position >= self.position,
                "the view {} went back from {} to {position}: it is being rebuilt; try again later",
                self.name(),
                self.position
            );
            fold_to(log, vec![self], position, &ProgressBar::hidden()).await?;
            let ours = read_all(&*self.family.store, together).await?;
            for (((view, key), ours), theirs) in together.iter().zip(ours).zip(theirs) {
                let kind = match (&ours, &theirs) {
                    (Some(_), None) => "missing",
                    (None, Some(_)) => "extra",
                    _ if ours == theirs => continue,
                    _ => "different",
                };
                let document = ours.as_ref().or(theirs.as_ref()).cloned().unwrap_or_default();
                let key = view.masked_key(key, &document, PERSONAL_MARK);
                let fields =
                    if kind == "different" { changed(ours.as_ref(), theirs.as_ref()) } else { Vec::new() };
                self.differences.push(Difference { view: view.name, key, kind, fields });
            }
        }
        Ok(())
    }

    async fn read_at_one_position(
        &self,
        live: &dyn ViewStore,
        suspects: &[(&'static View, String)],
    ) -> Result<(u64, Vec<Option<Fields>>)> {
        for _ in 0..ATTEMPTS {
            let before = live.checkpoint(self.name()).await?;
            let found = read_all(live, suspects).await?;
            // A commit moves documents and checkpoint together.
            if live.checkpoint(self.name()).await? == before {
                return Ok((before, found));
            }
        }
        bail!("the view {} moves too fast to be compared: try again when there is less to do", self.name())
    }

    async fn compare_parked(&mut self, live: &dyn ViewStore) -> Result<()> {
        let (name, position) = (self.name(), self.position);
        let mut theirs = live.parked(name, PARKED).await?;
        theirs.retain(|parked| parked.position <= position);
        let ours = self.family.store.parked(name, PARKED).await?;
        let is_in = |list: &[Parked], at: u64| list.iter().any(|parked| parked.position == at);
        let all = ours.iter().chain(&theirs).map(|parked| parked.position);
        let mut apart: Vec<u64> = all.filter(|&at| is_in(&ours, at) != is_in(&theirs, at)).collect();
        apart.sort_unstable();
        self.parked_apart = apart;
        self.parked = theirs;
        Ok(())
    }

    /// Counts again in the fold, which nothing changes meanwhile: the views equal it, or differ from it.
    async fn count(&mut self) -> Result<()> {
        let store = &*self.family.store;
        for count in COUNTS.iter().filter(|count| self.views.contains(&count.view)) {
            let room = SUSPECTS.saturating_sub(self.wrong_counts.len());
            for mut wrong in count.wrong(store, room).await? {
                let document =
                    store.get_many(wrong.view, &[wrong.key.clone()]).await?.into_iter().flatten().next();
                let document = document.as_ref().map(fields).transpose()?.unwrap_or_default();
                wrong.key = wrong.view.masked_key(&wrong.key, &document, PERSONAL_MARK);
                self.wrong_counts.push(wrong);
            }
        }
        Ok(())
    }

    fn to_json(&self) -> Value {
        let wrong_counts = self.wrong_counts.iter().map(|WrongCount { view, key, field, stored, counted }| {
            json!({ "view": view.name, "key": key, "field": field, "stored": stored, "counted": counted })
        });
        let differences = self.differences.iter().map(|Difference { view, key, kind, fields }| {
            json!({ "view": view, "key": key, "kind": kind, "fields": fields })
        });
        let parked = self.parked.iter().map(|Parked { position, event_type, subject, error }| {
            json!({ "position": position, "type": event_type, "subject": subject, "error": error })
        });
        json!({
            "family": self.name(),
            "position": self.position,
            "documents": self.documents,
            "differences": differences.collect::<Vec<_>>(),
            "wrong_counts": wrong_counts.collect::<Vec<_>>(),
            "parked": parked.collect::<Vec<_>>(),
            "parked_apart": self.parked_apart,
            "stopped": self.stopped,
        })
    }
}

async fn read_all(
    store: &dyn ViewStore,
    suspects: &[(&'static View, String)],
) -> Result<Vec<Option<Fields>>> {
    let mut found = Vec::with_capacity(suspects.len());
    for of_one_view in suspects.chunk_by(|(one, _), (other, _)| one.name == other.name) {
        let keys: Vec<String> = of_one_view.iter().map(|(_, key)| key.clone()).collect();
        for document in store.get_many(of_one_view[0].0, &keys).await? {
            found.push(document.as_ref().map(fields).transpose()?);
        }
    }
    Ok(found)
}

impl Faults {
    /// Reads the whole log. Positions have no gaps on either engine: events are never deleted.
    async fn find(log: &SealedLog, bar: &ProgressBar) -> Result<Self> {
        let raw = &**log.raw();
        let head = raw.head().await?;
        bar.set_length(head.0);
        let (mut faults, mut reached) = (Self::default(), 0);
        let mut pages = pin!(pages_up_to(raw, head));
        while let Some(page) = pages.next().await {
            let mut erased = Vec::new();
            for event in page? {
                if event.event_type == ERASED
                    && let Ok(Subject::Account(user)) = event.subject.parse()
                {
                    erased.push(user);
                }
                let position = event.position.0;
                let is_missing = event.subject.is_empty() && event.event_type.is_empty();
                let lost = if is_missing { position } else { position - 1 };
                if lost > reached && faults.gaps.len() < FAULTS {
                    faults.gaps.push((reached + 1, lost));
                }
                reached = position;
                if !is_missing
                    && faults.unreadable.len() < FAULTS
                    && let Some(problem) = event.problem()
                {
                    faults.unreadable.push((position, event.event_type, problem));
                }
            }
            faults.undestroyed.extend(log.keys().undestroyed(&erased).await?);
            bar.set_position(reached);
        }
        // The key of a user who was erased just now is destroyed a moment later.
        if !faults.undestroyed.is_empty() {
            tokio::time::sleep(DESTRUCTION).await;
            faults.undestroyed = log.keys().undestroyed(&faults.undestroyed).await?;
        }
        Ok(faults)
    }

    fn count(&self) -> usize {
        let of_media = self.media.as_ref().map_or(0, |media| media.missing.len() + media.unreferenced.len());
        self.gaps.len() + self.undestroyed.len() + of_media
    }
}

fn print_json(comparisons: &[Comparison], faults: &Faults) -> Result<()> {
    let mut out = std::io::stdout();
    for comparison in comparisons {
        writeln!(out, "{}", comparison.to_json())?;
    }
    let gaps: Vec<Value> =
        faults.gaps.iter().map(|(first, last)| json!({ "first": first, "last": last })).collect();
    let unreadable = faults.unreadable.iter().map(|(position, event_type, problem)| {
        json!({ "position": position, "type": event_type, "problem": problem })
    });
    let media = faults.media.as_ref().map(|media| {
        let missing = media
            .missing
            .iter()
            .map(|missing| json!({ "file": missing.key.as_str(), "of": missing.referenced_by.to_string() }));
        json!({
            "files": media.files, "pictures": media.pictures, "young": media.young,
            "missing": missing.collect::<Vec<_>>(), "unreferenced": media.unreferenced,
        })
    });
    let faults = json!({
        "gaps": gaps, "unreadable": unreadable.collect::<Vec<_>>(), "undestroyed_keys": faults.undestroyed, "media": media,
    });
    writeln!(out, "{faults}")?;
    Ok(())
}

fn print_text(comparisons: &[Comparison], faults: &Faults, equal: &str) -> Result<()> {
    let mut out = std::io::stdout();
    for (first, last) in &faults.gaps {
        writeln!(out, "! the log has lost the events {first} to {last}")?;
    }
    for (position, event_type, problem) in &faults.unreadable {
        let (event_type, problem) = (printable(event_type), printable(problem));
        writeln!(out, "! the event at {position} (`{event_type}`) is unreadable: {problem}")?;
    }
    for user in &faults.undestroyed {
        writeln!(out, "! user {user} is erased, but their key is not destroyed")?;
    }
    if let Some(media) = &faults.media {
        print_media(media, &mut out)?;
    }
    writeln!(
        out,
        "{:<16} {:>10} {:>10} {:>7} {:>11}",
        "FAMILY", "POSITION", "DOCUMENTS", "PARKED", "DIFFERENCES"
    )?;
    for comparison in comparisons {
        let Comparison { position, documents, differences, parked, parked_apart, stopped, .. } = comparison;
        let wrong_counts = &comparison.wrong_counts;
        writeln!(
            out,
            "{:<16} {position:>10} {documents:>10} {:>7} {:>11}",
            comparison.name(),
            parked.len(),
            comparison.differences()
        )?;
        if let Some(stopped) = stopped {
            writeln!(out, "  ! the fold stops {}, which the view has passed", printable(stopped))?;
        }
        for Difference { view, key, kind, fields } in differences.iter().take(LISTED) {
            let named = if fields.is_empty() { String::new() } else { format!(" in {}", fields.join(", ")) };
            writeln!(out, "  ! {view} {}: {kind}{named}", printable(key))?;
        }
        if differences.len() > LISTED {
            writeln!(out, "  ! and {} others (--json lists them)", differences.len() - LISTED)?;
        }
        for WrongCount { view, key, field, stored, counted } in wrong_counts.iter().take(LISTED) {
            writeln!(
                out,
                "  ! {} {}: {field} is {stored}, but the list has {counted}",
                view.name,
                printable(key)
            )?;
        }
        if wrong_counts.len() > LISTED {
            writeln!(out, "  ! and {} other counts (--json lists them)", wrong_counts.len() - LISTED)?;
        }
        for position in parked_apart {
            writeln!(
                out,
                "  ! the event at {position} is parked in the view or in the fold, but not in both"
            )?;
        }
        for Parked { position, event_type, error, subject: _ } in parked.iter().take(LISTED) {
            writeln!(
                out,
                "  the event at {position} (`{}`) is parked: {}",
                printable(event_type),
                printable(error)
            )?;
        }
    }
    let found: usize = comparisons.iter().map(Comparison::differences).sum();
    if found == 0 && faults.count() == 0 {
        return Ok(writeln!(out, "{equal}")?);
    }
    let noun = if found == 1 { "difference" } else { "differences" };
    writeln!(
        out,
        "{found} {noun}. Missing documents are in the fold of the log only, extra ones in the view only."
    )?;
    if comparisons.iter().any(|comparison| !comparison.wrong_counts.is_empty()) {
        writeln!(
            out,
            "This program counts wrongly: the fold itself has numbers that do not equal its lists."
        )?;
    }
    Ok(())
}

fn print_media(media: &Audit, out: &mut impl Write) -> Result<()> {
    for missing in media.missing.iter().take(LISTED) {
        writeln!(out, "! the file {} of {} is missing", missing.key, missing.referenced_by)?;
    }
    for file in media.unreferenced.iter().take(LISTED) {
        writeln!(out, "! the file {} is unreferenced", printable(file))?;
    }
    if media.missing.len().max(media.unreferenced.len()) > LISTED {
        writeln!(out, "! and other files (`chorus media audit` lists all)")?;
    }
    Ok(())
}
