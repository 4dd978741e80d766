//! Calls of the event log that wait until its outages are over.

use events::{AppendError, Draft, EventLog, LogError, Position, SealedLog};
use service::retry::retry_until_available;

use super::checkpoint::Pause;

/// The position of the last event.
pub(crate) async fn head(log: &dyn EventLog) -> Result<Position, LogError> {
    let is_outage = |error: &LogError| matches!(error, LogError::Unavailable(_));
    retry_until_available("the event log", || log.head(), is_outage).await
}

/// Appends an event for a reaction if the last event of its subject is at `expected`. False if another event follows there,
/// also that of an earlier attempt whose answer was lost.
pub(crate) async fn append_at(
    log: &SealedLog,
    of: &'static str,
    draft: &Draft,
    expected: Position,
) -> Result<bool, LogError> {
    let mut pause = Pause::default();
    loop {
        match log.append(draft.clone(), expected).await {
            Ok(_) => return Ok(true),
            Err(AppendError::Conflict) => return Ok(false),
            Err(error @ (AppendError::Log(LogError::Unavailable(_)) | AppendError::OutcomeUnknown(_))) => {
                pause.wait_out(of, &error).await;
            }
            Err(AppendError::Log(error)) => return Err(error),
        }
    }
}
