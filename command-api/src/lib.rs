//! The write side: commands arrive over HTTP, pure decisions turn them into events or rejections, and the events are
//! appended to the log. It decides from the log alone and never reads a view.
//!
//! Start with `Commands::execute`, the only way from a command to the log, then a feature of your choice
//! ([`social::likes`] is the smallest): its decisions, the HTTP mapping of its rejections, its routes and their tests are in
//! one file.

pub mod accounts;
mod cpu;
mod images;
pub mod music;
pub mod pipeline;
mod secrets;
pub mod social;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::FromRef;
use axum::middleware::from_fn;
use axum::routing::get;
use axum::{Json, Router};
use chrono::TimeDelta;
use events::{ProgressTracker, SealedLog};
use media::MediaStore;
use service::clock::Clock;
use service::shutdown::Tasks;
use tokio::sync::mpsc;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use web::limits::Limits;
use web::session_cookies::SessionCookies;
use web::sessions::{Authenticator, FixedKeys, LastSeenSender, UsedSession};
use web::tokens::{SigningKeys, VerifyingKeys};

pub use crate::accounts::reserved_names::ReservedUsernames;
pub use crate::accounts::roles::RoleRejected;
pub use crate::pipeline::errors::CommandError;
pub use crate::secrets::Secrets;

use crate::accounts::passwords::Passwords;
use crate::accounts::sessions::LogSessions;
use crate::cpu::CpuPermits;
use crate::pipeline::snapshots::SnapshotCache;
use crate::pipeline::subject_cache::SubjectCache;

/// Executes commands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Commands(Arc<Inner>);

#[derive(Debug)]
pub struct Inner {
    log: SealedLog,
    tracker: ProgressTracker,
    view_wait: Duration,
    subject_cache: SubjectCache,
    snapshot_cache: SnapshotCache,
    media: Arc<dyn MediaStore>,
    passwords: Passwords,
    images: images::ImageProcessor,
    /// Reads covers in the tags of audio files.
    covers: audio::Covers,
    signing: Arc<SigningKeys>,
    authenticator: Arc<Authenticator>,
    last_seen_sender: LastSeenSender,
    /// Taken when [`follow_log`](Commands::follow_log) starts to record.
    last_seen_receiver: Mutex<Option<mpsc::Receiver<UsedSession>>>,
    clock: Arc<dyn Clock>,
    session_length: TimeDelta,
    reserved_usernames: ReservedUsernames,
    limits: Limits,
    /// The beginning of media URLs.
    public_url: String,
    /// None in processes that serve no uploads.
    uploads: Option<music::spool::Spool>,
    tasks: Tasks,
}

impl Deref for Commands {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl FromRef<Commands> for Arc<Authenticator> {
    fn from_ref(commands: &Commands) -> Self {
        Arc::clone(&commands.authenticator)
    }
}

/// The parts that [`Commands`] is built from.
#[derive(Debug)]
pub struct Parts {
    pub log: SealedLog,
    pub tracker: ProgressTracker,
    /// How long an answer waits for the views.
    pub view_wait: Duration,
    pub media: Arc<dyn MediaStore>,
    pub signing: Arc<SigningKeys>,
    pub clock: Arc<dyn Clock>,
    pub session_length: TimeDelta,
    pub session_cookies: Arc<SessionCookies>,
    pub reserved_usernames: ReservedUsernames,
    pub limits: Limits,
    /// The beginning of media URLs.
    pub public_url: String,
    /// The folder for uploads and the storage quota in bytes, if this process serves uploads.
    pub uploads: Option<(PathBuf, u64)>,
    /// For work that continues after its request was answered.
    pub tasks: Tasks,
}

impl Commands {
    /// # Errors
    /// If the system provides no random numbers, or the folder for uploads cannot be created.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let Parts {
            log,
            tracker,
            view_wait,
            media,
            signing,
            clock,
            session_length,
            session_cookies,
            reserved_usernames,
            limits,
            public_url,
            uploads,
            tasks,
        } = parts;
        let uploads = uploads.map(|(folder, quota)| music::spool::Spool::open(folder, quota)).transpose()?;
        let cpu = CpuPermits::default();
        let (last_seen_sender, last_seen_receiver) = LastSeenSender::channel();
        let authenticator = Authenticator::new(web::sessions::Parts {
            keys: Arc::new(FixedKeys(Arc::new(VerifyingKeys::of(signing.public())))),
            lookup: Arc::new(LogSessions::new(Arc::clone(log.raw()))),
            clock: Arc::clone(&clock),
            session_cookies,
            last_seen: Some(last_seen_sender.clone()),
        });
        Ok(Self(Arc::new(Inner {
            log,
            tracker,
            view_wait,
            subject_cache: SubjectCache::default(),
            snapshot_cache: SnapshotCache::default(),
            media,
            passwords: Passwords::new(cpu.clone())?,
            images: images::ImageProcessor::new(cpu),
            covers: audio::Covers::default(),
            signing,
            authenticator: Arc::new(authenticator),
            last_seen_sender,
            last_seen_receiver: Mutex::new(Some(last_seen_receiver)),
            clock,
            session_length,
            reserved_usernames,
            limits,
            public_url,
            uploads,
            tasks,
        })))
    }

    /// For another part of the same process that authenticates requests.
    pub fn last_seen_sender(&self) -> LastSeenSender {
        self.last_seen_sender.clone()
    }
}

/// The routes of the write side and their OpenAPI description.
pub fn routes(commands: Commands) -> (Router, OpenApi) {
    let (router, api) = documented().split_for_parts();
    (report_partial_failures(router.with_state(commands)), api)
}

/// Makes these routes answer `outcome-unknown` instead of `unavailable` once a part of a request is done.
pub fn report_partial_failures(routes: Router) -> Router {
    routes.route_layer(from_fn(pipeline::partial_failure::report_partial_failure))
}

impl Commands {
    /// Authenticates requests.
    pub fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    /// The limits on attempts to log in, sign up and cause mail.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// The public keys, for read sides in separate processes.
pub fn key_routes(commands: &Commands) -> Router {
    let keys = commands.signing.public().clone();
    Router::new().route("/.well-known/jwks.json", get(async move || Json(keys)))
}

/// The OpenAPI description of the routes.
pub fn openapi() -> OpenApi {
    documented().into_openapi()
}

fn documented() -> OpenApiRouter<Commands> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(accounts::routes())
        .merge(social::routes())
        .merge(music::routes())
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Chorus", description = "The open backend for social, photo and music apps."),
    // Schemas that only a type with `IntoResponses` refers to are not collected from the routes.
    components(schemas(web::problem::ProblemDocument, pipeline::receipt::Receipt))
)]
struct Document;
