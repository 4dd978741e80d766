//! The read side: pages, profiles and pictures, from the views. Every answer is made the same way: find the ids
//! (skeleton), fetch what they stand for in one call for each kind (hydrate), leave out what may not be seen (filter),
//! say it (shape). Nothing is decided here.

mod accounts;
mod answer;
mod captions;
mod collections;
mod comments;
mod compat;
mod discovery;
mod documentation;
mod feeds;
mod follows;
mod keys;
mod likes;
mod links;
mod mails;
mod media;
mod notifications;
mod paging;
mod posts;
mod profiles;
mod saves;
mod search;
mod sessions;
mod stories;
mod tail;
mod timelines;
mod welcome;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use events::{EventLog, ProgressBoard};
use service::browsers::Browsers;
use service::clock::Clock;
use service::media::MediaStore;
use service::problem::Problem;
use service::sessions::{Authenticator, KeySource, UseNotes};
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use views::{StoreError, ViewStore};

use crate::likes::LikerLists;
use crate::sessions::ViewSessions;

pub use keys::RemoteKeys;
pub use timelines::{Timeline, TimelinePage};

/// Everything a query needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queries(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    log: Arc<dyn EventLog>,
    store: Arc<dyn ViewStore>,
    board: ProgressBoard,
    media: Arc<dyn MediaStore>,
    keys: Arc<dyn KeySource>,
    sessions: Arc<ViewSessions>,
    authenticator: Arc<Authenticator>,
    clock: Arc<dyn Clock>,
    liker_lists: LikerLists,
    /// What links and media URLs begin with.
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

/// What the read side is built from.
#[derive(Debug)]
pub struct Parts {
    /// Only its tail is followed.
    pub log: Arc<dyn EventLog>,
    pub store: Arc<dyn ViewStore>,
    pub board: ProgressBoard,
    pub media: Arc<dyn MediaStore>,
    pub keys: Arc<dyn KeySource>,
    pub clock: Arc<dyn Clock>,
    pub public_url: String,
    pub browsers: Arc<Browsers>,
    /// Where the use of sessions is noted, if this process has a way to.
    pub notes_of_use: Option<UseNotes>,
}

impl Queries {
    pub fn new(parts: Parts) -> Self {
        let Parts { log, store, board, media, keys, clock, public_url, browsers, notes_of_use } = parts;
        let sessions = Arc::new(ViewSessions::new(Arc::clone(&store)));
        let lookup: Arc<dyn service::sessions::SessionLookup> = Arc::<ViewSessions>::clone(&sessions);
        let authenticator = Authenticator::new(service::sessions::Parts {
            keys: Arc::clone(&keys),
            lookup,
            clock: Arc::clone(&clock),
            browsers,
            notes: notes_of_use,
        });
        let authenticator = Arc::new(authenticator);
        let liker_lists = LikerLists::default();
        Self(Arc::new(Inner {
            log,
            store,
            board,
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
    /// Tells who is logged in.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }
}

/// The routes of the read side, and what OpenAPI says of them.
pub fn routes(queries: Queries) -> (Router, OpenApi) {
    let (router, api) = documented().split_for_parts();
    let router = router.merge(documentation::routes()).merge(links::routes()).merge(compat::routes());
    let router = router.merge(welcome::routes());
    (router.with_state(queries), api)
}

/// What OpenAPI says of the routes, without anything behind them.
pub fn openapi() -> OpenApi {
    documented().into_openapi()
}

fn documented() -> OpenApiRouter<Queries> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(accounts::routes())
        .merge(sessions::routes())
        .merge(mails::routes())
        .merge(profiles::routes())
        .merge(posts::routes())
        .merge(feeds::routes())
        .merge(likes::routes())
        .merge(comments::routes())
        .merge(captions::routes())
        .merge(follows::routes())
        .merge(stories::routes())
        .merge(notifications::routes())
        .merge(saves::routes())
        .merge(collections::routes())
        .merge(search::routes())
        .merge(discovery::routes())
        .merge(media::routes())
        .merge(keys::routes())
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Chorus", description = "The open backend for social, photo and music apps."),
    components(schemas(service::problem::ProblemDocument))
)]
struct Document;

/// The one table from what keeps a query from its answer to what HTTP says.
fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) => Problem::unavailable("The view store", error),
        StoreError::Corrupt(_) => Problem::internal(error),
    }
}
