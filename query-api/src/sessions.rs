//! Which sessions are good, by the view and by what the log has told since.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use events::SessionId;
use quick_cache::sync::Cache;
use service::problem::Problem;
use service::sessions::SessionLookup;
use tokio::time::Instant;
use uuid::Uuid;
use views::sessions::Session;
use views::{ViewStore, ViewStoreExt};

use crate::store_problem;

/// Sessions heard of from the log that are remembered, until the view surely has them.
const HEARD: usize = 100_000;
/// How long to look for a session that is too new for both.
const NEWS_LIMIT: Duration = Duration::from_millis(500);
const NEWS_POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct ViewSessions {
    store: Arc<dyn ViewStore>,
    /// Where it began, if it runs.
    heard: Cache<Uuid, Option<u64>>,
}

impl ViewSessions {
    pub(crate) fn new(store: Arc<dyn ViewStore>) -> Self {
        Self { store, heard: Cache::new(HEARD) }
    }

    pub(crate) fn hear(&self, session: Uuid, began: Option<u64>) {
        self.heard.insert(session, began);
    }
}

#[async_trait]
impl SessionLookup for ViewSessions {
    async fn began(&self, _: Uuid, session: Uuid) -> Result<Option<u64>, Problem> {
        let key = SessionId::new(session).to_string();
        let asked = Instant::now();
        loop {
            if let Some(began) = self.heard.get(&session) {
                return Ok(began);
            }
            if let Some(found) = self.store.get::<Session>(&key).await.map_err(store_problem)? {
                return Ok(u64::try_from(found.position).ok().filter(|_| !found.ended));
            }
            // The token is signed, so the session began; the news of it may still be on its way.
            if asked.elapsed() > NEWS_LIMIT {
                return Ok(None);
            }
            tokio::time::sleep(NEWS_POLL).await;
        }
    }
}
