//! Settings, in small groups that a process puts together. Each comes from a flag or from the environment variable
//! beside it; all that is wrong with them is told at once. `.env.example` explains every one.
//! What production refuses, a group refuses in its own `check`, with the place that tells what the process is run for.

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

/// What is wrong with the settings, gathered so that it is told in one message.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// # Errors
    /// Itself, if there is any problem.
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

/// What the process is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Environment {
    /// Secrets that are missing are made and kept under the data folder.
    Development,
    /// Every secret must be given, and nothing that is safe only on a developer's machine is taken.
    Production,
}

#[derive(Debug, Clone, Args)]
pub struct PlaceSettings {
    /// What the process is run for: production refuses what is safe only on a developer's machine
    #[arg(long, env = "CHORUS_ENV", value_enum, default_value = "development")]
    pub env: Environment,

    /// Folder for everything that is kept on this machine
    #[arg(long, env = "CHORUS_DATA", value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
}

impl PlaceSettings {
    pub fn in_production(&self) -> bool {
        self.env == Environment::Production
    }

    /// A setting's value for this machine: `<scheme>:<data>/<name>`.
    pub fn local(&self, scheme: &str, name: &str) -> String {
        format!("{scheme}:{}", self.data.join(name).display())
    }

    /// A log or view store in a file is for one process; several would not hear of each other's news.
    pub fn require_server(variable: &str, url: &str, problems: &mut Problems) {
        if url.starts_with("sqlite:") {
            problems.add(format!(
                "{variable}: separate processes share their log and views on servers (nats://, mongodb://); \
                 on one machine run `chorus serve` instead"
            ));
        }
    }

    /// Makes the data folder, readable by its owner only.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn prepare(&self) -> std::io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.data)
    }
}

/// The log, for those who read nothing personal from it.
#[derive(Debug, Clone, Args)]
pub struct LogUrlSettings {
    /// The event log: sqlite:<file>, or nats://<host>[:<port>][/<name>][?replicas=<1|3|5>]
    /// [default: sqlite:<data>/events.db]
    #[arg(long, env = "CHORUS_LOG", value_name = "URL", hide_env_values = true)]
    pub log: Option<String>,

    /// NATS credentials file, where the server asks for one
    #[arg(long, env = "CHORUS_NATS_CREDENTIALS_FILE", value_name = "FILE")]
    pub nats_credentials_file: Option<PathBuf>,
}

impl LogUrlSettings {
    pub fn url(&self, place: &PlaceSettings) -> String {
        self.log.clone().unwrap_or_else(|| place.local("sqlite", "events.db"))
    }
}

/// The log, and what opens the personal data in it.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    #[command(flatten)]
    pub place: LogUrlSettings,

    /// File with the master keys that wrap the keys of personal data: lines of 32 bytes in base64, the first for new
    /// keys [default in development: <data>/master.key, made if missing]
    #[arg(long, env = "CHORUS_MASTER_KEY_FILE", value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
}

/// What a process does about a log that has lost events.
#[derive(Debug, Clone, Copy, Args)]
pub struct LostEventsSettings {
    /// Start although keys or media show that the log has lost events; for one start, when they cannot be had
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

/// How home feeds are kept.
#[derive(Debug, Clone, Args)]
pub struct FeedSettings {
    /// A post is put into the homes of its author's followers unless these are more than so many: then it is merged in when
    /// a home is read
    #[arg(long, env = "CHORUS_FAN_OUT_LIMIT", value_name = "FOLLOWERS", default_value_t = FAN_OUT_LIMIT,
          value_parser = clap::value_parser!(u32).range(..=FAN_OUT_LIMIT_MAX))]
    pub fan_out_limit: u32,
}

/// What one post may write, if nothing else is said: some tenths of a second of the view store's time.
const FAN_OUT_LIMIT: u32 = 10_000;
/// So many documents still fit into one transaction of either store.
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

/// When a browser sends the cookie with a request that another site's page makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SameSite {
    /// Never.
    Strict,
    /// Only when somebody follows a link.
    Lax,
    /// Always: for apps that live on another site than the API; the check of their origin remains.
    None,
}

#[derive(Debug, Clone, Args)]
pub struct SigningSettings {
    /// File with the Ed25519 keys that sign tokens, in PEM: the first signs, all are accepted
    /// [default in development: <data>/signing-keys.pem, made if missing]
    #[arg(long, env = "CHORUS_SIGNING_KEY_FILE", value_name = "FILE")]
    pub signing_key_file: Option<PathBuf>,

    /// How long a session lasts, in days
    #[arg(long, env = "CHORUS_SESSION_DAYS", value_name = "DAYS", default_value_t = 30,
          value_parser = clap::value_parser!(u16).range(1..=365))]
    pub session_days: u16,

    /// When browsers send the session cookie with requests of other sites' pages: `none` lets an app on another site than
    /// the API's log in by cookie (its origin must be allowed all the same)
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
    /// Which log lines are written, as `level` or `module=level,…`
    #[arg(
        long,
        env = "CHORUS_TRACE",
        value_name = "FILTER",
        default_value = "info,async_nats=warn,tracing=off"
    )]
    pub trace: String,

    /// How log lines are written
    #[arg(long, env = "CHORUS_TRACE_FORMAT", value_enum, default_value = "text")]
    pub trace_format: TraceFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    Text,
    Json,
}
