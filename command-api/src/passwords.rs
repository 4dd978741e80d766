//! Passwords: Argon2id with the parameters that OWASP recommends, in a pool that is as wide as the machine, so that
//! log-ins can slow each other down but nobody else.
//! Source: <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>.

use std::sync::Arc;

use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use service::problem::Problem;
use tokio::sync::Semaphore;

/// Memory in KiB, passes, lanes.
const PARAMETERS: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Hashings that may wait for a place; whoever comes after them is told to come back.
const WAITING: usize = 256;

/// The pool was full and so was the queue before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked at once")]
pub(crate) struct PasswordsBusy;

#[derive(Debug)]
pub(crate) struct Passwords {
    /// One at a time for each core.
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// What a password is checked against when there is no account, so that the answer takes as long.
    decoy: String,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            places: Arc::new(Semaphore::new(cores)),
            queue: Arc::new(Semaphore::new(WAITING + cores)),
            decoy: hash("nobody has this password").unwrap_or_default(),
        }
    }
}

impl Passwords {
    /// A PHC string of Argon2id with a salt of its own.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Problem> {
        self.run(move || hash(&password)).await?.map_err(Problem::internal)
    }

    /// Whether the password is the one that was hashed. Without a hash it takes as long and is wrong.
    pub(crate) async fn matches(&self, password: String, hashed: Option<String>) -> Result<bool, Problem> {
        let exists = hashed.is_some();
        let hashed = hashed.unwrap_or_else(|| self.decoy.clone());
        let verified =
            self.run(move || hasher().verify_password(password.as_bytes(), hashed.as_str())).await?;
        match verified {
            Ok(()) => Ok(exists),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(unreadable) => Err(Problem::internal(unreadable)),
        }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let _queued = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| PasswordsBusy)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(Problem::internal)?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            // Held until the work is done, also when whoever asked for it has gone.
            drop(place);
            done
        })
        .await
        .map_err(Problem::internal)
    }
}

fn hasher() -> Argon2<'static> {
    let (memory, passes, lanes) = PARAMETERS;
    let parameters = Params::new(memory, passes, lanes, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
}

fn hash(password: &str) -> Result<String, Error> {
    Ok(hasher().hash_password(password.as_bytes())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::default();
        let hashed = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert_ne!(passwords.hash("correct horse".into()).await.unwrap(), hashed, "salted");
        assert!(passwords.matches("correct horse".into(), Some(hashed.clone())).await.unwrap());
        assert!(!passwords.matches("Correct horse".into(), Some(hashed)).await.unwrap());
        assert!(!passwords.matches("nobody has this password".into(), None).await.unwrap());
        assert_eq!(passwords.matches("x".into(), Some("not a hash".into())).await.unwrap_err().status, 500);
    }

    #[tokio::test]
    async fn a_full_queue_is_told_at_once() {
        let passwords = Passwords { queue: Arc::new(Semaphore::new(0)), ..Passwords::default() };
        assert_eq!(passwords.hash("x".into()).await.unwrap_err().status, 503);
    }
}
