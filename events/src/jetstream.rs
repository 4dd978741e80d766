//! The log and the key vault on NATS JetStream: one stream for all events, one key-value bucket beside it. NATS
//! types stay in here.

mod follow;
mod log;
mod message;
mod news;
mod vault;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::UpdateStreamError;
use async_nats::jetstream::stream::{Compression, Config};
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

pub use log::JetStreamLog;
pub use vault::JetStreamVault;

use crate::LogError;

/// Oldest server that has what the adapters need (several filters on a consumer, compressed streams).
const OLDEST_SERVER: (u64, u64) = (2, 10);
/// How long one request to the server may take: an append, a lookup.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a replica may take that is asked for an event, before the leader is asked: it may be gone without a word.
const REPLICA_TIMEOUT: Duration = Duration::from_millis(300);
/// How often the server is asked whether it is still there. A connection that leaves two such questions unanswered is
/// given up, so that a server that is gone without a word costs at most three times as much.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long a call waits for a connection that has just been lost before it gives up.
const RECONNECT_GRACE: Duration = Duration::from_millis(500);
/// Pause between attempts to connect anew, growing from the first to the second.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Which JetStream to use, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetStreamSettings {
    /// `nats://host:port` or `tls://host:port`, user and password before the host where they are needed.
    pub servers: Vec<String>,
    /// The stream's name, the first token of its subjects, and the beginning of the bucket's name.
    pub name: String,
    /// Copies of stream and bucket that the cluster keeps, when they are created: 1, 3 or 5.
    pub replicas: usize,
    /// A NATS credentials file.
    pub credentials: Option<std::path::PathBuf>,
}

/// A connection that says whether it stands.
#[derive(Debug, Clone)]
struct Connection {
    client: Client,
    /// The how-manieth connection stands; none while it is lost.
    connected: watch::Receiver<Option<u64>>,
}

impl Connection {
    async fn open(settings: &JetStreamSettings) -> Result<Self, LogError> {
        let (tell, connected) = watch::channel(None);
        let made = AtomicU64::new(0);
        let mut options = ConnectOptions::new()
            .name("chorus")
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .connection_timeout(REQUEST_TIMEOUT)
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                let doubled = RECONNECT_PAUSE.0.saturating_mul(1 << attempts.min(10));
                doubled.min(RECONNECT_PAUSE.1)
            })
            .event_callback(move |event| {
                match &event {
                    Event::Connected => {
                        tell.send_replace(Some(made.fetch_add(1, Ordering::Relaxed)));
                    }
                    Event::Disconnected | Event::Closed => {
                        tell.send_replace(None);
                    }
                    Event::LameDuckMode
                    | Event::Draining
                    | Event::SlowConsumer(_)
                    | Event::ServerError(_)
                    | Event::ClientError(_) => {}
                }
                match &event {
                    Event::Connected => tracing::info!(%event, "nats"),
                    _ => tracing::info!(outage = %event, "nats"),
                }
                std::future::ready(())
            });
        if let Some(file) = &settings.credentials {
            options = options.credentials_file(file).await.map_err(|e| {
                LogError::corrupt(
                    None,
                    format!("the NATS credentials file {} cannot be read: {e}", file.display()),
                )
            })?;
        }
        let client = options.connect(settings.servers.as_slice()).await.map_err(LogError::unavailable)?;
        require_version(&client.server_info().version)?;
        Ok(Self { client, connected })
    }

    /// Ends once another connection than the one that stands now has been made.
    async fn replaced(&self) {
        let mut connected = self.connected.clone();
        let now = *connected.borrow_and_update();
        // The client tells no more once it is closed; then no other connection comes.
        if connected.wait_for(|standing| standing.is_some() && *standing != now).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits a moment for a lost connection to come back. Nothing is sent while there is none: it would be kept
    /// and delivered later, after its sender has been told that it failed.
    async fn ready(&self) -> Result<(), LogError> {
        if self.client.connection_state() == State::Connected {
            return Ok(());
        }
        let mut connected = self.connected.clone();
        match tokio::time::timeout(RECONNECT_GRACE, connected.wait_for(Option::is_some)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LogError::unavailable("not connected to NATS")),
        }
    }
}

/// A stream's configuration without compression: nats-server destroys replicas of compressed streams when it is killed.
/// Says so if the stream is compressed.
fn without_compression(found: &Config) -> Config {
    let mut config = found.clone();
    if config.compression == Some(Compression::S2) {
        tracing::warn!(
            stream = config.name,
            "this stream was compressed, and nats-server can destroy replicas of compressed streams when it is killed. \
             It is no longer compressed, but blocks written before are: write its replicas anew, one after the other \
             (docs/operations.md)"
        );
        config.compression = Some(Compression::None);
    }
    config
}

/// Changes a stream's configuration, if there is a change.
async fn reconfigure(context: &Context, found: &Config, wanted: Config) -> Result<(), UpdateStreamError> {
    if wanted != *found {
        tracing::info!(stream = found.name, "bringing the stream's configuration up to date");
        context.update_stream(wanted).await?;
    }
    Ok(())
}

fn require_version(version: &str) -> Result<(), LogError> {
    let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u64>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST_SERVER {
        return Ok(());
    }
    let (major, minor) = OLDEST_SERVER;
    Err(LogError::corrupt(
        None,
        format!("nats-server {version} is too old: Chorus needs {major}.{minor} or newer"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_refused_with_the_reason() {
        for version in ["2.10.0", "2.15.1", "3.0.0", "2.12.0-preview.1"] {
            assert!(require_version(version).is_ok(), "{version}");
        }
        for version in ["2.9.25", "1.4.0", "", "unknown"] {
            let refused = require_version(version).unwrap_err();
            let cause = std::error::Error::source(&refused).unwrap().to_string();
            assert!(cause.contains("2.10 or newer"), "{cause}");
        }
    }
}
