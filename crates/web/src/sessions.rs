//! Authentication of requests by session. A checked token is cached. Every process follows the log and removes a session
//! from its cache as soon as the event that ends it arrives.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, header, request};
use ids::{SessionId, UserId};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::problem::Problem;
use crate::session_cookies::{SessionCookies, session_cookie};
use crate::tokens::{Claims, LinkClaims, TokenError, VerifyingKeys, claimed_session};
use service::clock::Clock;

/// Maximum number of cached sessions, about 150 bytes each.
const REMEMBERED: usize = 200_000;
/// How often the last use of a session is recorded. Its owner sees it with a precision of an hour.
const LAST_SEEN_INTERVAL: TimeDelta = TimeDelta::hours(1);
/// Length of the queue of records. Further ones are dropped, and sent again an hour later.
const LAST_SEEN_QUEUE: usize = 10_000;

/// The authenticated user of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub user: UserId,
    pub session: SessionId,
    pub expires: DateTime<Utc>,
}

/// Looks up active sessions.
#[async_trait]
pub trait SessionLookup: std::fmt::Debug + Send + Sync + 'static {
    /// The session, if it has started and not ended.
    ///
    /// # Errors
    /// If the look-up fails.
    async fn active(&self, user: UserId, session: SessionId) -> Result<Option<ActiveSession>, Problem>;
}

/// An active session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveSession {
    /// Position of the event that started it.
    pub began: u64,
    /// When its use was last recorded.
    pub seen: DateTime<Utc>,
}

/// Sends used sessions to the task that records when each was last seen.
#[derive(Debug, Clone)]
pub struct LastSeenSender(mpsc::Sender<UsedSession>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedSession {
    pub user: UserId,
    pub session: SessionId,
}

impl LastSeenSender {
    pub fn channel() -> (Self, mpsc::Receiver<UsedSession>) {
        let (sender, receiver) = mpsc::channel(LAST_SEEN_QUEUE);
        (Self(sender), receiver)
    }
}

/// Ends all sessions of a user that started before a position, except `kept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRevocation {
    pub position: u64,
    pub kept: Option<SessionId>,
}

impl SessionRevocation {
    /// Whether it ends a session that started at a position.
    pub fn ends(&self, session: SessionId, began: u64) -> bool {
        began < self.position && self.kept != Some(session)
    }
}

/// The source of the public keys.
#[async_trait]
pub trait KeySource: std::fmt::Debug + Send + Sync + 'static {
    fn keys(&self) -> Arc<VerifyingKeys>;

    /// Fetches keys again because a token names an unknown one. False if there are no new ones.
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

/// Verifies tokens and sessions.
#[derive(Debug)]
pub struct Authenticator {
    parts: Parts,
    known: Cache<SessionId, Known>,
    /// The latest revocation per user, for look-ups that started before it.
    revocations: Cache<UserId, SessionRevocation>,
    /// Held during updates, so that a look-up that started before the end of a session cannot be cached after it.
    learning: Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// The hash of the verified token.
    Good {
        token: [u8; 32],
        session: Session,
        active: ActiveSession,
    },
    Ended,
}

/// The dependencies of an [`Authenticator`].
#[derive(Debug)]
pub struct Parts {
    pub keys: Arc<dyn KeySource>,
    pub lookup: Arc<dyn SessionLookup>,
    pub clock: Arc<dyn Clock>,
    pub session_cookies: Arc<SessionCookies>,
    /// None if this process cannot record when sessions were last seen.
    pub last_seen: Option<LastSeenSender>,
}

impl Authenticator {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            known: Cache::new(REMEMBERED),
            revocations: Cache::new(REMEMBERED),
            learning: Mutex::new(()),
        }
    }

    /// # Errors
    /// 401 for an invalid token; the error of the look-up if it fails.
    pub async fn authenticate(&self, token: &str) -> Result<Session, Problem> {
        self.check(token).await.map_err(Problem::from)
    }

    async fn check(&self, token: &str) -> Result<Session, NotLoggedIn> {
        let now = self.parts.clock.now();
        let claimed = claimed_session(token).ok_or(TokenError::Invalid)?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        match self.known.get(&claimed) {
            Some(Known::Ended) => return Err(NotLoggedIn::Ended),
            Some(Known::Good { token, session, active }) if token == hash => {
                if session.expires <= now {
                    return Err(NotLoggedIn::Expired);
                }
                if now - active.seen > LAST_SEEN_INTERVAL {
                    self.send_last_seen(token, session, active, now);
                }
                return Ok(session);
            }
            Some(Known::Good { .. }) | None => {}
        }
        let Claims { sub, sid, exp, .. } = self.verify(token, now).await?;
        let expires = DateTime::from_timestamp_secs(exp).ok_or(TokenError::Invalid)?;
        let session = Session { user: sub, session: sid, expires };
        let active = self.parts.lookup.active(sub, sid).await.map_err(NotLoggedIn::Unknown)?;
        let active = active.ok_or(NotLoggedIn::Ended)?;
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        let is_revoked =
            self.revocations.get(&sub).is_some_and(|revocation| revocation.ends(sid, active.began));
        if is_revoked || matches!(self.known.get(&sid), Some(Known::Ended)) {
            return Err(NotLoggedIn::Ended);
        }
        self.known.insert(sid, Known::Good { token: hash, session, active });
        Ok(session)
    }

    /// Verifies a link to a song.
    ///
    /// # Errors
    /// If it is altered or has expired.
    pub async fn verify_link(&self, token: &str) -> Result<LinkClaims, TokenError> {
        let (keys, now) = (&self.parts.keys, self.parts.clock.now());
        match keys.keys().verify_link(token, now) {
            Err(TokenError::UnknownKey) if keys.refresh().await => keys.keys().verify_link(token, now),
            outcome => outcome,
        }
    }

    fn send_last_seen(&self, token: [u8; 32], session: Session, active: ActiveSession, now: DateTime<Utc>) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended during the look-up.
        if matches!(self.known.get(&session.session), Some(Known::Good { .. })) {
            let active = ActiveSession { seen: now, ..active };
            self.known.insert(session.session, Known::Good { token, session, active });
            if let Some(LastSeenSender(sender)) = &self.parts.last_seen {
                let used = UsedSession { user: session.user, session: session.session };
                // If the queue is full, it is sent again later.
                let _ = sender.try_send(used);
            }
        }
    }

    async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, TokenError> {
        let keys = &self.parts.keys;
        match keys.keys().verify(token, now) {
            Err(TokenError::UnknownKey) if keys.refresh().await => keys.keys().verify(token, now),
            outcome => outcome,
        }
    }

    /// Must be called for every event that ends a session.
    pub fn end(&self, session: SessionId) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        self.known.insert(session, Known::Ended);
    }

    /// Must be called for every event that ends all sessions of a user, or all but one.
    pub fn end_all(&self, user: UserId, revocation: SessionRevocation) {
        let _learning = self.learning.lock().unwrap_or_else(PoisonError::into_inner);
        if self.revocations.get(&user).is_none_or(|known| known.position < revocation.position) {
            self.revocations.insert(user, revocation);
        }
        self.known.retain(|_, known| match known {
            Known::Good { session, active, .. } => {
                session.user != user || !revocation.ends(session.session, active.began)
            }
            Known::Ended => true,
        });
    }
}

/// Why a request is not authenticated.
#[derive(Debug)]
pub enum NotLoggedIn {
    /// It has no token, or an invalid header.
    NoToken,
    BadToken(TokenError),
    Expired,
    /// The session has ended, or the account no longer exists.
    Ended,
    /// The look-up failed.
    Unknown(Problem),
}

impl From<TokenError> for NotLoggedIn {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::Expired,
            TokenError::Invalid | TokenError::UnknownKey => Self::BadToken(error),
        }
    }
}

impl From<NotLoggedIn> for Problem {
    fn from(reason: NotLoggedIn) -> Self {
        match reason {
            NotLoggedIn::NoToken => Self::unauthenticated("Log in and send your token"),
            NotLoggedIn::BadToken(error) => {
                Self::unauthorized("invalid-token", "This token is not valid: log in").because(error)
            }
            NotLoggedIn::Expired => {
                Self::unauthorized("session-expired", "Your session has expired: log in again")
            }
            NotLoggedIn::Ended => Self::unauthorized("session-ended", "Your session has ended: log in again"),
            NotLoggedIn::Unknown(problem) => problem,
        }
    }
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

impl Authenticator {
    /// The user of a request, by its `Authorization` header or by the session cookie; none without either.
    async fn of_request(&self, parts: &request::Parts) -> Result<Option<Session>, Problem> {
        if let Some(token) = bearer(&parts.headers)? {
            return self.authenticate(token).await.map(Some);
        }
        let Some(token) = session_cookie(&parts.headers)? else { return Ok(None) };
        let session = self.authenticate(token).await?;
        if !parts.method.is_safe() {
            self.parts.session_cookies.check_cookie_use(&parts.headers)?;
        }
        Ok(Some(session))
    }

    /// The user of a request by its `Authorization` header only, and the token there.
    pub(crate) async fn of_bearer<'a>(
        &self,
        headers: &'a HeaderMap,
    ) -> Result<(Session, &'a str), NotLoggedIn> {
        let token = bearer(headers).ok().flatten().ok_or(NotLoggedIn::NoToken)?;
        Ok((self.check(token).await?, token))
    }

    /// The session of a browser's cookie, if it is still valid.
    pub async fn of_cookie(&self, headers: &HeaderMap) -> Option<Session> {
        self.authenticate(session_cookie(headers).ok().flatten()?).await.ok()
    }

    pub fn session_cookies(&self) -> &SessionCookies {
        &self.parts.session_cookies
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Self, Problem> {
        let session = Arc::<Authenticator>::from_ref(state).of_request(parts).await?;
        session.ok_or_else(|| NotLoggedIn::NoToken.into())
    }
}

/// For routes that also serve unauthenticated requests. A token must be valid if there is one.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Session
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, state: &S) -> Result<Option<Self>, Problem> {
        Arc::<Authenticator>::from_ref(state).of_request(parts).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;
    use http::HeaderValue;
    use proptest::prelude::*;
    use tokio::sync::Semaphore;
    use uuid::Uuid;

    use super::*;
    use crate::session_cookies::SESSION_COOKIE;
    use crate::tokens::SigningKeys;
    use service::clock::StoppedClock;
    use service::config::SameSite;

    const USER: UserId = UserId::new(Uuid::from_u128(1));
    const SESSION: SessionId = SessionId::new(Uuid::from_u128(2));
    const BEGAN: u64 = 7;

    /// Reports every session as active, once it is released.
    #[derive(Debug)]
    struct Slow {
        let_through: Semaphore,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl SessionLookup for Slow {
        async fn active(&self, _: UserId, _: SessionId) -> Result<Option<ActiveSession>, Problem> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.let_through.acquire().await.unwrap().forget();
            Ok(Some(ActiveSession { began: BEGAN, seen: now() - TimeDelta::hours(2) }))
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_secs(1_800_000_000).unwrap()
    }

    fn set_up(let_through: usize) -> (Arc<Authenticator>, Arc<Slow>, String) {
        set_up_with(let_through, LastSeenSender::channel().0)
    }

    fn set_up_with(let_through: usize, sender: LastSeenSender) -> (Arc<Authenticator>, Arc<Slow>, String) {
        let keys = SigningKeys::parse(&SigningKeys::generate()).unwrap();
        let token = keys.sign(USER, SESSION, now(), now() + TimeDelta::days(1)).unwrap();
        let lookup = Arc::new(Slow { let_through: Semaphore::new(let_through), asked: AtomicUsize::new(0) });
        let fixed = FixedKeys(Arc::new(VerifyingKeys::of(keys.public())));
        let parts = Parts {
            keys: Arc::new(fixed),
            lookup: Arc::<Slow>::clone(&lookup),
            clock: Arc::new(StoppedClock(now())),
            session_cookies: Arc::new(SessionCookies::new([], SameSite::Lax)),
            last_seen: Some(sender),
        };
        (Arc::new(Authenticator::new(parts)), lookup, token)
    }

    #[tokio::test]
    async fn token_is_looked_up_once_and_cached() {
        let (authenticator, lookup, token) = set_up(1);
        for _ in 0..3 {
            let session = authenticator.authenticate(&token).await.unwrap();
            assert_eq!((session.user, session.session), (USER, SESSION));
        }
        assert_eq!(lookup.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn cached_token_does_not_admit_a_modified_one() {
        let (authenticator, _, token) = set_up(2);
        authenticator.authenticate(&token).await.unwrap();
        let mut changed = token.clone();
        let last = if changed.pop() == Some('A') { 'B' } else { 'A' };
        changed.insert(changed.len() - 10, last);
        assert_eq!(authenticator.authenticate(&changed).await.unwrap_err().status, 401);
    }

    #[tokio::test]
    async fn ended_session_is_rejected_even_during_a_look_up() {
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
    async fn session_use_is_recorded_once_per_hour() {
        let (sender, mut sent) = LastSeenSender::channel();
        let (authenticator, _, token) = set_up_with(1, sender);
        for _ in 0..3 {
            authenticator.authenticate(&token).await.unwrap();
        }
        assert_eq!(sent.try_recv(), Ok(UsedSession { user: USER, session: SESSION }));
        assert!(sent.try_recv().is_err(), "sent once an hour");
    }

    #[tokio::test]
    async fn cookie_authenticates_and_changes_require_an_allowed_origin() {
        let (authenticator, _, token) = set_up(1);
        let ask = async |method: http::Method, origin: Option<&str>| {
            let mut request = http::Request::builder().method(method).header(header::HOST, "api.example");
            request = request.header(header::COOKIE, format!("{SESSION_COOKIE}={token}"));
            if let Some(origin) = origin {
                request = request.header(header::ORIGIN, origin);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            authenticator
                .of_request(&parts)
                .await
                .map(|session| session.is_some())
                .map_err(|p| p.status.as_u16())
        };
        assert_eq!(ask(http::Method::GET, None).await, Ok(true));
        assert_eq!(ask(http::Method::POST, None).await, Err(403));
        assert_eq!(ask(http::Method::POST, Some("https://evil.example")).await, Err(403));
        assert_eq!(ask(http::Method::DELETE, Some("https://api.example")).await, Ok(true));
    }

    #[tokio::test]
    async fn all_sessions_but_one_end_even_during_a_look_up() {
        let revocation = |position, kept| SessionRevocation { position, kept };
        for (position, kept, good) in
            [(BEGAN + 1, None, false), (BEGAN + 1, Some(SESSION), true), (BEGAN - 1, None, true)]
        {
            let (authenticator, lookup, token) = set_up(0);
            let asking = authenticator.authenticate(&token);
            let ending = async {
                while lookup.asked.load(Ordering::SeqCst) == 0 {
                    tokio::task::yield_now().await;
                }
                authenticator.end_all(USER, revocation(position, kept));
                authenticator.end_all(UserId::new(Uuid::from_u128(9)), revocation(100, None));
                lookup.let_through.add_permits(10);
            };
            let (asked, ()) = tokio::join!(asking, ending);
            assert_eq!(asked.is_ok(), good, "{position} {kept:?}");

            let (authenticator, _, token) = set_up(10);
            authenticator.authenticate(&token).await.unwrap();
            authenticator.end_all(USER, revocation(position, kept));
            assert_eq!(authenticator.authenticate(&token).await.is_ok(), good, "{position} {kept:?}");
        }
    }

    #[test]
    fn only_one_bearer_token_is_accepted() {
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

    proptest! {
        #[test]
        fn any_authorization_is_a_bearer_token_or_rejected(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            text in "(?i:bearer|basic|)[ \\t]{0,3}[!-~]{0,20}[ \\t]{0,2}",
        ) {
            for value in [bytes, text.into_bytes()] {
                let Ok(header) = HeaderValue::from_bytes(&value) else { continue };
                let headers = HeaderMap::from_iter([(header::AUTHORIZATION, header)]);
                match bearer(&headers) {
                    Ok(token) => {
                        prop_assert!(value[..7].eq_ignore_ascii_case(b"bearer "), "{value:?}");
                        prop_assert_eq!(token, std::str::from_utf8(&value[7..]).ok().map(str::trim));
                    }
                    Err(problem) => prop_assert_eq!(problem.status, 401),
                }
            }
        }
    }
}
