//! Generations: a view can be built anew beside the one that serves. Each family has numbered generations, and a record of
//! which of them serves, which served before, and which are being built. Every change of a record is a compare-and-set.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Family, SqliteViews, StoreError, ViewStore};

/// The generations of one family in one version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// The number of changes of this record.
    pub epoch: u64,
    /// The number of the next generation; numbers are never used twice.
    pub next: u64,
    /// The generation that queries read. Without one they answer 503.
    pub serving: Option<u64>,
    /// The generation that served before. It is fed until it is dropped, and never beyond the serving one, so that a switch
    /// back shows nothing older.
    pub previous: Option<u64>,
    /// The generation that shall serve, while a switch is under way.
    pub wanted: Option<u64>,
    /// Whether the serving generation may not pass the wanted one any more: the last step before the switch.
    #[serde(default)]
    pub gate: bool,
    /// Oldest first.
    pub generations: Vec<Generation>,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    pub number: u64,
    pub state: GenerationState,
    /// The program that builds it, or has built it; none for generations that began empty with the log.
    pub builder: Option<Builder>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// A builder folds the log into it.
    Building,
    /// It is complete up to its checkpoint; no projector feeds it yet, or a verb asks those that feed it to adopt it again.
    Ready,
    /// A projector feeds it.
    Adopted,
    /// It is about to be deleted, and neither read nor fed any more.
    Dropping,
}

impl GenerationState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Adopted => "adopted",
            Self::Dropping => "dropping",
        }
    }
}

/// Who builds a generation, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// Host and process.
    pub name: String,
    /// Milliseconds since 1970.
    pub started: i64,
    /// Counts up while the builder lives: one that stands still is dead or paused, and may be replaced.
    pub beat: u64,
    pub position: u64,
    pub target: u64,
}

impl Builder {
    /// How much is done, in percent.
    #[must_use]
    pub fn percent(&self) -> u64 {
        self.position.saturating_mul(100).checked_div(self.target).unwrap_or(0).min(100)
    }
}

impl Generations {
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.number == number)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.number == number)
    }

    /// The one that is being built.
    #[must_use]
    pub fn building(&self) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.state == GenerationState::Building)
    }

    /// Those that projectors feed, or should.
    pub fn fed(&self) -> impl Iterator<Item = &Generation> {
        let is_fed = |state| matches!(state, GenerationState::Ready | GenerationState::Adopted);
        self.generations.iter().filter(move |generation| is_fed(generation.state))
    }

    /// Why nothing serves, for people.
    #[must_use]
    pub fn why_not_serving(&self) -> String {
        match self.building().and_then(|generation| generation.builder.as_ref()) {
            Some(builder) if builder.target == 0 => "its build has just started".to_owned(),
            Some(builder) => {
                format!("it is being built ({} % of {} events)", builder.percent(), builder.target)
            }
            None if self.fed().next().is_some() => {
                "it is built, and serves when a server of this version starts".to_owned()
            }
            None => "it has not been built yet".to_owned(),
        }
    }
}

/// A generation of a family: `posts.v1g3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GenerationId {
    pub family: &'static str,
    pub version: u32,
    pub number: u64,
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.v{}g{}", self.family, self.version, self.number)
    }
}

impl Family {
    #[must_use]
    pub const fn generation(&self, number: u64) -> GenerationId {
        GenerationId { family: self.name, version: self.version, number }
    }

    /// The key of its record.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.v{}", self.name, self.version)
    }

    /// Generation 0 of version 1 is what the store itself holds: views that began with the log, or before there were
    /// generations.
    #[must_use]
    pub const fn is_in_base(&self, number: u64) -> bool {
        self.version == 1 && number == 0
    }
}

/// The engine of generations: their records and their places. Adapters: `sqlite` and `mongo`. Both pass the contract in
/// `tests/src/contracts/generations.rs`.
#[async_trait]
pub trait GenerationStore: fmt::Debug + Send + Sync + 'static {
    /// All records by [`Family::id`], also those of other versions.
    async fn records(&self) -> Result<BTreeMap<String, Generations>, StoreError>;

    /// Replaces a record if its epoch is the expected one; none: if there is no record. False if not.
    async fn replace(
        &self,
        id: &str,
        expected: Option<u64>,
        record: &Generations,
    ) -> Result<bool, StoreError>;

    /// A generation that has been published, other than those in the store itself.
    async fn open(&self, family: &Family, number: u64) -> Result<Arc<dyn ViewStore>, StoreError>;

    /// The file into which a builder folds. The engine may have a folder for it; other builders need one.
    fn scratch_file(&self, family: &Family, number: u64, folder: &Path) -> PathBuf;

    /// Makes a finished scratch file the generation.
    async fn publish(
        &self,
        family: &Family,
        number: u64,
        scratch: Arc<SqliteViews>,
    ) -> Result<(), StoreError>;

    /// Deletes a generation, also one that was not published or does not exist.
    async fn delete(&self, family: &Family, number: u64) -> Result<(), StoreError>;

    /// After a change of a record, how long other processes may act on the record before.
    fn settles_after(&self) -> Duration;
}
