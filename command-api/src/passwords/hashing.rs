//! Argon2id with the parameters that OWASP recommends, on as many threads as the machine has cores. They have a lower
//! priority than all others, so that log-ins can slow each other down but nobody else.
//! Source: <https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use service::problem::Problem;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Memory in KiB, passes, lanes.
const PARAMETERS: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Hashings that may wait for a place; whoever comes after them is told to come back.
const WAITING: usize = 256;

/// Of the threads that hash: where processors are short, they get a tenth of what any other thread gets.
const NICENESS: i32 = 10;

/// All threads were busy and so was the queue before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked at once")]
pub(crate) struct PasswordsBusy;

type Work = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(crate) struct Passwords {
    queue: mpsc::Sender<Work>,
    /// What a password is checked against when there is no account, so that the answer takes as long.
    decoy: String,
}

impl Passwords {
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start() -> std::io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with(threads, WAITING)
    }

    fn with(threads: usize, waiting: usize) -> std::io::Result<Self> {
        let (queue, work) = mpsc::channel(waiting);
        let work = Arc::new(Mutex::new(work));
        for _ in 0..threads {
            let work = Arc::clone(&work);
            std::thread::Builder::new().name("passwords".to_owned()).spawn(move || {
                if let Err(error) = setpriority_process(Some(gettid()), NICENESS) {
                    tracing::debug!(%error, "a thread that hashes passwords keeps its priority");
                }
                while let Some(work) = next(&work) {
                    work();
                }
            })?;
        }
        let decoy = hash("nobody has this password").map_err(std::io::Error::other)?;
        Ok(Self { queue, decoy })
    }
}

/// The next piece of work; none once there will be no more.
fn next(work: &Mutex<mpsc::Receiver<Work>>) -> Option<Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
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

    /// Whether a hash was made with weaker parameters than hashes are made with now.
    pub(crate) fn is_weak(hashed: &str) -> bool {
        let Ok(hash) = PasswordHash::new(hashed) else { return false };
        let Ok(made_with) = Params::try_from(&hash) else { return false };
        let (memory, passes, _) = PARAMETERS;
        made_with.m_cost() < memory || made_with.t_cost() < passes
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move || {
            // Whoever asked may have gone while this waited.
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        });
        self.queue.try_send(work).map_err(|refused| match refused {
            TrySendError::Full(_) => Problem::from(PasswordsBusy),
            TrySendError::Closed(_) => Problem::internal("the threads that hash passwords have ended"),
        })?;
        answered.await.map_err(Problem::internal)
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
        let passwords = Passwords::start().unwrap();
        let hashed = passwords.hash("correct horse".into()).await.unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hashed}");
        assert_ne!(passwords.hash("correct horse".into()).await.unwrap(), hashed, "salted");
        assert!(passwords.matches("correct horse".into(), Some(hashed.clone())).await.unwrap());
        assert!(!passwords.matches("Correct horse".into(), Some(hashed)).await.unwrap());
        assert!(!passwords.matches("nobody has this password".into(), None).await.unwrap());
        assert_eq!(passwords.matches("x".into(), Some("not a hash".into())).await.unwrap_err().status, 500);
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
    async fn a_full_queue_is_told_at_once() {
        let passwords = Passwords::with(1, 1).unwrap();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (began, begun) = oneshot::channel();
        let busy = passwords.run(move || {
            began.send(()).unwrap();
            wait.recv().unwrap();
        });
        let others = async {
            begun.await.unwrap();
            let (waiting, refused) = tokio::join!(passwords.hash("x".into()), async {
                let refused = passwords.hash("x".into()).await;
                go_on.send(()).unwrap();
                refused
            });
            assert!(waiting.is_ok());
            assert_eq!(refused.unwrap_err().status, 503);
        };
        let (done, ()) = tokio::join!(busy, others);
        done.unwrap();
    }

    #[tokio::test]
    async fn an_answer_waits_for_a_hashing_whether_or_not_there_is_an_account() {
        let hashed = hash("correct horse").unwrap();
        for account in [None, Some(hashed)] {
            let passwords = Passwords::with(1, 2).unwrap();
            let (go_on, wait) = std::sync::mpsc::channel::<()>();
            let busy = passwords.run(move || wait.recv().unwrap());
            let checking = passwords.matches("wrong horse".into(), account);
            tokio::pin!(busy, checking);
            // While the only thread is busy there is no hashing, and without a hashing no answer.
            assert!(futures::poll!(&mut busy).is_pending());
            assert!(futures::poll!(&mut checking).is_pending());
            go_on.send(()).unwrap();
            busy.await.unwrap();
            assert!(!checking.await.unwrap());
        }
    }
}
