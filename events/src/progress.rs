use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::{EventLog, Kind, Position, Progress};

/// What is known of how far every projection has come, gathered from the news in the log. Whoever answers a
/// request waits here until a view has taken something in.
///
/// Each waits for one projection at a time, the one that is furthest behind: there is news of many projections for every
/// event, and most of it is of no interest to any one of hundreds who wait.
#[derive(Debug, Clone)]
pub struct ProgressBoard {
    known: Known,
    /// Told of each projection that is heard of for the first time.
    heard: watch::Receiver<()>,
}

#[derive(Debug, Clone)]
struct Known(Arc<Mutex<Tracked>>);

#[derive(Debug)]
struct Tracked {
    projections: BTreeMap<String, Projection>,
    /// When news of any projection last came, and since when it has come without a [`GAP`]: in silence, nothing can be
    /// concluded from that of one.
    last: Instant,
    flowing_since: Instant,
}

#[derive(Debug)]
struct Projection {
    progress: watch::Sender<Progress>,
    heard: Instant,
}

/// A projection that does not report for so long, while others do, no longer exists: it reports every second, also while it
/// waits for its store. Nobody waits for it any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// No news at all for so long: the processes that report are down, or the way from them is.
const GAP: Duration = Duration::from_secs(3);

/// What keeps somebody waiting.
enum Behind {
    /// Of those waited for the one that is furthest behind.
    Projection(watch::Receiver<Progress>),
    /// A projection that has not been heard of.
    Unheard,
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

    /// Takes news in. True if the projection had not been heard of.
    fn take(&self, progress: Progress, now: Instant) -> bool {
        let mut tracked = self.tracked();
        if now - tracked.last > GAP {
            tracked.flowing_since = now;
        }
        tracked.last = now;
        let name = progress.projection.clone();
        let is_new = match tracked.projections.get_mut(&name) {
            Some(known) => {
                known.heard = now;
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
                tracked.projections.insert(name, Projection { progress, heard: now });
                true
            }
        };
        let flowing_since = tracked.flowing_since;
        tracked.projections.retain(|name, known| {
            let is_kept = now - known.heard.max(flowing_since) <= FORGOTTEN_AFTER;
            if !is_kept {
                tracing::info!(projection = name, "nothing is heard of this projection any more");
            }
            is_kept
        });
        is_new
    }
}

impl ProgressBoard {
    /// A board, and the task that keeps it: it ends when the log is dropped.
    pub fn follow(log: &dyn EventLog) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let known = Known::new(Instant::now());
        let (tell, heard) = watch::channel(());
        let mut news = log.progress();
        let board = Self { known: known.clone(), heard };
        let keep = async move {
            loop {
                match news.recv().await {
                    Ok(progress) => {
                        if known.take(progress, Instant::now()) {
                            tell.send_replace(());
                        }
                    }
                    // News is repeated, so what was missed comes again.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        };
        (board, keep)
    }

    /// Waits until every projection that follows events of this kind has passed the position. False if that took
    /// longer than the bound, or if no such projection has been heard of by then.
    pub async fn passed_by_all(&self, kind: Kind, position: Position, bound: Duration) -> bool {
        self.wait(position, bound, |known| {
            let takes = |known: &&Projection| known.progress.borrow().kinds.contains(&kind);
            match Behind::furthest(known.values().filter(takes)) {
                Behind::Nothing => Behind::Unheard,
                behind => behind,
            }
        })
        .await
    }

    /// Waits until the named projections have passed the position. False if that took longer than the bound.
    pub async fn passed_by(&self, projections: &[&str], position: Position, bound: Duration) -> bool {
        self.wait(position, bound, |known| {
            let named: Option<Vec<_>> = projections.iter().map(|name| known.get(*name)).collect();
            named.map_or(Behind::Unheard, |named| Behind::furthest(named.into_iter()))
        })
        .await
    }

    async fn wait(
        &self,
        position: Position,
        bound: Duration,
        behind: impl Fn(&BTreeMap<String, Projection>) -> Behind,
    ) -> bool {
        let mut heard = self.heard.clone();
        let reached = async {
            loop {
                heard.borrow_and_update();
                let mut behind = match behind(&self.known.tracked().projections) {
                    Behind::Projection(progress) if progress.borrow().position < position => Some(progress),
                    Behind::Projection(_) | Behind::Nothing => return true,
                    Behind::Unheard => None,
                };
                let passed = async {
                    match &mut behind {
                        // One that is forgotten meanwhile is waited for no longer.
                        Some(progress) => {
                            drop(progress.wait_for(|progress| progress.position >= position).await);
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = passed => {}
                    another = heard.changed() => if another.is_err() { return false },
                }
            }
        };
        tokio::time::timeout(bound, reached).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const AT: Position = Position(7);

    /// A board, and how it is told news, so many seconds after its beginning.
    fn board_at() -> (ProgressBoard, impl Fn(&str, Kind, u64, u64)) {
        let (tell, heard) = watch::channel(());
        let start = Instant::now();
        let known = Known::new(start);
        let board = ProgressBoard { known: known.clone(), heard };
        let news = move |projection: &str, kind, position, second| {
            let (projection, position) = (projection.to_owned(), Position(position));
            let progress = Progress { projection, kinds: vec![kind], position };
            if known.take(progress, start + Duration::from_secs(second)) {
                tell.send_replace(());
            }
        };
        (board, news)
    }

    fn board() -> (ProgressBoard, impl Fn(&str, Kind, u64)) {
        let (board, news) = board_at();
        (board, move |projection: &str, kind, position| news(projection, kind, position, 0))
    }

    #[tokio::test]
    async fn whoever_waits_is_told_once_all_that_care_have_passed_whichever_is_last() {
        for last in ["likes", "posts"] {
            let (board, news) = board();
            let mut waits = Box::pin(board.passed_by_all(Kind::Like, AT, LIMIT));
            assert_eq!((&mut waits).now_or_never(), None, "nobody has been heard of");
            for projection in ["likes", "posts"] {
                news(projection, Kind::Like, 3);
                news("follows", Kind::Follow, 3);
                assert_eq!((&mut waits).now_or_never(), None);
            }
            for projection in ["likes", "posts"].into_iter().filter(|name| *name != last) {
                news(projection, Kind::Like, 9);
            }
            assert_eq!((&mut waits).now_or_never(), None, "{last} is behind");
            news(last, Kind::Like, 6);
            assert_eq!((&mut waits).now_or_never(), None, "{last} is behind");
            news(last, Kind::Like, 7);
            assert!(waits.await);
        }
    }

    #[tokio::test]
    async fn who_is_named_is_waited_for_even_before_it_was_heard_of() {
        let (board, news) = board();
        news("likes", Kind::Like, 9);
        assert!(board.passed_by(&["likes"], AT, LIMIT).await && board.passed_by(&[], AT, LIMIT).await);
        let mut waits = Box::pin(board.passed_by(&["likes", "posts"], AT, LIMIT));
        assert_eq!((&mut waits).now_or_never(), None);
        news("posts", Kind::Post, 8);
        assert!(waits.await);
    }

    #[tokio::test]
    async fn a_projection_that_no_longer_reports_is_waited_for_no_longer() {
        let (board, news) = board_at();
        let mut waits = Box::pin(board.passed_by_all(Kind::Like, AT, LIMIT));
        news("removed", Kind::Like, 3, 0);
        for seconds in 0..=11 {
            news("likes", Kind::Like, 7, seconds);
            // It reports, however far behind it is.
            news("posts", Kind::Like, 3, seconds);
            assert_eq!((&mut waits).now_or_never(), None, "after {seconds} s");
        }
        news("posts", Kind::Like, 7, 11);
        assert!(waits.await);
    }

    /// Their process starts again: the first of them to report must not stand for all.
    #[tokio::test]
    async fn no_projection_is_forgotten_while_none_reports() {
        let (board, news) = board_at();
        for projection in ["likes", "posts"] {
            news(projection, Kind::Like, 3, 0);
        }
        news("likes", Kind::Like, 7, 300);
        let mut waits = Box::pin(board.passed_by_all(Kind::Like, AT, LIMIT));
        assert_eq!((&mut waits).now_or_never(), None);
        news("posts", Kind::Like, 7, 301);
        assert!(waits.await);
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_the_bound_or_for_a_log_that_is_closed() {
        let (board, news) = board();
        assert!(!board.passed_by_all(Kind::Like, AT, Duration::from_millis(1)).await);
        news("likes", Kind::Like, 6);
        assert!(!board.passed_by_all(Kind::Like, AT, Duration::from_millis(1)).await);
        drop(news);
        assert!(!board.passed_by_all(Kind::Like, AT, LIMIT).await);
    }
}
