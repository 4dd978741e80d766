//! Argon2id with the parameters that OWASP recommends, at most one hashing per processor at the same time.
//! Source: <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>.

use std::error;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::forms::{prepare, stored_forms};
use crate::cpu::CpuPermits;

/// Memory in KiB, passes, lanes.
const PARAMETERS: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Hashings that run or wait for a processor; more are refused. A hashing takes about 20 ms, so on two processors the last one
/// waits less than 3 seconds.
const HASHINGS: usize = 256;

/// [`HASHINGS`] are already running or waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked at once")]
pub(crate) struct PasswordsBusy;

/// Why a password was not hashed or compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashingError {
    #[error(transparent)]
    Busy(#[from] PasswordsBusy),
    #[error("a password cannot be hashed or compared")]
    Failed(#[source] Box<dyn error::Error + Send + Sync>),
}

impl HashingError {
    fn failed(cause: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}

/// Outcome of comparing a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Wrong,
    Right,
    /// Right, but the hash is of an old form of the password.
    RightInOldForm,
}

#[derive(Debug)]
pub(crate) struct Passwords {
    cpu: CpuPermits,
    /// One permit for each hashing that may run or wait.
    hashings: Semaphore,
    /// Compared with the password when there is no account, so that the answer takes the same time.
    decoy: String,
}

impl Passwords {
    /// # Errors
    /// If the system provides no random numbers.
    pub(crate) fn new(cpu: CpuPermits) -> std::io::Result<Self> {
        Self::with(cpu, HASHINGS)
    }

    fn with(cpu: CpuPermits, hashings: usize) -> std::io::Result<Self> {
        let decoy = hash("nobody has this password").map_err(std::io::Error::other)?;
        Ok(Self { cpu, hashings: Semaphore::new(hashings), decoy })
    }

    /// A PHC string of Argon2id with a new salt, of the prepared password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, HashingError> {
        let password = prepare(&password);
        self.run(move || hash(&password)).await?.map_err(HashingError::failed)
    }

    /// Compares a password with a hash. Without a hash the result is `Wrong` and takes the same time.
    pub(crate) async fn compare(
        &self,
        password: &str,
        hashed: Option<String>,
    ) -> Result<Comparison, HashingError> {
        let exists = hashed.is_some();
        let hashed = hashed.unwrap_or_else(|| self.decoy.clone());
        let forms = stored_forms(password);
        let compared = self.run(move || first_match(&forms, &hashed)).await?;
        match compared.map_err(HashingError::failed)?.filter(|_| exists) {
            Some(0) => Ok(Comparison::Right),
            Some(_) => Ok(Comparison::RightInOldForm),
            None => Ok(Comparison::Wrong),
        }
    }

    /// Whether a hash has weaker parameters than new hashes.
    pub(crate) fn is_weak(hashed: &str) -> bool {
        let Ok(hash) = PasswordHash::new(hashed) else { return false };
        let Ok(made_with) = Params::try_from(&hash) else { return false };
        let (memory, passes, _) = PARAMETERS;
        made_with.m_cost() < memory || made_with.t_cost() < passes
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let _permit = self.hashings.try_acquire().map_err(|_| PasswordsBusy)?;
        self.cpu.run(job).await.map_err(HashingError::failed)
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

/// The number of the password that matches the hash. If none does, all have been tried.
fn first_match(passwords: &[String], hashed: &str) -> Result<Option<usize>, Error> {
    let hash = PasswordHash::new(hashed)?;
    for (number, password) in passwords.iter().enumerate() {
        // Uses the algorithm and the parameters of the hash.
        match hasher().verify_password(password.as_bytes(), &hash) {
            Ok(()) => return Ok(Some(number)),
            Err(Error::PasswordInvalid) => {}
            Err(unreadable) => return Err(unreadable),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> Passwords {
        Passwords::new(CpuPermits::default()).unwrap()
    }

    #[tokio::test]
    async fn password_matches_only_its_own_hash() {
        let passwords = passwords();
        let hashed = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert_ne!(passwords.hash("correct horse".into()).await.unwrap(), hashed, "salted");
        let compare = async |password, hashed| passwords.compare(password, hashed).await;
        assert_eq!(compare("correct horse", Some(hashed.clone())).await.unwrap(), Comparison::Right);
        assert_eq!(compare("Correct horse", Some(hashed)).await.unwrap(), Comparison::Wrong);
        assert_eq!(compare("nobody has this password", None).await.unwrap(), Comparison::Wrong);
        let unreadable = compare("x", Some("not a hash".into())).await;
        assert!(matches!(unreadable, Err(HashingError::Failed(_))), "{unreadable:?}");
    }

    #[tokio::test]
    async fn password_matches_in_any_composition() {
        let passwords = passwords();
        let (composed, decomposed) = ("caf\u{e9} au lait", "cafe\u{301}\u{a0}au lait");
        for set in [composed, decomposed] {
            let hashed = passwords.hash(set.into()).await.unwrap();
            for typed in [composed, decomposed] {
                assert_eq!(passwords.compare(typed, Some(hashed.clone())).await.unwrap(), Comparison::Right);
            }
        }
        // As earlier versions hashed it.
        for (stored, typed) in [(decomposed, decomposed), ("a &lt;3 b", "a <3 b")] {
            let hashed = hash(stored).unwrap();
            assert_eq!(
                passwords.compare(typed, Some(hashed)).await.unwrap(),
                Comparison::RightInOldForm,
                "{typed}"
            );
        }
        assert_eq!(passwords.compare(decomposed, None).await.unwrap(), Comparison::Wrong);
    }

    #[test]
    fn hash_with_other_algorithm_and_parameters_is_verified_with_its_own() {
        let other = Argon2::new(Algorithm::Argon2i, Version::V0x10, Params::new(64, 1, 1, Some(20)).unwrap());
        let hashed = other.hash_password(b"correct horse").unwrap().to_string();
        let matches = |password: &str| first_match(&[password.to_owned()], &hashed).unwrap();
        assert_eq!((matches("correct horse"), matches("wrong horse")), (Some(0), None));
    }

    #[test]
    fn hash_with_weaker_parameters_is_weak() {
        let of = |parameters| format!("$argon2id$v=19${parameters}$c29tZXNhbHQxMjM0$aGFzaGhhc2hoYXNoaGFzaA");
        assert!(Passwords::is_weak(&of("m=4096,t=2,p=1")));
        assert!(Passwords::is_weak(&of("m=19456,t=1,p=1")));
        assert!(!Passwords::is_weak(&of("m=19456,t=2,p=1")));
        assert!(!Passwords::is_weak(&of("m=65536,t=3,p=1")));
        assert!(!Passwords::is_weak(&hash("correct horse").unwrap()));
    }

    #[tokio::test]
    async fn hashing_beyond_the_limit_is_refused_at_once() {
        let passwords = Passwords::with(CpuPermits::new(1), 0).unwrap();
        assert!(matches!(passwords.hash("x".into()).await, Err(HashingError::Busy(PasswordsBusy))));
    }

    #[tokio::test]
    async fn comparison_waits_for_a_hashing_with_and_without_an_account() {
        let hashed = hash("correct horse").unwrap();
        for account in [None, Some(hashed)] {
            let passwords = Passwords::with(CpuPermits::new(1), 2).unwrap();
            let (release, released) = std::sync::mpsc::channel::<()>();
            let busy = passwords.run(move || released.recv().unwrap_err());
            let checking = passwords.compare("wrong horse", account);
            tokio::pin!(busy, checking);
            // While the only permit is taken, nothing is hashed, and there is no answer without a hashing.
            assert!(futures::poll!(&mut busy).is_pending());
            assert!(futures::poll!(&mut checking).is_pending());
            assert!(
                matches!(passwords.hash("x".into()).await, Err(HashingError::Busy(_))),
                "one runs and one waits"
            );
            drop(release);
            busy.await.unwrap();
            assert_eq!(checking.await.unwrap(), Comparison::Wrong);
        }
    }
}
