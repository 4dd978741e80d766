//! Whether a request comes from a session that is good. A token is checked once and then remembered; the news that a
//! session has ended reaches every process through the log and makes it forget at once.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use chrono::{DateTime, Utc};
use http::request::Parts;
use http::{HeaderMap, header};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Clock;
use crate::problem::Problem;
use crate::tokens::{Claims, TokenError, VerifyingKeys, claimed_session};

/// Sessions that are remembered: about 150 bytes each.
const REMEMBERED: usize = 200_000;

/// Who makes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub user: Uuid,
    pub session: Uuid,
    pub expires: DateTime<Utc>,
}

/// Where it is known which sessions have ended.
#[async_trait]
pub trait SessionLookup: std::fmt::Debug + Send + Sync + 'static {
    /// The position of the event that began the session; none if it has not begun or has ended.
    ///
    /// # Errors
    /// Whatever kept the answer from being had.
    async fn began(&self, user: Uuid, session: Uuid) -> Result<Option<u64>, Problem>;
}

/// The end of all sessions of somebody that began before a position, but one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    pub position: u64,
    pub kept: Option<Uuid>,
}

impl Sweep {
    /// Whether a session that began at a position has ended by this.
    pub fn ends(&self, session: Uuid, began: u64) -> bool {
        began < self.position && self.kept != Some(session)
    }
}

/// Where the public keys are had from.
#[async_trait]
pub trait KeySource: std::fmt::Debug + Send + Sync + 'static {
    fn keys(&self) -> Arc<VerifyingKeys>;

    /// Looks for new keys, because a token names one that is not known. False if there are none.
    async fn refresh(&self) -> bool;
}

/// Keys that never change while the process runs.
#[derive(Debug)]
pub struct FixedKeys(pub Arc<VerifyingKeys>);

#[async_trait]
impl KeySource for FixedKeys {
    fn keys(&self) -> Arc<VerifyingKeys> {
        Arc::clone(&self.0)
    }

    async fn refresh(&self) -> bool {
        false
    }
}

/// Tells good tokens from bad ones.
#[derive(Debug)]
pub struct Authenticator {
    keys: Arc<dyn KeySource>,
    lookup: Arc<dyn SessionLookup>,
    clock: Arc<dyn Clock>,
    known: Cache<Uuid, Known>,
    /// The latest of each user, for look-ups that have not heard of it.
    sweeps: Cache<Uuid, Sweep>,
    /// Held while something becomes known, so that a look-up that began before a session ended cannot come after.
    learning: Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// The hash of the one token that has been checked.
    Good {
        token: [u8; 32],
        session: Session,
        began: u64,
    },
    Ended,
}

impl Authenticator {
    pub fn new(keys: Arc<dyn KeySource>, lookup: Arc<dyn SessionLookup>, clock: Arc<dyn Clock>) -> Self {
        Self {
            keys,
            lookup,
            clock,
            known: Cache::new(REMEMBERED),
            sweeps: Cache::new(REMEMBERED),
            learning: Mutex::new(()),
        }
    }

    /// # Errors
    /// 401 for a token that is not good; whatever the look-up gives if it fails.
    pub async fn authenticate(&self, token: &str) -> Result<Session, Problem> {
        let now = self.clock.now();
        let claimed = claimed_session(token).ok_or_else(|| refused(TokenError::Invalid))?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        match self.known.get(&claimed) {
            Some(Known::Ended) => return Err(ended()),
            Some(Known::Good { token, session, .. }) if token == hash => {
                return if session.expires > now { Ok(session) } else { Err(refused(TokenError::Expired)) };
            }
            Some(Known::Good { .. }) | None => {}
        }
        let Claims { sub, sid, exp, .. } = self.verify(token, now).await?;
        let expires = DateTime::from_timestamp_secs(exp).ok_or_else(|| refused(TokenError::Invalid))?;
        let session = Session { user: sub, session: sid, expires };
        let began = self.lookup.began(sub, sid).await?.ok_or_else(ended)?;
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let swept = self.sweeps.get(&sub).is_some_and(|sweep| sweep.ends(sid, began));
        if swept || matches!(self.known.get(&sid), Some(Known::Ended)) {
            return Err(ended());
        }
        self.known.insert(sid, Known::Good { token: hash, session, began });
        Ok(session)
    }

    async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, Problem> {
        match self.keys.keys().verify(token, now) {
            Err(TokenError::UnknownKey) if self.keys.refresh().await => self.keys.keys().verify(token, now),
            outcome => outcome,
        }
        .map_err(refused)
    }

    /// To be called as soon as it is heard that a session has ended.
    pub fn end(&self, session: Uuid) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        self.known.insert(session, Known::Ended);
    }

    /// To be called as soon as it is heard that all sessions of a user but one have ended.
    pub fn end_all(&self, user: Uuid, sweep: Sweep) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sweeps.get(&user).is_none_or(|known| known.position < sweep.position) {
            self.sweeps.insert(user, sweep);
        }
        self.known.retain(|_, known| match known {
            Known::Good { session, began, .. } => {
                session.user != user || !sweep.ends(session.session, *began)
            }
            Known::Ended => true,
        });
    }
}

fn refused(error: TokenError) -> Problem {
    match error {
        TokenError::Expired => Problem::unauthenticated("Your session has expired: log in again"),
        TokenError::Invalid | TokenError::UnknownKey => {
            Problem::unauthenticated("This token is not valid: log in")
        }
    }
    .because(error)
}

fn ended() -> Problem {
    Problem::unauthenticated("Your session has ended: log in again")
}

/// The token of an `Authorization: Bearer` header; none without such a header, an error for any other scheme.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let unreadable = || Problem::unauthenticated("The Authorization header must be `Bearer <token>`, once");
    if given.next().is_some() {
        return Err(unreadable());
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(unreadable)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(unreadable()) }
}

impl<S: Send + Sync> FromRequestParts<S> for Session
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token =
            bearer(&parts.headers)?.ok_or_else(|| Problem::unauthenticated("Log in and send your token"))?;
        Arc::<Authenticator>::from_ref(state).authenticate(token).await
    }
}

/// For routes that also serve people who are not logged in. A token that is there must be good.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Session
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        match bearer(&parts.headers)? {
            None => Ok(None),
            Some(token) => Arc::<Authenticator>::from_ref(state).authenticate(token).await.map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::clock::StoppedClock;
    use crate::tokens::SigningKeys;

    const USER: Uuid = Uuid::from_u128(1);
    const SESSION: Uuid = Uuid::from_u128(2);
    const BEGAN: u64 = 7;

    /// Answers that every session has begun, once it is let to.
    #[derive(Debug)]
    struct Slow {
        let_through: Semaphore,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl SessionLookup for Slow {
        async fn began(&self, _: Uuid, _: Uuid) -> Result<Option<u64>, Problem> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.let_through.acquire().await.unwrap().forget();
            Ok(Some(BEGAN))
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_secs(1_800_000_000).unwrap()
    }

    fn set_up(let_through: usize) -> (Arc<Authenticator>, Arc<Slow>, String) {
        let keys = SigningKeys::parse(&SigningKeys::generate()).unwrap();
        let token = keys.sign(USER, SESSION, now(), now() + TimeDelta::days(1)).unwrap();
        let lookup = Arc::new(Slow { let_through: Semaphore::new(let_through), asked: AtomicUsize::new(0) });
        let fixed = FixedKeys(Arc::new(VerifyingKeys::of(keys.public())));
        let clock = Arc::new(StoppedClock(now()));
        (Arc::new(Authenticator::new(Arc::new(fixed), lookup.clone(), clock)), lookup, token)
    }

    #[tokio::test]
    async fn a_token_is_looked_up_once_and_remembered() {
        let (authenticator, lookup, token) = set_up(1);
        for _ in 0..3 {
            let session = authenticator.authenticate(&token).await.unwrap();
            assert_eq!((session.user, session.session), (USER, SESSION));
        }
        assert_eq!(lookup.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_remembered_token_does_not_let_a_changed_one_in() {
        let (authenticator, _, token) = set_up(2);
        authenticator.authenticate(&token).await.unwrap();
        let mut changed = token.clone();
        let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
        changed.insert(changed.len() - 10, last);
        assert_eq!(authenticator.authenticate(&changed).await.unwrap_err().status, 401);
    }

    #[tokio::test]
    async fn a_session_that_ends_is_refused_at_once_even_while_it_is_being_looked_up() {
        let (authenticator, lookup, token) = set_up(0);
        let asking = authenticator.authenticate(&token);
        let ending = async {
            while lookup.asked.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
            authenticator.end(SESSION);
            lookup.let_through.add_permits(10);
        };
        let (asked, ()) = tokio::join!(asking, ending);
        assert_eq!(asked.unwrap_err().status, 401);
        assert_eq!(authenticator.authenticate(&token).await.unwrap_err().status, 401);
    }

    #[tokio::test]
    async fn all_sessions_but_one_end_at_once_even_while_one_is_being_looked_up() {
        let sweep = |position, kept| Sweep { position, kept };
        for (position, kept, good) in
            [(BEGAN + 1, None, false), (BEGAN + 1, Some(SESSION), true), (BEGAN - 1, None, true)]
        {
            let (authenticator, lookup, token) = set_up(0);
            let asking = authenticator.authenticate(&token);
            let ending = async {
                while lookup.asked.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
                authenticator.end_all(USER, sweep(position, kept));
                authenticator.end_all(Uuid::from_u128(9), sweep(100, None));
                lookup.let_through.add_permits(10);
            };
            let (asked, ()) = tokio::join!(asking, ending);
            assert_eq!(asked.is_ok(), good, "{position} {kept:?}");

            let (authenticator, _, token) = set_up(10);
            authenticator.authenticate(&token).await.unwrap();
            authenticator.end_all(USER, sweep(position, kept));
            assert_eq!(authenticator.authenticate(&token).await.is_ok(), good, "{position} {kept:?}");
        }
    }

    #[test]
    fn only_one_bearer_token_is_taken() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(|token| token.map(str::to_owned)).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(headers(&[]), Ok(None));
        assert_eq!(headers(&["Bearer abc"]), Ok(Some("abc".into())));
        assert_eq!(headers(&["bearer  abc"]), Ok(Some("abc".into())));
        for bad in [&["Basic abc"][..], &["abc"], &["Bearer a", "Bearer b"], &[""]] {
            assert_eq!(headers(bad), Err(401), "{bad:?}");
        }
    }
}
