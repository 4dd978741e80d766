//! The read side: pages, profiles and pictures, from the views. Queries have four steps: find the ids (skeleton),
//! fetch the documents in one call per kind (hydrate), remove invisible ones (filter), and build the response
//! (shape). No decisions are made here.

pub mod accounts;
mod mails;
pub mod music;
pub mod reading;
pub mod social;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use events::{EventLog, ProgressTracker};
use media::MediaStore;
use service::clock::Clock;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use views::{NotServing, StoreError, ViewStore};
use web::problem::Problem;
use web::session_cookies::SessionCookies;
use web::sessions::{Authenticator, KeySource, LastSeenSender};

use crate::accounts::sessions::ViewSessions;
use crate::social::likes::LikerLists;

pub use accounts::keys::RemoteKeys;
pub use social::timelines::{Timeline, TimelinePage};

/// The state of all queries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queries(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    log: Arc<dyn EventLog>,
    store: Arc<dyn ViewStore>,
    tracker: ProgressTracker,
    view_wait: Duration,
    media: Arc<dyn MediaStore>,
    keys: Arc<dyn KeySource>,
    sessions: Arc<ViewSessions>,
    authenticator: Arc<Authenticator>,
    clock: Arc<dyn Clock>,
    liker_lists: LikerLists,
    /// The base URL of links and media URLs.
    public_url: String,
}

impl Deref for Queries {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl FromRef<Queries> for Arc<Authenticator> {
    fn from_ref(queries: &Queries) -> Self {
        Arc::clone(&queries.authenticator)
    }
}

/// The dependencies of the read side.
#[derive(Debug)]
pub struct Parts {
    /// Only its tail is followed.
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn ViewStore>,
    pub tracker: ProgressTracker,
    /// How long an answer waits for the views.
    pub view_wait: Duration,
    pub media: Arc<dyn MediaStore>,
    pub keys: Arc<dyn KeySource>,
    pub clock: Arc<dyn Clock>,
    pub public_url: String,
    pub session_cookies: Arc<SessionCookies>,
    /// Records the use of sessions, if this process can.
    pub last_seen_sender: Option<LastSeenSender>,
}

impl Queries {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            log,
            store,
            tracker,
            view_wait,
            media,
            keys,
            clock,
            public_url,
            session_cookies,
            last_seen_sender,
        } = parts;
        let sessions = Arc::new(ViewSessions::new(Arc::clone(&store)));
        let lookup: Arc<dyn web::sessions::SessionLookup> = Arc::<ViewSessions>::clone(&sessions);
        let authenticator = Authenticator::new(web::sessions::Parts {
            keys: Arc::clone(&keys),
            lookup,
            clock: Arc::clone(&clock),
            session_cookies,
            last_seen: last_seen_sender,
        });
        let authenticator = Arc::new(authenticator);
        let liker_lists = LikerLists::default();
        Self(Arc::new(Inner {
            log,
            store,
            tracker,
            view_wait,
            media,
            keys,
            sessions,
            authenticator,
            clock,
            liker_lists,
            public_url,
        }))
    }
}

impl Queries {
    /// Authenticates requests.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    pub fn store(&self) -> &dyn ViewStore {
        &*self.store
    }

    /// The base URL of links and media URLs.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }
}

/// The routes of the read side, and their OpenAPI description.
pub fn routes(queries: Queries) -> (Router, OpenApi) {
    let (router, api) = documented().split_for_parts();
    let router = router.merge(reading::documentation::routes()).merge(reading::links::routes());
    let router = router.merge(reading::welcome::routes());
    (router.with_state(queries), api)
}

/// The OpenAPI description of the routes alone.
pub fn openapi() -> OpenApi {
    documented().into_openapi()
}

fn documented() -> OpenApiRouter<Queries> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(accounts::routes())
        .merge(social::routes())
        .merge(music::routes())
        .merge(mails::routes())
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Chorus", description = "The open backend for social, photo and music apps."),
    components(schemas(web::problem::ProblemDocument))
)]
struct Document;

/// Maps store errors to problems.
pub fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(cause) if cause.is::<NotServing>() => {
            Problem::overloaded(format!("This cannot be read at the moment: {cause}"), cause)
        }
        StoreError::Unavailable(_) => Problem::unavailable("The view store", error),
        StoreError::Corrupt(_) => Problem::internal(error),
    }
}
