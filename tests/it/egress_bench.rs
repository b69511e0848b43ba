//! For tests of the egress door: a network that notes every address before it connects, and an HTTPS server with an authority of its own.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use keyledger::egress::{Later, Network, Policy, Request};
use keyledger::kernel::Secret;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub fn opened(ranges: &[&str]) -> Policy {
    Policy { allowed: ranges.iter().map(|range| range.parse().unwrap()).collect() }
}

pub fn get(url: &str) -> Request {
    Request { method: reqwest::Method::GET, url: url.to_owned(), headers: Vec::new(), body: Secret::from("") }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A network of which nothing but this machine is real.
#[derive(Default)]
pub struct Watched {
    /// What a name resolves to: each answer once, the last one for ever.
    pub names: Mutex<HashMap<&'static str, Vec<Vec<IpAddr>>>>,
    /// The addresses that were to be connected to.
    pub dialled: Mutex<Vec<SocketAddr>>,
    /// The names that were asked for.
    pub asked: Mutex<Vec<String>>,
    /// Where all connections really go; without it, none comes about.
    pub to: Option<SocketAddr>,
}

impl Watched {
    pub fn to(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self { to: Some(address), ..Self::default() })
    }

    pub fn name(&self, name: &'static str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|answer| answer.iter().map(|address| ip(address)).collect()).collect();
        self.names.lock().unwrap().insert(name, answers);
    }

    pub fn take_dialled(&self) -> Vec<String> {
        self.dialled.lock().unwrap().drain(..).map(|address| address.to_string()).collect()
    }
}

impl Network for Watched {
    fn resolve<'a>(&'a self, host: &'a str, _: u16) -> Later<'a, Vec<IpAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut names = self.names.lock().unwrap();
        let answer = names.get_mut(host).map(|answers| if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() });
        Box::pin(async move { answer.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }

    fn dial(&self, address: SocketAddr) -> Later<'_, TcpStream> {
        self.dialled.lock().unwrap().push(address);
        Box::pin(async move { TcpStream::connect(self.to.ok_or(io::ErrorKind::ConnectionRefused)?).await })
    }
}

/// A certificate authority.
pub struct Authority {
    pub certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    pub fn root(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// TLS with a certificate for these names that ends with this year.
    pub fn server(&self, names: &[&str], last_year: i32) -> TlsAcceptor {
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let versions = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider())).with_safe_default_protocol_versions();
        let config = versions.unwrap().with_no_client_auth().with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

/// What a server saw.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub requests: Mutex<Vec<String>>,
}

impl Seen {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// Answers each request of each connection with the same bytes, over TLS if given.
pub async fn serve(tls: Option<TlsAcceptor>, answer: impl Into<Vec<u8>>) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen, answer) = (listener.local_addr().unwrap(), Arc::new(Seen::default()), Arc::new(answer.into()));
    let noted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            noted.connections.fetch_add(1, Ordering::SeqCst);
            let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
            match tls.clone() {
                None => drop(tokio::spawn(converse(stream, noted, answer))),
                Some(tls) => drop(tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, noted, answer).await;
                    }
                })),
            }
        }
    });
    (address, seen)
}

/// Whether a request came whole.
fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        body.len() >= length
    })
}

/// Requests, one after the other.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: Arc<Seen>, answer: Arc<Vec<u8>>) {
    let mut request = Vec::new();
    while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        if whole(&request) {
            seen.requests.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
            request.clear();
            if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
        }
    }
}
