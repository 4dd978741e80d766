//! One deployment, running, and beside it the baseline server on the same engines.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::ValueEnum;
use tests::chorus::{Chorus, Service};
use tests::servers::{ServerProcess, free_port};

use crate::bare;

/// An account with more followers is merged into their feeds on read: the default, which is too many for tests.
pub(crate) const FAN_OUT_LIMIT: usize = 10_000;
const SETTINGS: [(&str, &str); 1] = [("CHORUS_FAN_OUT_LIMIT", "10000")];

/// Cache of mongod's storage engine: a sixth of the machine, where it would take half of it by itself.
const CACHE_GIB: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// `chorus serve` with SQLite and files
    OneMachine,
    /// three services on NATS and MongoDB
    Distributed,
}

impl Engine {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneMachine => "SQLite",
            Self::Distributed => "NATS + MongoDB",
        }
    }

    pub(crate) async fn start(self) -> Result<Chorus> {
        match self {
            Self::OneMachine => Chorus::one_machine_with(&SETTINGS).await,
            Self::Distributed => {
                let chorus = Chorus::distributed_with(&SETTINGS).await?;
                if let Some(mongo) = &chorus.mongo {
                    mongo.widen_cache(CACHE_GIB).await.context("widening the cache of mongod")?;
                }
                Ok(chorus)
            }
        }
    }

    /// Takes commands.
    pub(crate) const fn writer(self) -> Service {
        match self {
            Self::OneMachine => Service::Chorus,
            Self::Distributed => Service::CommandApi,
        }
    }

    /// Answers queries.
    pub(crate) const fn reader(self) -> Service {
        match self {
            Self::OneMachine => Service::Chorus,
            Self::Distributed => Service::QueryApi,
        }
    }

    /// Serves the routes of existing apps.
    pub(crate) const fn apps(self) -> Service {
        match self {
            Self::OneMachine => Service::Chorus,
            Self::Distributed => Service::CompatApi,
        }
    }

    pub(crate) const fn projector(self) -> Service {
        match self {
            Self::OneMachine => Service::Chorus,
            Self::Distributed => Service::Projector,
        }
    }
}

pub(crate) struct Column {
    pub(crate) engine: Engine,
    // The bare server runs on the other's engines.
    _bare: ServerProcess,
    pub(crate) bare: SocketAddr,
    pub(crate) chorus: Chorus,
}

impl Column {
    pub(crate) async fn start(engine: Engine) -> Result<Self> {
        let chorus = engine.start().await?;
        let port = free_port()?;
        let bare = SocketAddr::from(([127, 0, 0, 1], port));
        let mut arguments = vec!["bare".to_owned(), "--listen".to_owned(), bare.to_string()];
        match (&chorus.nats, &chorus.mongo) {
            (Some(nats), Some(mongo)) => {
                let (nats, mongo) = (format!("nats://127.0.0.1:{}", nats.port()), mongo.url("bare"));
                arguments.extend(["--nats".to_owned(), nats, "--mongo".to_owned(), mongo]);
            }
            _ => arguments.extend(["--folder".to_owned(), chorus.folder().display().to_string()]),
        }
        let program = std::env::current_exe()?;
        let mut process = ServerProcess::start(&program, &arguments, &[], &chorus.folder().join("bare.log"))?;
        process.listens_on(port).await?;
        Ok(Self { engine, _bare: process, bare, chorus })
    }

    pub(crate) fn address(&self, service: Service) -> Result<SocketAddr> {
        let port = self.chorus.port(service).context("a service that is not there")?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The engines by their own clients, in this process.
    pub(crate) async fn bare_distributed(&self) -> Result<Option<bare::Distributed>> {
        let Some((nats, mongo)) = self.chorus.nats.as_ref().zip(self.chorus.mongo.as_ref()) else {
            return Ok(None);
        };
        let nats = format!("nats://127.0.0.1:{}", nats.port());
        bare::Distributed::open(&nats, &mongo.url("bare")).await.map(Some)
    }

    /// Fills the views of the bare server.
    pub(crate) async fn fill_bare(&self, filling: &bare::Filling) -> Result<()> {
        match self.bare_distributed().await? {
            None => bare::OneMachine::fill(self.chorus.folder(), filling),
            Some(bare) => bare.fill(filling).await,
        }
    }
}
