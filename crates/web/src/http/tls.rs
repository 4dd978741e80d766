//! TLS by rustls, with a certificate that is reloaded while the process runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use service::config::Certificate;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are checked for changes. They are also reloaded on SIGHUP.
const RELOAD_INTERVAL: Duration = Duration::from_secs(30);

/// Accepts TLS connections with the current certificate.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<CurrentCertificate>,
}

/// The certificate for new connections.
struct CurrentCertificate {
    files: (PathBuf, PathBuf),
    current: RwLock<Certificate>,
}

impl std::fmt::Debug for CurrentCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CurrentCertificate({})", self.files.0.display())
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.current.read().unwrap_or_else(PoisonError::into_inner).certified()))
    }
}

impl Tls {
    /// # Errors
    /// If the files contain no certificate with its key.
    pub(super) fn open(certificate: &Path, key: &Path) -> Result<Self, String> {
        let current = RwLock::new(Certificate::read(certificate, key)?);
        let certificate =
            Arc::new(CurrentCertificate { files: (certificate.to_owned(), key.to_owned()), current });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Reloads the files. True if the certificate has changed: new connections use it, open ones are unaffected. An
    /// invalid certificate is ignored.
    pub(super) fn reload(&self) -> bool {
        let (certificate, key) = &self.certificate.files;
        let read = Certificate::read(certificate, key);
        let mut current = self.certificate.current.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(new) if new == *current => false,
            Ok(new) => {
                *current = new;
                tracing::info!("the certificate has changed: new connections get the new one");
                true
            }
            Err(problem) => {
                tracing::error!(problem, "the new certificate is invalid: the previous one is kept");
                false
            }
        }
    }

    /// Reloads the certificate at intervals and on SIGHUP.
    pub(super) async fn watch(self) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => {
                return tracing::error!(%error, "no handler for SIGHUP: the certificate is not reloaded");
            }
        };
        loop {
            tokio::select! {
                _ = hangups.recv() => tracing::info!("SIGHUP: reloading the certificate"),
                () = tokio::time::sleep(RELOAD_INTERVAL) => {}
            }
            self.reload();
        }
    }
}
