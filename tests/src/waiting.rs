//! Waits for a state, never for a time: the one place where tests poll. Each wait has a limit.

use std::time::{Duration, Instant};

/// The polling interval.
const POLL: Duration = Duration::from_millis(10);
/// How long a recovery may take.
const RECOVERY_LIMIT: Duration = Duration::from_mins(2);

/// Polls until there is a result.
///
/// # Panics
/// If there is no result within the limit.
pub async fn found<T>(limit: Duration, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let search = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(limit, search).await.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}

/// Polls until a condition holds.
///
/// # Panics
/// If it does not hold within two minutes.
pub async fn until(what: &str, ask: impl AsyncFn() -> bool) {
    found(RECOVERY_LIMIT, what, async || ask().await.then_some(())).await;
}

/// Polls until there is a result or an error; none after the limit. For callers with their own failure message.
///
/// # Errors
/// The first of asking.
pub async fn answer<T, E, F>(limit: Duration, mut ask: impl FnMut() -> F) -> Result<Option<T>, E>
where
    F: Future<Output = Result<Option<T>, E>>,
{
    let start = Instant::now();
    loop {
        // The last question is asked after the limit: the thread may have been busy with something else since the one before.
        let is_last = start.elapsed() > limit;
        let answer = ask().await?;
        if answer.is_some() || is_last {
            return Ok(answer);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// As [`answer`], without async.
///
/// # Errors
/// The first of asking.
pub fn answer_blocking<T, E>(
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let start = Instant::now();
    loop {
        let answer = ask()?;
        if answer.is_some() || start.elapsed() > limit {
            return Ok(answer);
        }
        std::thread::sleep(POLL);
    }
}
