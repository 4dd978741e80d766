//! The standalone server: write side, projections and read side in one process on one port.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use command_api::Secrets;
use compat_api::{Apps, Parts};
use events::{ProgressTracker, SealedLog};
use projector::mail::{MailTransport, OpenedMail};
use projector::reactions::{self, analyses, charts, erasures, mailboxes, mails, purges, stories};
use projector::{BuildSettings, Feeder, StoreSettings};
use service::config::{
    AccountSettings, FeedSettings, HttpSettings, LimitSettings, LogSettings, LostEventsSettings,
    MailSettings, MediaSettings, PlaceSettings, Problems, SigningSettings, TelemetrySettings, UploadSettings,
    ViewSettings, without_password,
};
use service::exclusive::ExclusiveUse;
use service::shutdown::Tasks;
use service::{clock, telemetry};
use tokio::net::TcpListener;
use views::ViewStore;
use web::health::{self, check, detailed_check};
use web::http;

/// Memory of SQLite, in bytes, for the page caches of the log and of all generations of views together.
const SQLITE_MEMORY: u64 = 512 << 20;

/// Each setting is a flag or an environment variable.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    #[command(flatten)]
    pub place: PlaceSettings,
    #[command(flatten)]
    pub log: LogSettings,
    #[command(flatten)]
    pub views: ViewSettings,
    #[command(flatten)]
    pub feeds: FeedSettings,
    #[command(flatten)]
    pub media: MediaSettings,
    #[command(flatten)]
    pub uploads: UploadSettings,
    #[command(flatten)]
    pub mail: MailSettings,
    #[command(flatten)]
    pub http: HttpSettings,
    #[command(flatten)]
    pub limits: LimitSettings,
    #[command(flatten)]
    pub accounts: AccountSettings,
    #[command(flatten)]
    pub signing: SigningSettings,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    #[command(flatten)]
    pub lost_events: LostEventsSettings,
}

impl Settings {
    /// Checks everything that needs no server, and reports all problems together.
    fn check(&self) -> Result<(Secrets, MailTransport)> {
        self.place.prepare().with_context(|| format!("creating the folder {}", self.place.data.display()))?;
        let mut problems = Problems::default();
        self.http.check(&self.place, &mut problems);
        let transport = MailTransport::configured(&self.mail, &self.place, &mut problems);
        let secrets = Secrets::read(&self.place, &self.log, &self.signing, &self.accounts, &mut problems);
        problems.none_or()?;
        secrets.zip(transport).context("a setting is missing")
    }

    const fn stores(&self) -> StoreSettings<'_> {
        StoreSettings {
            place: &self.place,
            log: &self.log,
            views: &self.views,
            media: &self.media,
            lost_events: &self.lost_events,
        }
    }

    /// Locks the files of log and views: a second server would work on the same views without being notified of progress.
    fn lock(&self) -> Result<Vec<ExclusiveUse>> {
        Ok(ExclusiveUse::of_settings(&[&self.log.place.url(&self.place), &self.views.url(&self.place)])?)
    }

    /// Starts to send mails and to process delivery feedback.
    fn send_mails(
        &self,
        mail: OpenedMail,
        log: &SealedLog,
        store: &Arc<dyn ViewStore>,
        tracker: &ProgressTracker,
        tasks: &Tasks,
    ) -> mails::MailStatus {
        if let Some(queue) = mail.feedback {
            mailboxes::run(log.clone(), clock::system(), queue, tasks);
        }
        let parts = mails::Parts {
            log: log.clone(),
            store: Arc::clone(store),
            tracker: tracker.clone(),
            mailer: mail.mailer,
            clock: clock::system(),
            urls: mails::AppUrls::of(&self.mail, &self.http.apps, &self.http.public_url()),
        };
        mails::run(parts, tasks)
    }

    /// Prints the addresses of the server and of its stores.
    fn print_addresses(&self, address: SocketAddr) -> std::io::Result<()> {
        let [log, views, media, mail] = [
            self.log.place.url(&self.place),
            self.views.url(&self.place),
            self.media.url(&self.place),
            self.mail.url(&self.place),
        ]
        .map(|url| without_password(&url));
        let (version, scheme) = (env!("CARGO_PKG_VERSION"), self.http.scheme());
        writeln!(
            std::io::stdout(),
            "Chorus {version} is listening on {scheme}://{address}\n  log    {log}\n  views  {views}\n  media  {media}\n  mail   {mail}\n  docs   {url}/docs\n\n\
             Try the API in a browser: {url}/docs\nFill it with sample data: {program} demo --url {url}",
            url = self.http.public_url(),
            program = std::env::args().next().unwrap_or_else(|| "chorus".to_owned()),
        )
    }
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// If the settings are invalid, or a store cannot be opened.
pub async fn run(settings: Settings) -> Result<()> {
    let tasks = Tasks::default();
    let metrics = telemetry::start(&settings.telemetry, &tasks).map_err(anyhow::Error::from_boxed)?;
    let (Secrets { master, signing, reserved_usernames }, transport) = settings.check()?;
    let _locked = settings.lock()?;
    let address = settings.http.listen;
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    views::limit_sqlite_memory(SQLITE_MEMORY).context("limiting the memory of SQLite")?;
    let (log, views, media) = settings.stores().open(&master).await?;
    let store: Arc<dyn ViewStore> = Arc::new(views.clone());
    let mail = transport.open().await.context("opening the mail transport")?;

    let (tracker, update_tracker) = ProgressTracker::follow(&**log.raw());
    tasks.spawn_until_stopping("progress tracker", update_tracker);
    let feeder = Feeder { log: log.clone(), views, build: BuildSettings::for_missing(&settings.place.data) };
    let statuses = projector::feed(&feeder, projector::projections(&settings.feeds), &tasks);
    let mailing = settings.send_mails(mail, &log, &store, &tracker, &tasks);
    let parts = stories::Parts { log: log.clone(), store: Arc::clone(&store), clock: clock::system() };
    let ending_stories = stories::run(parts, &tasks);
    let parts = charts::Parts { log: log.clone(), store: Arc::clone(&store), clock: clock::system() };
    let closing_charts = charts::run(parts, &tasks);
    let erasing = erasures::run(&log, Arc::clone(&store), &tasks);
    let projections = projector::projections(&settings.feeds);
    let purging = purges::run(&log, Arc::clone(&store), tracker.clone(), &projections, &tasks);
    let cleaning = reactions::media::run(
        reactions::media::Parts {
            log: Arc::clone(log.raw()),
            store: Arc::clone(&store),
            media: Arc::clone(&media),
            clock: clock::system(),
        },
        &tasks,
    );
    let analysing = analyses::run(
        analyses::Parts {
            log: log.clone(),
            store: Arc::clone(&store),
            media: Arc::clone(&media),
            clock: clock::system(),
            folder: settings.place.data.clone(),
            analyser: audio::Analyser::default(),
        },
        &tasks,
    );
    let apps = Apps::start(Parts {
        log: log.clone(),
        store: Arc::clone(&store),
        media,
        tracker,
        signing,
        reserved_usernames,
        http_settings: &settings.http,
        limit_settings: &settings.limits,
        signing_settings: &settings.signing,
        uploads: Some((settings.uploads.folder(&settings.place), settings.uploads.storage_quota)),
        tasks: &tasks,
    })
    .await?;
    let Apps { commands, queries } = apps.clone();

    let watched = tasks.clone();
    let checks = vec![
        ("log", commands.check_log()),
        ("views", queries.check_views()),
        ("media", queries.check_media()),
        ("projections", detailed_check(move || std::future::ready((statuses.ready(), statuses.details())))),
        ("mails", detailed_check(move || std::future::ready(mailing.report()))),
        ("stories", check(move || std::future::ready(ending_stories.ready()))),
        ("charts", check(move || std::future::ready(closing_charts.ready()))),
        ("tasks", check(move || std::future::ready(watched.ready()))),
        ("erasures", check(move || std::future::ready(erasing.ready()))),
        ("purges", check(move || std::future::ready(purging.ready()))),
        ("analyses", check(move || std::future::ready(analysing.ready()))),
        ("media clean-up", check(move || std::future::ready(cleaning.ready()))),
    ];
    let authenticator = Arc::clone(commands.authenticator());
    let app_routes = compat_api::routes(apps);
    let (query_routes, _) = query_api::routes(queries);
    let (command_routes, _) = command_api::routes(commands);
    let routes = command_routes.merge(app_routes).merge(query_routes);
    let operations = health::routes(checks, metrics);
    let routes = http::with_operations(routes, operations, &settings.http, &tasks).await?;
    settings.print_addresses(listener.local_addr()?)?;
    http::run(listener, http::finish(routes, &settings.http, Some(authenticator)), &settings.http, &tasks)
        .await?;
    // The log is closed even if closing the views fails.
    let views_closed = store.close().await.context("closing the view store");
    log.close().await.context("closing the event log")?;
    views_closed
}
