//! Feeds all generations of all families, makes them serve, and drops them. Each change is recorded first
//! ([`views::generations`]), so every process that feeds views does the same, and each step can be repeated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use events::SealedLog;
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use views::generations::{GenerationState, Generations};
use views::{Family, StoreError, Views};

use super::builder::{self, BuildError, BuildSettings};
use super::fold::FoldError;
use super::runner::{Peer, Role, Runner, watch_lag_of};
use crate::{Projection, Projector, Statuses};

/// How often the records are read.
const POLL: Duration = Duration::from_millis(250);
/// For how long both generations are waited for after a switch: other processes learn of it within a second, and may read the
/// one before until then.
const GRACE: Duration = Duration::from_secs(10);
/// How often two positions are compared during a switch, and for how long at most.
const SWITCH_POLL: Duration = Duration::from_millis(3);
const SWITCH_LIMIT: Duration = Duration::from_secs(2);
/// Pause before a switch to a generation that fell behind is tried again.
const SWITCH_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A generation that has this many events to go is caught up before it is made to serve.
const NEAR: u64 = 1000;
/// Pause before families without a generation are built again after a failure.
const BUILD_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The dependencies of [`feed`].
#[derive(Debug, Clone)]
pub struct Feeder {
    pub log: SealedLog,
    pub views: Views,
    /// For families of which this program finds no generation.
    pub build: BuildSettings,
}

/// Feeds all generations of these projections, and builds those that are missing.
pub fn feed(feeder: &Feeder, projections: Vec<Arc<dyn Projection>>, tasks: &Tasks) -> Statuses {
    let statuses = Statuses::default();
    for projection in &projections {
        let family = match feeder.views.family(projection.name()) {
            Ok(family) => family,
            Err(error) => {
                // A test compares families with projections.
                tracing::error!(error = with_causes(&error), "a projection without a family is not run");
                continue;
            }
        };
        let keeper = Keeper {
            feeder: feeder.clone(),
            family,
            projection: Arc::clone(projection),
            statuses: statuses.clone(),
            tasks: tasks.clone(),
            fed: BTreeMap::new(),
            served: None,
            given_up: None,
            dropping: BTreeMap::new(),
        };
        tasks.spawn_until_stopping(projection.name(), keeper.run());
    }
    let views = feeder.views.clone();
    tasks.spawn_until_stopping("records of generations", async move {
        loop {
            tokio::time::sleep(POLL).await;
            // During an outage of the store, the last known records stay valid.
            if let Err(error) = views.refresh().await {
                tracing::warn!(error = with_causes(&error), "the records of generations cannot be read");
            }
        }
    });
    let (builds, all) = (feeder.clone(), projections);
    tasks.spawn_until_stopping("missing generations", async move { build_missing(&builds, &all).await });
    watch_lag_of(feeder.log.raw(), &statuses, tasks);
    statuses
}

/// Builds the families that have no generation, whenever there are any.
async fn build_missing(feeder: &Feeder, projections: &[Arc<dyn Projection>]) {
    let mut changes = feeder.views.changes();
    // Those that an event stopped, and when. The others are built without them.
    let mut stopped: BTreeMap<&'static str, Instant> = BTreeMap::new();
    loop {
        stopped.retain(|_, since| since.elapsed() < BUILD_AGAIN_AFTER);
        let is_missing = |projection: &&Arc<dyn Projection>| {
            let record =
                feeder.views.family(projection.name()).ok().and_then(|family| feeder.views.record(family));
            record.is_some_and(|record| record.serving.is_none() && record.fed().next().is_none())
                && !stopped.contains_key(projection.name())
        };
        let missing: Vec<Arc<dyn Projection>> = projections.iter().filter(is_missing).cloned().collect();
        if missing.is_empty() {
            let changed = tokio::time::timeout(BUILD_AGAIN_AFTER, changes.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                return;
            }
            continue;
        }
        let names: Vec<&str> = missing.iter().map(|projection| projection.name()).collect();
        tracing::info!(families = names.join(", "), "building views; until then their queries answer 503");
        let build = async {
            let claimed = builder::claim(&feeder.views, &missing).await?;
            builder::build(&feeder.log, &feeder.views, &missing, &claimed, &feeder.build, &|_| {}).await
        };
        match build.await {
            Ok(()) => {}
            Err(BuildError::Fold(FoldError::Stopped(stops))) => {
                for stop in stops {
                    tracing::error!(error = with_causes(&stop), "a view was not built; trying again");
                    stopped.insert(stop.projection, Instant::now());
                }
            }
            Err(error) => {
                tracing::error!(error = with_causes(&error), "views were not built; trying again");
                tokio::time::sleep(BUILD_AGAIN_AFTER).await;
            }
        }
    }
}

/// What is left of a time since an instant; without one nothing.
fn rest(of: Duration, since: Option<Instant>) -> Duration {
    since.map_or(Duration::ZERO, |since| of.saturating_sub(since.elapsed()))
}

/// The record in which a generation serves where none did.
fn serving_first(record: &Generations, number: u64) -> Option<Generations> {
    (record.serving.is_none() && record.get(number).is_some()).then(|| Generations {
        serving: Some(number),
        // It may have served before, if the one that served then was deleted.
        previous: record.previous.filter(|previous| *previous != number),
        wanted: None,
        gate: false,
        ..record.clone()
    })
}

/// The record after the switch to the generation that is wanted.
fn switched(record: &Generations, wanted: u64) -> Option<Generations> {
    let mut record = record.clone();
    let is_held_back = record.gate || record.serving == Some(wanted);
    if record.wanted != Some(wanted) || record.get(wanted).is_none() || !is_held_back {
        return None;
    }
    (record.wanted, record.gate) = (None, false);
    if record.serving == Some(wanted) {
        return Some(record);
    }
    // One is kept to switch back to.
    let older = record.previous.filter(|older| *older != wanted && Some(*older) != record.serving);
    if let Some(older) = older.and_then(|older| record.get_mut(older)) {
        older.state = GenerationState::Dropping;
    }
    record.previous = record.serving;
    record.serving = Some(wanted);
    Some(record)
}

/// Keeps one family.
struct Keeper {
    feeder: Feeder,
    family: &'static Family,
    projection: Arc<dyn Projection>,
    statuses: Statuses,
    tasks: Tasks,
    /// The generations that this process feeds, by number.
    fed: BTreeMap<u64, Fed>,
    /// What serves, and since when this process knows it.
    served: Option<(u64, Instant)>,
    /// When a switch was given up for the time being, since the generation fell behind.
    given_up: Option<Instant>,
    /// Generations that are to be deleted, and since when this process knows it.
    dropping: BTreeMap<u64, Instant>,
}

/// A generation that this process feeds.
struct Fed {
    peer: Peer,
    role: watch::Sender<Role>,
    /// Held by its runner during a commit.
    commits: Arc<Mutex<()>>,
    stop: CancellationToken,
    /// Closed when its runner has ended.
    ended: oneshot::Receiver<()>,
}

impl Keeper {
    async fn run(mut self) {
        let mut changes = self.feeder.views.changes();
        loop {
            changes.borrow_and_update();
            let next = match self.step().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(family = self.family.name, error = with_causes(&error), "trying again");
                    POLL
                }
            };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    /// Does what the record asks for. Returns after how long to look again if it does not change.
    async fn step(&mut self) -> Result<Duration, StoreError> {
        let Some(record) = self.feeder.views.record(self.family) else { return Ok(POLL) };
        let in_grace = self.in_grace(&record);
        let new = self.open_missing(&record).await?;
        self.stop_unlisted(&record).await;
        // Before they start: each must know which generation it may not pass.
        self.assign_roles(&record, in_grace);
        for runner in new {
            self.tasks.spawn_until_stopping(self.projection.name(), runner);
        }
        self.adopt(&record).await?;
        if let Some(number) = record.serving.is_none().then(|| record.fed().last()).flatten() {
            return self.serve_first(number.number).await;
        }
        let mut next = self.drop_dropping(&record).await?;
        if let Some(wanted) = record.wanted {
            next = next.min(self.switch(&record, wanted).await?);
        }
        // The generation that announces may stop.
        Ok(if in_grace { next.min(POLL) } else { next })
    }

    /// Opens the generations that this process does not feed yet. Returns what feeds them.
    async fn open_missing(
        &mut self,
        record: &Generations,
    ) -> Result<Vec<impl Future<Output = ()> + Send + use<>>, StoreError> {
        // All of them before any is noted as fed: an outage may come between two.
        let mut stores = Vec::new();
        for number in record.fed().map(|generation| generation.number) {
            if !self.fed.contains_key(&number) {
                stores.push((number, self.feeder.views.open(self.family, number).await?));
            }
        }
        let mut new = Vec::new();
        for (number, store) in stores {
            let role = watch::Sender::new(self.role(record, number, false));
            let projector = Projector { log: self.feeder.log.clone(), store: Arc::clone(&store) };
            let projection = Arc::clone(&self.projection);
            let runner = Runner::new(projector, projection, role.subscribe(), self.statuses.clone());
            let (peer, commits) = (Peer { store, state: runner.state() }, runner.commits());
            let stop = CancellationToken::new();
            let stopped = stop.clone();
            let (running, ended) = oneshot::channel::<()>();
            self.fed.insert(number, Fed { peer, role, commits, stop, ended });
            new.push(async move {
                stopped.run_until_cancelled(runner.run()).await;
                drop(running);
            });
        }
        Ok(new)
    }

    /// Marks what is fed now.
    async fn adopt(&self, record: &Generations) -> Result<(), StoreError> {
        for generation in record.fed().filter(|generation| generation.state == GenerationState::Ready) {
            let adopt = |record: Option<&Generations>| {
                let mut record = record?.clone();
                let generation = record.get_mut(generation.number)?;
                if generation.state != GenerationState::Ready {
                    return None;
                }
                generation.state = GenerationState::Adopted;
                Some(record)
            };
            self.feeder.views.change(self.family, adopt).await?;
        }
        Ok(())
    }

    async fn stop_unlisted(&mut self, record: &Generations) {
        let listed: Vec<u64> = record.fed().map(|generation| generation.number).collect();
        let gone: Vec<u64> = self.fed.keys().copied().filter(|number| !listed.contains(number)).collect();
        for number in gone {
            let Some(fed) = self.fed.remove(&number) else { continue };
            fed.stop.cancel();
            let label = fed.role.borrow().label.clone();
            // It ends at its next await, after the commit in progress.
            let _ = fed.ended.await;
            self.statuses.remove(&label);
        }
    }

    /// Whether other processes may still read the generation that served before.
    fn in_grace(&mut self, record: &Generations) -> bool {
        match (self.served, record.serving) {
            (Some((served, since)), Some(serving)) if served == serving => {
                record.previous.is_some() && since.elapsed() < GRACE
            }
            // At its start, a process does not know how long ago the switch was.
            (_, Some(serving)) => {
                self.served = Some((serving, Instant::now()));
                #[expect(clippy::cast_precision_loss, reason = "a number for a chart")]
                let number = serving as f64;
                metrics::gauge!("chorus_projection_generation", "projection" => self.family.name).set(number);
                record.previous.is_some()
            }
            (_, None) => false,
        }
    }

    fn assign_roles(&self, record: &Generations, in_grace: bool) {
        let mut names = Vec::new();
        for (number, fed) in &self.fed {
            let role = self.role(record, *number, in_grace);
            let now = role.label.clone();
            names.push((fed.role.send_replace(role).label, now));
        }
        self.statuses.rename(&names, self.projection.name());
    }

    fn role(&self, record: &Generations, number: u64, in_grace: bool) -> Role {
        let serves = record.serving == Some(number);
        let is_previous = record.previous == Some(number);
        let of = |number: u64| self.fed.get(&number).map(|fed| fed.peer.clone());
        let name = self.projection.name();
        // The one that the serving one must not pass. Until then the serving one is the leader of the previous one.
        let next = record.wanted.filter(|wanted| record.gate && Some(*wanted) != record.serving);
        let is_led_by_previous = next.is_some() && next == record.previous;
        let is_announced_by_previous = in_grace && !is_led_by_previous && self.may_announce(record.previous);
        Role {
            label: if serves { name.to_owned() } else { format!("{name} (generation {number})") },
            serves,
            // During the grace queries may read both, and the one that is led has the lower position.
            announces: if is_announced_by_previous { is_previous } else { serves },
            leader: if serves {
                next.and_then(of)
            } else if is_previous && !is_led_by_previous {
                record.serving.and_then(of)
            } else {
                None
            },
        }
    }

    /// Whether the generation before announces during the grace: not if it has stopped, once nobody reads it any more.
    fn may_announce(&self, previous: Option<u64>) -> bool {
        let runs = previous.and_then(|number| self.fed.get(&number)).is_some_and(|fed| fed.peer.runs());
        runs || !self.settling(self.served.map(|(_, since)| since)).is_zero()
    }

    /// For how long processes may still act on the record from before this change.
    fn settling(&self, change: Option<Instant>) -> Duration {
        rest(self.feeder.views.generation_store().settles_after(), change)
    }

    /// The first generation of a family serves as soon as it is complete.
    async fn serve_first(&self, number: u64) -> Result<Duration, StoreError> {
        let head = match self.feeder.log.raw().head().await {
            Ok(head) => head.0,
            Err(error) => {
                tracing::warn!(error = with_causes(&error), "the end of the log cannot be read");
                return Ok(POLL);
            }
        };
        if self.position(number).await? + NEAR < head {
            return Ok(POLL);
        }
        let serve = |record: Option<&Generations>| serving_first(record?, number);
        if self.feeder.views.change(self.family, serve).await?.1 {
            tracing::info!(
                family = self.family.name,
                generation = number,
                "a view serves its first generation"
            );
        }
        Ok(Duration::ZERO)
    }

    /// How far a generation is.
    async fn position(&self, number: u64) -> Result<u64, StoreError> {
        match self.fed.get(&number) {
            Some(fed) => fed.peer.position(self.projection.name()).await,
            None => Ok(0),
        }
    }

    /// Makes another generation serve. When it has nearly caught up, the serving one may not pass it any more (see
    /// [`Role::leader`]); as soon as it has all that readers may have seen, one write makes it serve.
    async fn switch(&mut self, record: &Generations, wanted: u64) -> Result<Duration, StoreError> {
        let (Some(serving), true) = (record.serving, self.fed.contains_key(&wanted)) else { return Ok(POLL) };
        if serving == wanted {
            self.end_switch(wanted).await?;
            return Ok(Duration::ZERO);
        }
        if !record.gate {
            // Until no process reads the one before the previous one, which the switch drops.
            let of_last_switch = self.settling(self.served.map(|(_, since)| since));
            let pause = of_last_switch.max(rest(SWITCH_AGAIN_AFTER, self.given_up));
            if !pause.is_zero() {
                return Ok(pause);
            }
            if self.position(wanted).await? + NEAR >= self.position(serving).await? {
                self.set_gate(wanted, true).await?;
                return Ok(Duration::ZERO);
            }
            return Ok(POLL);
        }
        // Until every process holds the serving generation back.
        tokio::time::sleep(self.feeder.views.generation_store().settles_after()).await;
        let has_all = async {
            if let Some(serving) = self.fed.get(&serving) {
                // Wait for a commit that started before the gate closed.
                drop(serving.commits.lock().await);
            }
            loop {
                // In this order: the serving one cannot pass the wanted one after that.
                let at = self.position(serving).await?;
                if self.position(wanted).await? >= at {
                    return Ok::<_, StoreError>(());
                }
                tokio::time::sleep(SWITCH_POLL).await;
            }
        };
        if let Ok(has_all) = tokio::time::timeout(SWITCH_LIMIT, has_all).await {
            has_all?;
            self.end_switch(wanted).await?;
            return Ok(Duration::ZERO);
        }
        tracing::warn!(
            family = self.family.name,
            wanted,
            serving,
            "a switch waits: the generation falls behind"
        );
        self.given_up = Some(Instant::now());
        self.set_gate(wanted, false).await?;
        Ok(Duration::ZERO)
    }

    async fn set_gate(&self, wanted: u64, gate: bool) -> Result<(), StoreError> {
        let set = |record: Option<&Generations>| {
            let record = record?;
            (record.wanted == Some(wanted) && record.gate != gate)
                .then(|| Generations { gate, ..record.clone() })
        };
        self.feeder.views.change(self.family, set).await.map(drop)
    }

    async fn end_switch(&self, wanted: u64) -> Result<(), StoreError> {
        let switch = |record: Option<&Generations>| switched(record?, wanted);
        if self.feeder.views.change(self.family, switch).await?.1 {
            tracing::info!(
                family = self.family.name,
                generation = wanted,
                "another generation of a view serves"
            );
        }
        Ok(())
    }

    /// Deletes generations once no process reads or feeds them any more. Returns after how long to look again.
    async fn drop_dropping(&mut self, record: &Generations) -> Result<Duration, StoreError> {
        let mut next = Duration::from_mins(1);
        self.dropping.retain(|number, _| record.get(*number).is_some());
        for generation in &record.generations {
            if generation.state != GenerationState::Dropping {
                continue;
            }
            let number = generation.number;
            let since = *self.dropping.entry(number).or_insert_with(Instant::now);
            let settling = self.settling(Some(since));
            if !settling.is_zero() {
                next = next.min(settling);
                continue;
            }
            builder::drop_generation(&self.feeder.views, self.family, number).await?;
            tracing::info!(family = self.family.name, generation = number, "dropped a generation");
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use views::generations::Generation;

    use super::*;

    #[test]
    fn switch_keeps_what_served_also_after_a_forced_deletion() {
        let generation = |number| Generation { number, state: GenerationState::Adopted, builder: None };
        let record = Generations {
            next: 3,
            previous: Some(1),
            generations: [1, 2].map(generation).into(),
            ..Generations::default()
        };
        let served = serving_first(&record, 1).unwrap();
        assert_eq!((served.serving, served.previous), (Some(1), None));
        for previous in [None, Some(1)] {
            let asked = Generations { previous, wanted: Some(2), gate: true, ..served.clone() };
            let after = switched(&asked, 2).unwrap();
            assert_eq!((after.serving, after.previous), (Some(2), Some(1)));
            assert_eq!(after.generations, served.generations, "none is dropped");
        }
        assert_eq!(serving_first(&served, 2), None);
        assert_eq!(switched(&Generations { wanted: Some(2), ..served }, 2), None, "the gate is open");
    }
}
