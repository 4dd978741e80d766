use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::{EventLog, Kind, Position, Progress};

/// What is known of how far every projection has come, gathered from the news in the log. Whoever answers a
/// request waits here until a view has taken something in.
#[derive(Debug, Clone)]
pub struct ProgressBoard {
    known: Arc<Mutex<HashMap<String, Progress>>>,
    changed: watch::Receiver<()>,
}

impl ProgressBoard {
    /// A board, and the task that keeps it: it ends when the log is dropped.
    pub fn follow(log: &dyn EventLog) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let known = Arc::new(Mutex::new(HashMap::new()));
        let (tell, changed) = watch::channel(());
        let mut news = log.progress();
        let board = Self { known: Arc::clone(&known), changed };
        let keep = async move {
            loop {
                let progress = match news.recv().await {
                    Ok(progress) => progress,
                    // News is repeated, so what was missed comes again.
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                let newer =
                    known.get(&progress.projection).is_none_or(|old| old.position < progress.position);
                if newer {
                    known.insert(progress.projection.clone(), progress);
                    tell.send_replace(());
                }
            }
        };
        (board, keep)
    }

    /// Waits until every projection that follows events of this kind has passed the position. False if that took
    /// longer than the bound, or if no such projection has been heard of by then.
    pub async fn passed_by_all(&self, kind: Kind, position: Position, bound: Duration) -> bool {
        self.wait(bound, |known| {
            let mut caring = known.values().filter(|progress| progress.kinds.contains(&kind)).peekable();
            caring.peek().is_some() && caring.all(|progress| progress.position >= position)
        })
        .await
    }

    /// Waits until the named projections have passed the position. False if that took longer than the bound.
    pub async fn passed_by(&self, projections: &[&str], position: Position, bound: Duration) -> bool {
        self.wait(bound, |known| {
            projections
                .iter()
                .all(|name| known.get(*name).is_some_and(|progress| progress.position >= position))
        })
        .await
    }

    async fn wait(&self, bound: Duration, there: impl Fn(&HashMap<String, Progress>) -> bool) -> bool {
        let mut changed = self.changed.clone();
        let reached = async {
            loop {
                changed.borrow_and_update();
                if there(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return true;
                }
                if changed.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(bound, reached).await.unwrap_or(false)
    }
}
