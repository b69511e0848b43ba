//! TLS for the listener: a certificate chain and its key from two PEM files, read again when the operator says so.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, crypto};
use tokio_rustls::TlsAcceptor;

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

/// What is served, and where it comes from.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    served: Arc<Served>,
    acceptor: TlsAcceptor,
}

/// The certificate of new connections; those that stand keep theirs.
#[derive(Debug)]
struct Served(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Tls {
    /// Reads a certificate chain and its key. Others must not be able to read the key's file.
    pub fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let provider = Arc::new(crypto::ring::default_provider());
        let served = Arc::new(Served(ArcSwap::new(read(&certificate, &key)?.into())));
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.map_err(|error| problem(&certificate, &error))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::clone(&served) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { certificate, key, served, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Reads both files again. When they cannot be served, what was served before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.served.0.store(read(&self.certificate, &self.key)?.into());
        Ok(())
    }

    /// Shakes hands with new connections.
    #[must_use]
    pub const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

fn problem(path: &Path, error: &impl std::fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), problem: error.to_string() }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let file = File::open(key).map_err(|error| problem(key, &error))?;
    let mode = file.metadata().map_err(|error| problem(key, &error))?.mode();
    if mode & 0o007 != 0 {
        return Err(problem(key, &"everybody may read it: run chmod o-rwx on it"));
    }
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_file_iter(certificate).map_err(|error| problem(certificate, &error))?.collect();
    let chain = chain.map_err(|error| problem(certificate, &error))?;
    if chain.is_empty() {
        return Err(problem(certificate, &"holds no certificate in PEM"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| problem(key, &error))?;
    let provider = crypto::ring::default_provider();
    CertifiedKey::from_der(chain, private, &provider).map_err(|error| problem(key, &format!("does not go with the certificate: {error}")))
}
