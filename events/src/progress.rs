use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

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

#[derive(Debug, Clone, Default)]
struct Known(Arc<Mutex<BTreeMap<String, watch::Sender<Progress>>>>);

/// What keeps somebody waiting.
enum Behind {
    /// Of those waited for the one that is furthest behind.
    Projection(watch::Receiver<Progress>),
    /// A projection that has not been heard of.
    Unheard,
    Nothing,
}

impl Behind {
    fn furthest<'a>(of: impl Iterator<Item = &'a watch::Sender<Progress>>) -> Self {
        let furthest = of.min_by_key(|progress| progress.borrow().position);
        furthest.map_or(Self::Nothing, |progress| Self::Projection(progress.subscribe()))
    }
}

impl Known {
    fn projections(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes news in. True if the projection had not been heard of.
    fn take(&self, progress: Progress) -> bool {
        let mut known = self.projections();
        let Some(old) = known.get(&progress.projection) else {
            known.insert(progress.projection.clone(), watch::Sender::new(progress));
            return true;
        };
        old.send_if_modified(|old| {
            let is_newer = old.position < progress.position;
            if is_newer {
                *old = progress;
            }
            is_newer
        });
        false
    }
}

impl ProgressBoard {
    /// A board, and the task that keeps it: it ends when the log is dropped.
    pub fn follow(log: &dyn EventLog) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let known = Known::default();
        let (tell, heard) = watch::channel(());
        let mut news = log.progress();
        let board = Self { known: known.clone(), heard };
        let keep = async move {
            loop {
                match news.recv().await {
                    Ok(progress) => {
                        if known.take(progress) {
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
            match Behind::furthest(known.values().filter(|progress| progress.borrow().kinds.contains(&kind)))
            {
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
        behind: impl Fn(&BTreeMap<String, watch::Sender<Progress>>) -> Behind,
    ) -> bool {
        let mut heard = self.heard.clone();
        let reached = async {
            loop {
                heard.borrow_and_update();
                let mut behind = match behind(&self.known.projections()) {
                    Behind::Projection(progress) if progress.borrow().position < position => Some(progress),
                    Behind::Projection(_) | Behind::Nothing => return true,
                    Behind::Unheard => None,
                };
                let passed = async {
                    match &mut behind {
                        // Its sender stays on the board.
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

    /// A board, and how it is told news.
    fn board() -> (ProgressBoard, impl Fn(&str, Kind, u64)) {
        let (tell, heard) = watch::channel(());
        let known = Known::default();
        let board = ProgressBoard { known: known.clone(), heard };
        let news = move |projection: &str, kind, position| {
            let (projection, position) = (projection.to_owned(), Position(position));
            if known.take(Progress { projection, kinds: vec![kind], position }) {
                tell.send_replace(());
            }
        };
        (board, news)
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
    async fn nobody_waits_longer_than_the_bound_or_for_a_log_that_is_closed() {
        let (board, news) = board();
        assert!(!board.passed_by_all(Kind::Like, AT, Duration::from_millis(1)).await);
        news("likes", Kind::Like, 6);
        assert!(!board.passed_by_all(Kind::Like, AT, Duration::from_millis(1)).await);
        drop(news);
        assert!(!board.passed_by_all(Kind::Like, AT, LIMIT).await);
    }
}
