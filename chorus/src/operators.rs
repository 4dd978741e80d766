//! The operator's verbs that look at a deployment, beside a running system or at its files at rest. They open its stores
//! to be read only and change nothing; only revealing sealed data leaves a trace: an event that says who did so, and why.

mod documents;
pub mod event_verbs;
mod filter;
pub mod generation_verbs;
mod output;
pub mod parked_verbs;
mod reveal;
mod search;
mod stats;
mod trace;
pub mod verify;
pub mod view_verbs;
pub mod why;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use events::{KeyRing, MasterKeys, Opened, SealedLog, open_read_only};
use service::config::{LogSettings, PlaceSettings, without_password};
use service::mailbox;
use service::shutdown::asked_to_end;
use views::Views;

/// Runs a verb with temporary files, which are deleted also if it is interrupted.
///
/// # Errors
/// If the verb fails or is interrupted.
pub async fn interruptible<T>(verb: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        // Signals are handled before there are files.
        biased;
        asked = asked_to_end() => {
            asked.context("handling Ctrl-C")?;
            bail!("interrupted")
        }
        done = verb => done,
    }
}

/// Takes the same settings as the server whose log it reads, which may be running.
#[derive(Debug, Clone, Args)]
pub struct LogAccess {
    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogSettings,
}

impl LogAccess {
    /// Opens log and key vault to be read only.
    async fn open(&self) -> Result<Opened> {
        let credentials = self.log.place.nats_credentials_file.clone();
        open_log(&self.log.place.url(&self.place), credentials).await
    }

    /// Like [`open`](Self::open), with the keys of sealed data.
    async fn open_sealed(&self) -> Result<SealedLog> {
        let Opened { log, vault } = self.open().await?;
        let keys =
            KeyRing::open_existing(vault, self.master_keys()?).await.context("opening the key vault")?;
        Ok(SealedLog::new(log, keys.into()))
    }

    /// Opens the log to append to it.
    async fn open_to_append(&self) -> Result<SealedLog> {
        let credentials = self.log.place.nats_credentials_file.clone();
        let url = self.log.place.url(&self.place);
        events::open_sealed(&url, credentials, &self.master_keys()?).await.context("opening the event log")
    }

    fn master_keys(&self) -> Result<MasterKeys> {
        let read = self.log.master_keys().read_existing(&self.place, |text| MasterKeys::parse(text.reveal()));
        read.map_err(anyhow::Error::msg).context("reading the master key")
    }

    /// The subject that an argument names: `username:<name>` and `email:<address>` are hashed, which takes the keys of
    /// the deployment; other texts are subjects themselves.
    async fn subject(&self, argument: &str) -> Result<String> {
        let Some((kind, name)) = argument.split_once(':') else { return Ok(argument.to_owned()) };
        let (kind, name) = match kind {
            "username" => (kind, name.to_owned()),
            // Claimed in this form, if it has one.
            "email" => (kind, mailbox::ascii_form(name).unwrap_or_else(|| name.to_owned())),
            _ => bail!(
                "`{argument}`: expected a subject such as post.<id>, username:<name> or email:<address>"
            ),
        };
        let hash = self.open_sealed().await?.keys().claim_hash(&name);
        Ok(format!("{kind}.{hash}"))
    }
}

/// Opens log and key vault to be read only.
async fn open_log(url: &str, nats_credentials: Option<PathBuf>) -> Result<Opened> {
    open_read_only(url, nats_credentials).await.with_context(|| {
        let url = without_password(url);
        format!("opening the event log {url}: are CHORUS_DATA and CHORUS_LOG set as for the server?")
    })
}

/// Opens views, with all generations, to be read only.
async fn open_views(url: &str) -> Result<Views> {
    views::open_read_only(url).await.with_context(|| {
        let url = without_password(url);
        format!("opening the views {url}: are CHORUS_DATA and CHORUS_VIEWS set as for the server?")
    })
}

/// A reader that has seen enough (`| head`) is not an error.
fn unless_reader_left(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}
