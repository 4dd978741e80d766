use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::{EventLog, Kind, Position, Progress};

/// The progress of all projections, collected from the progress notifications of the log. Requests wait here until a
/// view has processed an event.
///
/// A request waits for one projection at a time, the one that is furthest behind: every event causes notifications of
/// many projections, and most of them do not concern a given request.
#[derive(Debug, Clone)]
pub struct ProgressTracker {
    known: Known,
    /// Notified when a new projection reports.
    added: watch::Receiver<()>,
}

#[derive(Debug, Clone)]
struct Known(Arc<Mutex<Tracked>>);

#[derive(Debug)]
struct Tracked {
    projections: BTreeMap<String, Projection>,
    /// When the last notification of any projection arrived, and since when notifications have arrived without a
    /// [`GAP`]: while all are silent, the silence of one proves nothing.
    last: Instant,
    flowing_since: Instant,
}

#[derive(Debug)]
struct Projection {
    progress: watch::Sender<Progress>,
    last_report: Instant,
}

/// A projection that is silent for this long while others report no longer exists: projections report every second,
/// also during outages of the store. Requests stop waiting for it.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// Silence of all projections for this long: the reporting processes or the connection to them are down.
const GAP: Duration = Duration::from_secs(3);

/// What a request waits for.
enum Behind {
    /// The furthest behind of the relevant projections.
    Projection(watch::Receiver<Progress>),
    /// A projection that has not reported yet.
    Unknown,
    Nothing,
}

impl Behind {
    fn furthest<'a>(of: impl Iterator<Item = &'a Projection>) -> Self {
        let of = of.map(|projection| &projection.progress);
        let furthest = of.min_by_key(|progress| progress.borrow().position);
        furthest.map_or(Self::Nothing, |progress| Self::Projection(progress.subscribe()))
    }
}

impl Known {
    fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Tracked { projections: BTreeMap::new(), last: now, flowing_since: now })))
    }

    fn tracked(&self) -> MutexGuard<'_, Tracked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a notification. True if the projection is new.
    fn take(&self, progress: Progress, now: Instant) -> bool {
        let mut tracked = self.tracked();
        if now - tracked.last > GAP {
            tracked.flowing_since = now;
        }
        tracked.last = now;
        let name = progress.projection.clone();
        let is_new = match tracked.projections.get_mut(&name) {
            Some(known) => {
                known.last_report = now;
                known.progress.send_if_modified(|old| {
                    let is_newer = old.position < progress.position;
                    if is_newer {
                        *old = progress;
                    }
                    is_newer
                });
                false
            }
            None => {
                let progress = watch::Sender::new(progress);
                tracked.projections.insert(name, Projection { progress, last_report: now });
                true
            }
        };
        let flowing_since = tracked.flowing_since;
        tracked.projections.retain(|name, known| {
            let is_kept = now - known.last_report.max(flowing_since) <= FORGET_AFTER;
            if !is_kept {
                tracing::info!(projection = name, "forgetting a projection that no longer reports");
            }
            is_kept
        });
        is_new
    }
}

impl ProgressTracker {
    /// Creates a tracker, and the task that updates it; the task ends when the log is dropped.
    pub fn follow(log: &dyn EventLog) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let known = Known::new(Instant::now());
        let (notify, added) = watch::channel(());
        let mut reports = log.progress();
        let tracker = Self { known: known.clone(), added };
        let keep = async move {
            loop {
                match reports.recv().await {
                    Ok(progress) => {
                        if known.take(progress, Instant::now()) {
                            notify.send_replace(());
                        }
                    }
                    // Notifications are repeated, so missed ones do not matter.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        };
        (tracker, keep)
    }

    /// Waits until every projection of this kind of events has passed the position. False on timeout, or if no such
    /// projection has reported by then.
    pub async fn wait_for_kind(&self, kind: Kind, position: Position, timeout: Duration) -> bool {
        self.wait(position, timeout, |known| {
            let takes = |known: &&Projection| known.progress.borrow().kinds.contains(&kind);
            match Behind::furthest(known.values().filter(takes)) {
                Behind::Nothing => Behind::Unknown,
                behind => behind,
            }
        })
        .await
    }

    /// Waits until the named projections have passed the position. False on timeout.
    pub async fn wait_for(&self, projections: &[&str], position: Position, timeout: Duration) -> bool {
        self.wait(position, timeout, |known| {
            let named: Option<Vec<_>> = projections.iter().map(|name| known.get(*name)).collect();
            named.map_or(Behind::Unknown, |named| Behind::furthest(named.into_iter()))
        })
        .await
    }

    async fn wait(
        &self,
        position: Position,
        timeout: Duration,
        behind: impl Fn(&BTreeMap<String, Projection>) -> Behind,
    ) -> bool {
        let mut added = self.added.clone();
        let reached = async {
            loop {
                added.borrow_and_update();
                let mut behind = match behind(&self.known.tracked().projections) {
                    Behind::Projection(progress) if progress.borrow().position < position => Some(progress),
                    Behind::Projection(_) | Behind::Nothing => return true,
                    Behind::Unknown => None,
                };
                let passed = async {
                    match &mut behind {
                        // The wait also ends when the projection is forgotten.
                        Some(progress) => {
                            drop(progress.wait_for(|progress| progress.position >= position).await);
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = passed => {}
                    another = added.changed() => if another.is_err() { return false },
                }
            }
        };
        tokio::time::timeout(timeout, reached).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const AT: Position = Position(7);

    /// A tracker, and a function that reports progress at a number of seconds after the start.
    fn tracker_at() -> (ProgressTracker, impl Fn(&str, Kind, u64, u64)) {
        let (notify, added) = watch::channel(());
        let start = Instant::now();
        let known = Known::new(start);
        let tracker = ProgressTracker { known: known.clone(), added };
        let report = move |projection: &str, kind, position, second| {
            let (projection, position) = (projection.to_owned(), Position(position));
            let progress = Progress { projection, kinds: vec![kind], position };
            if known.take(progress, start + Duration::from_secs(second)) {
                notify.send_replace(());
            }
        };
        (tracker, report)
    }

    fn tracker() -> (ProgressTracker, impl Fn(&str, Kind, u64)) {
        let (tracker, report) = tracker_at();
        (tracker, move |projection: &str, kind, position| report(projection, kind, position, 0))
    }

    #[tokio::test]
    async fn wait_ends_when_the_last_matching_projection_has_passed() {
        for last in ["likes", "posts"] {
            let (tracker, report) = tracker();
            let mut waits = Box::pin(tracker.wait_for_kind(Kind::Like, AT, LIMIT));
            assert_eq!((&mut waits).now_or_never(), None, "no projection is known");
            for projection in ["likes", "posts"] {
                report(projection, Kind::Like, 3);
                report("follows", Kind::Follow, 3);
                assert_eq!((&mut waits).now_or_never(), None);
            }
            for projection in ["likes", "posts"].into_iter().filter(|name| *name != last) {
                report(projection, Kind::Like, 9);
            }
            assert_eq!((&mut waits).now_or_never(), None, "{last} is behind");
            report(last, Kind::Like, 6);
            assert_eq!((&mut waits).now_or_never(), None, "{last} is behind");
            report(last, Kind::Like, 7);
            assert!(waits.await);
        }
    }

    #[tokio::test]
    async fn named_projection_is_awaited_before_its_first_report() {
        let (tracker, report) = tracker();
        report("likes", Kind::Like, 9);
        assert!(tracker.wait_for(&["likes"], AT, LIMIT).await && tracker.wait_for(&[], AT, LIMIT).await);
        let mut waits = Box::pin(tracker.wait_for(&["likes", "posts"], AT, LIMIT));
        assert_eq!((&mut waits).now_or_never(), None);
        report("posts", Kind::Post, 8);
        assert!(waits.await);
    }

    #[tokio::test]
    async fn silent_projection_is_forgotten() {
        let (tracker, report) = tracker_at();
        let mut waits = Box::pin(tracker.wait_for_kind(Kind::Like, AT, LIMIT));
        report("removed", Kind::Like, 3, 0);
        for seconds in 0..=11 {
            report("likes", Kind::Like, 7, seconds);
            // It reports, however far behind it is.
            report("posts", Kind::Like, 3, seconds);
            assert_eq!((&mut waits).now_or_never(), None, "after {seconds} s");
        }
        report("posts", Kind::Like, 7, 11);
        assert!(waits.await);
    }

    /// When the processes restart, the first projection to report must not count as all of them.
    #[tokio::test]
    async fn no_projection_is_forgotten_while_none_reports() {
        let (tracker, report) = tracker_at();
        for projection in ["likes", "posts"] {
            report(projection, Kind::Like, 3, 0);
        }
        report("likes", Kind::Like, 7, 300);
        let mut waits = Box::pin(tracker.wait_for_kind(Kind::Like, AT, LIMIT));
        assert_eq!((&mut waits).now_or_never(), None);
        report("posts", Kind::Like, 7, 301);
        assert!(waits.await);
    }

    #[tokio::test]
    async fn wait_ends_at_the_timeout_or_when_the_log_closes() {
        let (tracker, report) = tracker();
        assert!(!tracker.wait_for_kind(Kind::Like, AT, Duration::from_millis(1)).await);
        report("likes", Kind::Like, 6);
        assert!(!tracker.wait_for_kind(Kind::Like, AT, Duration::from_millis(1)).await);
        drop(report);
        assert!(!tracker.wait_for_kind(Kind::Like, AT, LIMIT).await);
    }
}
