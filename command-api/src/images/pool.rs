//! The order in which pictures are processed: accounts take turns, so that no account can keep the others waiting, and
//! all pictures in progress share one memory budget.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use events::UserId;
use pictures::Refusal;
use tokio::sync::oneshot;

use super::ImageRejected;

/// Limits of a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Pictures that are processed at the same time.
    pub(super) places: usize,
    /// Memory in bytes of all pictures in progress.
    pub(super) memory: u64,
    /// Bytes of the files that wait or are in progress, of all accounts.
    pub(super) buffered: u64,
    /// Likewise, of one account.
    pub(super) buffered_by_account: u64,
    /// Uploads of one account that are being received or are in progress.
    pub(super) uploads: usize,
}

/// Shared by all uploads. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    memory: u64,
    buffered: u64,
    accounts: HashMap<UserId, Account>,
    /// Accounts that have pictures waiting, in the order of their turns.
    turns: VecDeque<UserId>,
}

#[derive(Debug, Default)]
struct Account {
    uploads: usize,
    buffered: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    memory: u64,
    start: oneshot::Sender<Permit>,
}

/// One upload of an account, until this is dropped.
#[derive(Debug)]
pub struct UploadSlot {
    pool: Pool,
    account: UserId,
}

/// A file that is buffered in memory, until this is dropped.
#[derive(Debug)]
pub(super) struct BufferedFile {
    pool: Pool,
    account: UserId,
    bytes: u64,
}

/// A place and memory for one picture, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Pool,
    memory: u64,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner { limits, state: Mutex::default() }))
    }

    /// Counts an upload of an account before its body is read.
    pub(super) fn begin_upload(&self, account: UserId) -> Result<UploadSlot, ImageRejected> {
        let mut state = self.state();
        let uploads = &mut state.accounts.entry(account).or_default().uploads;
        if *uploads >= self.0.limits.uploads {
            return Err(ImageRejected::TooManyUploads);
        }
        *uploads += 1;
        Ok(UploadSlot { pool: self.clone(), account })
    }

    /// Counts a file that waits to be processed.
    pub(super) fn buffer_file(&self, account: UserId, bytes: u64) -> Result<BufferedFile, ImageRejected> {
        let mut state = self.state();
        if state.buffered + bytes > self.0.limits.buffered {
            return Err(ImageRejected::Busy);
        }
        let buffered = &mut state.accounts.entry(account).or_default().buffered;
        if *buffered + bytes > self.0.limits.buffered_by_account {
            return Err(ImageRejected::TooManyUploads);
        }
        *buffered += bytes;
        state.buffered += bytes;
        Ok(BufferedFile { pool: self.clone(), account, bytes })
    }

    /// Waits for the account's turn, and for a place and this much memory. A caller that is dropped gives up its turn.
    pub(super) async fn enter(&self, account: UserId, memory: u64) -> Result<Permit, ImageRejected> {
        if memory > self.0.limits.memory {
            return Err(Refusal::TooMuchMemory.into());
        }
        let (start, started) = oneshot::channel();
        let starting = {
            let mut state = self.state();
            let waiting = &mut state.accounts.entry(account).or_default().waiting;
            waiting.push_back(Waiting { memory, start });
            if waiting.len() == 1 {
                state.turns.push_back(account);
            }
            self.next(&mut state)
        };
        begin(starting);
        Ok(started.await.map_err(Refusal::failed)?)
    }

    /// Grants the free places and memory, in turn. If the next picture does not fit yet, the others wait as well: otherwise
    /// small pictures could keep a large one waiting forever.
    fn next(&self, state: &mut State) -> Vec<(oneshot::Sender<Permit>, Permit)> {
        let mut starting = Vec::new();
        while state.running < self.0.limits.places {
            let Some(account) = state.turns.front().copied() else { break };
            let waiting = state.accounts.get_mut(&account).map(|account| &mut account.waiting);
            let Some(waiting) = waiting.filter(|waiting| !waiting.is_empty()) else {
                state.turns.pop_front();
                continue;
            };
            let abandoned = waiting.front().is_some_and(|first| first.start.is_closed());
            let fits =
                waiting.front().is_some_and(|first| state.memory + first.memory <= self.0.limits.memory);
            if !abandoned && !fits {
                break;
            }
            state.turns.pop_front();
            let first = waiting.pop_front();
            let more = !waiting.is_empty();
            if more && abandoned {
                state.turns.push_front(account);
            } else if more {
                state.turns.push_back(account);
            }
            if let Some(Waiting { memory, start }) = first.filter(|_| !abandoned) {
                state.running += 1;
                state.memory += memory;
                starting.push((start, Permit { pool: self.clone(), memory }));
            }
            state.forget_if_idle(account);
        }
        starting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Called without the lock: a permit that is not received is dropped immediately, and dropping takes the lock.
fn begin(starting: Vec<(oneshot::Sender<Permit>, Permit)>) {
    for (start, permit) in starting {
        drop(start.send(permit));
    }
}

impl State {
    fn forget_if_idle(&mut self, account: UserId) {
        let idle =
            |account: &Account| account.uploads == 0 && account.buffered == 0 && account.waiting.is_empty();
        if self.accounts.get(&account).is_some_and(idle) {
            self.accounts.remove(&account);
        }
    }
}

impl Drop for UploadSlot {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if let Some(account) = state.accounts.get_mut(&self.account) {
            account.uploads -= 1;
        }
        state.forget_if_idle(self.account);
    }
}

impl Drop for BufferedFile {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.buffered -= self.bytes;
        if let Some(account) = state.accounts.get_mut(&self.account) {
            account.buffered -= self.bytes;
        }
        state.forget_if_idle(self.account);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let starting = {
            let mut state = self.pool.state();
            state.running -= 1;
            state.memory -= self.memory;
            self.pool.next(&mut state)
        };
        begin(starting);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use futures::FutureExt;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const ANN: UserId = UserId::new(Uuid::from_u128(0xa));
    const BOB: UserId = UserId::new(Uuid::from_u128(0xb));
    const LIMITS: Limits =
        Limits { places: 2, memory: 100, buffered: 1000, buffered_by_account: 400, uploads: 3 };

    type Entering<'a> = Pin<Box<dyn Future<Output = Result<Permit, ImageRejected>> + 'a>>;

    fn enter(pool: &Pool, account: UserId, memory: u64) -> Entering<'_> {
        let mut entering: Entering = Box::pin(pool.enter(account, memory));
        // It is in the queue once it has been polled.
        if let Some(entered) = entering.as_mut().now_or_never() {
            return Box::pin(std::future::ready(entered));
        }
        entering
    }

    fn entered(entering: &mut Entering) -> Option<Permit> {
        entering.as_mut().now_or_never().map(Result::unwrap)
    }

    #[test]
    fn account_with_many_pictures_does_not_delay_other_accounts() {
        let pool = Pool::new(LIMITS);
        let mut of_ann: Vec<_> = (0..36).map(|_| enter(&pool, ANN, 1)).collect();
        let first = [entered(&mut of_ann[0]).unwrap(), entered(&mut of_ann[1]).unwrap()];
        let mut of_bob = enter(&pool, BOB, 1);
        assert!(entered(&mut of_bob).is_none());
        drop(first);
        // Each account gets one of the two free places.
        assert!(entered(&mut of_ann[2]).is_some());
        assert!(entered(&mut of_bob).is_some());
    }

    #[test]
    fn uploads_and_bytes_of_an_account_are_limited_without_limiting_the_others() {
        let pool = Pool::new(LIMITS);
        let slots: Vec<_> = (0..3).map(|_| pool.begin_upload(ANN).unwrap()).collect();
        assert!(matches!(pool.begin_upload(ANN), Err(ImageRejected::TooManyUploads)));
        assert!(pool.begin_upload(BOB).is_ok());
        drop(slots);
        assert!(pool.begin_upload(ANN).is_ok());
        let buffered = pool.buffer_file(ANN, 400).unwrap();
        assert!(matches!(pool.buffer_file(ANN, 1), Err(ImageRejected::TooManyUploads)));
        let of_bob = pool.buffer_file(BOB, 400).unwrap();
        let eve = UserId::new(Uuid::from_u128(0xe));
        assert!(matches!(pool.buffer_file(eve, 201), Err(ImageRejected::Busy)));
        drop((buffered, of_bob));
        assert!(pool.buffer_file(ANN, 400).is_ok());
        assert!(pool.state().accounts.is_empty());
    }

    #[test]
    fn large_picture_waits_for_memory_and_is_not_overtaken() {
        let pool = Pool::new(LIMITS);
        let small = entered(&mut enter(&pool, ANN, 10)).unwrap();
        let mut large = enter(&pool, BOB, 95);
        let mut next = enter(&pool, ANN, 1);
        assert!(entered(&mut large).is_none() && entered(&mut next).is_none());
        drop(small);
        let large = entered(&mut large).unwrap();
        assert!(entered(&mut next).is_some());
        drop(large);
        assert!(matches!(
            pool.enter(ANN, 101).now_or_never(),
            Some(Err(ImageRejected::Refused(Refusal::TooMuchMemory)))
        ));
    }

    #[test]
    fn abandoned_picture_gives_up_its_turn() {
        let pool = Pool::new(LIMITS);
        let running =
            [entered(&mut enter(&pool, ANN, 1)).unwrap(), entered(&mut enter(&pool, ANN, 1)).unwrap()];
        let (abandoned, mut waiting) = (enter(&pool, BOB, 100), enter(&pool, BOB, 1));
        drop(abandoned);
        drop(running);
        assert!(entered(&mut waiting).is_some());
        drop(waiting);
        let state = pool.state();
        assert_eq!((state.running, state.memory, state.turns.len(), state.accounts.len()), (0, 0, 0, 0));
    }

    proptest! {
        #[test]
        fn any_order_of_work_stays_within_its_limits_and_ends_idle(
            steps in prop::collection::vec((0_u128..4, 0_u64..120, any::<prop::sample::Index>(), 0_u8..3), 1..80),
        ) {
            let pool = Pool::new(LIMITS);
            let (mut waiting, mut running): (Vec<Entering>, Vec<Permit>) = (Vec::new(), Vec::new());
            for (account, memory, which, action) in steps {
                match action {
                    0 if memory <= 100 => waiting.push(enter(&pool, UserId::new(Uuid::from_u128(account)), memory)),
                    1 if !running.is_empty() => drop(running.swap_remove(which.index(running.len()))),
                    2 if !waiting.is_empty() => drop(waiting.swap_remove(which.index(waiting.len()))),
                    _ => {}
                }
                let mut still = Vec::new();
                for mut one in waiting {
                    match entered(&mut one) {
                        Some(permit) => running.push(permit),
                        None => still.push(one),
                    }
                }
                waiting = still;
                prop_assert!(running.len() <= 2 && running.iter().map(|permit| permit.memory).sum::<u64>() <= 100);
                // No place stays free while the next picture fits.
                prop_assert!(waiting.is_empty() || !running.is_empty());
            }
            while !waiting.is_empty() || !running.is_empty() {
                running.clear();
                waiting.retain_mut(|one| entered(one).map(|permit| running.push(permit)).is_none());
            }
            let state = pool.state();
            prop_assert_eq!((state.running, state.memory, state.accounts.len()), (0, 0, 0));
        }
    }
}
