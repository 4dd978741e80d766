//! Keeps mails from a mail service that is out: while it is, one at a time tries, and the others wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::engine::checkpoint::growing;

/// How long the gate stays shut after failures in a row, growing from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Open as long as mails are taken.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    opened: Notify,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// What was said last, while no mail is taken.
    problem: Option<String>,
    shut_until: Option<Instant>,
}

impl Gate {
    /// Waits until a mail may try. After a pause the first to pass is alone, for so long or until it has told how it
    /// went.
    pub(super) async fn pass(&self, alone_for: Duration) -> Turn<'_> {
        loop {
            let opened = self.opened.notified();
            let Err(until) = self.state().pass(Instant::now(), alone_for) else {
                return Turn { gate: self, told: false };
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = opened => {}
            }
        }
    }

    /// For `/readyz`: that mails fail, and why; null while they are taken.
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

/// The right to try; dropped without a word, it goes to the next.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    gate: &'a Gate,
    told: bool,
}

impl Turn<'_> {
    /// The mail service has answered sensibly.
    pub(super) fn open(mut self) {
        self.told = true;
        *self.gate.state() = State::default();
        self.gate.opened.notify_waiters();
    }

    /// The mail service took nothing, for this reason.
    pub(super) fn shut(mut self, problem: String) {
        self.told = true;
        let mut state = self.gate.state();
        state.shut(Instant::now());
        state.problem = Some(problem);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.gate.state().pass_on(Instant::now());
            self.gate.opened.notify_waiters();
        }
    }
}

impl State {
    /// # Errors
    /// When to try again.
    fn pass(&mut self, now: Instant, alone_for: Duration) -> Result<(), Instant> {
        match self.shut_until {
            None => Ok(()),
            Some(until) if until <= now => {
                self.shut_until = Some(now + alone_for);
                Ok(())
            }
            Some(until) => Err(until),
        }
    }

    fn pass_on(&mut self, now: Instant) {
        self.shut_until = self.shut_until.map(|until| until.min(now));
    }

    fn shut(&mut self, now: Instant) {
        self.shut_until = Some(now + growing(PAUSE, self.failures));
        self.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Duration = Duration::from_secs(15);

    #[test]
    fn while_the_mail_service_is_out_one_mail_at_a_time_tries() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!((state.pass(now, ALONE), state.pass(now, ALONE)), (Ok(()), Ok(())));
        state.shut(now);
        let until = state.pass(now, ALONE).unwrap_err();
        assert!(until > now && until <= now + PAUSE.0);
        assert_eq!(state.pass(until, ALONE), Ok(()));
        // The one that passed has not told yet; one that never tells does not keep the gate shut.
        assert_eq!(state.pass(until, ALONE), Err(until + ALONE));
        assert_eq!(state.pass(until + ALONE, ALONE), Ok(()));
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..100 {
            state.shut(now);
        }
        let until = state.pass(now, ALONE).unwrap_err();
        assert!((PAUSE.1 / 2..=PAUSE.1).contains(&(until - now)));
    }

    #[tokio::test]
    async fn who_waits_passes_when_it_opens_or_when_a_turn_is_given_up() {
        let gate = Gate::default();
        let turn = gate.pass(ALONE).await;
        let shut = || gate.state().shut_until = Some(Instant::now() + Duration::from_hours(1));
        shut();
        let ((), next) = tokio::join!(async { drop(turn) }, gate.pass(Duration::from_hours(1)));
        // Still alone: the one before it has said nothing.
        assert!(gate.state().pass(Instant::now(), ALONE).is_err());
        tokio::join!(async { next.open() }, gate.pass(ALONE));
        assert!(gate.state().shut_until.is_none());
    }
}
