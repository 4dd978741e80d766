//! A running Chorus in either deployment: the one binary with SQLite, or four services on their servers behind the
//! proxy. Journeys run unchanged on both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use events::{
    AccountEvent, AccountsEvent, Event, EventLog, LinkPurpose, MasterKeys, Position, SealedLog, Subject,
};
use media::MediaStore;
use views::{ViewStore, Views};

use crate::client::{Api, PASSWORD, User, client};
use crate::folder::Folder;
use crate::inbox::{ReceivedMail, outbox, taken_by_ses};
use crate::servers::{
    CaddyServer, MongoServer, MotoServer, NatsServer, SENDER, ServerProcess, fetch_distributed, free_port,
};

/// Reactions that report their position: mails, story expiry, charts, erasures, purges, media and analyses of songs.
const REACTIONS: usize = 7;
/// How long no position may advance while some are behind.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// A process of Chorus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The one binary.
    Chorus,
    CommandApi,
    CompatApi,
    Projector,
    QueryApi,
}

impl Service {
    const fn binary(self) -> &'static str {
        match self {
            Self::Chorus => "chorus",
            Self::CommandApi => "command-api",
            Self::CompatApi => "compat-api",
            Self::Projector => "projector",
            Self::QueryApi => "query-api",
        }
    }
}

/// A running system.
#[derive(Debug)]
pub struct Chorus {
    // Dropped in this order: services, then servers, then the folder.
    services: BTreeMap<Service, Running>,
    proxy: Option<CaddyServer>,
    pub nats: Option<NatsServer>,
    pub mongo: Option<MongoServer>,
    pub s3: Option<MotoServer>,
    pub ses: Option<MotoServer>,
    folder: Folder,
    url: String,
    log_url: String,
    views_url: String,
}

#[derive(Debug)]
struct Running {
    process: ServerProcess,
    port: u16,
    environment: Vec<(String, String)>,
}

impl Chorus {
    /// `chorus serve` with SQLite and files, nothing else.
    pub async fn standalone() -> Result<Self> {
        Self::standalone_with(&[]).await
    }

    /// As [`standalone`](Self::standalone), with these settings.
    pub async fn standalone_with(settings: &[(&str, &str)]) -> Result<Self> {
        Self::standalone_in(Folder::new()?, settings).await
    }

    /// As [`standalone`](Self::standalone), on a folder whose `data` may exist already.
    pub async fn standalone_in(folder: Folder, settings: &[(&str, &str)]) -> Result<Self> {
        let port = free_port()?;
        let by_tls = settings.iter().any(|(name, _)| *name == "CHORUS_TLS_CERTIFICATE_FILE");
        let url = format!("{}://127.0.0.1:{port}", if by_tls { "https" } else { "http" });
        let data = folder.path().join("data");
        let mut chorus = Self {
            services: BTreeMap::new(),
            proxy: None,
            nats: None,
            mongo: None,
            s3: None,
            ses: None,
            url: url.clone(),
            log_url: format!("sqlite:{}", data.join("events.db").display()),
            views_url: format!("sqlite:{}", data.join("views.db").display()),
            folder,
        };
        let mut environment = vec![("CHORUS_PUBLIC_URL".to_owned(), url)];
        environment.extend(owned(settings));
        chorus.start(Service::Chorus, port, environment).await?;
        Ok(chorus)
    }

    /// Four services on NATS, MongoDB, S3 and SES, behind the proxy that terminates TLS.
    pub async fn distributed() -> Result<Self> {
        Self::distributed_with(&[]).await
    }

    /// As [`distributed`](Self::distributed), with these settings for each service.
    pub async fn distributed_with(settings: &[(&str, &str)]) -> Result<Self> {
        let folder = Folder::new()?;
        fetch_distributed().await?;
        let (nats, mongo, s3, ses) = tokio::try_join!(
            NatsServer::start(),
            MongoServer::start(),
            MotoServer::start(),
            MotoServer::start()
        )?;
        ses.verify_sender().await?;
        let (command, projector, query, compat) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let [command_address, query_address, compat_address] =
            [command, query, compat].map(|port| format!("127.0.0.1:{port}"));
        let proxy = CaddyServer::start(&command_address, &query_address, &compat_address).await?;
        let environment = |more: &[(&str, String)]| {
            let mut environment = vec![
                ("CHORUS_LOG".to_owned(), nats.url("chorus")),
                ("CHORUS_VIEWS".to_owned(), mongo.url("chorus")),
                ("CHORUS_MEDIA".to_owned(), s3.media_url("media")),
                ("CHORUS_PUBLIC_URL".to_owned(), proxy.url()),
            ];
            environment.push(("CHORUS_TRUSTED_HOPS".to_owned(), "1".to_owned()));
            environment.extend(owned(settings));
            environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            environment
        };
        let jwks = format!("http://127.0.0.1:{command}/.well-known/jwks.json");
        let mut chorus = Self {
            services: BTreeMap::new(),
            url: proxy.url(),
            log_url: nats.url("chorus"),
            views_url: mongo.url("chorus"),
            folder,
            proxy: None,
            nats: None,
            mongo: None,
            s3: None,
            ses: None,
        };
        let mail = [("CHORUS_MAIL", ses.mail_url()), ("CHORUS_MAIL_FROM", SENDER.to_owned())];
        chorus.start(Service::Projector, projector, environment(&mail)).await?;
        chorus.start(Service::CommandApi, command, environment(&[])).await?;
        chorus.start(Service::QueryApi, query, environment(&[("CHORUS_JWKS_URL", jwks)])).await?;
        chorus.start(Service::CompatApi, compat, environment(&[])).await?;
        (chorus.proxy, chorus.nats, chorus.mongo) = (Some(proxy), Some(nats), Some(mongo));
        (chorus.s3, chorus.ses) = (Some(s3), Some(ses));
        Ok(chorus)
    }

    async fn start(
        &mut self,
        service: Service,
        port: u16,
        mut environment: Vec<(String, String)>,
    ) -> Result<()> {
        environment.push(("CHORUS_LISTEN".to_owned(), format!("127.0.0.1:{port}")));
        environment.push(("CHORUS_DATA".to_owned(), self.folder.path().join("data").display().to_string()));
        // All tests send from one address, without pauses.
        for (name, value) in [
            ("CHORUS_TRACE", "info,async_nats=warn"),
            ("CHORUS_RATE_LIMIT", "0"),
            ("CHORUS_LOGIN_RATE_LIMIT", "0"),
            // Low, so that journeys have authors on both sides of it.
            ("CHORUS_FAN_OUT_LIMIT", "3"),
            // A busy machine may take longer than users would wait.
            ("CHORUS_VIEW_WAIT", "10"),
        ] {
            if !environment.iter().any(|(set, _)| set == name) {
                environment.push((name.to_owned(), value.to_owned()));
            }
        }
        let process = spawn(service, &environment, self.folder.path())?;
        self.services.insert(service, Running { process, port, environment });
        self.ready(service).await
    }

    async fn ready(&mut self, service: Service) -> Result<()> {
        let running = self.services.get_mut(&service).context("no such service")?;
        let by_tls = running.environment.iter().any(|(name, _)| name == "CHORUS_TLS_CERTIFICATE_FILE");
        let own = running.environment.iter().find(|(name, _)| name == "CHORUS_OPERATIONS_LISTEN");
        let url = match own {
            Some((_, address)) => format!("http://{address}/readyz"),
            None => {
                format!("{}://127.0.0.1:{}/readyz", if by_tls { "https" } else { "http" }, running.port)
            }
        };
        // Tests of TLS check the certificate.
        let client = client().danger_accept_invalid_certs(by_tls).timeout(Duration::from_secs(5)).build()?;
        let answers =
            || async { client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        running.process.until("become ready", answers).await
    }

    /// The services of this deployment.
    pub fn services(&self) -> Vec<Service> {
        self.services.keys().copied().collect()
    }

    /// Kills a service without warning, as a power cut would.
    pub fn kill(&mut self, service: Service) -> Result<()> {
        self.running(service)?.process.kill()
    }

    /// Stops a service gracefully and waits until it has ended.
    pub fn stop(&mut self, service: Service) -> Result<()> {
        self.running(service)?.process.stop()
    }

    /// Starts a service again with its settings and waits until it is ready.
    pub async fn start_again(&mut self, service: Service) -> Result<()> {
        self.start_again_unready(service)?;
        self.ready(service).await
    }

    /// Starts a service again with more settings and waits until it is ready.
    pub async fn start_again_with(&mut self, service: Service, settings: &[(&str, &str)]) -> Result<()> {
        self.running(service)?.environment.extend(owned(settings));
        self.start_again(service).await
    }

    /// Starts a service again without waiting: its servers may be down.
    pub fn start_again_unready(&mut self, service: Service) -> Result<()> {
        let folder = self.folder.path().to_owned();
        let running = self.running(service)?;
        running.process = spawn(service, &running.environment, &folder)?;
        Ok(())
    }

    /// Sends a service a signal.
    pub fn signal(&mut self, service: Service, signal: &str) -> Result<()> {
        self.running(service)?.process.signal(signal)
    }

    fn running(&mut self, service: Service) -> Result<&mut Running> {
        self.services.get_mut(&service).with_context(|| format!("there is no {service:?} in this deployment"))
    }

    /// Runs a subcommand of `chorus` with the settings of the process that writes to the log.
    ///
    /// # Errors
    /// The command's output if it fails.
    pub fn run_cli(&self, arguments: &[&str]) -> Result<String> {
        let output = self.cli(arguments)?.output()?;
        let (printed, errors) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        ensure!(output.status.success(), "{printed}{errors}");
        Ok(printed)
    }

    /// A subcommand of `chorus` with the settings of the process that writes to the log.
    pub fn cli(&self, arguments: &[&str]) -> Result<Command> {
        let writer = self.services.get(&Service::Chorus).or(self.services.get(&Service::CommandApi));
        let environment = writer.context("no service writes to the log")?.environment.clone();
        let mut command = Command::new(binary("chorus")?);
        command.args(arguments).envs(environment);
        Ok(command)
    }

    /// A new user who may publish songs.
    pub async fn artist(&self, name: &str) -> User {
        let api = self.api();
        let user = api.sign_up(name).await;
        self.run_cli(&["grant", &user.username, "artist"]).expect("the role artist");
        // The grant has ended the session.
        api.log_in(&user, PASSWORD).await
    }

    /// The token of the last link for a purpose that was mailed to a user.
    pub async fn mailed_token(&self, user: &User, purpose: LinkPurpose) -> Result<String> {
        let (log, user) = (self.log().await?, user.id.parse()?);
        let events = log.read(Subject::Account(user), Position::START).await?;
        let request = events.iter().rev().find_map(|recorded| match (&recorded.event, purpose) {
            (
                Event::Accounts(AccountsEvent::Account(AccountEvent::PasswordResetRequested(event))),
                LinkPurpose::ResetPassword,
            ) => Some(event.request.uuid()),
            (
                Event::Accounts(AccountsEvent::Account(AccountEvent::EmailChangeRequested(event))),
                LinkPurpose::ChangeEmail,
            ) => Some(event.request.uuid()),
            (
                Event::Accounts(AccountsEvent::Account(AccountEvent::EmailVerificationRequested(event))),
                LinkPurpose::VerifyEmail,
            ) => Some(event.request.uuid()),
            (
                Event::Accounts(AccountsEvent::Account(AccountEvent::SignedUp(_))),
                LinkPurpose::VerifyEmail,
            ) => Some(recorded.envelope.id.uuid()),
            _ => None,
        });
        let request = request.context("no link was requested")?;
        Ok(log.keys().mailed_token(purpose, user, request).reveal())
    }

    /// The output of a service so far.
    pub fn printed(&self, service: Service) -> String {
        self.services.get(&service).map(|running| running.process.printed()).unwrap_or_default()
    }

    /// The public URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port of one service, not of the proxy.
    pub fn port(&self, service: Service) -> Option<u16> {
        self.services.get(&service).map(|running| running.port)
    }

    /// The processor time that a service has used so far.
    pub fn processor_time(&self, service: Service) -> Result<Duration> {
        self.services.get(&service).context("no such service")?.process.processor_time()
    }

    /// The memory that a service uses now, in bytes.
    pub fn resident_memory(&self, service: Service) -> Result<u64> {
        self.services.get(&service).context("no such service")?.process.resident_memory()
    }

    /// A new client: its connections belong to the runtime of one test.
    pub fn api(&self) -> Api {
        Api::of(self.url.clone(), self.proxy.as_ref().map(CaddyServer::root_certificate).as_deref())
    }

    /// The log, opened in addition to the services that use it.
    pub async fn log(&self) -> Result<SealedLog> {
        let master = std::fs::read_to_string(self.folder.path().join("data/master.key"))?;
        Ok(events::open_sealed(&self.log_url, None, &MasterKeys::parse(&master)?).await?)
    }

    pub async fn raw_log(&self) -> Result<Arc<dyn EventLog>> {
        Ok(events::open(&self.log_url, None).await?.log)
    }

    /// The generations of the views, opened beside the services as the operator's verbs do.
    pub async fn generations(&self) -> Result<Views> {
        Ok(views::open_generations(&self.views_url).await?)
    }

    /// The generation that serves a family, opened in addition to the services that use it.
    pub async fn serving(&self, family: &str) -> Result<Arc<dyn ViewStore>> {
        let views = self.views_to_feed().await?;
        Ok(views.of_family(views.family(family)?).await?.1)
    }

    /// The views, opened in addition to the services that use them.
    pub async fn views(&self) -> Result<Arc<dyn ViewStore>> {
        Ok(Arc::new(self.views_to_feed().await?))
    }

    /// As a projector opens them.
    pub async fn views_to_feed(&self) -> Result<Views> {
        Ok(views::open(&self.views_url).await?)
    }

    /// The media store, opened in addition to the services that use it.
    pub async fn media(&self) -> Result<Arc<dyn MediaStore>> {
        let url = match &self.s3 {
            Some(s3) => s3.media_url("media"),
            None => format!("file:{}", self.folder.path().join("data/media").display()),
        };
        media::open(&url).await.map_err(anyhow::Error::msg)
    }

    /// The folder with all files of this deployment.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The mails sent to an address, in order.
    pub async fn mails_to(&self, address: &str) -> Result<Vec<ReceivedMail>> {
        let mut mails = match &self.ses {
            Some(ses) => taken_by_ses(&ses.mails().await?)?,
            None => outbox(&self.folder.path().join("data/outbox"))?,
        };
        mails.retain(|mail| mail.to == address);
        Ok(mails)
    }

    /// Waits until every projection and reaction has reached the head of the log: all mails are sent or given up, all expired
    /// stories ended. Reactions append events, so it waits twice; the second round leads to no more events.
    pub async fn settle(&self) -> Result<()> {
        let log = self.raw_log().await?;
        self.wait_for_position(log.head().await?.0).await?;
        self.wait_for_position(log.head().await?.0).await
    }

    async fn wait_for_position(&self, head: u64) -> Result<()> {
        let service =
            if self.services.contains_key(&Service::Chorus) { Service::Chorus } else { Service::Projector };
        let port = self.port(service).context("no projector runs")?;
        let client = client().build()?;
        let (mut known, mut since) = (BTreeMap::new(), Instant::now());
        loop {
            let text = client.get(format!("http://127.0.0.1:{port}/metrics")).send().await?.text().await?;
            let reached = positions(&text);
            let behind: Vec<_> = reached.iter().filter(|(_, position)| **position < head).collect();
            if reached.len() == projections() + REACTIONS && behind.is_empty() {
                return Ok(());
            }
            if since.elapsed() > SETTLE_LIMIT {
                bail!("these have not reached {head}: {behind:?} of {reached:?}\n{}", self.printed(service));
            }
            if reached != known {
                (known, since) = (reached, Instant::now());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The number of projections. Each builds the view of its name; some build further views of other names.
fn projections() -> usize {
    use views::music::playlists::{ENTRIES, HISTORY, MEMBERS};
    use views::music::{
        album_artists, bookmarks, charts, genres, library, listening, queue, ratings, song_artists,
        song_genres,
    };
    use views::social::feeds::{AUTHORS, HOME, PUBLISHED, SOURCES};
    // Four views of feeds, and no view of that name.
    let of_feeds = [&AUTHORS, &HOME, &PUBLISHED, &SOURCES];
    let of_other_names = [
        &views::social::likes::VIEW,
        &album_artists::VIEW,
        &ENTRIES,
        &HISTORY,
        &MEMBERS,
        &song_artists::VIEW,
        &song_genres::VIEW,
        &genres::VIEW,
        &library::MERGES,
        &bookmarks::VIEW,
        &ratings::VIEW,
        &queue::VIEW,
        &listening::SONGS,
        &listening::TOTALS,
        &listening::PRIVATE_SESSIONS,
        &charts::LISTENERS,
    ];
    views::all().len() - of_other_names.len() - of_feeds.len() + 1
}

fn owned<'a>(settings: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + 'a {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// The position of each projection and reaction, from the metrics.
fn positions(metrics: &str) -> BTreeMap<String, u64> {
    let begins = ["chorus_projection_passed{projection=\"", "chorus_reaction_passed{reaction=\""];
    let lines = metrics.lines().filter_map(|line| begins.iter().find_map(|begin| line.strip_prefix(begin)));
    lines
        .filter_map(|line| {
            let (name, number) = line.split_once("\"}")?;
            Some((name.to_owned(), number.trim().parse().ok()?))
        })
        .collect()
}

fn spawn(service: Service, environment: &[(String, String)], folder: &Path) -> Result<ServerProcess> {
    let arguments = if service == Service::Chorus { vec!["serve".to_owned()] } else { Vec::new() };
    let log = folder.join(format!("{}.log", service.binary()));
    ServerProcess::start(&binary(service.binary())?, &arguments, environment, &log)
}

/// The path of a program of Chorus, built from this checkout.
pub fn binary(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    let folder = folder.as_ref().map_err(|problem| anyhow::anyhow!("{problem}"))?;
    Ok(folder.join(name))
}

/// Builds the programs with the profile and features of this test, so that nothing is built twice.
fn build() -> Result<PathBuf> {
    // Tests are in `<target>/<profile>/deps`, programs in `<target>/<profile>`.
    let this = std::env::current_exe()?;
    let folder = this.parent().context("a program outside of a target folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let profile =
        folder.file_name().and_then(|name| name.to_str()).context("a target folder without a name")?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile == "debug" {
        // With one test, so that cargo selects the features that tests have, and does not build the programs a second
        // time. Other profiles are those of `make bench`, which has built the programs without tests.
        cargo.args(["--test", "architecture"]);
    } else {
        cargo.args(["--profile", profile]);
    }
    // Variables that the outer cargo set for this test: a build script that reads them (ring's) would run again, and
    // all its dependents would be rebuilt.
    let of_this_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| of_this_test(name)) {
        cargo.env_remove(name);
    }
    let output = cargo.output().context("cargo build")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(folder.to_owned())
}
