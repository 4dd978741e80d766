//! Settings, in small groups that a process puts together. Each comes from a flag or from the environment variable
//! beside it; all that is wrong with them is told at once. `.env.example` explains every one.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;
use clap::{Args, ValueEnum};

use crate::browsers::{Browsers, SameSite};

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
    /// Every secret must be given.
    Production,
}

#[derive(Debug, Clone, Args)]
pub struct PlaceSettings {
    /// What the process is run for: production refuses secrets that Chorus made by itself
    #[arg(long, env = "CHORUS_ENV", value_enum, default_value = "development")]
    pub env: Environment,

    /// Folder for everything that is kept on this machine
    #[arg(long, env = "CHORUS_DATA", value_name = "FOLDER", default_value = "./data")]
    pub data: PathBuf,
}

impl PlaceSettings {
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

#[derive(Debug, Clone, Args)]
pub struct HttpSettings {
    /// Address and port to listen on
    #[arg(long, env = "CHORUS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// What links and media URLs begin with [default: http://<listen>]
    #[arg(long, env = "CHORUS_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Web pages that may call the API from a browser: their origins, separated by commas
    #[arg(long, env = "CHORUS_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    pub(crate) allowed_origins: Vec<String>,
}

impl HttpSettings {
    /// None where the variable is there and empty, as compose files leave it.
    pub fn allowed_origins(&self) -> impl Iterator<Item = &str> {
        self.allowed_origins.iter().map(String::as_str).filter(|origin| !origin.is_empty())
    }

    /// Without a slash at its end.
    pub fn public_url(&self) -> String {
        let given = self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen));
        given.trim_end_matches('/').to_owned()
    }

    pub fn check(&self, problems: &mut Problems) {
        let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if let Some(url) = self.public_url.as_deref().filter(|url| !is_web(url)) {
            problems.add(format!("CHORUS_PUBLIC_URL: `{url}` does not begin with http:// or https://"));
        }
        for origin in self.allowed_origins() {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            if !is_web(origin) || host.is_empty() || host.contains('/') {
                problems.add(format!(
                    "CHORUS_ALLOWED_ORIGINS: `{origin}` is no origin (scheme://host[:port], nothing behind it)"
                ));
            }
        }
    }
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
    /// How browsers on the allowed origins are dealt with.
    pub fn browsers(&self, http: &HttpSettings) -> Browsers {
        Browsers::new(http.allowed_origins().map(str::to_owned), self.cookie_same_site)
    }

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

/// A text that must not be shown. It has no `Debug` and no `Display`.
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// A secret that is kept in a file.
#[derive(Debug, Clone, Copy)]
pub struct SecretFile<'a> {
    /// The variable that names the file, to be told with its problems.
    pub variable: &'a str,
    /// The file that was named, if one was.
    pub named: Option<&'a Path>,
    /// The file's name under the data folder, if none was.
    pub default_name: &'a str,
}

impl SecretFile<'_> {
    /// Reads the secret. In development a file that was not named and is not there is made first.
    pub fn read<T, E: fmt::Display>(
        self,
        place: &PlaceSettings,
        make: impl FnOnce() -> Secret,
        parse: impl FnOnce(&Secret) -> Result<T, E>,
        problems: &mut Problems,
    ) -> Option<T> {
        let outcome = self.text(place, make).and_then(|(path, secret)| {
            parse(&secret).map_err(|problem| format!("{}: {problem}", path.display()))
        });
        outcome.map_err(|problem| problems.add(format!("{}: {problem}", self.variable))).ok()
    }

    fn text(self, place: &PlaceSettings, make: impl FnOnce() -> Secret) -> Result<(PathBuf, Secret), String> {
        let path = match (self.named, place.env) {
            (Some(path), _) => path.to_owned(),
            (None, Environment::Development) => place.data.join(self.default_name),
            (None, Environment::Production) => {
                return Err("production needs this file; it is not made by itself there".to_owned());
            }
        };
        let told = |problem: std::io::Error| format!("{}: {problem}", path.display());
        let read = || std::fs::read_to_string(&path).map(Secret);
        let secret = match read() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.named.is_none() => {
                let secret = make();
                match write_private(&path, secret.reveal()) {
                    Ok(()) => Ok(secret),
                    // Another process made it in the same instant: then that one counts.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => read(),
                    Err(error) => Err(error),
                }
            }
            outcome => outcome,
        };
        let secret = secret.map_err(told)?;
        Ok((path, secret))
    }
}

/// A new file that only its owner can read, complete or not there at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are made readable by their owner only, and keep that when they get their name.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path, env: Environment) -> PlaceSettings {
        PlaceSettings { env, data: folder.to_owned() }
    }

    fn get(named: Option<&Path>, place: &PlaceSettings, problems: &mut Problems) -> Option<String> {
        let file = SecretFile { variable: "CHORUS_X", named, default_name: "x.key" };
        let parse = |secret: &Secret| match secret.reveal() {
            "bad" => Err("it is bad"),
            good => Ok(good.to_owned()),
        };
        file.read(place, || Secret::new("made"), parse, problems)
    }

    #[test]
    fn development_makes_a_missing_secret_once_and_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path(), Environment::Development);
        let mut problems = Problems::default();
        assert_eq!(get(None, &place, &mut problems).as_deref(), Some("made"));
        let path = folder.path().join("x.key");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "kept").unwrap();
        assert_eq!(get(None, &place, &mut problems).as_deref(), Some("kept"));
        problems.none_or().unwrap();
    }

    #[test]
    fn production_and_a_named_file_make_nothing_and_all_problems_are_told_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut problems = Problems::default();
        assert_eq!(get(None, &place(folder.path(), Environment::Production), &mut problems), None);
        let missing = folder.path().join("missing.key");
        assert_eq!(get(Some(&missing), &place(folder.path(), Environment::Development), &mut problems), None);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let bad = folder.path().join("bad.key");
        std::fs::write(&bad, "bad").unwrap();
        assert_eq!(get(Some(&bad), &place(folder.path(), Environment::Development), &mut problems), None);
        let told = problems.none_or().unwrap_err().to_string();
        assert_eq!(told.lines().count(), 4, "{told}");
        assert!(
            told.contains("production") && told.contains("missing.key") && told.contains("it is bad"),
            "{told}"
        );
    }

    #[test]
    fn urls_and_origins_are_checked() {
        let http = |public_url: &str, origins: &[&str]| HttpSettings {
            listen: ([127, 0, 0, 1], 8080).into(),
            public_url: Some(public_url.to_owned()),
            allowed_origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        };
        let problems = |settings: HttpSettings| {
            let mut problems = Problems::default();
            settings.check(&mut problems);
            problems.0.len()
        };
        assert_eq!(problems(http("https://a.example/", &["https://b.example", "http://localhost:3000"])), 0);
        assert_eq!(problems(http("https://a.example", &[""])), 0);
        assert_eq!(problems(http("a.example", &["*", "https://b.example/", "https://", "ftp://x"])), 5);
    }
}
