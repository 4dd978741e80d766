//! The write side as a separate process.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use command_api::{Commands, Secrets};
use events::ProgressTracker;
use service::config::{
    AccountSettings, HttpSettings, LimitSettings, LogSettings, LostEventsSettings, MediaSettings,
    PlaceSettings, Problems, SigningSettings, TelemetrySettings, UploadSettings, from_arguments,
    without_password,
};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::{clock, telemetry};
use tokio::net::TcpListener;
use web::health::{self, check};
use web::http;
use web::limits::{Limits, MonotonicClock};
use web::session_cookies::SessionCookies;

/// Password hashing and image processing use tens of mebibytes each, and the system's allocator keeps that memory per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The write side of Chorus: serves all requests except GET and HEAD
#[derive(Debug, Parser)]
#[command(version)]
struct Settings {
    #[command(flatten)]
    place: PlaceSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    media: MediaSettings,
    #[command(flatten)]
    uploads: UploadSettings,
    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    limits: LimitSettings,
    #[command(flatten)]
    accounts: AccountSettings,
    #[command(flatten)]
    signing: SigningSettings,
    /// No longer used: compat-api serves the routes of existing apps
    #[arg(long, env = "CHORUS_QUERY_URL", value_name = "URL", hide = true)]
    query_url: Option<String>,
    #[command(flatten)]
    telemetry: TelemetrySettings,
    #[command(flatten)]
    lost_events: LostEventsSettings,
}

fn main() -> Result<ExitCode> {
    if let Some(code) = audio::run_child() {
        return Ok(code);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve())?;
    Ok(ExitCode::SUCCESS)
}

async fn serve() -> Result<()> {
    let settings: Settings = from_arguments();
    let tasks = Tasks::default();
    let metrics = telemetry::start(&settings.telemetry, &tasks).map_err(anyhow::Error::from_boxed)?;
    if settings.query_url.is_some() {
        tracing::warn!("CHORUS_QUERY_URL is no longer used: compat-api serves the routes of existing apps");
    }
    settings.place.prepare().context("creating the data folder")?;
    let log_url = settings.log.place.url(&settings.place);
    let media_url = settings.media.url(&settings.place);
    let mut problems = Problems::default();
    settings.http.check(&settings.place, &mut problems);
    PlaceSettings::require_server("CHORUS_LOG", &log_url, &mut problems);
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
    let media =
        media::open(&media_url).await.map_err(anyhow::Error::msg).context("opening the media store")?;
    let (tracker, update_tracker) = ProgressTracker::follow(&**log.raw());
    tasks.spawn_until_stopping("progress tracker", update_tracker);
    let commands = Commands::new(command_api::Parts {
        log,
        tracker,
        view_wait: settings.http.view_wait(),
        media,
        signing: Arc::new(signing),
        clock: clock::system(),
        session_length: settings.signing.session_length(),
        session_cookies: Arc::new(SessionCookies::configured(
            &settings.http,
            settings.signing.cookie_same_site,
        )),
        reserved_usernames,
        limits: Limits::new(&settings.limits, MonotonicClock::default()),
        public_url: settings.http.public_url(),
        uploads: Some((settings.uploads.folder(&settings.place), settings.uploads.storage_quota)),
        tasks: tasks.clone(),
    })?;
    commands.follow_log(&tasks).await.context("following the event log")?;

    let watched = tasks.clone();
    let checks = vec![
        ("log", commands.check_log()),
        ("media", commands.check_media()),
        ("tasks", check(move || std::future::ready(watched.ready()))),
    ];
    let keys = command_api::key_routes(&commands);
    let authenticator = Arc::clone(commands.authenticator());
    let (routes, _) = command_api::routes(commands);
    let routes = routes.merge(keys);
    let operations = health::routes(checks, metrics);
    let routes = http::with_operations(routes, operations, &settings.http, &tasks).await?;
    let address = listener.local_addr()?;
    let (log, media) = (without_password(&log_url), without_password(&media_url));
    let scheme = settings.http.scheme();
    writeln!(
        std::io::stdout(),
        "command-api is listening on {scheme}://{address}\n  log    {log}\n  media  {media}"
    )?;
    http::run(listener, http::finish(routes, &settings.http, Some(authenticator)), &settings.http, &tasks)
        .await?;
    Ok(())
}
