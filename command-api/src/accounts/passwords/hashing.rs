//! Argon2id with the parameters that OWASP recommends, on threads that stand back for all others, so that log-ins can slow
//! each other down but nobody else.
//! Source: <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>.

use std::error;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::password_hash::{Error, PasswordHasher};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::oneshot;

use super::forms::{prepare, stored_forms};
use super::threads::{Memory, Threads};

/// Memory in KiB, passes, lanes.
const PARAMETERS: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Hashings that may wait for a place; whoever comes after them is told to come back.
const WAITING: usize = 256;

/// All threads were busy and so was the queue before them.
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

/// What came of comparing a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Wrong,
    Right,
    /// Right, but the hash is of a form in which passwords are not hashed any more.
    RightInOldForm,
}

#[derive(Debug)]
pub(crate) struct Passwords {
    threads: Threads,
    /// What a password is checked against when there is no account, so that the answer takes as long.
    decoy: String,
}

impl Passwords {
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with(cores, WAITING)
    }

    fn with(cores: usize, waiting: usize) -> std::io::Result<Self> {
        let threads = Threads::start(cores, waiting)?;
        let decoy = hash("nobody has this password").map_err(std::io::Error::other)?;
        Ok(Self { threads, decoy })
    }

    /// A PHC string of Argon2id with a salt of its own, of the prepared password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, HashingError> {
        let password = prepare(&password);
        self.run(move |_| hash(&password)).await?.map_err(HashingError::failed)
    }

    /// Whether the password is the one that was hashed. Without a hash it takes as long and is wrong.
    pub(crate) async fn compare(
        &self,
        password: &str,
        hashed: Option<String>,
    ) -> Result<Comparison, HashingError> {
        let exists = hashed.is_some();
        let hashed = hashed.unwrap_or_else(|| self.decoy.clone());
        let forms = stored_forms(password);
        let compared = self.run(move |memory| first_match(&forms, &hashed, memory)).await?;
        match compared.map_err(HashingError::failed)?.filter(|_| exists) {
            Some(0) => Ok(Comparison::Right),
            Some(_) => Ok(Comparison::RightInOldForm),
            None => Ok(Comparison::Wrong),
        }
    }

    /// Whether a hash was made with weaker parameters than hashes are made with now.
    pub(crate) fn is_weak(hashed: &str) -> bool {
        let Ok(hash) = PasswordHash::new(hashed) else { return false };
        let Ok(made_with) = Params::try_from(&hash) else { return false };
        let (memory, passes, _) = PARAMETERS;
        made_with.m_cost() < memory || made_with.t_cost() < passes
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Memory) -> T + Send + Sync + 'static,
    ) -> Result<T, HashingError> {
        let (answer, answered) = oneshot::channel();
        let answer = Mutex::new(Some(answer));
        let work = move |memory: &mut Memory| {
            let answer = || answer.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever asked may have gone while this waited, or have been answered by another thread.
            if answer().as_ref().is_none_or(oneshot::Sender::is_closed) {
                return;
            }
            let done = work(memory);
            if let Some(answer) = answer().take() {
                let _ = answer.send(done);
            }
        };
        self.threads.push(Arc::new(work))?;
        answered.await.map_err(HashingError::failed)
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

/// Which of these passwords was hashed. All are tried where none was, whatever the hash.
fn first_match(passwords: &[String], hashed: &str, memory: &mut Memory) -> Result<Option<usize>, Error> {
    for (number, password) in passwords.iter().enumerate() {
        match verify(password, hashed, memory) {
            Ok(()) => return Ok(Some(number)),
            Err(Error::PasswordInvalid) => {}
            Err(unreadable) => return Err(unreadable),
        }
    }
    Ok(None)
}

/// As the library's own verifier does it, but in memory that is given.
fn verify(password: &str, hashed: &str, memory: &mut Memory) -> Result<(), Error> {
    let hash = PasswordHash::new(hashed)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return Err(Error::PasswordInvalid) };
    let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
    let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let argon2 = Argon2::new(algorithm, version, Params::try_from(&hash)?);
    memory.resize(argon2.params().block_count(), Block::default());
    let mut output = vec![0; expected.len()];
    argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut output, memory.as_mut_slice())?;
    // This comparison takes the same time wherever they differ.
    if Output::new(&output)? == *expected { Ok(()) } else { Err(Error::PasswordInvalid) }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::start().unwrap();
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
    async fn a_password_matches_however_it_is_composed() {
        let passwords = Passwords::start().unwrap();
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
    fn memory_that_has_been_used_makes_no_difference() {
        let mut memory = Memory::new();
        let weak = Argon2::new(Algorithm::Argon2i, Version::V0x10, Params::new(64, 1, 1, Some(20)).unwrap());
        let hashes = [
            hash("correct horse").unwrap(),
            weak.hash_password(b"correct horse").unwrap().to_string(),
            hash("correct horse").unwrap(),
        ];
        for hashed in &hashes {
            for (password, right) in [("wrong horse", false), ("correct horse", true)] {
                assert_eq!(verify(password, hashed, &mut memory).is_ok(), right);
                // The library's own.
                assert_eq!(weak.verify_password(password.as_bytes(), hashed.as_str()).is_ok(), right);
            }
        }
    }

    #[test]
    fn a_hash_with_weaker_parameters_is_told() {
        let of = |parameters| format!("$argon2id$v=19${parameters}$c29tZXNhbHQxMjM0$aGFzaGhhc2hoYXNoaGFzaA");
        assert!(Passwords::is_weak(&of("m=4096,t=2,p=1")));
        assert!(Passwords::is_weak(&of("m=19456,t=1,p=1")));
        assert!(!Passwords::is_weak(&of("m=19456,t=2,p=1")));
        assert!(!Passwords::is_weak(&of("m=65536,t=3,p=1")));
        assert!(!Passwords::is_weak(&hash("correct horse").unwrap()));
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_to_come_back() {
        let passwords = Passwords::with(1, 0).unwrap();
        assert!(matches!(passwords.hash("x".into()).await, Err(HashingError::Busy(PasswordsBusy))));
    }

    #[tokio::test]
    async fn an_answer_waits_for_a_hashing_whether_or_not_there_is_an_account() {
        let hashed = hash("correct horse").unwrap();
        for account in [None, Some(hashed)] {
            let passwords = Passwords::with(1, 2).unwrap();
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let wait = Mutex::new(wait);
            let busy = passwords.run(move |_| wait.lock().unwrap().recv().unwrap_err());
            let checking = passwords.compare("wrong horse", account);
            tokio::pin!(busy, checking);
            // While all threads are busy with what came before there is no hashing, and without a hashing no answer.
            assert!(futures::poll!(&mut busy).is_pending());
            assert!(futures::poll!(&mut checking).is_pending());
            drop(go_on);
            busy.await.unwrap();
            assert_eq!(checking.await.unwrap(), Comparison::Wrong);
        }
    }
}
