//! The health of the log: the outcomes of this process's last appends, and the engine's disk check.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{AppendError, LogError, Position};

/// How long a failed append makes the process not ready, unless a later one succeeds. It is limited because a process
/// that is not ready gets no commands, so no append would show that the log is writable again.
const FAILURE_COUNTS: Duration = Duration::from_secs(30);

/// Outcomes of appends, in memory.
#[derive(Debug, Default)]
pub(crate) struct AppendOutcomes(Mutex<Outcomes>);

#[derive(Debug, Default)]
struct Outcomes {
    succeeded: Option<Instant>,
    failed: Option<(Instant, String)>,
    failures_in_a_row: u64,
}

impl AppendOutcomes {
    /// Conflicts and unencodable events do not concern the disk.
    pub(crate) fn record(&self, outcome: &Result<Position, AppendError>, now: Instant) {
        match outcome {
            Ok(_) => {
                let mut outcomes = self.outcomes();
                outcomes.succeeded = Some(now);
                outcomes.failures_in_a_row = 0;
            }
            Err(error @ (AppendError::Log(LogError::Unavailable(_)) | AppendError::OutcomeUnknown(_))) => {
                let mut outcomes = self.outcomes();
                outcomes.failed = Some((now, with_causes(error)));
                outcomes.failures_in_a_row += 1;
            }
            Err(AppendError::Conflict | AppendError::Log(LogError::Corrupt { .. })) => {}
        }
    }

    /// Whether appends work, as far as known.
    ///
    /// # Errors
    /// If the last append failed recently.
    pub(crate) fn ready(&self, now: Instant) -> Result<(), String> {
        let outcomes = self.outcomes();
        match &outcomes.failed {
            Some((at, error)) if outcomes.failures_in_a_row > 0 && now - *at < FAILURE_COUNTS => {
                Err(format!("the last {} appends failed: {error}", outcomes.failures_in_a_row))
            }
            _ => Ok(()),
        }
    }

    /// Seconds since the last success and the last failure, the last error, and the number of consecutive failures.
    pub(crate) fn details(&self, now: Instant) -> Value {
        let outcomes = self.outcomes();
        let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
        json!({
            "failures_in_a_row": outcomes.failures_in_a_row,
            "succeeded_seconds_ago": outcomes.succeeded.map(ago),
            "failed_seconds_ago": outcomes.failed.as_ref().map(|(at, _)| ago(*at)),
            "last_error": outcomes.failed.as_ref().map(|(_, error)| error),
        })
    }

    fn outcomes(&self) -> MutexGuard<'_, Outcomes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with all its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Result<Position, AppendError> {
        Err(LogError::unavailable("no space left on device").into())
    }

    #[test]
    fn failed_append_makes_the_log_not_ready_for_a_while() {
        let (outcomes, start) = (AppendOutcomes::default(), Instant::now());
        outcomes.ready(start).unwrap();
        outcomes.record(&failure(), start);
        outcomes.record(&Err(AppendError::Conflict), start);
        outcomes.record(&failure(), start + Duration::from_secs(1));
        let problem = outcomes.ready(start + Duration::from_secs(3)).unwrap_err();
        assert!(problem.starts_with("the last 2 appends failed"), "{problem}");
        assert!(problem.ends_with("no space left on device"), "{problem}");
        outcomes.ready(start + Duration::from_secs(1) + FAILURE_COUNTS).unwrap();
        outcomes.record(&Ok(Position(8)), start + Duration::from_secs(2));
        outcomes.ready(start + Duration::from_secs(3)).unwrap();
        let details = outcomes.details(start + Duration::from_secs(5));
        assert_eq!(details["failures_in_a_row"], 0);
        assert_eq!(
            (&details["succeeded_seconds_ago"], &details["failed_seconds_ago"]),
            (&3.into(), &4.into())
        );
    }
}
