//! The projections and reactions as a separate process.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use events::{MasterKeys, ProgressTracker};
use projector::mail::MailTransport;
use projector::reactions::{analyses, charts, erasures, mailboxes, mails, media, purges, stories};
use projector::{BuildSettings, Feeder, StoreSettings};
use service::config::{
    FeedSettings, HttpSettings, LogSettings, LostEventsSettings, MailSettings, MediaSettings, PlaceSettings,
    Problems, Secret, TelemetrySettings, ViewSettings, from_arguments, without_password,
};
use service::shutdown::Tasks;
use service::telemetry::with_causes;
use service::{clock, telemetry};
use tokio::net::TcpListener;
use views::ViewStore;
use web::health::{self, check, detailed_check};
use web::http;

/// Password hashing and images allocate tens of mebibytes, and the system allocator retains freed memory per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Builds the views of Chorus from its log and runs the reactions: mail, story expiry, erasure, media clean-up, analysis of songs.
/// Serves health checks only
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
    feeds: FeedSettings,
    #[command(flatten)]
    media: MediaSettings,
    #[command(flatten)]
    mail: MailSettings,
    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
    #[command(flatten)]
    lost_events: LostEventsSettings,
}

impl Settings {
    const fn stores(&self) -> StoreSettings<'_> {
        StoreSettings {
            place: &self.place,
            log: &self.log,
            views: &self.views,
            media: &self.media,
            lost_events: &self.lost_events,
        }
    }

    fn print_addresses(&self, address: SocketAddr) -> std::io::Result<()> {
        let [log, views, media, mail] = [
            self.log.place.url(&self.place),
            self.views.url(&self.place),
            self.media.url(&self.place),
            self.mail.url(&self.place),
        ]
        .map(|url| without_password(&url));
        let scheme = self.http.scheme();
        writeln!(
            std::io::stdout(),
            "projector is running; health checks at {scheme}://{address}/readyz\n  log    {log}\n  views  {views}\n  media  {media}\n  mail   {mail}"
        )
    }
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
    settings.place.prepare().context("creating the data folder")?;
    let log_url = settings.log.place.url(&settings.place);
    let views_url = settings.views.url(&settings.place);
    let mut problems = Problems::default();
    settings.http.check(&settings.place, &mut problems);
    let transport = MailTransport::configured(&settings.mail, &settings.place, &mut problems);
    PlaceSettings::require_server("CHORUS_LOG", &log_url, &mut problems);
    PlaceSettings::require_server("CHORUS_VIEWS", &views_url, &mut problems);
    let make = || Secret::new(MasterKeys::generate().as_str());
    let parse = |text: &Secret| MasterKeys::parse(text.reveal());
    let master = settings.log.master_keys().read(&settings.place, make, parse, &mut problems);
    problems.none_or()?;
    let (master, transport) = master.zip(transport).context("a setting is missing")?;

    let address = settings.http.listen;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let (log, views, pictures) = settings.stores().open(&master).await?;
    let store: Arc<dyn ViewStore> = Arc::new(views.clone());
    let mail = transport.open().await.context("opening the mail transport")?;

    let (tracker, update_tracker) = ProgressTracker::follow(&**log.raw());
    tasks.spawn_until_stopping("progress tracker", update_tracker);
    let feeder = Feeder { log: log.clone(), views, build: BuildSettings::for_missing(&settings.place.data) };
    let statuses = projector::feed(&feeder, projector::projections(&settings.feeds), &tasks);
    if let Some(queue) = mail.feedback {
        mailboxes::run(log.clone(), clock::system(), queue, &tasks);
    }
    let parts = stories::Parts { log: log.clone(), store: Arc::clone(&store), clock: clock::system() };
    let ending_stories = stories::run(parts, &tasks);
    let parts = charts::Parts { log: log.clone(), store: Arc::clone(&store), clock: clock::system() };
    let closing_charts = charts::run(parts, &tasks);
    let erasing = erasures::run(&log, Arc::clone(&store), &tasks);
    let purging = purges::run(
        &log,
        Arc::clone(&store),
        tracker.clone(),
        &projector::projections(&settings.feeds),
        &tasks,
    );
    let cleaning = media::run(
        media::Parts {
            log: Arc::clone(log.raw()),
            store: Arc::clone(&store),
            media: Arc::clone(&pictures),
            clock: clock::system(),
        },
        &tasks,
    );
    let analysing = analyses::run(
        analyses::Parts {
            log: log.clone(),
            store: Arc::clone(&store),
            media: pictures,
            clock: clock::system(),
            folder: settings.place.data.clone(),
            analyser: audio::Analyser::default(),
        },
        &tasks,
    );
    let (mailer, clock) = (mail.mailer, clock::system());
    let urls = mails::AppUrls::of(&settings.mail, &settings.http.apps, &settings.http.public_url());
    let (health_log, health_views) = (log.clone(), Arc::clone(&store));
    let mailing = mails::run(mails::Parts { log, store, tracker, mailer, clock, urls }, &tasks);

    let watched = tasks.clone();
    let log_health = move || {
        let log = health_log.clone();
        async move { log.health().await }
    };
    let views_health = move || {
        let views = Arc::clone(&health_views);
        async move { views.check().await.map_err(|error| with_causes(&error)) }
    };
    let checks = vec![
        ("log", detailed_check(log_health)),
        ("views", check(views_health)),
        ("projections", detailed_check(move || std::future::ready((statuses.ready(), statuses.details())))),
        ("mails", detailed_check(move || std::future::ready(mailing.report()))),
        ("stories", check(move || std::future::ready(ending_stories.ready()))),
        ("charts", check(move || std::future::ready(closing_charts.ready()))),
        ("tasks", check(move || std::future::ready(watched.ready()))),
        ("erasures", check(move || std::future::ready(erasing.ready()))),
        ("purges", check(move || std::future::ready(purging.ready()))),
        ("media", check(move || std::future::ready(cleaning.ready()))),
        ("analyses", check(move || std::future::ready(analysing.ready()))),
    ];
    settings.print_addresses(listener.local_addr()?)?;
    let operations = health::routes(checks, metrics);
    let routes = http::with_operations(http::Router::new(), operations, &settings.http, &tasks).await?;
    http::run(listener, http::finish(routes, &settings.http, None), &settings.http, &tasks).await?;
    Ok(())
}
