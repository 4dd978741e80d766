//! How a process begins: it waits for what it needs, instead of failing because that starts a moment later.

use std::time::Duration;

use crate::telemetry::with_causes;

/// Pause between attempts, growing from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Attempts something until it succeeds, or fails for a reason that no waiting mends.
///
/// # Errors
/// The first that is no outage.
pub async fn patiently<T, E, F>(
    what: &str,
    attempt: impl Fn() -> F,
    is_outage: impl Fn(&E) -> bool,
) -> Result<T, E>
where
    E: std::error::Error,
    F: Future<Output = Result<T, E>>,
{
    let mut pause = PAUSE.0;
    loop {
        match attempt().await {
            Err(error) if is_outage(&error) => {
                tracing::warn!(outage = what, error = with_causes(&error), "waiting for {what}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
            outcome => return outcome,
        }
    }
}

/// A setting as it may be shown: the password of a URL is left out.
pub fn without_password(setting: &str) -> String {
    match (setting.find("//"), setting.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            let user = setting[start + 2..end].split(':').next().unwrap_or("");
            format!("{}//{user}:…{}", &setting[..start], &setting[end..])
        }
        _ => setting.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(without_password("mongodb://ann:s3cret@h:1,i:2/db?x=y"), "mongodb://ann:…@h:1,i:2/db?x=y");
        assert_eq!(without_password("nats://h:4222"), "nats://h:4222");
        assert_eq!(without_password("sqlite:data/a@b.db"), "sqlite:data/a@b.db");
    }
}
