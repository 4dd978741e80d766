//! Finds the events that made a document.

use std::collections::BTreeSet;
use std::pin::pin;

use aho_corasick::AhoCorasick;
use anyhow::{Context, Result, bail, ensure};
use events::{EventLog, Kind, Position, RawEvent, SealedLog};
use futures::StreamExt;
use indicatif::ProgressBar;
use projector::fold::{Opened, Replay};
use serde_json::Value;
use views::{View, ViewStore};

use super::ids_in;
use crate::operators::documents::{CACHE, Fields, FoldAccess, fields, fold_bar, scratch_family};
use crate::operators::search::pages_up_to;

/// Attempts to read a document while its view does not move.
const ATTEMPTS: usize = 500;
/// Shorter parts of a key without ids are in too many events.
const SHORTEST_PART: usize = 3;

/// The events that made a document.
pub(super) struct Story {
    pub(super) view: &'static View,
    /// The events that changed it.
    pub(super) steps: Vec<Step>,
    /// Where the view is.
    pub(super) position: u64,
    /// Whether the last step yields the stored document.
    pub(super) is_complete: bool,
    /// Whether all events of the family had to be taken.
    pub(super) whole_family: bool,
    /// How many events were taken.
    pub(super) taken: usize,
}

/// An event that changed the document, and the document afterwards.
pub(super) struct Step {
    pub(super) event: RawEvent,
    pub(super) after: Option<Fields>,
}

impl Story {
    /// How far the explanation can be trusted.
    pub(super) fn told(&self) -> String {
        let Self { steps, position, is_complete, whole_family, taken, .. } = self;
        let found = if *whole_family {
            format!(
                "all {taken} events of the family were folded, since those that mention its ids do not suffice"
            )
        } else {
            format!("{taken} events mention its ids")
        };
        let count = steps.len();
        if *is_complete {
            format!(
                "complete: {count} events explain the document as it is stored at position {position}; {found}"
            )
        } else {
            format!(
                "! NOT the stored document: the view holds another one at position {position}, which the log does not \
                 explain (see `chorus verify`); {found}"
            )
        }
    }
}

/// Finds the story of a document up to where its view is. The log must reach the position `last`, if there is one.
pub(super) async fn find(access: &FoldAccess, view: &str, key: &str, last: Option<u64>) -> Result<Story> {
    let (projection, view) = access.projection_of(view)?;
    let (log, store) = access.open().await?;
    if let Some(last) = last {
        let head = log.raw().head().await?;
        ensure!(last <= head.0, "there is no position {last} yet: the log ends at {head}");
    }
    let (position, stored) = read(&*store, projection.name(), view, key).await?;
    let bar = fold_bar("log ")?;
    bar.set_length(position);
    let candidates =
        candidates(&**log.raw(), projection.kinds(), needles(key, stored.as_ref()), position, &bar).await?;
    let mut folder = access.scratch_folder()?;
    let mut teller =
        Teller::new(&log, scratch_family(projection.clone(), folder.path(), CACHE).await?, view, key);
    teller.take(&candidates).await?;
    let mut whole_family = false;
    if teller.document != stored {
        whole_family = true;
        bar.set_message("fold");
        folder = access.scratch_folder()?;
        teller = Teller::new(&log, scratch_family(projection, folder.path(), CACHE).await?, view, key);
        let mut pages = pin!(pages_up_to(&**log.raw(), Position(position)));
        while let Some(page) = pages.next().await {
            let page = page?;
            teller.take(&page).await?;
            bar.inc(page.len() as u64);
        }
    }
    bar.finish_and_clear();
    let Teller { steps, document, taken, .. } = teller;
    ensure!(
        stored.is_some() || !steps.is_empty(),
        "the view {} has no document {key}, and no event up to position {position} has made one",
        view.name
    );
    Ok(Story { view, steps, position, is_complete: document == stored, whole_family, taken })
}

/// The document, and the position of its view.
async fn read(
    store: &dyn ViewStore,
    projection: &str,
    view: &View,
    key: &str,
) -> Result<(u64, Option<Fields>)> {
    for _ in 0..ATTEMPTS {
        let before = store.checkpoint(projection).await?;
        let found = store.get_many(view, &[key.to_owned()]).await?.pop().flatten();
        // A commit moves documents and checkpoint together.
        if store.checkpoint(projection).await? == before {
            return Ok((before, found.as_ref().map(fields).transpose()?));
        }
    }
    bail!("the view {} moves too fast: try again when there is less to do", view.name)
}

/// The ids in the key and in the document; parts of the key if there are none.
fn needles(key: &str, stored: Option<&Fields>) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = ids_in(key).map(str::to_owned).collect();
    for value in stored.into_iter().flat_map(|fields| fields.values()) {
        add_ids(value, &mut found);
    }
    if found.is_empty() {
        found.extend(key.split('.').filter(|part| part.len() >= SHORTEST_PART).map(str::to_owned));
    }
    found
}

fn add_ids(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => found.extend(ids_in(text).map(str::to_owned)),
        Value::Array(items) => {
            for item in items {
                add_ids(item, found);
            }
        }
        Value::Object(fields) => {
            for field in fields.values() {
                add_ids(field, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The events of some kinds that mention any of these texts.
async fn candidates(
    log: &dyn EventLog,
    kinds: &[Kind],
    needles: BTreeSet<String>,
    position: u64,
    bar: &ProgressBar,
) -> Result<Vec<RawEvent>> {
    let needles = AhoCorasick::new(needles).context("searching the log")?;
    let mut found = Vec::new();
    let mut pages = pin!(pages_up_to(log, Position(position)));
    while let Some(page) = pages.next().await {
        let page = page?;
        bar.inc(page.len() as u64);
        found.extend(page.into_iter().filter(|event| {
            event.kind().is_some_and(|kind| kinds.contains(&kind))
                && (needles.is_match(event.subject.as_bytes()) || needles.is_match(&event.body[..]))
        }));
    }
    Ok(found)
}

/// Takes events one by one, and notes those that change the document.
struct Teller<'a> {
    replay: Replay,
    view: &'static View,
    key: &'a str,
    document: Option<Fields>,
    steps: Vec<Step>,
    taken: usize,
}

impl<'a> Teller<'a> {
    fn new(log: &SealedLog, family: projector::fold::Family, view: &'static View, key: &'a str) -> Self {
        Self { replay: Replay::new(log, family), view, key, document: None, steps: Vec::new(), taken: 0 }
    }

    async fn take(&mut self, events: &[RawEvent]) -> Result<()> {
        let opened = self.replay.open(events).await?;
        let mut raw = events.iter();
        for event in &opened {
            self.replay.take(event).await?;
            self.taken += 1;
            let found = self.replay.store().get_many(self.view, &[self.key.to_owned()]).await?;
            let after = found.into_iter().flatten().next().as_ref().map(fields).transpose()?;
            if after != self.document {
                self.document.clone_from(&after);
                let is_it = |raw: &&RawEvent| raw.position == Opened::position(event);
                let event = raw.find(is_it).context("an opened event that was not read")?.clone();
                self.steps.push(Step { event, after });
            }
        }
        Ok(())
    }
}
