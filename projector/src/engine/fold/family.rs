//! Takes windows of the log into the views of one projection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use service::telemetry::with_causes;
use tokio::sync::{Semaphore, mpsc};
use views::{Commit, CommitError, Parked, StoreError, ViewStore, Write};

use super::window::Window;
use super::{FoldError, Stop};
use crate::engine::batch::{Event, Projected, preload_planned, project};
use crate::engine::parking::{Parking, TooManyParked};
use crate::{Projection, batch_length};

/// What was folded into the views of a projection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Events of its kinds.
    pub events: u64,
    pub parked: u64,
    pub commits: u64,
}

pub(super) struct Folder {
    pub(super) projection: Arc<dyn Projection>,
    pub(super) store: Arc<dyn ViewStore>,
    pub(super) checkpoint: u64,
    /// What is parked already.
    pub(super) parking: Parking,
    /// A commit ends early once fan-outs write this many documents.
    pub(super) weight: usize,
}

/// Why a batch was not committed.
enum Refused {
    Fenced,
    /// Files of this process alone do not recover by themselves: the disk is full, for example.
    Outage(StoreError),
    /// One of the events cannot be processed: the first one, if the batch has no other.
    Event(String),
}

impl Refused {
    fn of(error: StoreError) -> Self {
        if error.is_outage() { Self::Outage(error) } else { Self::Event(with_causes(&error)) }
    }
}

impl Folder {
    /// Takes windows in until there are no more.
    pub(super) async fn run(
        mut self,
        mut windows: mpsc::Receiver<Arc<Window>>,
        turns: &Semaphore,
        reached: &AtomicU64,
    ) -> Result<Folded, FoldError> {
        let mut folded = Folded::default();
        while let Some(window) = windows.recv().await {
            // Never closed.
            let _turn = turns.acquire().await;
            let kinds = self.projection.kinds();
            let is_new = |event: &&Event| event.position().0 > self.checkpoint;
            let is_mine = |event: &&Event| event.kind().is_some_and(|kind| kinds.contains(&kind));
            let mine = window.events.iter().filter(is_mine).filter(is_new);
            let mine: Vec<&Event> = mine.collect();
            let passed = window.passed.0;
            if !mine.is_empty() || (window.is_last && passed > self.checkpoint) {
                self.take(&mine, passed, &mut folded).await?;
            }
            reached.store(passed, Ordering::Relaxed);
        }
        Ok(folded)
    }

    /// Commits events, and then the checkpoint. If a batch is refused, smaller ones find the event that is the cause.
    pub(super) async fn take(
        &mut self,
        events: &[&Event],
        passed: u64,
        folded: &mut Folded,
    ) -> Result<(), FoldError> {
        let (mut rest, mut limit) = (events, usize::MAX);
        folded.events += events.len() as u64;
        loop {
            let (batch, later) = rest.split_at(rest.len().min(limit));
            let reached = match batch.last() {
                Some(last) if !later.is_empty() => last.position().0,
                _ => passed,
            };
            match self.try_take(batch, reached, folded).await {
                Ok(taken) => rest = &rest[taken..],
                Err(Refused::Fenced) => return Err(FoldError::Fenced(self.projection.name())),
                Err(Refused::Outage(error)) => return Err(error.into()),
                Err(Refused::Event(_)) if batch.len() > 1 => limit = batch.len() / 2,
                Err(Refused::Event(error)) => {
                    self.park(batch, reached, error, folded).await?;
                    (rest, limit) = (later, usize::MAX);
                }
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Commits events in one transaction; only a prefix of them if they write too many documents or if a later event
    /// must begin a batch. Returns the number of committed events.
    async fn try_take(
        &mut self,
        events: &[&Event],
        passed: u64,
        folded: &mut Folded,
    ) -> Result<usize, Refused> {
        let together = batch_length(&*self.projection, events.iter().map(|event| event.recorded()));
        let batch = &events[..together];
        let plan = self.parking.plan(batch.iter().map(|event| event.incoming()));
        let each = || batch.iter().copied();
        let writes = preload_planned(&*self.projection, &*self.store, each(), &plan).await;
        let writes = writes.map_err(Refused::of)?;
        let projected = project(&*self.projection, each(), plan, writes, self.weight);
        let Projected { writes, parked, taken } = projected.map_err(Refused::Event)?;
        self.parking.has_room_for(&parked).map_err(|full: TooManyParked| Refused::Event(full.to_string()))?;
        let reached = if taken == events.len() { passed } else { events[taken - 1].position().0 };
        self.commit(writes.into_sorted_list(), &parked, reached, folded).await?;
        Ok(taken)
    }

    /// Parks the one event of a batch that was refused, if the projection may go on without it.
    async fn park(
        &mut self,
        batch: &[&Event],
        reached: u64,
        error: String,
        folded: &mut Folded,
    ) -> Result<(), FoldError> {
        let projection = self.projection.name();
        let Some(event) = batch.first() else {
            // The store refused to move the checkpoint.
            return Err(StoreError::Corrupt(error.into()).into());
        };
        let stopped = |error| {
            let event_type = event.incoming().event_type.to_owned();
            FoldError::Stopped(vec![Stop { projection, position: event.position(), event_type, error }])
        };
        if event.stops(&*self.projection) {
            return Err(stopped(error));
        }
        let plan = self.parking.plan(std::iter::once(event.refused(error).incoming()));
        let parked: Vec<Parked> = plan.into_iter().flatten().collect();
        self.parking.has_room_for(&parked).map_err(|full| stopped(full.to_string()))?;
        match self.commit(Vec::new(), &parked, reached, folded).await {
            Ok(()) => Ok(()),
            Err(Refused::Fenced) => Err(FoldError::Fenced(projection)),
            Err(Refused::Outage(error)) => Err(error.into()),
            Err(Refused::Event(error)) => Err(StoreError::Corrupt(error.into()).into()),
        }
    }

    async fn commit(
        &mut self,
        writes: Vec<Write>,
        parked: &[Parked],
        reached: u64,
        folded: &mut Folded,
    ) -> Result<(), Refused> {
        let commit = Commit {
            projection: self.projection.name(),
            writes: Arc::new(writes),
            parked: parked.to_vec(),
            expected: self.checkpoint,
            checkpoint: reached,
        };
        self.store.commit(commit).await.map_err(|error| match error {
            CommitError::Fenced { .. } => Refused::Fenced,
            CommitError::Store(error) => Refused::of(error),
        })?;
        self.checkpoint = reached;
        self.parking.add(parked);
        folded.parked += parked.len() as u64;
        folded.commits += 1;
        Ok(())
    }
}
