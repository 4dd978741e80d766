//! The threads that hash passwords: work that takes a processor for 20 ms at a time, and that strangers can ask for.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::Block;
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

use super::hashing::PasswordsBusy;
use super::share::Share;

/// How long work may stand still before the steady thread takes it up.
const PATIENCE: Duration = Duration::from_millis(250);
/// Of the steady thread: where processors are short, it gets a tenth of what any other thread gets.
const NICENESS: i32 = 10;

/// What Argon2 works in. A thread keeps it from one piece of work to the next while more is waiting: to take it from the
/// system each time costs a twentieth of the whole, and the threads of all others wait meanwhile if they need memory.
pub(super) type Memory = Vec<Block>;

/// Begun a second time where the first stands still: whichever is done first counts.
pub(super) type Work = Arc<dyn Fn(&mut Memory) + Send + Sync>;

/// For each processor one thread that gets what of it nobody else wants, and stands back if that is too little ([`Share`]).
/// And one that stands by: while others want all processors for so long that nothing moves, it does the work, with a share
/// of its own, a small one.
pub(super) struct Threads {
    state: Arc<State>,
}

struct State {
    limit: usize,
    queue: Mutex<Queue>,
    /// Something was put into the queue, or nothing will be any more; or another number of threads is to work.
    changed: Condvar,
}

struct Queue {
    waiting: VecDeque<Work>,
    /// What the idle threads are at and no other has begun anew, the oldest first.
    begun: VecDeque<Work>,
    share: Share,
    /// When an idle thread last began or ended something, or could have begun.
    moved: Instant,
    closed: bool,
}

impl Threads {
    /// # Errors
    /// If a thread cannot be started.
    pub(super) fn start(cores: usize, limit: usize) -> std::io::Result<Self> {
        let queue = Queue {
            waiting: VecDeque::new(),
            begun: VecDeque::new(),
            share: Share::new(cores, Instant::now()),
            moved: Instant::now(),
            closed: false,
        };
        let state = Arc::new(State { limit, queue: Mutex::new(queue), changed: Condvar::new() });
        let threads = Self { state };
        for place in 0..cores {
            threads.spawn(move |state| {
                be_idle(place);
                let mut memory = Memory::new();
                while let Some(work) = state.next(place, &mut memory) {
                    let (began, used) = (Instant::now(), processor_time());
                    work(&mut memory);
                    state.ended(&work, processor_time().saturating_sub(used), began.elapsed());
                }
            })?;
        }
        threads.spawn(|state| {
            be_steady();
            while let Some(work) = state.next_standing_still() {
                work(&mut Memory::new());
            }
        })?;
        Ok(threads)
    }

    fn spawn(&self, run: impl FnOnce(&State) + Send + 'static) -> std::io::Result<()> {
        let state = Arc::clone(&self.state);
        std::thread::Builder::new().name("passwords".to_owned()).spawn(move || run(&state))?;
        Ok(())
    }

    pub(super) fn push(&self, work: Work) -> Result<(), PasswordsBusy> {
        let mut queue = self.state.queue();
        if queue.waiting.len() >= self.state.limit {
            return Err(PasswordsBusy);
        }
        if queue.is_empty() {
            queue.moved = Instant::now();
        }
        queue.waiting.push_back(work);
        self.state.changed.notify_all();
        Ok(())
    }
}

/// What waits is done, then the threads end.
impl Drop for Threads {
    fn drop(&mut self) {
        self.state.queue().closed = true;
        self.state.changed.notify_all();
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("limit", &self.state.limit).finish_non_exhaustive()
    }
}

impl State {
    /// For an idle thread, which keeps its memory if there is more at once; none once there will be no more.
    fn next(&self, place: usize, memory: &mut Memory) -> Option<Work> {
        let waits = |queue: &mut Queue| {
            if queue.waiting.is_empty() { !queue.closed } else { place >= queue.share.threads() }
        };
        let mut queue = self.queue();
        if waits(&mut queue) {
            drop(queue);
            *memory = Memory::new();
            queue = self.queue();
        }
        queue = self.changed.wait_while(queue, waits).unwrap_or_else(PoisonError::into_inner);
        let work = queue.waiting.pop_front()?;
        queue.begun.push_back(Arc::clone(&work));
        queue.moved = Instant::now();
        Some(work)
    }

    /// An idle thread has ended its work, for which it was on a processor for some of the time.
    fn ended(&self, work: &Work, busy: Duration, taken: Duration) {
        let mut queue = self.queue();
        queue.begun.retain(|begun| !Arc::ptr_eq(begun, work));
        queue.moved = Instant::now();
        let threads = queue.share.threads();
        queue.share.spent(busy, taken, Instant::now());
        if queue.share.threads() > threads {
            self.changed.notify_all();
        }
    }

    /// For the steady thread: the oldest, once nothing has moved for a while; none once there will be no more.
    fn next_standing_still(&self) -> Option<Work> {
        let mut queue = self.queue();
        loop {
            let patience = PATIENCE.saturating_sub(queue.moved.elapsed());
            if queue.is_empty() {
                if queue.closed {
                    return None;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            } else if patience.is_zero() {
                return queue.begun.pop_front().or_else(|| queue.waiting.pop_front());
            } else {
                let woken = self.changed.wait_timeout(queue, patience);
                queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.begun.is_empty()
    }
}

/// For how long this thread has been on a processor.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Linux's idle class, on one processor: any other thread that wakes there takes it at once, without waiting for a turn to
/// end; and the processors of the threads that stand back are free for whoever waits, which they would not be if a thread
/// that works came over as soon as one had nothing to do.
fn be_idle(place: usize) {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy) {
        tracing::debug!(?error, "a thread that hashes passwords is not of the idle class");
        be_steady();
    }
    if let Err(error) = stay_on_processor(place) {
        tracing::debug!(%error, "a thread that hashes passwords goes from one processor to the next");
    }
}

/// Of the processors that this thread may use, on the one at this place.
fn stay_on_processor(place: usize) -> rustix::io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut processors = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
    let Some(processor) = processors.nth(place) else { return Ok(()) };
    let mut one = CpuSet::new();
    one.set(processor);
    sched_setaffinity(None, &one)
}

fn be_steady() {
    if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
        tracing::debug!(%error, "a thread that hashes passwords keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::mpsc::{self, RecvTimeoutError};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Work that tells each time that it has begun, and the first time goes on until it is let go.
    fn held() -> (Work, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (began, begun) = mpsc::channel();
        let (let_go, wait) = mpsc::channel();
        let wait = Mutex::new(Some(wait));
        let work: Work = Arc::new(move |_| {
            let wait = wait.lock().unwrap().take();
            began.send(()).unwrap();
            if let Some(wait) = wait {
                let _ = wait.recv();
            }
        });
        (work, begun, let_go)
    }

    #[test]
    fn what_stands_still_is_begun_again_and_what_waits_behind_it_goes_on() {
        let threads = Threads::start(1, 2).unwrap();
        let (stuck, begun, let_go) = held();
        threads.push(stuck).unwrap();
        begun.recv_timeout(LIMIT).unwrap();
        let (told, tells) = mpsc::channel();
        threads.push(Arc::new(move |_| told.send(()).unwrap())).unwrap();
        // The idle thread has it, as one has that gets no processor.
        begun.recv_timeout(LIMIT).unwrap();
        tells.recv_timeout(LIMIT).unwrap();
        drop(let_go);
    }

    #[test]
    fn a_full_queue_is_told_at_once() {
        let threads = Threads::start(1, 0).unwrap();
        assert_eq!(threads.push(Arc::new(|_| {})), Err(PasswordsBusy));
    }

    #[test]
    fn what_waits_is_done_and_then_the_threads_end() {
        let threads = Threads::start(2, 100).unwrap();
        let (told, tells) = mpsc::channel();
        for n in 0..100 {
            let told = told.clone();
            threads.push(Arc::new(move |_| told.send(n).unwrap())).unwrap();
        }
        drop((threads, told));
        let done: BTreeSet<i32> = std::iter::from_fn(|| match tells.recv_timeout(LIMIT) {
            Ok(n) => Some(n),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("a thread has not ended"),
        })
        .collect();
        assert_eq!(done, (0..100).collect());
    }
}
