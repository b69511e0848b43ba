//! Whose certificates are believed: the roots built in, and those that the operator adds.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// The largest file of roots, in bytes: the whole of the web's are a tenth of it.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Why the operator's roots cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Larger than any file of roots.
    #[error("{path} is larger than {MAX_FILE} bytes", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// Nothing in it is a PEM certificate.
    #[error("{path} holds no PEM certificate", path = path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// One of the certificates of a file cannot be read.
    #[error("{path}: certificate {place} is malformed", path = path.display())]
    MalformedIn {
        /// Which file.
        path: PathBuf,
        /// The certificate's place, from 1.
        place: usize,
    },
    /// One of the certificates cannot be read.
    #[error("certificate {place} of the extra roots is malformed")]
    Malformed {
        /// The certificate's place, from 1.
        place: usize,
    },
}

/// Reads certificates in PEM, all of which must be whole. Other things in the file, such as keys, are passed over.
pub fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let at = || path.to_owned();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    if read.map_err(|error| RootsError::Unreadable { path: at(), error })? as u64 > MAX_FILE {
        return Err(RootsError::TooLarge { path: at() });
    }
    let mut roots: Vec<CertificateDer<'static>> = Vec::new();
    let mut store = RootCertStore::empty();
    for found in CertificateDer::pem_slice_iter(&bytes) {
        let malformed = || RootsError::MalformedIn { path: at(), place: roots.len() + 1 };
        let root = found.map_err(|_| malformed())?;
        store.add(root.clone()).map_err(|_| malformed())?;
        roots.push(root);
    }
    if roots.is_empty() { Err(RootsError::NoCertificate { path: at() }) } else { Ok(roots) }
}

/// TLS that believes the roots built in and these.
pub(super) fn connector(extra: &[CertificateDer<'static>]) -> Result<TlsConnector, RootsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    for (place, root) in (1..).zip(extra) {
        roots.add(root.clone()).map_err(|_| RootsError::Malformed { place })?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring offers TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
