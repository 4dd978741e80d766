use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A certificate and its key, as in their files.
pub struct Certificate {
    chain: Vec<u8>,
    key: Vec<u8>,
    certified: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads a certificate chain and its private key, both in PEM.
    ///
    /// # Errors
    /// What is wrong with them, for operators. Errors never contain key material.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        Self::parse(read(certificate)?, read(key)?).map_err(|problem| {
            format!("{problem} (the certificate {}, the key {})", certificate.display(), key.display())
        })
    }

    pub const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    fn parse(chain: Vec<u8>, key: Vec<u8>) -> Result<Self, String> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&chain)
            .collect::<Result<_, _>>()
            .map_err(|_| "the certificate is not PEM")?;
        if certificates.is_empty() {
            return Err("there is no certificate in the file".to_owned());
        }
        let private =
            PrivateKeyDer::from_pem_slice(&key).map_err(|_| "there is no private key in the file")?;
        let certified = CertifiedKey::from_der(certificates, private, &ring::default_provider())
            .map_err(|error| format!("the certificate and the key cannot be used together: {error}"))?;
        Ok(Self { chain, key, certified: Arc::new(certified) })
    }
}

/// Compares the files byte by byte.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key == other.key
    }
}
