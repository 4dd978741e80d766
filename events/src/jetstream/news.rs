//! News of progress, told outside the stream: nobody keeps it, and whoever misses some is told more a moment later.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

use crate::{Kind, LogError, Position, Progress, Urgency};

/// News that may wait to be told; more is left out.
const WAITING: usize = 1024;
/// How long news that is not urgent waits for more. One event makes every projection of a process move, nearly at once, and
/// somebody waits for those few that take it in: what the others say goes with it, not once for each of them to every process.
const MOMENT: Duration = Duration::from_millis(2);

/// Outside the stream's own subjects.
fn subject(stream: &str) -> String {
    format!("{stream}-progress")
}

/// Takes news and tells it, until the sender is dropped.
pub(super) fn announcer(client: Client, stream: &str) -> mpsc::Sender<(Progress, Urgency)> {
    let (sender, waiting) = mpsc::channel(WAITING);
    #[expect(clippy::disallowed_methods, reason = "it ends with the log")]
    tokio::spawn(announce(client, subject(stream), waiting));
    sender
}

async fn announce(client: Client, subject: String, mut waiting: mpsc::Receiver<(Progress, Urgency)>) {
    let mut taken = Vec::new();
    while waiting.recv_many(&mut taken, WAITING).await > 0 {
        let all_there = async {
            while taken.iter().all(|(_, urgency)| *urgency == Urgency::Soon)
                && waiting.recv_many(&mut taken, WAITING).await > 0
            {}
        };
        // That the moment is over is as good.
        let _ = tokio::time::timeout(MOMENT, all_there).await;
        // Of each projection only the newest.
        let newest: BTreeMap<String, News> = taken
            .drain(..)
            .map(|(progress, _)| (progress.projection.clone(), News::from(progress)))
            .collect();
        match serde_json::to_vec(&newest.into_values().collect::<Vec<_>>()) {
            // A connection that is down loses it; the next news says more.
            Ok(told) => drop(client.publish(subject.clone(), told.into()).await),
            Err(error) => tracing::error!(%error, "news that cannot be written"),
        }
    }
}

/// Hears what every process tells, until the log is dropped.
///
/// # Errors
/// If the server cannot be asked for it.
pub(super) async fn listen(
    client: &Client,
    stream: &str,
    news: broadcast::WeakSender<Progress>,
) -> Result<(), LogError> {
    let messages = client.subscribe(subject(stream)).await.map_err(LogError::unavailable)?;
    client.flush().await.map_err(LogError::unavailable)?;
    #[expect(clippy::disallowed_methods, reason = "it ends with the log")]
    tokio::spawn(hear(messages, news));
    Ok(())
}

async fn hear(mut messages: Subscriber, news: broadcast::WeakSender<Progress>) {
    while let Some(message) = messages.next().await {
        match serde_json::from_slice::<Vec<News>>(&message.payload) {
            Ok(told) => {
                let Some(news) = news.upgrade() else { return };
                for progress in told.into_iter().map(News::into_progress) {
                    // Nobody listening is no error.
                    let _ = news.send(progress);
                }
            }
            Err(error) => tracing::warn!(%error, subject = %message.subject, "news that cannot be read"),
        }
    }
}

/// [`Progress`] as it is told.
#[derive(Serialize, Deserialize)]
struct News {
    projection: String,
    kinds: Vec<String>,
    position: u64,
}

impl From<Progress> for News {
    fn from(Progress { projection, kinds, position }: Progress) -> Self {
        let kinds = kinds.into_iter().map(|kind| kind.as_str().to_owned()).collect();
        Self { projection, kinds, position: position.0 }
    }
}

impl News {
    fn into_progress(self) -> Progress {
        // A kind that this program does not know is none that it waits for.
        let kinds: Vec<Kind> = self.kinds.iter().filter_map(|kind| kind.parse().ok()).collect();
        Progress { projection: self.projection, kinds, position: Position(self.position) }
    }
}
