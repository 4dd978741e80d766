use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::{
    EventLog, KeyRing, KeyVault, LogError, LogFiles, MasterKeys, SealedLog, SqliteLog, SqliteVault,
    VaultError,
};
#[cfg(feature = "nats")]
use crate::{JetStreamLog, JetStreamSettings, JetStreamVault};

/// A log and its key vault.
#[derive(Debug)]
pub struct Opened {
    pub log: Arc<dyn EventLog>,
    pub vault: Arc<dyn KeyVault>,
}

#[derive(Debug, Error)]
pub enum OpenError {
    /// The setting is invalid.
    #[error("{0}")]
    Setting(String),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl OpenError {
    /// True if another attempt may succeed.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Log(LogError::Unavailable(_)) | Self::Vault(VaultError::Unavailable(_)))
    }
}

/// Opens the log of a `CHORUS_LOG` setting, whose scheme selects the adapter.
///
/// - `sqlite:<file>`: the log in that file, the keys in `keys.db` beside it.
/// - `nats://[user:password@]host[:port][,…][/<name>][?replicas=<1, 3 or 5>]` (or `tls://`): the stream of that name
///   (default `chorus`), the keys in the bucket `<name>-keys`.
pub async fn open(setting: &str, nats_credentials: Option<PathBuf>) -> Result<Opened, OpenError> {
    match Place::parse(setting, nats_credentials).map_err(OpenError::Setting)? {
        Place::Sqlite(file) => {
            let files = LogFiles::of_log(file);
            let log = Arc::new(SqliteLog::open(&files.log)?);
            Ok(Opened { log, vault: Arc::new(SqliteVault::open(&files.keys)?) })
        }
        #[cfg(feature = "nats")]
        Place::JetStream(settings) => Ok(Opened {
            log: Arc::new(JetStreamLog::open(&settings).await?),
            vault: Arc::new(JetStreamVault::open(&settings).await?),
        }),
    }
}

/// Like [`open`], for programs that change nothing: no file, stream or bucket is created or reconfigured, and every
/// append and every change of a key fails.
///
/// # Errors
/// Also if the log does not exist.
pub async fn open_read_only(setting: &str, nats_credentials: Option<PathBuf>) -> Result<Opened, OpenError> {
    match Place::parse(setting, nats_credentials).map_err(OpenError::Setting)? {
        Place::Sqlite(file) => {
            let files = LogFiles::of_log(file);
            let log = Arc::new(SqliteLog::open_read_only(&files.log)?);
            Ok(Opened { log, vault: Arc::new(SqliteVault::open_read_only(&files.keys)?) })
        }
        #[cfg(feature = "nats")]
        Place::JetStream(settings) => {
            // Together: operators wait for both connections.
            let (log, vault) = futures::join!(
                JetStreamLog::open_read_only(&settings),
                JetStreamVault::open_read_only(&settings)
            );
            Ok(Opened { log: Arc::new(log?), vault: Arc::new(vault?) })
        }
    }
}

/// The files of a `CHORUS_LOG` setting; none if it names a server.
///
/// # Errors
/// If the setting is invalid.
pub fn log_files(setting: &str) -> Result<Option<LogFiles>, OpenError> {
    match Place::parse(setting, None).map_err(OpenError::Setting)? {
        Place::Sqlite(file) => Ok(Some(LogFiles::of_log(file))),
        #[cfg(feature = "nats")]
        Place::JetStream(_) => Ok(None),
    }
}

/// Like [`open`], with the key ring for sealed data.
///
/// # Errors
/// Also if the master keys do not belong to the vault.
pub async fn open_sealed(
    setting: &str,
    nats_credentials: Option<PathBuf>,
    master: &MasterKeys,
) -> Result<SealedLog, OpenError> {
    let Opened { log, vault } = open(setting, nats_credentials).await?;
    let keys = KeyRing::open(vault, master.clone()).await?;
    Ok(SealedLog::new(log, Arc::new(keys)))
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Sqlite(PathBuf),
    #[cfg(feature = "nats")]
    JetStream(JetStreamSettings),
}

impl Place {
    fn parse(setting: &str, credentials: Option<PathBuf>) -> Result<Self, String> {
        // The error does not quote the setting: it may contain a password.
        let unknown =
            || "the setting names no log: expected sqlite:<file> or nats://<host>[:<port>]".to_owned();
        let (scheme, rest) = setting.split_once(':').ok_or_else(unknown)?;
        match (scheme, rest.strip_prefix("//")) {
            ("sqlite", _) if !rest.is_empty() => Ok(Self::Sqlite(rest.into())),
            ("nats" | "tls", Some(rest)) => jetstream(scheme, rest, credentials),
            _ => Err(unknown()),
        }
    }
}

#[cfg(not(feature = "nats"))]
fn jetstream(_: &str, _: &str, _: Option<PathBuf>) -> Result<Place, String> {
    Err("this program was built without NATS: build it with the feature `distributed`, or use sqlite:<file>"
        .to_owned())
}

#[cfg(feature = "nats")]
fn jetstream(scheme: &str, rest: &str, credentials: Option<PathBuf>) -> Result<Place, String> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, name) = rest.split_once('/').unwrap_or((rest, ""));
    let name = if name.is_empty() { "chorus" } else { name };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err("the part after the hosts is not a stream name: use letters, digits, - and _".to_owned());
    }
    let mut replicas = 1;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("replicas", n @ ("1" | "3" | "5"))) => replicas = usize::from(n.as_bytes()[0] - b'0'),
            _ => return Err("a NATS log has one setting behind the `?`: replicas=1, 3 or 5".to_owned()),
        }
    }
    let servers: Vec<String> =
        hosts.split(',').filter(|host| !host.is_empty()).map(|host| format!("{scheme}://{host}")).collect();
    if servers.is_empty() {
        return Err("a NATS log needs at least one host".to_owned());
    }
    Ok(Place::JetStream(JetStreamSettings { servers, name: name.to_owned(), replicas, credentials }))
}

#[cfg(all(test, feature = "nats"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(setting: &str) -> Result<Place, String> {
        Place::parse(setting, None)
    }

    #[test]
    fn scheme_selects_the_adapter() {
        assert_eq!(parse("sqlite:data/events.db"), Ok(Place::Sqlite("data/events.db".into())));
        let settings = |servers: &[&str], name: &str, replicas| {
            Ok(Place::JetStream(JetStreamSettings {
                servers: servers.iter().map(|&s| s.to_owned()).collect(),
                name: name.to_owned(),
                replicas,
                credentials: None,
            }))
        };
        assert_eq!(parse("nats://localhost"), settings(&["nats://localhost"], "chorus", 1));
        assert_eq!(
            parse("tls://u:p@a:4222,b/photos?replicas=3"),
            settings(&["tls://u:p@a:4222", "tls://b"], "photos", 3)
        );
    }

    #[test]
    fn bad_setting_is_reported_without_its_password() {
        for setting in ["", "sqlite:", "events.db", "nats:", "nats://", "nats:///x", "mongodb://a:secret@b"] {
            let problem = parse(setting).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
        for setting in ["nats://h/a.b", "nats://h?replicas=2", "nats://h?copies=3"] {
            assert!(parse(setting).is_err(), "{setting}");
        }
    }

    proptest! {
        #[test]
        fn any_setting_is_parsed_or_rejected_without_being_quoted(
            scheme in "sqlite|nats|tls|[a-z+]{0,8}",
            secret in "Ω[Ω/?&=,:@%.]{5,20}",
            rest in ".{0,40}",
        ) {
            let settings = [format!("{scheme}://ann:{secret}@{rest}"), format!("{scheme}:{rest}"), rest];
            for setting in settings {
                match parse(&setting) {
                    Ok(Place::Sqlite(file)) => prop_assert_eq!(Some(file.as_os_str()), setting.strip_prefix("sqlite:").map(str::as_ref)),
                    Ok(Place::JetStream(JetStreamSettings { servers, name, replicas, .. })) => {
                        prop_assert!(!servers.is_empty() && [1, 3, 5].contains(&replicas));
                        prop_assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && !b".*>/".contains(&b)));
                    }
                    // Not even parts of a password with unescaped characters.
                    Err(error) => prop_assert!(!error.contains('Ω'), "{error}"),
                }
            }
        }
    }
}
