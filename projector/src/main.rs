//! The projections and reactions as a separate process.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use events::{MasterKeys, ProgressTracker};
use projector::mail::MailTransport;
use projector::reactions::{erasures, mailboxes, mails, media, purges, stories};
use projector::{LostEvents, Projector, refuse_lost_events};
use service::config::{
    FeedSettings, HttpSettings, LogSettings, LostEventsSettings, MailSettings, MediaSettings, PlaceSettings,
    Problems, Secret, TelemetrySettings, ViewSettings, from_arguments, without_password,
};
use service::retry::retry_until_available;
use service::shutdown::Tasks;
use service::{clock, telemetry};
use tokio::net::TcpListener;
use web::health::{self, check, detailed_check};
use web::http;

/// Password hashing and images allocate tens of mebibytes, and the system allocator retains freed memory per thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Builds the views of Chorus from its log and runs the reactions: mail, story expiry, erasure, media clean-up.
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

#[tokio::main]
async fn main() -> Result<()> {
    let settings: Settings = from_arguments();
    let tasks = Tasks::default();
    let metrics = telemetry::start(&settings.telemetry, &tasks).map_err(anyhow::Error::from_boxed)?;
    settings.place.prepare().context("creating the data folder")?;
    let log_url = settings.log.place.url(&settings.place);
    let views_url = settings.views.url(&settings.place);
    let mut problems = Problems::default();
    settings.http.check(&settings.place, &mut problems);
    let media_url = settings.media.url(&settings.place);
    let mail_url = settings.mail.url(&settings.place);
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
    let credentials = &settings.log.place.nats_credentials_file;
    let open_log = || events::open_sealed(&log_url, credentials.clone(), &master);
    let log = retry_until_available("the event log", open_log, events::OpenError::is_outage)
        .await
        .context("opening the event log")?;
    let open_views = || views::open(&views_url);
    let store = retry_until_available("the view store", open_views, views::OpenError::is_outage)
        .await
        .context("opening the view store")?;
    let mail = transport.open().await.context("opening the mail transport")?;
    let pictures =
        ::media::open(&media_url).await.map_err(anyhow::Error::msg).context("opening the media store")?;
    let accepted = settings.lost_events.accept_lost_events;
    let compare = || refuse_lost_events(&log, &*store, &*pictures, accepted);
    retry_until_available("the event log and the view store", compare, LostEvents::is_outage)
        .await
        .context("comparing the event log with views, keys and media")?;

    let (tracker, update_tracker) = ProgressTracker::follow(&**log.raw());
    tasks.spawn_until_stopping("progress tracker", update_tracker);
    let projector = Projector { log: log.clone(), store: Arc::clone(&store) };
    let statuses = projector::run(&projector, projector::projections(&settings.feeds), &tasks);
    if let Some(queue) = mail.feedback {
        mailboxes::run(log.clone(), clock::system(), queue, &tasks);
    }
    let parts = stories::Parts { log: log.clone(), store: Arc::clone(&store), clock: clock::system() };
    let ending_stories = stories::run(parts, &tasks);
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
            media: pictures,
            clock: clock::system(),
        },
        &tasks,
    );
    let (mailer, clock) = (mail.mailer, clock::system());
    let urls = mails::AppUrls::of(&settings.mail, &settings.http.apps, &settings.http.public_url());
    let health_log = log.clone();
    let mailing = mails::run(mails::Parts { log, store, tracker, mailer, clock, urls }, &tasks);

    let watched = tasks.clone();
    let log_health = move || {
        let log = health_log.clone();
        async move { log.health().await }
    };
    let checks = vec![
        ("log", detailed_check(log_health)),
        ("projections", detailed_check(move || std::future::ready((statuses.ready(), statuses.details())))),
        ("mails", detailed_check(move || std::future::ready(mailing.report()))),
        ("stories", check(move || std::future::ready(ending_stories.ready()))),
        ("tasks", check(move || std::future::ready(watched.ready()))),
        ("erasures", check(move || std::future::ready(erasing.ready()))),
        ("purges", check(move || std::future::ready(purging.ready()))),
        ("media", check(move || std::future::ready(cleaning.ready()))),
    ];
    let address = listener.local_addr()?;
    let [log, views, media, mail] =
        [&log_url, &views_url, &media_url, &mail_url].map(|url| without_password(url));
    let scheme = settings.http.scheme();
    writeln!(
        std::io::stdout(),
        "projector is running; health checks at {scheme}://{address}/readyz\n  log    {log}\n  views  {views}\n  media  {media}\n  mail   {mail}"
    )?;
    let operations = health::routes(checks, metrics);
    let routes = http::with_operations(http::Router::new(), operations, &settings.http, &tasks).await?;
    http::run(listener, http::finish(routes, &settings.http, None), &settings.http, &tasks).await?;
    Ok(())
}
