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

/// A setting as it may be shown: the password of a URL is left out. What stands alone before the `@` may be a token, so
/// it counts as one, except in a URL of a mail server, which names its user there.
pub fn without_password(setting: &str) -> String {
    match (setting.find("//"), setting.rfind('@')) {
        (Some(start), Some(end)) if start < end => {
            if setting.starts_with("smtp") && !setting[start..end].contains(':') {
                return setting.to_owned();
            }
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
        assert_eq!(without_password("smtp://ann%40a.example@h:587"), "smtp://ann%40a.example@h:587");
        assert_eq!(without_password("smtps://ann:s3cret@h:465"), "smtps://ann:…@h:465");
    }
}
