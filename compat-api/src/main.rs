//! The routes of existing apps as a separate process.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use command_api::Secrets;
use compat_api::{Apps, Parts};
use events::ProgressTracker;
use service::config::{
    AccountSettings, HttpSettings, LimitSettings, LogSettings, LostEventsSettings, MediaSettings,
    PlaceSettings, Problems, SigningSettings, TelemetrySettings, ViewSettings, from_arguments,
    without_password,
};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::telemetry;
use tokio::net::TcpListener;
use web::health::{self, check};
use web::http;

/// Password hashing and image processing use tens of mebibytes each, and the system's allocator keeps that memory per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The routes of existing apps: serves all requests under /instamern
#[derive(Debug, Parser)]
#[command(version)]
struct Settings {
    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    views: ViewSettings,
    #[command(flatten)]
    media: MediaSettings,
    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    limits: LimitSettings,
    #[command(flatten)]
    accounts: AccountSettings,
    #[command(flatten)]
    signing: SigningSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
    #[command(flatten)]
    lost_events: LostEventsSettings,
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings: Settings = from_arguments();
    let tasks = Tasks::default();
    let metrics = telemetry::start(&settings.telemetry, &tasks).map_err(anyhow::Error::from_boxed)?;
    settings.place.prepare().context("creating the data folder")?;
    let log_url = settings.log.place.url(&settings.place);
    let views_url = settings.views.url(&settings.place);
    let media_url = settings.media.url(&settings.place);
    let mut problems = Problems::default();
    settings.http.check(&settings.place, &mut problems);
    PlaceSettings::require_server("CHORUS_LOG", &log_url, &mut problems);
    PlaceSettings::require_server("CHORUS_VIEWS", &views_url, &mut problems);
    let Settings { place, log, signing, accounts, .. } = &settings;
    let secrets = Secrets::read(place, log, signing, accounts, &mut problems);
    problems.none_or()?;
    let Secrets { master, signing, reserved_usernames } = secrets.context("a secret is missing")?;

    let address = settings.http.listen;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let credentials = &settings.log.place.nats_credentials_file;
    let open_log = || events::open_sealed(&log_url, credentials.clone(), &master);
    let log = retry_until_available("the event log", open_log, events::OpenError::is_outage)
        .await
        .context("opening the event log")?;
    if !settings.lost_events.accept_lost_events {
        let compare = || log.compare_with_vault();
        retry_until_available("the event log and the key vault", compare, events::VaultMismatch::is_outage)
            .await
            .context("comparing the event log with the key vault")?;
    }
    let open_views = || views::open(&views_url);
    let store = retry_until_available("the view store", open_views, views::OpenError::is_outage)
        .await
        .context("opening the view store")?;
    let store: Arc<dyn views::ViewStore> = Arc::new(store);
    let media =
        media::open(&media_url).await.map_err(anyhow::Error::msg).context("opening the media store")?;
    let (tracker, update_tracker) = ProgressTracker::follow(&**log.raw());
    tasks.spawn_until_stopping("progress tracker", update_tracker);
    let apps = Apps::start(Parts {
        log,
        store,
        media,
        tracker,
        signing,
        reserved_usernames,
        http_settings: &settings.http,
        limit_settings: &settings.limits,
        signing_settings: &settings.signing,
        uploads: None,
        tasks: &tasks,
    })
    .await?;

    let watched = tasks.clone();
    let checks = vec![
        ("log", apps.commands.check_log()),
        ("views", apps.queries.check_views()),
        ("media", apps.commands.check_media()),
        ("tasks", check(move || std::future::ready(watched.ready()))),
    ];
    let authenticator = Arc::clone(apps.commands.authenticator());
    let routes = compat_api::routes(apps);
    let operations = health::routes(checks, metrics);
    let routes = http::with_operations(routes, operations, &settings.http, &tasks).await?;
    let address = listener.local_addr()?;
    let (log, views) = (without_password(&log_url), without_password(&views_url));
    let (media, scheme) = (without_password(&media_url), settings.http.scheme());
    writeln!(
        std::io::stdout(),
        "compat-api is listening on {scheme}://{address}\n  log    {log}\n  views  {views}\n  media  {media}"
    )?;
    http::run(listener, http::finish(routes, &settings.http, Some(authenticator)), &settings.http, &tasks)
        .await?;
    Ok(())
}
