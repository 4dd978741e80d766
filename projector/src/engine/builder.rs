//! Builds new generations of families beside those that serve: folds the log into scratch files, and publishes these.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::{LogError, SealedLog};
use service::clock::{Clock, SystemClock};
use thiserror::Error;
use tokio::time::Instant;
use views::generations::{Builder, Generation, GenerationState, Generations};
use views::{Family, SqliteViews, StoreError, ViewStore, Views};

use super::fold::{self, FoldError, FoldOptions, FoldProgress};
use crate::Projection;

/// How often a builder says how far it is.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A builder that has said nothing for this long is dead or paused, and may be replaced.
const LEASE: Duration = Duration::from_secs(5);
const LEASE_POLL: Duration = Duration::from_millis(250);
/// A projector catches up with this many events in less than a second.
const NEAR: u64 = 1000;
/// Memory for page caches of a server that builds views, in bytes.
const CACHE: usize = 256 << 20;
/// Maximum number of folds over the events that came during the fold before.
const ROUNDS: usize = 10;

/// Where and how generations are built.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// For scratch files of engines that have no folder of their own.
    pub folder: PathBuf,
    /// Memory for page caches, in bytes, of all families together.
    pub cache: usize,
    pub fold: FoldOptions,
    /// Whether the new generations shall serve once they are complete. The first generation of a family does so anyway.
    pub switch: bool,
}

impl BuildSettings {
    /// For a server that finds no views of its version.
    pub fn for_missing(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), cache: CACHE, fold: FoldOptions::default(), switch: true }
    }
}

/// A generation that is complete up to a position near the end of the log.
#[derive(Debug, Clone, Copy)]
pub struct Built {
    pub family: &'static Family,
    pub number: u64,
}

/// Why a generation was not built.
#[derive(Debug, Error)]
pub enum BuildError {
    #[error(
        "{family} is already being built by {builder}, which has done {percent} %; wait for it, or stop it and try again \
         after {} s", LEASE.as_secs()
    )]
    InProgress { family: &'static str, builder: String, percent: u64 },
    #[error(
        "generation {number} of {family} was given to another builder: this one stood still for too long"
    )]
    Replaced { family: &'static str, number: u64 },
    #[error("creating a folder for temporary files")]
    Folder(#[source] std::io::Error),
    #[error("folding the log")]
    Fold(#[from] FoldError),
    #[error("using the view store")]
    Store(#[from] StoreError),
    #[error("reading the log")]
    Log(#[from] LogError),
}

/// Takes the numbers of new generations. They must be built by [`build`] at once: a builder that says nothing for some
/// seconds is replaced.
///
/// # Errors
/// If one of the families is being built already; then none is taken.
pub async fn claim(views: &Views, projections: &[Arc<dyn Projection>]) -> Result<Vec<Built>, BuildError> {
    let families = projections.iter().map(|projection| views.family(projection.name()));
    let families: Vec<&'static Family> = families.collect::<Result<_, _>>()?;
    let abandoned = abandoned(views, &families).await?;
    let mut claimed = Vec::new();
    for family in families {
        match claim_one(views, family, abandoned.get(family.name).copied()).await {
            Ok(built) => claimed.push(built),
            Err(error) => {
                abandon(views, &claimed).await;
                return Err(error);
            }
        }
    }
    Ok(claimed)
}

/// Builds the claimed generations of the views of these projections, all from one reading of the log.
///
/// # Errors
/// If one of them cannot be built. Those that were complete before stay, as they may serve already; the others are deleted.
pub async fn build(
    log: &SealedLog,
    views: &Views,
    projections: &[Arc<dyn Projection>],
    claimed: &[Built],
    settings: &BuildSettings,
    on_progress: &(dyn Fn(FoldProgress) + Send + Sync),
) -> Result<(), BuildError> {
    let built = build_claimed(log, views, projections, claimed, settings, on_progress).await;
    if built.is_err() {
        abandon(views, claimed).await;
    }
    built
}

/// Deletes the generations of this builder that are not complete.
async fn abandon(views: &Views, claimed: &[Built]) {
    for Built { family, number } in claimed {
        let is_complete = |generation: &Generation| {
            generation.number == *number && generation.state != GenerationState::Building
        };
        let record = views.record(family);
        if record.is_some_and(|record| record.generations.iter().any(is_complete)) {
            continue;
        }
        if let Err(error) = drop_generation(views, family, *number).await {
            // The next builder of the family deletes it.
            tracing::warn!(family = family.name, number, %error, "not deleted");
        }
    }
}

/// Deletes a generation that is neither read nor fed any more, and takes it out of its record.
///
/// # Errors
/// If the store is unavailable.
pub async fn drop_generation(views: &Views, family: &'static Family, number: u64) -> Result<(), StoreError> {
    views.generation_store().delete(family, number).await?;
    let unlist = |record: Option<&Generations>| {
        let mut record = record?.clone();
        let before = record.generations.len();
        record.generations.retain(|generation| generation.number != number);
        if record.previous == Some(number) {
            record.previous = None;
        }
        (record.generations.len() < before).then_some(record)
    };
    views.change(family, unlist).await.map(drop)
}

/// Takes the next number of a family, in place of an abandoned generation.
async fn claim_one(
    views: &Views,
    family: &'static Family,
    abandoned: Option<u64>,
) -> Result<Built, BuildError> {
    let started = SystemClock.now().timestamp_millis();
    let name = format!("process {} on {}", std::process::id(), host());
    let mut number = 0;
    let (mut in_progress, mut replaced) = (None, None);
    let add = |record: Option<&Generations>| {
        // No server has started with this version of the family yet.
        let mut record = record.cloned().unwrap_or(Generations { next: 1, ..Generations::default() });
        let building = record.building().map(|other| other.number);
        if let Some(other) = record.building().filter(|other| Some(other.number) != abandoned) {
            in_progress = Some(refused(family, other));
            return None;
        }
        record.generations.retain(|generation| Some(generation.number) != building);
        replaced = building;
        number = record.next.max(1);
        record.next = number + 1;
        let builder = Builder { name: name.clone(), started, beat: 0, position: 0, target: 0 };
        let state = GenerationState::Building;
        record.generations.push(Generation { number, state, builder: Some(builder) });
        Some(record)
    };
    let (_, added) = views.change(family, add).await?;
    if let Some(replaced) = replaced.filter(|_| added) {
        views.generation_store().delete(family, replaced).await?;
    }
    in_progress.filter(|_| !added).map_or(Ok(Built { family, number }), Err)
}

fn refused(family: &Family, other: &Generation) -> BuildError {
    let builder = other.builder.as_ref();
    BuildError::InProgress {
        family: family.name,
        builder: builder.map_or_else(|| "another program".to_owned(), |builder| builder.name.clone()),
        percent: builder.map_or(0, Builder::percent),
    }
}

/// The generations, by family, whose builders do not live any more. Clocks of different machines are not compared: the builders
/// must stand still while this process watches, all of them at the same time.
async fn abandoned(
    views: &Views,
    families: &[&'static Family],
) -> Result<BTreeMap<&'static str, u64>, BuildError> {
    let building = |family: &Family| views.record(family).and_then(|record| record.building().cloned());
    let found = families.iter().filter_map(|family| Some((*family, building(family)?)));
    let found: Vec<(&'static Family, Generation)> = found.collect();
    let since = Instant::now();
    while !found.is_empty() && since.elapsed() < LEASE {
        tokio::time::sleep(LEASE_POLL).await;
        views.refresh().await?;
        for (family, before) in &found {
            if let Some(now) = building(family).filter(|now| now != before) {
                return Err(refused(family, &now));
            }
        }
    }
    Ok(found.into_iter().map(|(family, generation)| (family.name, generation.number)).collect())
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this machine".to_owned() } else { name.trim().to_owned() }
}

async fn build_claimed(
    log: &SealedLog,
    views: &Views,
    projections: &[Arc<dyn Projection>],
    claimed: &[Built],
    settings: &BuildSettings,
    on_progress: &(dyn Fn(FoldProgress) + Send + Sync),
) -> Result<(), BuildError> {
    let progress = Mutex::new((0, 0));
    let report = |now: FoldProgress| {
        *progress.lock().unwrap_or_else(PoisonError::into_inner) = (now.position.0, now.target.0);
        on_progress(now);
    };
    let work = async {
        let engine = views.generation_store();
        // Deleted at the end, also of an interrupted build.
        let folder = tempfile::tempdir_in(&settings.folder).map_err(BuildError::Folder)?;
        let cache = settings.cache / claimed.len().max(1);
        let (mut scratches, mut families) = (Vec::new(), Vec::new());
        for (built, projection) in claimed.iter().zip(projections) {
            let file = engine.scratch_file(built.family, built.number, folder.path());
            let scratch =
                Arc::new(SqliteViews::create_scratch(&file, built.family.views.to_vec(), cache).await?);
            let store: Arc<dyn ViewStore> = scratch.clone();
            families.push(fold::Family { projection: Arc::clone(projection), store });
            scratches.push(scratch);
        }
        let mut reached = 0;
        for _ in 0..ROUNDS {
            let head = log.raw().head().await?;
            if reached > 0 && head.0 <= reached + NEAR {
                break;
            }
            fold::fold(log, &families, head, &settings.fold, &report).await?;
            reached = head.0;
        }
        drop(families);
        for (built, scratch) in claimed.iter().zip(scratches) {
            engine.publish(built.family, built.number, scratch).await?;
            finish(views, *built, reached, settings.switch).await?;
        }
        Ok(())
    };
    let beat = async {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let (position, target) = *progress.lock().unwrap_or_else(PoisonError::into_inner);
            for built in claimed {
                if let Err(error) = self::beat(views, *built, position, target).await {
                    return error;
                }
            }
        }
    };
    tokio::select! {
        outcome = work => outcome,
        error = beat => Err(error),
    }
}

/// Says that the builder lives.
async fn beat(views: &Views, built: Built, position: u64, target: u64) -> Result<(), BuildError> {
    let Built { family, number } = built;
    let mut is_listed = false;
    let beat = |record: Option<&Generations>| {
        let mut record = record?.clone();
        let generation = record.get_mut(number)?;
        is_listed = true;
        let builder =
            generation.builder.as_mut().filter(|_| generation.state == GenerationState::Building)?;
        (builder.beat, builder.position, builder.target) = (builder.beat + 1, position, target);
        Some(record)
    };
    match views.change(family, beat).await {
        Ok(_) if is_listed => Ok(()),
        Ok(_) => Err(BuildError::Replaced { family: family.name, number }),
        Err(StoreError::Unavailable(error)) => {
            // Another builder may replace this one meanwhile, which it then sees.
            tracing::warn!(family = family.name, %error, "the builder's progress was not recorded");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Marks a generation as complete, so that projectors feed it.
async fn finish(views: &Views, built: Built, reached: u64, switch: bool) -> Result<(), BuildError> {
    let Built { family, number } = built;
    let finish = |record: Option<&Generations>| {
        let mut record = record?.clone();
        // It may have been dropped meanwhile.
        let building = |generation: &&mut Generation| generation.state == GenerationState::Building;
        let generation = record.get_mut(number).filter(building)?;
        generation.state = GenerationState::Ready;
        if let Some(builder) = &mut generation.builder {
            (builder.position, builder.target) = (reached, reached);
        }
        if switch && record.serving.is_some() {
            record.wanted = Some(number);
        }
        Some(record)
    };
    match views.change(family, finish).await? {
        (_, true) => Ok(()),
        (_, false) => Err(BuildError::Replaced { family: family.name, number }),
    }
}
