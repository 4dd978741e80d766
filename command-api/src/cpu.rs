//! Limits work that keeps a processor busy (password hashing, image processing) to one job per processor.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// One permit per processor, shared by all CPU-heavy work. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CpuPermits {
    processors: usize,
    permits: Arc<Semaphore>,
}

impl Default for CpuPermits {
    fn default() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}

impl CpuPermits {
    pub(crate) fn new(processors: usize) -> Self {
        Self { processors, permits: Arc::new(Semaphore::new(processors)) }
    }

    pub(crate) const fn processors(&self) -> usize {
        self.processors
    }

    /// Waits for a permit, first come, first served, then runs the job on tokio's blocking pool. A caller that is dropped
    /// while it waits gives up its place. A job that has started runs to its end and keeps its permit until then.
    ///
    /// # Errors
    /// If the job panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        // An error would mean that the semaphore is closed, which it never is.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        spawn_blocking(move || {
            let outcome = job();
            drop(permit);
            outcome
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A job that reports when it has started and runs until it is released.
    fn blocked_job() -> (impl FnOnce() + Send + 'static, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (start, started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let job = move || {
            start.send(()).unwrap();
            let _ = released.recv();
        };
        (job, started, release)
    }

    #[tokio::test]
    async fn job_waits_until_a_permit_is_free() {
        let cpu = CpuPermits::new(1);
        let (job, started, release) = blocked_job();
        let first = cpu.run(job);
        let second = cpu.run(|| 2);
        tokio::pin!(first, second);
        assert!(futures::poll!(&mut first).is_pending());
        started.recv_timeout(LIMIT).unwrap();
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(cpu.permits.available_permits(), 0);
        drop(release);
        first.await.unwrap();
        assert_eq!(second.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn dropped_caller_gives_up_its_place_but_a_started_job_keeps_its_permit() {
        let cpu = CpuPermits::new(1);
        let (job, started, release) = blocked_job();
        {
            let running = cpu.run(job);
            let waiting = cpu.run(|| unreachable!("its caller was dropped before it started"));
            tokio::pin!(running, waiting);
            assert!(futures::poll!(&mut running).is_pending());
            assert!(futures::poll!(&mut waiting).is_pending());
            started.recv_timeout(LIMIT).unwrap();
        }
        assert_eq!(cpu.permits.available_permits(), 0);
        drop(release);
        assert_eq!(tokio::time::timeout(LIMIT, cpu.run(|| 3)).await.unwrap().unwrap(), 3);
    }

    #[tokio::test]
    async fn job_that_panics_returns_its_permit() {
        let cpu = CpuPermits::new(1);
        assert!(cpu.run(|| panic!("on purpose")).await.unwrap_err().is_panic());
        assert_eq!(tokio::time::timeout(LIMIT, cpu.run(|| 1)).await.unwrap().unwrap(), 1);
    }
}
