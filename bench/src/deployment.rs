//! A running deployment and a baseline server on the same engines.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tests::chorus::{Chorus, Service};
use tests::servers::{ServerProcess, free_port};

use crate::baseline;

/// Posts of accounts with more followers are merged into feeds on read. This is the default; tests use a lower limit.
pub(crate) const FAN_OUT_LIMIT: usize = 10_000;
const SETTINGS: [(&str, &str); 1] = [("CHORUS_FAN_OUT_LIMIT", "10000")];

/// Cache of mongod's storage engine: a sixth of the machine's memory. The default is half of it.
const CACHE_GIB: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// `chorus serve` with SQLite and files
    Standalone,
    /// four services on NATS and MongoDB
    Distributed,
}

impl Engine {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "SQLite",
            Self::Distributed => "NATS + MongoDB",
        }
    }

    pub(crate) async fn start(self) -> Result<Chorus> {
        match self {
            Self::Standalone => Chorus::standalone_with(&SETTINGS).await,
            Self::Distributed => {
                let chorus = Chorus::distributed_with(&SETTINGS).await?;
                if let Some(mongo) = &chorus.mongo {
                    mongo.enlarge_cache(CACHE_GIB).await.context("widening the cache of mongod")?;
                }
                Ok(chorus)
            }
        }
    }

    /// The service that accepts commands.
    pub(crate) const fn writer(self) -> Service {
        match self {
            Self::Standalone => Service::Chorus,
            Self::Distributed => Service::CommandApi,
        }
    }

    /// The service that answers queries.
    pub(crate) const fn reader(self) -> Service {
        match self {
            Self::Standalone => Service::Chorus,
            Self::Distributed => Service::QueryApi,
        }
    }

    /// The service that serves the routes of existing apps.
    pub(crate) const fn apps(self) -> Service {
        match self {
            Self::Standalone => Service::Chorus,
            Self::Distributed => Service::CompatApi,
        }
    }

    pub(crate) const fn projector(self) -> Service {
        match self {
            Self::Standalone => Service::Chorus,
            Self::Distributed => Service::Projector,
        }
    }
}

pub(crate) struct Deployment {
    pub(crate) engine: Engine,
    // Dropped before the engines of `chorus`, which it uses.
    _baseline_process: ServerProcess,
    pub(crate) baseline: SocketAddr,
    pub(crate) chorus: Chorus,
}

impl Deployment {
    pub(crate) async fn start(engine: Engine) -> Result<Self> {
        let chorus = engine.start().await?;
        let port = free_port()?;
        let baseline = SocketAddr::from(([127, 0, 0, 1], port));
        let mut arguments = vec!["baseline".to_owned(), "--listen".to_owned(), baseline.to_string()];
        match (&chorus.nats, &chorus.mongo) {
            (Some(nats), Some(mongo)) => {
                let (nats, mongo) = (format!("nats://127.0.0.1:{}", nats.port()), mongo.url("baseline"));
                arguments.extend(["--nats".to_owned(), nats, "--mongo".to_owned(), mongo]);
            }
            _ => arguments.extend(["--folder".to_owned(), chorus.folder().display().to_string()]),
        }
        let program = std::env::current_exe()?;
        let log = chorus.folder().join("baseline.log");
        let mut process = ServerProcess::start(&program, &arguments, &[], &log)?;
        process.listens_on(port).await?;
        Ok(Self { engine, _baseline_process: process, baseline, chorus })
    }

    pub(crate) fn address(&self, service: Service) -> Result<SocketAddr> {
        let port = self.chorus.port(service).context("no such service")?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The baseline on NATS and MongoDB in this process; none if the deployment is standalone.
    pub(crate) async fn baseline_distributed(&self) -> Result<Option<baseline::Distributed>> {
        let Some((nats, mongo)) = self.chorus.nats.as_ref().zip(self.chorus.mongo.as_ref()) else {
            return Ok(None);
        };
        let nats = format!("nats://127.0.0.1:{}", nats.port());
        baseline::Distributed::open(&nats, &mongo.url("baseline")).await.map(Some)
    }

    /// Seeds the views of the baseline server.
    pub(crate) async fn seed_baseline(&self, seed_data: &baseline::SeedData) -> Result<()> {
        match self.baseline_distributed().await? {
            None => baseline::Standalone::seed(self.chorus.folder(), seed_data),
            Some(baseline) => baseline.seed(seed_data).await,
        }
    }

    /// Seeds the songs of the baseline server.
    pub(crate) async fn seed_songs(&self, songs: &[baseline::Song]) -> Result<()> {
        match self.baseline_distributed().await? {
            None => baseline::Standalone::seed_songs(self.chorus.folder(), songs),
            Some(baseline) => baseline.seed_songs(songs).await,
        }
    }
}
