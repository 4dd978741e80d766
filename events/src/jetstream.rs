//! The log and the key vault on NATS JetStream: one stream for all events, and one key-value bucket. NATS types stay
//! inside this module.

mod follow;
mod log;
mod message;
mod progress;
mod raw;
mod vault;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::UpdateStreamError;
use async_nats::jetstream::stream::{Compression, Config};
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

pub use log::JetStreamLog;
pub use vault::JetStreamVault;

use crate::LogError;

/// Oldest server with the required features (several filters per consumer, compressed streams).
const OLDEST_SERVER: (u64, u64) = (2, 10);
/// Timeout of one request to the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a replica may take to return an event before the leader is asked: it may have failed silently.
const REPLICA_TIMEOUT: Duration = Duration::from_millis(300);
/// Interval of pings. After two unanswered pings the connection is closed, so a silent failure of the server is
/// detected within three intervals.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// How long a call waits for a reconnection before it fails.
const RECONNECT_GRACE: Duration = Duration::from_millis(500);
/// Delay between reconnection attempts, from the first to the longest.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The settings of a JetStream log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetStreamSettings {
    /// `nats://host:port` or `tls://host:port`, with user and password before the host if required.
    pub servers: Vec<String>,
    /// The name of the stream, the first token of its subjects, and the prefix of the bucket's name.
    pub name: String,
    /// The number of replicas of new streams and buckets: 1, 3 or 5.
    pub replicas: usize,
    /// A NATS credentials file.
    pub credentials: Option<std::path::PathBuf>,
}

/// A connection with its state.
#[derive(Debug, Clone)]
struct Connection {
    client: Client,
    /// The number of the current connection; none while disconnected.
    connected: watch::Receiver<Option<u64>>,
}

impl Connection {
    async fn open(settings: &JetStreamSettings) -> Result<Self, LogError> {
        let (state, connected) = watch::channel(None);
        let (made, attempted) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut options = ConnectOptions::new()
            .name("chorus")
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .connection_timeout(REQUEST_TIMEOUT)
            .max_reconnects(None)
            .reconnect_delay_callback(move |attempts| {
                // The client also asks before its first attempt.
                if !attempted.swap(true, Ordering::Relaxed) {
                    return Duration::ZERO;
                }
                let doubled = RECONNECT_PAUSE.0.saturating_mul(1 << attempts.min(10));
                doubled.min(RECONNECT_PAUSE.1)
            })
            .event_callback(move |event| {
                match &event {
                    Event::Connected => {
                        state.send_replace(Some(made.fetch_add(1, Ordering::Relaxed)));
                    }
                    Event::Disconnected | Event::Closed => {
                        state.send_replace(None);
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

    fn jetstream(&self) -> Context {
        ContextBuilder::new().timeout(REQUEST_TIMEOUT).ack_timeout(REQUEST_TIMEOUT).build(self.client.clone())
    }

    /// Returns when a new connection replaces the current one.
    async fn replaced(&self) {
        let mut connected = self.connected.clone();
        let now = *connected.borrow_and_update();
        // A closed client sends no more events; then it never reconnects.
        if connected.wait_for(|current| current.is_some() && *current != now).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits briefly for a reconnection. Nothing is sent while disconnected: the client would buffer it and deliver
    /// it after the caller got an error.
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

/// Disables compression, with a warning if it was enabled: nats-server destroys replicas of compressed streams when
/// it is killed.
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

/// Updates a stream's configuration if it differs.
async fn reconfigure(context: &Context, found: &Config, wanted: Config) -> Result<(), UpdateStreamError> {
    if wanted != *found {
        tracing::info!(stream = found.name, "updating the stream's configuration");
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
    fn old_server_is_rejected_with_the_reason() {
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
