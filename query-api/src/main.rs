//! The read side as a separate process.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use events::ProgressTracker;
use query_api::{Queries, RemoteKeys};
use service::config::SameSite;
use service::config::{
    HttpSettings, LogUrlSettings, MediaSettings, PlaceSettings, Problems, TelemetrySettings, ViewSettings,
    from_arguments, without_password,
};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::{clock, telemetry};
use tokio::net::TcpListener;
use web::health::{self, check};
use web::http;
use web::session_cookies::SessionCookies;

/// Images allocate tens of mebibytes, and the system allocator retains freed memory per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The read side of Chorus: serves GET and HEAD requests
#[derive(Debug, Parser)]
#[command(version)]
struct Settings {
    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogUrlSettings,
    #[command(flatten)]
    views: ViewSettings,
    #[command(flatten)]
    media: MediaSettings,
    #[command(flatten)]
    http: HttpSettings,
    /// URL of the public token keys: the write side's /.well-known/jwks.json
    #[arg(
        long,
        env = "CHORUS_JWKS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8081/.well-known/jwks.json"
    )]
    jwks_url: String,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings: Settings = from_arguments();
    let tasks = Tasks::default();
    let metrics = telemetry::start(&settings.telemetry, &tasks).map_err(anyhow::Error::from_boxed)?;
    let log_url = settings.log.url(&settings.place);
    let views_url = settings.views.url(&settings.place);
    let media_url = settings.media.url(&settings.place);
    let mut problems = Problems::default();
    settings.http.check(&settings.place, &mut problems);
    PlaceSettings::require_server("CHORUS_LOG", &log_url, &mut problems);
    PlaceSettings::require_server("CHORUS_VIEWS", &views_url, &mut problems);
    problems.none_or()?;

    let address = settings.http.listen;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let credentials = &settings.log.nats_credentials_file;
    let open_log = || events::open(&log_url, credentials.clone());
    let log = retry_until_available("the event log", open_log, events::OpenError::is_outage)
        .await
        .context("opening the event log")?
        .log;
    let open_views = || views::open(&views_url);
    let store = retry_until_available("the view store", open_views, views::OpenError::is_outage)
        .await
        .context("opening the view store")?;
    let store: Arc<dyn views::ViewStore> = Arc::new(store);
    let media =
        media::open(&media_url).await.map_err(anyhow::Error::msg).context("opening the media store")?;
    let (tracker, update_tracker) = ProgressTracker::follow(&*log);
    tasks.spawn_until_stopping("progress tracker", update_tracker);
    let keys = Arc::new(RemoteKeys::new(&settings.jwks_url)?);
    let kept = Arc::clone(&keys);
    tasks.spawn_until_stopping("public keys", async move { kept.keep_fresh().await });
    let queries = Queries::new(query_api::Parts {
        log,
        store,
        tracker,
        view_wait: settings.http.view_wait(),
        media,
        keys,
        clock: clock::system(),
        public_url: settings.http.public_url(),
        // Only requests that change state are checked for their origin; there are none here.
        session_cookies: Arc::new(SessionCookies::new([], SameSite::Lax)),
        last_seen_sender: None,
    });
    queries.follow_log(&tasks).await.context("following the event log")?;

    let watched = tasks.clone();
    let checks = vec![
        ("views", queries.check_views()),
        ("media", queries.check_media()),
        ("tasks", check(move || std::future::ready(watched.ready()))),
    ];
    let authenticator = Arc::clone(queries.authenticator());
    let (routes, _) = query_api::routes(queries);
    let operations = health::routes(checks, metrics);
    let routes = http::with_operations(routes, operations, &settings.http, &tasks).await?;
    let address = listener.local_addr()?;
    let (log, views) = (without_password(&log_url), without_password(&views_url));
    let (media, scheme) = (without_password(&media_url), settings.http.scheme());
    writeln!(
        std::io::stdout(),
        "query-api is listening on {scheme}://{address}\n  log    {log}\n  views  {views}\n  media  {media}"
    )?;
    http::run(listener, http::finish(routes, &settings.http, Some(authenticator)), &settings.http, &tasks)
        .await?;
    Ok(())
}
