//! How many hash at once. Even a thread that gets only what of a processor nobody else wants does harm: with one on each
//! processor none is ever free, and whoever waits behind another on one processor is not moved to the next.

use std::time::{Duration, Instant};

/// How often in a row work must have taken more than twice its time, for one thread less.
const CROWDED_IN_A_ROW: u32 = 2;
/// How long one thread less is tried before one more is, growing from the first to the second as long as it has to be taken
/// back again.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// One more that has been there for so long was right.
const PROVED: Duration = Duration::from_secs(10);

/// As many threads as there are processors, or as have most of one for themselves; at least one.
#[derive(Debug)]
pub(super) struct Share {
    processors: usize,
    threads: usize,
    crowded: u32,
    pause: Duration,
    /// When the number of threads was changed.
    changed: Instant,
}

impl Share {
    pub(super) const fn new(processors: usize, now: Instant) -> Self {
        Self { processors, threads: processors, crowded: 0, pause: PAUSE.0, changed: now }
    }

    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// A thread has spent `busy` on a processor, and `taken` in all.
    pub(super) fn spent(&mut self, busy: Duration, taken: Duration, now: Instant) {
        if taken < busy * 2 {
            self.crowded = 0;
        } else {
            self.crowded += 1;
        }
        let since = now.saturating_duration_since(self.changed);
        if self.crowded == CROWDED_IN_A_ROW && self.threads > 1 {
            self.pause = if since < PROVED { (self.pause * 2).min(PAUSE.1) } else { PAUSE.0 };
            (self.threads, self.changed, self.crowded) = (self.threads - 1, now, 0);
        } else if taken < busy * 3 / 2 && self.threads < self.processors && since >= self.pause {
            (self.threads, self.changed) = (self.threads + 1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Duration = Duration::from_millis(15);

    /// Work each 20 ms for so long, taking so many tenths of its time.
    fn work(share: &mut Share, now: &mut Instant, tenths: u32, time: Duration) -> usize {
        let end = *now + time;
        while *now < end {
            *now += Duration::from_millis(20);
            share.spent(BUSY, BUSY * tenths / 10, *now);
        }
        share.threads()
    }

    #[test]
    fn threads_stand_back_one_by_one_and_come_back_when_there_is_room() {
        let mut now = Instant::now();
        let mut share = Share::new(4, now);
        let second = Duration::from_secs(1);
        assert_eq!(work(&mut share, &mut now, 12, second), 4);
        assert_eq!(work(&mut share, &mut now, 25, Duration::from_millis(40)), 3);
        assert_eq!(work(&mut share, &mut now, 25, second), 1, "one stays");
        // Neither crowded nor free.
        assert_eq!(work(&mut share, &mut now, 18, 60 * second), 1);
        assert_eq!(work(&mut share, &mut now, 11, 60 * second), 4);
    }

    #[test]
    fn one_time_says_nothing() {
        let mut now = Instant::now();
        let mut share = Share::new(2, now);
        for tenths in [30, 11, 30, 19, 30] {
            assert_eq!(work(&mut share, &mut now, tenths, Duration::from_millis(20)), 2);
        }
    }

    #[test]
    fn where_one_more_is_too_many_it_is_tried_less_and_less() {
        let mut now = Instant::now();
        let mut share = Share::new(2, now);
        let (start, mut tried) = (now, 0);
        while now < start + Duration::from_mins(5) {
            let before = share.threads();
            // Alone there is room, together there is none.
            work(&mut share, &mut now, if before == 2 { 25 } else { 11 }, Duration::from_millis(20));
            tried += usize::from(share.threads() > before);
        }
        assert!((5..12).contains(&tried), "{tried}");
    }
}
