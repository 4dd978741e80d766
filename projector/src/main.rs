//! The projections as a process of their own.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Parser;
use events::MasterKeys;
use projector::{Projector, projections};
use service::config::{
    HttpSettings, LogSettings, PlaceSettings, Problems, Secret, TelemetrySettings, ViewSettings,
    from_arguments,
};
use service::health::{self, check};
use service::shutdown::Tasks;
use service::start::{patiently, without_password};
use service::{http, telemetry};
use tokio::net::TcpListener;

/// Passwords and pictures take memory by the ten mebibytes, and the system's allocator keeps what each thread has had.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Builds the views of Chorus from its log; listens only to tell how it is doing
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
    http: HttpSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings: Settings = from_arguments();
    let tasks = Tasks::default();
    let metrics = telemetry::start(&settings.telemetry, &tasks).map_err(anyhow::Error::from_boxed)?;
    settings.place.prepare().context("making the data folder")?;
    let log_url = settings.log.place.url(&settings.place);
    let views_url = settings.views.url(&settings.place);
    let mut problems = Problems::default();
    settings.http.check(&settings.place, &mut problems);
    PlaceSettings::require_server("CHORUS_LOG", &log_url, &mut problems);
    PlaceSettings::require_server("CHORUS_VIEWS", &views_url, &mut problems);
    let make = || Secret::new(MasterKeys::generate().as_str());
    let parse = |text: &Secret| MasterKeys::parse(text.reveal());
    let master = settings.log.master_keys().read(&settings.place, make, parse, &mut problems);
    problems.none_or()?;
    let master = master.context("the master key is missing")?;

    let address = settings.http.listen;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let credentials = &settings.log.place.nats_credentials_file;
    let open_log = || events::open_sealed(&log_url, credentials.clone(), &master);
    let log = patiently("the event log", open_log, events::OpenError::is_outage)
        .await
        .context("opening the event log")?;
    let open_views = || views::open(&views_url);
    let store = patiently("the view store", open_views, views::OpenError::is_outage)
        .await
        .context("opening the view store")?;
    let statuses = projector::run(&Projector { log, store }, projections::all(), &tasks);

    let checks = vec![("projections", check(move || std::future::ready(statuses.ready())))];
    let address = listener.local_addr()?;
    let (log, views) = (without_password(&log_url), without_password(&views_url));
    let scheme = settings.http.scheme();
    writeln!(
        std::io::stdout(),
        "projector is running; it tells how at {scheme}://{address}/readyz\n  log    {log}\n  views  {views}"
    )?;
    http::run(
        listener,
        http::finish(health::routes(checks, metrics), &settings.http),
        &settings.http,
        &tasks,
    )
    .await?;
    Ok(())
}
