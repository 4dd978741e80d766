//! Settings in small groups, which each process combines. Each setting is a flag and an environment variable; all
//! problems are reported together. `.env.example` explains every setting. Each group has its own `check`, which
//! depends on the environment (development or production).

#![allow(
    rustdoc::broken_intra_doc_links,
    rustdoc::invalid_html_tags,
    reason = "docstrings of settings are the texts of --help"
)]

mod accounts;
mod apps;
mod arguments;
mod certificate;
mod http;
mod mail;
mod secrets;

use std::fmt;
use std::path::PathBuf;

use chrono::TimeDelta;
use clap::{Args, ValueEnum};

pub use accounts::AccountSettings;
pub use apps::AppSettings;
pub use arguments::from_arguments;
pub use certificate::Certificate;
pub use http::{HttpSettings, LimitSettings};
pub use mail::MailSettings;
pub use secrets::{Secret, SecretFile, without_password};

/// Problems of the settings, reported in one message.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// # Errors
    /// The problems, if there are any.
    pub fn none_or(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings have {}:", if self.0.len() == 1 { "a problem" } else { "problems" })?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

/// The environment of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// Missing secrets are generated and stored in the data folder.
    Development,
    /// All secrets must be given, and settings that are only safe in development are rejected.
    Production,
}

#[derive(Debug, Clone, Args)]
pub struct PlaceSettings {
    /// The environment: production rejects settings that are only safe in development
    #[arg(long, env = "CHORUS_ENV", value_enum, default_value = "development")]
    pub env: Environment,

    /// Folder for all data on this machine
    #[arg(long, env = "CHORUS_DATA", value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
}

impl PlaceSettings {
    pub fn in_production(&self) -> bool {
        self.env == Environment::Production
    }

    /// The default value of a setting: `<scheme>:<data>/<name>`.
    pub fn local(&self, scheme: &str, name: &str) -> String {
        format!("{scheme}:{}", self.data.join(name).display())
    }

    /// A log or view store in a file supports only one process; several would not get each other's notifications.
    pub fn require_server(variable: &str, url: &str, problems: &mut Problems) {
        if url.starts_with("sqlite:") {
            problems.add(format!(
                "{variable}: separate processes share their log and views on servers (nats://, mongodb://); \
                 on one machine run `chorus serve` instead"
            ));
        }
    }

    /// Creates the data folder with mode 0700.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn prepare(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data)
    }
}

/// The log, for processes that read no personal data.
#[derive(Debug, Clone, Args)]
pub struct LogUrlSettings {
    /// The event log: sqlite:<file>, or nats://<host>[:<port>][/<name>][?replicas=<1|3|5>]
    /// [default: sqlite:<data>/events.db]
    #[arg(long, env = "CHORUS_LOG", value_name = "URL", hide_env_values = true)]
    pub log: Option<String>,

    /// NATS credentials file, if the server requires one
    #[arg(long, env = "CHORUS_NATS_CREDENTIALS_FILE", value_name = "FILE")]
    pub nats_credentials_file: Option<PathBuf>,
}

impl LogUrlSettings {
    pub fn url(&self, place: &PlaceSettings) -> String {
        self.log.clone().unwrap_or_else(|| place.local("sqlite", "events.db"))
    }
}

/// The log, and the master keys for its personal data.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    #[command(flatten)]
    pub place: LogUrlSettings,

    /// File with the master keys that wrap the keys of personal data: lines of 32 bytes in base64, the first for new
    /// keys [default in development: <data>/master.key, created if missing]
    #[arg(long, env = "CHORUS_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
}

/// How a process treats a log that has lost events.
#[derive(Debug, Clone, Copy, Args)]
pub struct LostEventsSettings {
    /// Start although keys or media show that the log has lost events; for one start, if the events are lost for good
    #[arg(long)]
    pub accept_lost_events: bool,
}

impl LogSettings {
    pub fn master_keys(&self) -> SecretFile<'_> {
        let named = self.master_key_file.as_deref();
        SecretFile { variable: "CHORUS_MASTER_KEY_FILE", named, default_name: "master.key" }
    }
}

#[derive(Debug, Clone, Args)]
pub struct ViewSettings {
    /// The view store: sqlite:<file>, or mongodb://<host>[:<port>]/<database>?replicaSet=<set>
    /// [default: sqlite:<data>/views.db]
    #[arg(long, env = "CHORUS_VIEWS", value_name = "URL", hide_env_values = true)]
    pub views: Option<String>,
}

impl ViewSettings {
    pub fn url(&self, place: &PlaceSettings) -> String {
        self.views.clone().unwrap_or_else(|| place.local("sqlite", "views.db"))
    }
}

/// Settings of home feeds.
#[derive(Debug, Clone, Args)]
pub struct FeedSettings {
    /// Posts are fanned out to the homes of the author's followers unless there are more followers than this: then
    /// they are merged when a home is read
    #[arg(long, env = "CHORUS_FAN_OUT_LIMIT", value_name = "FOLLOWERS", default_value_t = FAN_OUT_LIMIT,
          value_parser = clap::value_parser!(u32).range(..=FAN_OUT_LIMIT_MAX))]
    pub fan_out_limit: u32,
}

/// The default limit: one post takes some tenths of a second of the view store's time.
const FAN_OUT_LIMIT: u32 = 10_000;
/// The maximum that fits into one transaction of either store.
const FAN_OUT_LIMIT_MAX: i64 = 100_000;

impl Default for FeedSettings {
    fn default() -> Self {
        Self { fan_out_limit: FAN_OUT_LIMIT }
    }
}

#[derive(Debug, Clone, Args)]
pub struct MediaSettings {
    /// The media store: file:<folder>, or
    /// s3://<bucket>[/<prefix>][?endpoint=<url>&region=<region>&public_endpoint=<url>&credentials_file=<file>]
    /// [default: file:<data>/media]
    #[arg(long, env = "CHORUS_MEDIA", value_name = "URL", hide_env_values = true)]
    pub media: Option<String>,
}

impl MediaSettings {
    pub fn url(&self, place: &PlaceSettings) -> String {
        self.media.clone().unwrap_or_else(|| place.local("file", "media"))
    }
}

/// Where uploads in parts wait until they are complete, and how much an account may store.
#[derive(Debug, Clone, Args)]
pub struct UploadSettings {
    /// Folder for uploads in parts until they are published; one process has it for itself
    /// [default: <data>/uploads]
    #[arg(long, env = "CHORUS_UPLOADS", value_name = "FOLDER")]
    pub uploads: Option<PathBuf>,

    /// Bytes of songs that one account may store
    #[arg(long, env = "CHORUS_STORAGE_QUOTA", value_name = "BYTES", default_value_t = STORAGE_QUOTA)]
    pub storage_quota: u64,
}

/// 10 GB: some thousand songs.
const STORAGE_QUOTA: u64 = 10_000_000_000;

impl UploadSettings {
    pub fn folder(&self, place: &PlaceSettings) -> PathBuf {
        self.uploads.clone().unwrap_or_else(|| place.data.join("uploads"))
    }
}

/// The `SameSite` attribute: whether browsers send the cookie with requests of other sites' pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SameSite {
    /// Never.
    Strict,
    /// Only for navigations.
    Lax,
    /// Always: for apps on another site than the API; the origin check remains.
    None,
}

#[derive(Debug, Clone, Args)]
pub struct SigningSettings {
    /// File with the Ed25519 keys that sign tokens, in PEM: the first one signs, all are accepted
    /// [default in development: <data>/signing-keys.pem, created if missing]
    #[arg(long, env = "CHORUS_SIGNING_KEY_FILE", value_name = "FILE")]
    pub signing_key_file: Option<PathBuf>,

    /// How long a session lasts, in days
    #[arg(long, env = "CHORUS_SESSION_DAYS", value_name = "DAYS", default_value_t = 30,
          value_parser = clap::value_parser!(u16).range(1..=365))]
    pub session_days: u16,

    /// Whether browsers send the session cookie with requests of other sites' pages: `none` allows log-in by cookie
    /// for an app on another site than the API (its origin must be allowed as well)
    #[arg(long, env = "CHORUS_COOKIE_SAME_SITE", value_enum, default_value = "lax")]
    pub cookie_same_site: SameSite,
}

impl SigningSettings {
    pub fn keys(&self) -> SecretFile<'_> {
        let named = self.signing_key_file.as_deref();
        SecretFile { variable: "CHORUS_SIGNING_KEY_FILE", named, default_name: "signing-keys.pem" }
    }

    pub fn session_length(&self) -> TimeDelta {
        TimeDelta::days(self.session_days.into())
    }
}

#[derive(Debug, Clone, Args)]
pub struct TelemetrySettings {
    /// Filter of log lines, as `level` or `module=level,…`
    #[arg(
        long,
        env = "CHORUS_TRACE",
        value_name = "FILTER",
        default_value = "info,async_nats=warn,tracing=off"
    )]
    pub trace: String,

    /// Format of log lines
    #[arg(long, env = "CHORUS_TRACE_FORMAT", value_enum, default_value = "text")]
    pub trace_format: TraceFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    Text,
    Json,
}
