//! TLS by rustls, with a certificate that may change while the process runs.

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

/// How often the files are looked at. Also on SIGHUP.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What ends TLS: shows the certificate that is in the files now.
#[derive(Clone)]
pub(super) struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
}

/// The certificate that new connections are shown.
struct Shown {
    files: (PathBuf, PathBuf),
    current: RwLock<Certificate>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shown({})", self.files.0.display())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.current.read().unwrap_or_else(PoisonError::into_inner).certified()))
    }
}

impl Tls {
    /// # Errors
    /// If the files hold no certificate with its key.
    pub(super) fn open(certificate: &Path, key: &Path) -> Result<Self, String> {
        let current = RwLock::new(Certificate::read(certificate, key)?);
        let shown = Arc::new(Shown { files: (certificate.to_owned(), key.to_owned()), current });
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), shown })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Reads the files again. True if they hold another certificate than before, which is shown from now on; with one
    /// that cannot be used the old one goes on. Connections that are open notice nothing.
    pub(super) fn look(&self) -> bool {
        let (certificate, key) = &self.shown.files;
        let read = Certificate::read(certificate, key);
        let mut current = self.shown.current.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(new) if new == *current => false,
            Ok(new) => {
                *current = new;
                tracing::info!("the certificate has changed: new connections see the new one");
                true
            }
            Err(problem) => {
                tracing::error!(problem, "the new certificate cannot be used: the old one goes on");
                false
            }
        }
    }

    /// Looks at the files from time to time and on SIGHUP.
    pub(super) async fn keep_fresh(self) {
        let mut asked = match signal(SignalKind::hangup()) {
            Ok(asked) => asked,
            Err(error) => return tracing::error!(%error, "SIGHUP cannot be listened to"),
        };
        loop {
            tokio::select! {
                _ = asked.recv() => tracing::info!("asked to read the certificate again"),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.look();
        }
    }
}
