//! Authentication of the apps' routes by the `Authorization` header only. The cookie is ignored, so that pages of
//! other sites cannot act for a user.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::request::Parts;
use ids::{SessionId, UserId};

use super::{App, INSTAMERN, Refusal};
use crate::sessions::{Authenticator, NotLoggedIn};

/// An authenticated user.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: UserId,
    pub session: SessionId,
    pub expires: DateTime<Utc>,
    /// The token as sent.
    pub token: String,
}

impl Caller {
    /// # Errors
    /// 401 in the app's format; other errors if the token cannot be verified.
    pub(crate) async fn of(
        app: &App,
        authenticator: &Authenticator,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        match authenticator.of_bearer(headers).await {
            Ok((session, token)) => Ok(Self {
                user: session.user,
                session: session.session,
                expires: session.expires,
                token: token.to_owned(),
            }),
            Err(NotLoggedIn::NoToken) => Err(Refusal::unauthorized(app.not_logged_in)),
            Err(NotLoggedIn::Ended) => Err(Refusal::unauthorized(app.session_ended)),
            Err(NotLoggedIn::BadToken(_)) => Err(Refusal::unauthorized(app.bad_token)),
            Err(NotLoggedIn::Expired) => Err(Refusal::unauthorized(app.expired_token)),
            Err(NotLoggedIn::Unknown(problem)) => Err(problem.into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let app = App::of(parts.uri.path()).unwrap_or(&INSTAMERN);
        Self::of(app, &Arc::<Authenticator>::from_ref(state), &parts.headers).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use async_trait::async_trait;
    use chrono::TimeDelta;
    use http::{HeaderValue, header};
    use uuid::Uuid;

    use super::*;
    use crate::problem::Problem;
    use crate::session_cookies::SessionCookies;
    use crate::sessions::{ActiveSession, FixedKeys, Parts as SessionParts, SessionLookup};
    use crate::tokens::{SigningKeys, VerifyingKeys};
    use service::clock::StoppedClock;
    use service::config::SameSite;

    const USER: UserId = UserId::new(Uuid::from_u128(1));
    const RUNNING: SessionId = SessionId::new(Uuid::from_u128(2));
    const ENDED: SessionId = SessionId::new(Uuid::from_u128(3));

    #[derive(Debug)]
    struct Sessions(HashSet<SessionId>);

    #[async_trait]
    impl SessionLookup for Sessions {
        async fn active(&self, _: UserId, session: SessionId) -> Result<Option<ActiveSession>, Problem> {
            Ok(self.0.contains(&session).then(|| ActiveSession { began: 1, seen: now() }))
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_secs(1_800_000_000).unwrap()
    }

    #[tokio::test]
    async fn authentication_errors_have_the_apps_format() {
        let keys = SigningKeys::parse(&SigningKeys::generate()).unwrap();
        let authenticator = Authenticator::new(SessionParts {
            keys: Arc::new(FixedKeys(Arc::new(VerifyingKeys::of(keys.public())))),
            lookup: Arc::new(Sessions([RUNNING].into())),
            clock: Arc::new(StoppedClock(now())),
            session_cookies: Arc::new(SessionCookies::new([], SameSite::Lax)),
            last_seen: None,
        });
        let sign = |session, from: TimeDelta, until: TimeDelta| {
            keys.sign(USER, session, now() + from, now() + until).unwrap()
        };
        let day = TimeDelta::days(1);
        let good = sign(RUNNING, TimeDelta::zero(), day);
        let ask = async |value: Option<String>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::AUTHORIZATION, HeaderValue::try_from(value).unwrap());
            }
            headers.insert(header::COOKIE, HeaderValue::try_from(format!("jsonwebtoken={good}")).unwrap());
            match Caller::of(&INSTAMERN, &authenticator, &headers).await {
                Ok(caller) => caller.token,
                Err(Refusal::Message(status, message)) => format!("{} {message}", status.as_u16()),
                Err(Refusal::Problem(problem)) => panic!("{problem}"),
            }
        };
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        assert_eq!(ask(bearer(&good)).await, good);
        let ended = sign(ENDED, TimeDelta::zero(), day);
        let expired = sign(RUNNING, -day * 2, -day);
        for (value, expected) in [
            (None, "401 You're not logged in. Please login."),
            (Some("Basic YTpi".to_owned()), "401 You're not logged in. Please login."),
            (bearer(&ended), "401 You're not logged in. Please login."),
            (bearer("null"), "401 Authorization failed. Please login."),
            (bearer("undefined"), "401 Authorization failed. Please login."),
            (bearer(&format!("{good}x")), "401 Authorization failed. Please login."),
            (bearer(&expired), "401 Authentication has expired. Please login again."),
        ] {
            assert_eq!(ask(value).await, expected);
        }
    }
}
