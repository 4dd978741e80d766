//! Progress notifications over core NATS, outside the stream: they are not stored, and lost ones are repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use crate::{Kind, LogError, Position, Progress, Urgency};

/// Length of the send queue; further notifications are dropped.
const QUEUE_LENGTH: usize = 1024;
/// How long non-urgent notifications are batched. One event moves nearly all projections of a process at once, and
/// clients only wait for a few of them: the others are sent in the same message.
const BATCH_DELAY: Duration = Duration::from_millis(2);

/// A subject outside the stream's own subjects.
fn subject(stream: &str) -> String {
    format!("{stream}-progress")
}

/// Publishes notifications until the sender is dropped.
pub(super) fn publisher(client: Client, stream: &str) -> mpsc::Sender<(Progress, Urgency)> {
    let (sender, waiting) = mpsc::channel(QUEUE_LENGTH);
    #[expect(clippy::disallowed_methods, reason = "it ends with the log")]
    tokio::spawn(publish(client, subject(stream), waiting));
    sender
}

async fn publish(client: Client, subject: String, mut waiting: mpsc::Receiver<(Progress, Urgency)>) {
    let mut taken = Vec::new();
    while waiting.recv_many(&mut taken, QUEUE_LENGTH).await > 0 {
        let more = async {
            while taken.iter().all(|(_, urgency)| *urgency == Urgency::Soon)
                && waiting.recv_many(&mut taken, QUEUE_LENGTH).await > 0
            {}
        };
        // A timeout ends the batch, too.
        let _ = tokio::time::timeout(BATCH_DELAY, more).await;
        // Only the newest notification of each projection.
        let newest: BTreeMap<String, WireProgress> = taken
            .drain(..)
            .map(|(progress, _)| (progress.projection.clone(), WireProgress::from(progress)))
            .collect();
        match serde_json::to_vec(&newest.into_values().collect::<Vec<_>>()) {
            // Lost while disconnected; the next notification supersedes it.
            Ok(encoded) => drop(client.publish(subject.clone(), encoded.into()).await),
            Err(error) => tracing::error!(%error, "progress cannot be encoded"),
        }
    }
}

/// Receives the notifications of all processes until the log is dropped.
///
/// # Errors
/// If the subscription fails.
pub(super) async fn listen(
    client: &Client,
    stream: &str,
    reports: broadcast::WeakSender<Progress>,
) -> Result<(), LogError> {
    let messages = client.subscribe(subject(stream)).await.map_err(LogError::unavailable)?;
    client.flush().await.map_err(LogError::unavailable)?;
    #[expect(clippy::disallowed_methods, reason = "it ends with the log")]
    tokio::spawn(receive(messages, reports));
    Ok(())
}

async fn receive(mut messages: Subscriber, reports: broadcast::WeakSender<Progress>) {
    while let Some(message) = messages.next().await {
        match serde_json::from_slice::<Vec<WireProgress>>(&message.payload) {
            Ok(decoded) => {
                let Some(reports) = reports.upgrade() else { return };
                for progress in decoded.into_iter().map(WireProgress::into_progress) {
                    // Not having listeners is fine.
                    let _ = reports.send(progress);
                }
            }
            Err(error) => tracing::warn!(%error, subject = %message.subject, "progress cannot be decoded"),
        }
    }
}

/// The wire format of [`Progress`].
#[derive(Serialize, Deserialize)]
struct WireProgress {
    projection: String,
    kinds: Vec<String>,
    position: u64,
}

impl From<Progress> for WireProgress {
    fn from(Progress { projection, kinds, position }: Progress) -> Self {
        let kinds = kinds.into_iter().map(|kind| kind.as_str().to_owned()).collect();
        Self { projection, kinds, position: position.0 }
    }
}

impl WireProgress {
    fn into_progress(self) -> Progress {
        // Kinds unknown to this program are irrelevant to it.
        let kinds: Vec<Kind> = self.kinds.iter().filter_map(|kind| kind.parse().ok()).collect();
        Progress { projection: self.projection, kinds, position: Position(self.position) }
    }
}
