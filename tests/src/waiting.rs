//! Waiting for a state, never for a time: asked again until it is there, with a limit.

use std::time::Duration;

/// How soon it is asked again.
const POLL: Duration = Duration::from_millis(10);
/// How long a system may take until it is well again.
const RECOVERY_LIMIT: Duration = Duration::from_mins(1);

/// Asks until there is an answer.
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

/// Asks until it is so.
pub async fn until(what: &str, ask: impl AsyncFn() -> bool) {
    found(RECOVERY_LIMIT, what, async || ask().await.then_some(())).await;
}
