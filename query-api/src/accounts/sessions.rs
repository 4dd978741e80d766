//! The list of a user's sessions; and the validity of sessions, from the view and from later events of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use events::{SessionId, UserId};
use quick_cache::sync::Cache;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use views::accounts::sessions::{BY_USER, Session, VIEW};
use views::{Query, ViewStore, ViewStoreExt};
use web::problem::{Problem, Problems};
use web::sessions::{self, ActiveSession, SessionLookup};

use crate::reading::answer::{Conditions, QueryHeaders, answer};
use crate::reading::paging::{PageOf, PageParams, Paging};
use crate::{Queries, store_problem};

/// Number of sessions cached from the log until the view contains them.
const CACHED_SESSIONS: usize = 100_000;
/// How long to wait for a session that is in neither yet.
const SESSION_TIMEOUT: Duration = Duration::from_millis(500);
const SESSION_POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct ViewSessions {
    store: Arc<dyn ViewStore>,
    /// The user; and the active session, or none once it has ended.
    recent: Cache<SessionId, (UserId, Option<ActiveSession>)>,
    /// Whether ends of sessions are followed: before, an accepted session might go on after its end.
    follows: AtomicBool,
}

impl ViewSessions {
    pub(crate) fn new(store: Arc<dyn ViewStore>) -> Self {
        Self { store, recent: Cache::new(CACHED_SESSIONS), follows: AtomicBool::new(false) }
    }

    /// From now on, ends of sessions are followed.
    pub(crate) fn accept(&self) {
        self.follows.store(true, Ordering::Release);
    }

    pub(crate) fn record(&self, user: UserId, session: SessionId, active: Option<ActiveSession>) {
        self.recent.insert(session, (user, active));
    }
}

#[async_trait]
impl SessionLookup for ViewSessions {
    async fn active(&self, user: UserId, session: SessionId) -> Result<Option<ActiveSession>, Problem> {
        let key = session.to_string();
        let asked = Instant::now();
        if !self.follows.load(Ordering::Acquire) {
            // If the view is not there, it says how far its build is.
            self.store.get::<Session>(&key).await.map_err(store_problem)?;
            return Err(Problem::unavailable(
                "The list of sessions",
                "ends of sessions are not followed yet",
            ));
        }
        loop {
            if let Some((owner, active)) = self.recent.get(&session) {
                return Ok(active.filter(|_| owner == user));
            }
            if let Some(found) = self.store.get::<Session>(&key).await.map_err(store_problem)? {
                let began = u64::try_from(found.position).map_err(Problem::internal)?;
                let active = ActiveSession { began, seen: time(found.seen.max(found.started)) };
                return Ok((!found.ended && found.user == user.to_string()).then_some(active));
            }
            // The token is signed, so the session has started; its event may still be in flight.
            if asked.elapsed() > SESSION_TIMEOUT {
                return Ok(None);
            }
            tokio::time::sleep(SESSION_POLL).await;
        }
    }
}

pub(crate) fn routes() -> OpenApiRouter<Queries> {
    OpenApiRouter::new().routes(routes!(list_sessions))
}

/// A session of the caller.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct MySession {
    id: String,
    /// The device, as reported by the client.
    device: String,
    /// The network address of the log-in.
    address: String,
    started: DateTime<Utc>,
    /// Time of last use, with a precision of an hour.
    seen: DateTime<Utc>,
    expires: DateTime<Utc>,
    /// Whether this is the session of the request.
    current: bool,
}

fn time(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or_default()
}

/// List the user's sessions, newest first
#[utoipa::path(
    get, path = "/v1/me/sessions", tag = "sessions", security(("token" = [])),
    params(PageParams, QueryHeaders),
    responses((status = 200, body = PageOf<MySession>), (status = 304), Problems)
)]
async fn list_sessions(
    State(queries): State<Queries>,
    session: sessions::Session,
    paging: Paging,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let caught_up = queries.catch_up(&conditions, &[VIEW.name]).await;
    let query = Query::new(&VIEW, &BY_USER, vec![json!(session.user), json!(false)], paging.limit);
    let found = queries.page_of::<Session>(query, &paging).await?;
    let (now, current) = (queries.clock.now(), session.session.to_string());
    let active = found.documents.into_iter().filter(|found| time(found.expires) > now);
    let items = active
        .map(|found| MySession {
            current: found.session == current,
            id: found.session,
            device: found.device,
            address: found.address,
            started: time(found.started),
            seen: time(found.seen.max(found.started)),
            expires: time(found.expires),
        })
        .collect();
    answer(&conditions, caught_up, &paging.page(items, found.next.as_ref(), &BY_USER))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use uuid::Uuid;
    use views::SqliteViews;

    use super::*;

    #[tokio::test]
    async fn no_session_is_accepted_before_its_end_would_be_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteViews::open(&folder.path().join("views.db"), views::all()).await.unwrap();
        let sessions = ViewSessions::new(Arc::new(store));
        let (user, session) = (UserId::new(Uuid::from_u128(1)), SessionId::new(Uuid::from_u128(2)));
        let active = ActiveSession { began: 1, seen: DateTime::UNIX_EPOCH };
        sessions.record(user, session, Some(active));
        let refused = sessions.active(user, session).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.retry_after.is_some());
        sessions.accept();
        assert!(sessions.active(user, session).await.unwrap().is_some());
    }
}
