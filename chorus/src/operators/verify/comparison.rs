//! The comparison of the views of one family with a fold of the log, while the views may move on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use events::{Position, SealedLog};
use indicatif::ProgressBar;
use projector::fold::{Family, FoldError, FoldOptions, Stop, fold};
use views::counts::{COUNTS, WrongCount};
use views::{Parked, View, ViewStore};

use crate::operators::documents::{Fields, PERSONAL_MARK, changed, fields, follow_fold, views_of};

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

/// The comparison of one family.
pub(super) struct Comparison {
    family: Family,
    options: FoldOptions,
    pub(super) views: Vec<&'static View>,
    /// Why the fold ended before an event, if it did.
    pub(super) stopped: Option<String>,
    suspects: Vec<(&'static View, String)>,
    pub(super) documents: u64,
    pub(super) differences: Vec<Difference>,
    /// Numbers in the fold that do not equal the lists in the fold: this program counts wrongly.
    pub(super) wrong_counts: Vec<WrongCount>,
    pub(super) parked: Vec<Parked>,
    /// Positions that are parked in the views only, or in the fold only.
    pub(super) parked_apart: Vec<u64>,
    pub(super) position: u64,
}

/// A document that is not the same.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) view: &'static str,
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) fields: Vec<String>,
}

impl Comparison {
    pub(super) fn new(family: Family, options: FoldOptions) -> Self {
        Self {
            views: views_of(&*family.projection),
            family,
            options,
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

    pub(super) fn name(&self) -> &'static str {
        self.family.projection.name()
    }

    pub(super) fn differences(&self) -> usize {
        // A family that the fold could not reach is one: the view has passed the event.
        self.differences.len()
            + self.wrong_counts.len()
            + self.parked_apart.len()
            + usize::from(self.stopped.is_some())
    }

    /// Compares documents and parked events.
    pub(super) async fn compare(&mut self, log: &SealedLog, live: &dyn ViewStore) -> Result<()> {
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
    pub(super) async fn count(&mut self) -> Result<()> {
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

/// Folds each family to where its view is, and on while the views have moved far meanwhile.
pub(super) async fn fold_near(
    log: &SealedLog,
    store: &dyn ViewStore,
    comparisons: &mut [Comparison],
    bar: &ProgressBar,
) -> Result<()> {
    for _ in 0..ROUNDS {
        let checkpoints = store.checkpoints().await?;
        let checkpoint = |name: &str| checkpoints.get(name).copied().unwrap_or(0);
        let mut targets = BTreeSet::new();
        let mut furthest = 0;
        for comparison in comparisons.iter().filter(|comparison| comparison.stopped.is_none()) {
            let live = checkpoint(comparison.name());
            furthest = furthest.max(live.saturating_sub(comparison.position));
            targets.insert(live);
        }
        // The log is read once: those whose views are further ahead go on from where the others are.
        for target in targets {
            let ahead = comparisons.iter_mut().filter(|comparison| checkpoint(comparison.name()) >= target);
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
        let options = comparisons[0].options;
        let families: Vec<Family> = comparisons.iter().map(|comparison| comparison.family.clone()).collect();
        let folded = fold(log, &families, Position(target), &options, &follow_fold(bar)).await;
        match folded {
            Err(FoldError::Stopped(stops)) => {
                for Stop { projection, position, event_type, error } in stops {
                    let stopped = comparisons
                        .iter_mut()
                        .find(|comparison| comparison.name() == projection)
                        .context("a projection that is not folded has stopped")?;
                    let why = format!("before the event at {position} (`{event_type}`): {error}");
                    stopped.stopped = Some(why);
                    stopped.position = stopped.family.store.checkpoint(projection).await?;
                }
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
