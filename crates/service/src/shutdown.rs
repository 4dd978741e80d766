//! Graceful shutdown: after a signal, the process takes no new work, finishes current work within a limit, and exits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Grace period of a shutdown.
pub const GRACE: Duration = Duration::from_secs(20);

/// The long-lived tasks of a process. All tasks are started here, so that a shutdown can wait for them.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
    /// Tasks that have panicked, with the message.
    panicked: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Tasks {
    /// Starts a task that must end itself after [`stopping`](Self::stopping) is cancelled.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (inner, panicked) = (self.tracker.spawn(task), Arc::clone(&self.panicked));
        self.tracker.spawn(async move {
            if let Err(error) = inner.await
                && error.is_panic()
            {
                tracing::error!(task = name, %error, "a task panicked");
                metrics::counter!("chorus_task_panics_total", "task" => name).increment(1);
                panicked.lock().unwrap_or_else(PoisonError::into_inner).insert(name, error.to_string());
            }
        });
    }

    /// Starts a task that is dropped at shutdown, at any await point.
    pub fn spawn_until_stopping(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.spawn(name, async move {
            stopping.run_until_cancelled(task).await;
        });
    }

    /// For `/readyz`: names the tasks that have panicked. They are not restarted.
    ///
    /// # Errors
    /// If there are any.
    pub fn ready(&self) -> Result<(), String> {
        let panicked = self.panicked.lock().unwrap_or_else(PoisonError::into_inner);
        if panicked.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = panicked.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        Err(texts.join("; "))
    }

    /// Cancelled when the process shuts down.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Cancels all tasks and waits for them, at most [`GRACE`]. False if some did not end in time.
    pub async fn stop(&self) -> bool {
        self.stopping.cancel();
        self.tracker.close();
        tokio::time::timeout(GRACE, self.tracker.wait()).await.is_ok()
    }
}

/// Waits for SIGTERM or SIGINT; a second one ends the process immediately.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub async fn asked_to_end() -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to end: finishing what has begun (again to end at once)");
    let impatient = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    };
    #[expect(clippy::disallowed_methods, reason = "it outlives every task, to end the process itself")]
    tokio::spawn(impatient);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panicked_task_makes_the_process_not_ready() {
        let tasks = Tasks::default();
        tasks.spawn("well", async {});
        tasks.ready().unwrap();
        tasks.spawn("broken", async { assert_eq!(1, 2, "a defect") });
        assert!(tasks.stop().await);
        let problem = tasks.ready().unwrap_err();
        assert!(problem.starts_with("broken: ") && problem.contains("a defect"), "{problem}");
    }
}
