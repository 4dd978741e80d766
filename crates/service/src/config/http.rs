//! Settings of the HTTP server: addresses, trusted proxies and origins, rate limits.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use url::Url;

use super::{AppSettings, PlaceSettings, Problems};
use crate::config::Certificate;

#[derive(Debug, Clone, Args)]
pub struct HttpSettings {
    /// Address and port to listen on
    #[arg(long, env = "CHORUS_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address and port for /readyz and /metrics in plain HTTP: then the main address does not serve them
    #[arg(long, env = "CHORUS_OPERATIONS_LISTEN", value_name = "ADDRESS")]
    pub operations_listen: Option<SocketAddr>,

    /// Base URL of links and media URLs [default: http(s)://<listen>]
    #[arg(long, env = "CHORUS_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Origins of web pages that may call the API from a browser, separated by commas
    #[arg(long, env = "CHORUS_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,

    #[command(flatten)]
    pub apps: AppSettings,

    /// Certificate chain in PEM: enables TLS. Reloaded when it changes, or on SIGHUP
    #[arg(long, env = "CHORUS_TLS_CERTIFICATE_FILE", value_name = "FILE")]
    pub tls_certificate_file: Option<PathBuf>,

    /// Private key of the certificate in PEM
    #[arg(long, env = "CHORUS_TLS_KEY_FILE", value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// Number of proxies in front of this process that append to X-Forwarded-For; their entries are trusted
    #[arg(long, env = "CHORUS_TRUSTED_HOPS", value_name = "NUMBER", default_value_t = 0)]
    pub trusted_hops: u8,

    /// Requests per minute and address (IPv6: per /64); 0: unlimited
    #[arg(long, env = "CHORUS_RATE_LIMIT", value_name = "NUMBER", default_value_t = 3000)]
    pub rate_limit: u32,

    /// Seconds that an answer waits until the views include what was written: then it says that it is pending
    #[arg(long, env = "CHORUS_VIEW_WAIT", value_name = "SECONDS", default_value_t = VIEW_WAIT,
          value_parser = clap::value_parser!(u64).range(..=VIEW_WAIT_MAX))]
    pub view_wait: u64,
}

/// Views are milliseconds behind the log, unless something is wrong.
const VIEW_WAIT: u64 = 1;
/// Less than the time limit of a request.
const VIEW_WAIT_MAX: u64 = 20;

/// Rate limits of unauthenticated attempts.
#[derive(Debug, Clone, Copy, Args)]
pub struct LimitSettings {
    /// Log-ins and sign-ups per minute and address; 0: unlimited, also per account and for mails
    #[arg(long, env = "CHORUS_LOGIN_RATE_LIMIT", value_name = "NUMBER", default_value_t = 30)]
    pub login_rate_limit: u32,
}

impl HttpSettings {
    pub fn view_wait(&self) -> Duration {
        Duration::from_secs(self.view_wait)
    }

    /// None if the variable is empty, as in compose files.
    pub fn allowed_origins(&self) -> impl Iterator<Item = &str> {
        self.allowed_origins.iter().map(String::as_str).filter(|origin| !origin.is_empty())
    }

    /// Without a trailing slash.
    pub fn public_url(&self) -> String {
        let given = self.public_url.clone().unwrap_or_else(|| format!("{}://{}", self.scheme(), self.listen));
        given.trim_end_matches('/').to_owned()
    }

    /// The scheme of this process itself.
    pub fn scheme(&self) -> &'static str {
        if self.certificate_files().is_some() { "https" } else { "http" }
    }

    /// Whether browsers reach this process over TLS, its own or a proxy's.
    pub fn is_reached_by_tls(&self) -> bool {
        self.public_url().starts_with("https://") || self.certificate_files().is_some()
    }

    /// The files of the certificate and of its key.
    pub fn certificate_files(&self) -> Option<(&Path, &Path)> {
        self.tls_certificate_file.as_deref().zip(self.tls_key_file.as_deref())
    }

    pub fn check(&self, place: &PlaceSettings, problems: &mut Problems) {
        let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        match self.public_url.as_deref() {
            Some(url) if !is_web(url) => {
                problems.add(format!("CHORUS_PUBLIC_URL: `{url}` does not begin with http:// or https://"));
            }
            Some(url) if place.in_production() && !url.starts_with("https://") => problems.add(format!(
                "CHORUS_PUBLIC_URL: `{url}` is not https://: production does not send tokens and cookies over plain HTTP"
            )),
            None if place.in_production() => {
                problems.add("CHORUS_PUBLIC_URL: production needs it, and with https://");
            }
            _ => {}
        }
        for origin in self.allowed_origins() {
            let parsed = Url::parse(origin).map(|url| url.origin().ascii_serialization());
            if !is_web(origin) || parsed.as_deref() != Ok(origin) {
                problems.add(format!(
                    "CHORUS_ALLOWED_ORIGINS: `{origin}` is not an origin as browsers write it: scheme://host[:port], in \
                     lower case, without a default port or a path"
                ));
            } else if place.in_production() && !origin.starts_with("https://") {
                problems.add(format!(
                    "CHORUS_ALLOWED_ORIGINS: `{origin}` is not https://: whoever can change that page on its way \
                     acts for everybody who opens it"
                ));
            }
        }
        self.apps.check(place, problems);
        match (&self.tls_certificate_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => {
                if let Err(problem) = Certificate::read(certificate, key) {
                    problems.add(format!("CHORUS_TLS_CERTIFICATE_FILE, CHORUS_TLS_KEY_FILE: {problem}"));
                }
            }
            (Some(_), None) => problems.add("CHORUS_TLS_KEY_FILE: the certificate's key is missing"),
            (None, Some(_)) => problems.add("CHORUS_TLS_CERTIFICATE_FILE: the key's certificate is missing"),
            (None, None) => {}
        }
    }
}

/// A free port, without limit, app or certificate.
impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 0).into(),
            operations_listen: None,
            public_url: None,
            allowed_origins: Vec::new(),
            tls_certificate_file: None,
            tls_key_file: None,
            apps: AppSettings::default(),
            trusted_hops: 0,
            rate_limit: 0,
            view_wait: VIEW_WAIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn problems(env: Environment, settings: &HttpSettings) -> Vec<String> {
        let mut problems = Problems::default();
        settings.check(&PlaceSettings { env, data: "data".into() }, &mut problems);
        problems.0
    }

    fn http(public_url: &str, origins: &[&str]) -> HttpSettings {
        HttpSettings {
            public_url: Some(public_url.to_owned()),
            allowed_origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
            ..HttpSettings::default()
        }
    }

    #[test]
    fn urls_and_origins_are_checked() {
        let count = |settings| problems(Environment::Development, &settings).len();
        assert_eq!(count(http("https://a.example/", &["https://b.example", "http://localhost:3000"])), 0);
        assert_eq!(count(http("https://a.example", &[""])), 0);
        assert_eq!(count(http("a.example", &["*", "https://b.example/", "https://", "ftp://x"])), 5);
        let never_sent =
            ["https://B.example", "https://b.example:443", "https://b.example/x", "https://u@b.example"];
        assert_eq!(count(http("https://a.example", &never_sent)), 4);
    }

    #[test]
    fn production_rejects_plain_http() {
        let production = |settings| problems(Environment::Production, &settings);
        assert!(production(http("https://a.example", &["https://b.example"])).is_empty());
        let found = production(http("http://a.example", &["https://b.example", "http://c.example"]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("CHORUS_PUBLIC_URL") && found[1].contains("http://c.example"), "{found:?}");
        assert_eq!(production(HttpSettings::default()).len(), 1);
        assert!(problems(Environment::Development, &HttpSettings::default()).is_empty());
    }

    #[test]
    fn certificate_needs_its_key_and_both_must_be_readable() {
        let tls = |certificate: Option<&str>, key: Option<&str>| HttpSettings {
            tls_certificate_file: certificate.map(PathBuf::from),
            tls_key_file: key.map(PathBuf::from),
            ..HttpSettings::default()
        };
        for settings in [
            tls(Some("missing.pem"), None),
            tls(None, Some("missing.key")),
            tls(Some("missing.pem"), Some("missing.key")),
        ] {
            let found = problems(Environment::Development, &settings);
            assert_eq!(found.len(), 1, "{found:?}");
        }
    }

    #[test]
    fn public_url_defaults_to_the_own_scheme() {
        assert_eq!(HttpSettings::default().public_url(), "http://127.0.0.1:0");
        assert!(!HttpSettings::default().is_reached_by_tls());
        assert!(http("https://a.example/", &[]).is_reached_by_tls());
        let own = HttpSettings {
            tls_certificate_file: Some("c".into()),
            tls_key_file: Some("k".into()),
            ..HttpSettings::default()
        };
        assert_eq!(own.public_url(), "https://127.0.0.1:0");
    }
}
