//! Retries while a dependency is unavailable.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::telemetry::with_causes;

/// Backoff during an outage, from the first to the longest delay. Jitter at most doubles a delay, so that processes
/// that failed together do not retry together.
pub const OUTAGE_BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(25))
    .with_max_delay(Duration::from_millis(2500))
    .without_max_times()
    .with_jitter();

/// Retries until the attempt succeeds or fails with another error than an outage.
///
/// # Errors
/// The first error that is not an outage.
pub async fn retry_until_available<T, E, F>(
    dependency: &str,
    attempt: impl FnMut() -> F,
    is_outage: impl FnMut(&E) -> bool,
) -> Result<T, E>
where
    E: std::error::Error,
    F: Future<Output = Result<T, E>>,
{
    let log = |error: &E, _| {
        tracing::warn!(outage = %error, error = with_causes(error), "waiting for {dependency}");
    };
    attempt.retry(OUTAGE_BACKOFF).when(is_outage).notify(log).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn outages_are_retried_and_other_errors_are_not() {
        let (attempts, outages) = (Cell::new(0), 2);
        let attempt = async || {
            attempts.set(attempts.get() + 1);
            Err::<(), _>(std::io::Error::other(if attempts.get() <= outages { "outage" } else { "corrupt" }))
        };
        let error = retry_until_available("a store", attempt, |error| error.to_string() == "outage").await;
        assert_eq!((error.unwrap_err().to_string(), attempts.get()), ("corrupt".to_owned(), outages + 1));
    }
}
