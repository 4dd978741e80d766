//! The views that serve: routes each read to the generation of its family that serves at the moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use crate::generations::{Generation, GenerationState, GenerationStore, Generations};
use crate::store::{NotServing, ViewSize};
use crate::{
    Commit, CommitError, Family, Page, Parked, Plan, Query, StoreError, StoredDocument, View, ViewStore,
};

/// Records older than this are read again beside the request that finds them so.
const REFRESH_AFTER: Duration = Duration::from_secs(1);
/// A request waits for the records if they are older than this: a process that was paused must not read a generation that
/// was dropped meanwhile.
const TOO_OLD: Duration = Duration::from_secs(3);
/// Attempts to change a record that others change, too.
const ATTEMPTS: usize = 50;

/// All views with all their generations. As a [`ViewStore`] it reads the generations that serve, and commits only the checkpoints
/// of reactions; projections commit to one generation.
#[derive(Debug, Clone)]
pub struct Views(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Holds generation 0 of version 1 of each family, and the checkpoints of reactions.
    base: Arc<dyn ViewStore>,
    generations: Arc<dyn GenerationStore>,
    families: &'static [Family],
    /// The family of each view.
    of_view: HashMap<&'static str, &'static Family>,
    known: RwLock<Known>,
    refreshing: Mutex<()>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Known {
    records: BTreeMap<String, Generations>,
    serving: HashMap<&'static str, Serving>,
    /// Open generations, other than those in the base.
    open: HashMap<(&'static str, u64), Arc<dyn ViewStore>>,
    read_at: Instant,
}

/// What serves a family.
#[derive(Debug, Clone)]
enum Serving {
    Generation(u64, Arc<dyn ViewStore>),
    /// Why none does.
    None(String),
}

impl Views {
    /// # Errors
    /// If the records cannot be read.
    pub async fn new(
        base: Arc<dyn ViewStore>,
        generations: Arc<dyn GenerationStore>,
        families: &'static [Family],
    ) -> Result<Self, StoreError> {
        let of_view =
            families.iter().flat_map(|family| family.views.iter().map(move |view| (view.name, family)));
        let known = Known {
            records: BTreeMap::new(),
            serving: HashMap::new(),
            open: HashMap::new(),
            read_at: Instant::now(),
        };
        let views = Self(Arc::new(Inner {
            base,
            generations,
            families,
            of_view: of_view.collect(),
            known: RwLock::new(known),
            refreshing: Mutex::default(),
            changed: watch::Sender::new(()),
        }));
        views.refresh().await?;
        Ok(views)
    }

    pub fn families(&self) -> &'static [Family] {
        self.0.families
    }

    /// # Errors
    /// If this program has no such family.
    pub fn family(&self, name: &str) -> Result<&'static Family, StoreError> {
        let family = self.0.families.iter().find(|family| family.name == name);
        family.ok_or_else(|| StoreError::corrupt(format!("there is no family `{name}`")))
    }

    /// The store that holds generation 0, and the checkpoints of reactions.
    pub fn base(&self) -> &Arc<dyn ViewStore> {
        &self.0.base
    }

    pub fn generation_store(&self) -> &Arc<dyn GenerationStore> {
        &self.0.generations
    }

    /// Notified when records have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// The record of a family as it was last read; none before a server has started with this version of the family.
    pub fn record(&self, family: &Family) -> Option<Generations> {
        self.known(|known| known.records.get(&family.id()).cloned())
    }

    /// The records of all families and versions as they were last read.
    pub fn records(&self) -> BTreeMap<String, Generations> {
        self.known(|known| known.records.clone())
    }

    /// For readiness: the families of this program without a serving generation, and why.
    pub fn not_serving(&self) -> Vec<(&'static str, String)> {
        let why = |known: &Known, family: &Family| match known.serving.get(family.name) {
            Some(Serving::None(why)) => Some(why.clone()),
            Some(Serving::Generation(..)) => None,
            None => Some(NOT_REGISTERED.to_owned()),
        };
        let missing = |known: &Known| {
            self.0.families.iter().filter_map(|family| Some((family.name, why(known, family)?))).collect()
        };
        self.known(missing)
    }

    /// Reads the records again.
    ///
    /// # Errors
    /// If that fails; then the old ones stay known.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _turn = self.0.refreshing.lock().await;
        self.read_records().await
    }

    async fn read_records(&self) -> Result<(), StoreError> {
        let read_at = Instant::now();
        let records = self.0.generations.records().await?;
        if self.known(|known| known.records == records && !known.serving.is_empty()) {
            self.0.known.write().unwrap_or_else(PoisonError::into_inner).read_at = read_at;
            return Ok(());
        }
        let mut serving = HashMap::new();
        for family in self.0.families {
            let now = match records.get(&family.id()) {
                None => Serving::None(NOT_REGISTERED.to_owned()),
                Some(record) => match record.serving {
                    None => Serving::None(record.why_not_serving()),
                    Some(number) => match self.open(family, number).await {
                        Ok(store) => Serving::Generation(number, store),
                        Err(StoreError::Corrupt(error)) => Serving::None(error.to_string()),
                        Err(error) => return Err(error),
                    },
                },
            };
            serving.insert(family.name, now);
        }
        let is_listed = |(name, number): &(&'static str, u64)| {
            let family = self.0.families.iter().find(|family| family.name == *name);
            family.and_then(|family| records.get(&family.id())?.get(*number)).is_some()
        };
        let closed: Vec<Arc<dyn ViewStore>> = {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            let (kept, gone) = known.open.drain().partition(|(id, _)| is_listed(id));
            known.open = kept;
            known.records = records;
            known.serving = serving;
            known.read_at = read_at;
            let gone: HashMap<_, _> = gone;
            gone.into_values().collect()
        };
        self.0.changed.send_replace(());
        for store in closed {
            // Its files may be deleted already.
            if let Err(error) = store.close().await {
                tracing::debug!(%error, "closing a dropped generation");
            }
        }
        Ok(())
    }

    /// The store of one generation.
    ///
    /// # Errors
    /// If there is no such generation.
    pub async fn open(&self, family: &Family, number: u64) -> Result<Arc<dyn ViewStore>, StoreError> {
        if family.is_in_base(number) {
            return Ok(Arc::clone(&self.0.base));
        }
        let is_own = self.0.families.contains(family);
        let id = (family.name, number);
        if let Some(store) = self.known(|known| known.open.get(&id).filter(|_| is_own).cloned()) {
            return Ok(store);
        }
        let store = self.0.generations.open(family, number).await?;
        if is_own {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            return Ok(Arc::clone(known.open.entry(id).or_insert(store)));
        }
        Ok(store)
    }

    /// Changes the record of a family, against others who change it. The closure returns none to leave it as it is. Returns
    /// the record then, and whether it was changed.
    ///
    /// # Errors
    /// If the store is unavailable, or others change the record all the time.
    pub async fn change(
        &self,
        family: &Family,
        mut change: impl FnMut(Option<&Generations>) -> Option<Generations> + Send,
    ) -> Result<(Option<Generations>, bool), StoreError> {
        let id = family.id();
        for _ in 0..ATTEMPTS {
            let now = self.0.generations.records().await?.remove(&id);
            let Some(changed) = change(now.as_ref()) else { return Ok((now, false)) };
            let expected = now.as_ref().map(|record| record.epoch);
            let changed = Generations { epoch: expected.map_or(1, |epoch| epoch + 1), ..changed };
            if self.0.generations.replace(&id, expected, &changed).await? {
                self.refresh().await?;
                return Ok((Some(changed), true));
            }
        }
        Err(StoreError::unavailable(format!("the record of {id} is changed by others all the time")))
    }

    /// Registers the families that have no record yet. Views that began with the log, or were there before, are generation
    /// 0. Others have no generation: one must be built. Called by each process that feeds views, before queries are served.
    ///
    /// # Errors
    /// If the store is unavailable.
    pub async fn register(&self, head: u64) -> Result<(), StoreError> {
        let in_base = self.0.base.checkpoints().await?;
        for family in self.0.families {
            let record = self.record(family);
            // Empty views of a log with events are not shown as if they were complete. They may have been deleted, too.
            let missing = head > 0
                && match record.as_ref().map(|record| record.serving) {
                    Some(None) => false,
                    None => self.checkpoint_of(family, 0, &in_base).await? == 0,
                    Some(Some(number)) => self.checkpoint_of(family, number, &in_base).await? == 0,
                };
            if record.is_some() && !missing {
                continue;
            }
            let mut there = Vec::new();
            for generation in record.iter().flat_map(Generations::fed) {
                if self.checkpoint_of(family, generation.number, &in_base).await? > 0 {
                    there.push(generation.number);
                }
            }
            let first = || Generation { number: 0, state: GenerationState::Adopted, builder: None };
            self.change(family, |record| match record {
                None if family.version == 1 && !missing => Some(Generations {
                    next: 1,
                    serving: Some(0),
                    generations: vec![first()],
                    ..Generations::default()
                }),
                None => Some(Generations { next: 1, ..Generations::default() }),
                Some(record) if missing => record.serving.map(|lost| {
                    tracing::warn!(
                        family = family.name,
                        generation = lost,
                        "views are gone; building them anew"
                    );
                    let mut record = record.clone();
                    record.generations.retain(|generation| {
                        there.contains(&generation.number) || generation.state == GenerationState::Building
                    });
                    Generations { serving: None, wanted: None, previous: None, ..record }
                }),
                Some(_) => None,
            })
            .await?;
        }
        Ok(())
    }

    /// The checkpoint of one generation; 0 if there is none.
    async fn checkpoint_of(
        &self,
        family: &Family,
        number: u64,
        in_base: &BTreeMap<String, u64>,
    ) -> Result<u64, StoreError> {
        if number == 0 {
            let of_family = in_base.get(family.name).copied().filter(|_| family.is_in_base(0));
            return Ok(of_family.unwrap_or(0));
        }
        match self.open(family, number).await {
            Ok(store) => store.checkpoint(family.name).await,
            Err(StoreError::Corrupt(_)) => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn known<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The generation that serves a view.
    async fn of(&self, view: &View) -> Result<Arc<dyn ViewStore>, StoreError> {
        let Some(family) = self.0.of_view.get(view.name) else { return Ok(Arc::clone(&self.0.base)) };
        self.of_family(family).await.map(|(_, store)| store)
    }

    /// The generation that serves a family, with its number.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if none does.
    pub async fn of_family(&self, family: &Family) -> Result<(u64, Arc<dyn ViewStore>), StoreError> {
        self.refresh_if_old().await?;
        match self.known(|known| known.serving.get(family.name).cloned()) {
            Some(Serving::Generation(number, store)) => Ok((number, store)),
            Some(Serving::None(why)) => Err(not_serving(family, why)),
            None => Err(not_serving(family, NOT_REGISTERED.to_owned())),
        }
    }

    async fn refresh_if_old(&self) -> Result<(), StoreError> {
        let age = self.known(|known| known.read_at.elapsed());
        if age > TOO_OLD {
            return self.refresh().await;
        }
        if age > REFRESH_AFTER
            && let Ok(_turn) = self.0.refreshing.try_lock()
            && let Err(error) = self.read_records().await
        {
            // One request reads them for all; the others use what is known, which is right for a while.
            tracing::debug!(%error, "the records of generations cannot be read");
        }
        Ok(())
    }

    /// The store of a projection's or reaction's checkpoint and parked events.
    async fn of_name(&self, name: &str) -> Result<Arc<dyn ViewStore>, StoreError> {
        match self.0.families.iter().find(|family| family.name == name) {
            Some(family) => self.of_family(family).await.map(|(_, store)| store),
            None => Ok(Arc::clone(&self.0.base)),
        }
    }

    /// The stores with something to read or to erase: the base, and all generations that are fed.
    async fn all(&self) -> Result<Vec<Arc<dyn ViewStore>>, StoreError> {
        let mut all = vec![Arc::clone(&self.0.base)];
        for family in self.0.families {
            for generation in self.record(family).iter().flat_map(Generations::fed) {
                if !family.is_in_base(generation.number) {
                    all.push(self.open(family, generation.number).await?);
                }
            }
        }
        Ok(all)
    }
}

const NOT_REGISTERED: &str = "no server has started with this version of it";

fn not_serving(family: &Family, why: String) -> StoreError {
    StoreError::unavailable(NotServing { family: family.name, why })
}

#[async_trait]
impl ViewStore for Views {
    async fn get_many(
        &self,
        view: &View,
        keys: &[String],
    ) -> Result<Vec<Option<StoredDocument>>, StoreError> {
        self.of(view).await?.get_many(view, keys).await
    }

    async fn page(&self, query: &Query) -> Result<Page, StoreError> {
        self.of(query.view).await?.page(query).await
    }

    async fn scan(
        &self,
        view: &View,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        self.of(view).await?.scan(view, after, limit).await
    }

    async fn keys(&self, query: &Query) -> Result<Vec<String>, StoreError> {
        self.of(query.view).await?.keys(query).await
    }

    async fn count(&self, query: &Query) -> Result<u64, StoreError> {
        self.of(query.view).await?.count(query).await
    }

    async fn plan(&self, query: &Query) -> Result<Plan, StoreError> {
        self.of(query.view).await?.plan(query).await
    }

    async fn checkpoint(&self, projection: &str) -> Result<u64, StoreError> {
        self.of_name(projection).await?.checkpoint(projection).await
    }

    async fn commit(&self, commit: Commit<'_>) -> Result<(), CommitError> {
        if self.0.families.iter().any(|family| family.name == commit.projection) {
            let problem = format!("{} is committed to one of its generations", commit.projection);
            return Err(StoreError::corrupt(problem).into());
        }
        self.0.base.commit(commit).await
    }

    async fn parked(&self, projection: &str, limit: usize) -> Result<Vec<Parked>, StoreError> {
        self.of_name(projection).await?.parked(projection, limit).await
    }

    async fn sizes(&self) -> Result<BTreeMap<String, ViewSize>, StoreError> {
        let mut in_base = self.0.base.sizes().await?;
        let mut sizes = BTreeMap::new();
        for family in self.0.families {
            let Ok((number, store)) = self.of_family(family).await else { continue };
            if family.is_in_base(number) {
                sizes.extend(family.views.iter().filter_map(|view| in_base.remove_entry(view.name)));
            } else {
                sizes.extend(store.sizes().await?);
            }
        }
        Ok(sizes)
    }

    async fn schema_version(&self) -> Result<u64, StoreError> {
        self.0.base.schema_version().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.0.base.check().await?;
        self.refresh_if_old().await?;
        let missing = self.not_serving();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<String> =
            missing.into_iter().map(|(family, why)| format!("{family}: {why}")).collect();
        Err(StoreError::unavailable(missing.join("; ")))
    }

    async fn checkpoints(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut checkpoints = self.0.base.checkpoints().await?;
        for family in self.0.families {
            match self.of_family(family).await {
                Ok((number, _)) if family.is_in_base(number) => {}
                Ok((_, store)) => {
                    checkpoints.insert(family.name.to_owned(), store.checkpoint(family.name).await?);
                }
                // What does not serve has no checkpoint.
                Err(_) => drop(checkpoints.remove(family.name)),
            }
        }
        Ok(checkpoints)
    }

    async fn purge(&self) -> Result<(), StoreError> {
        for store in self.all().await? {
            store.purge().await?;
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        let open: Vec<_> = self.known(|known| known.open.values().cloned().collect());
        for store in open {
            store.close().await?;
        }
        self.0.base.close().await
    }
}
