//! A circuit breaker for the mail service: while it is open, one mail at a time probes the service and the others
//! wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::checkpoint::backoff_delay;

/// How long the breaker stays open after consecutive failures, from the first to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Closed while mails are accepted.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    state: Mutex<State>,
    closed: Notify,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// The last problem while the breaker is open.
    problem: Option<String>,
    open_until: Option<Instant>,
}

impl CircuitBreaker {
    /// Waits until a mail may be sent. While the breaker is open, only one permit at a time is granted, after the
    /// backoff; it is exclusive until its result is recorded or `probe_timeout` has passed.
    pub(super) async fn acquire(&self, probe_timeout: Duration) -> Permit<'_> {
        loop {
            let closed = self.closed.notified();
            let Err(until) = self.state().acquire(Instant::now(), probe_timeout) else {
                return Permit { breaker: self, reported: false };
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = closed => {}
            }
        }
    }

    /// For `/readyz`: the problem while mails fail; otherwise null.
    pub(super) fn details(&self) -> Value {
        match &*self.state() {
            State { failures, problem: Some(problem), .. } => {
                json!({ "failures": failures, "problem": problem })
            }
            State { problem: None, .. } => Value::Null,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permission to send one mail. If it is dropped without a result, the next waiting mail gets one.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a CircuitBreaker,
    reported: bool,
}

impl Permit<'_> {
    /// The mail service responded: closes the breaker.
    pub(super) fn record_success(mut self) {
        self.reported = true;
        *self.breaker.state() = State::default();
        self.breaker.closed.notify_waiters();
    }

    /// The mail service failed: opens the breaker.
    pub(super) fn record_failure(mut self, problem: String) {
        self.reported = true;
        let mut state = self.breaker.state();
        state.record_failure(Instant::now());
        state.problem = Some(problem);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.reported {
            self.breaker.state().release(Instant::now());
            self.breaker.closed.notify_waiters();
        }
    }
}

impl State {
    /// # Errors
    /// When to try again.
    fn acquire(&mut self, now: Instant, probe_timeout: Duration) -> Result<(), Instant> {
        match self.open_until {
            None => Ok(()),
            Some(until) if until <= now => {
                self.open_until = Some(now + probe_timeout);
                Ok(())
            }
            Some(until) => Err(until),
        }
    }

    fn release(&mut self, now: Instant) {
        self.open_until = self.open_until.map(|until| until.min(now));
    }

    fn record_failure(&mut self, now: Instant) {
        self.open_until = Some(now + backoff_delay(PAUSE, self.failures));
        self.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

    #[test]
    fn open_breaker_grants_one_permit_at_a_time() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!((state.acquire(now, PROBE_TIMEOUT), state.acquire(now, PROBE_TIMEOUT)), (Ok(()), Ok(())));
        state.record_failure(now);
        let until = state.acquire(now, PROBE_TIMEOUT).unwrap_err();
        assert!(until > now && until <= now + PAUSE.0);
        assert_eq!(state.acquire(until, PROBE_TIMEOUT), Ok(()));
        // A permit without a result expires.
        assert_eq!(state.acquire(until, PROBE_TIMEOUT), Err(until + PROBE_TIMEOUT));
        assert_eq!(state.acquire(until + PROBE_TIMEOUT, PROBE_TIMEOUT), Ok(()));
    }

    #[test]
    fn backoff_grows_to_its_limit() {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..100 {
            state.record_failure(now);
        }
        let until = state.acquire(now, PROBE_TIMEOUT).unwrap_err();
        assert!((PAUSE.1 / 2..=PAUSE.1).contains(&(until - now)));
    }

    #[tokio::test]
    async fn waiting_mail_proceeds_when_the_breaker_closes_or_a_permit_is_dropped() {
        let breaker = CircuitBreaker::default();
        let permit = breaker.acquire(PROBE_TIMEOUT).await;
        let shut = || breaker.state().open_until = Some(Instant::now() + Duration::from_hours(1));
        shut();
        let ((), next) = tokio::join!(async { drop(permit) }, breaker.acquire(Duration::from_hours(1)));
        // The probe is still exclusive: it has no result yet.
        assert!(breaker.state().acquire(Instant::now(), PROBE_TIMEOUT).is_err());
        tokio::join!(async { next.record_success() }, breaker.acquire(PROBE_TIMEOUT));
        assert!(breaker.state().open_until.is_none());
    }
}
