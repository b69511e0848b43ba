//! The HTTP client behind the guard: resolves once, connects to what was vetted and to nothing else, follows nothing, and stops at its limits.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use super::guard::{EgressRefusal, Policy, Target};
use super::stream::{StreamLimits, Streamed};
use crate::kernel::Secret;

/// Headers that belong to the client: given by a caller, they could turn one request into two or name another host.
const RESERVED: [&str; 8] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"];

/// How far a call may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For each of: a turn, the name's addresses, the connection with its TLS. At most a quarter of `whole` counts.
    pub connect: Duration,
    /// From the call to the end of its answer.
    pub whole: Duration,
    /// The largest body of an answer, in bytes.
    pub body: usize,
    /// Calls at once; further ones wait for a turn.
    pub at_once: usize,
    /// Streams at once, counted apart: however many are passed through, token exchanges get their turns.
    pub streams_at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(12), body: 256 * 1024, at_once: 64, streams_at_once: 64 }
    }
}

/// What to send.
pub struct Request {
    /// `GET`, `POST`, …
    pub method: Method,
    /// Where to; the guard judges it.
    pub url: String,
    /// All of them are treated as secrets.
    pub headers: Vec<(String, Secret)>,
    /// Empty for none.
    pub body: Secret,
}

/// A whole answer; 3xx is an answer like any other.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `Content-Type`, where it is text.
    pub content_type: Option<String>,
    /// `Retry-After`, where it is text.
    pub retry_after: Option<String>,
    /// The body: tokens come this way.
    pub body: Secret,
}

/// Shows no body.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.expose().len())
    }
}

/// Why there is no answer. The texts hold nothing of the request or of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The guard said no; nothing was sent.
    #[error("not called: {0}")]
    Refused(#[from] EgressRefusal),
    /// A header that cannot be sent, or that is the client's own; nothing was sent.
    #[error("not called: a header of the request is malformed or reserved")]
    Header,
    /// Certainly nothing was sent.
    #[error("not reached: {0}")]
    Unreachable(&'static str),
    /// Sent, or perhaps sent, and no whole answer in time: the outcome is unknown.
    #[error("no whole answer in time; the outcome is unknown")]
    Timeout,
    /// Sent, or perhaps sent, and the connection broke before the answer was whole: the outcome is unknown.
    #[error("the connection broke before the answer was whole; the outcome is unknown")]
    Lost,
    /// Sent; the answer was larger than allowed and was not read to its end.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

const NO_TURN: EgressError = EgressError::Unreachable("no turn came free");

/// The door.
pub struct Egress {
    policy: Policy,
    limits: Limits,
    turns: Semaphore,
    streams: Arc<Semaphore>,
    tls: rustls::ClientConfig,
}

impl Egress {
    /// A door with these rules.
    ///
    /// # Panics
    /// When ring offers no TLS version, which its build rules out.
    #[must_use]
    pub fn new(policy: Policy, limits: Limits) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring offers TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { policy, limits, turns: Semaphore::new(limits.at_once), streams: Arc::new(Semaphore::new(limits.streams_at_once)), tls }
    }

    /// Makes one call, once: nothing is tried again.
    pub async fn send(&self, request: Request) -> Result<Answer, EgressError> {
        let until = Instant::now() + self.limits.whole;
        let asked = self.vet(request)?;
        let step = self.limits.connect.min(self.limits.whole / 4);
        let Ok(Ok(_turn)) = timeout(step, self.turns.acquire()).await else { return Err(NO_TURN) };
        let sending = self.prepare(asked, step).await?;
        // The three steps before this point and the connection take at most three quarters, so this ends only what was connected.
        let whole = timeout_at(until, async {
            let response = sending.send().await.map_err(|error| sort(&error))?;
            self.read(response).await
        });
        whole.await.unwrap_or(Err(EgressError::Timeout))
    }

    /// Makes one call, once, and gives its answer as soon as its head is there; the body follows in pieces, as it comes, never decompressed.
    pub async fn open(&self, request: Request, limits: StreamLimits) -> Result<Streamed, EgressError> {
        let begun = Instant::now();
        let asked = self.vet(request)?;
        let first = limits.first.min(limits.whole);
        let step = self.limits.connect.min(first / 4);
        let Ok(Ok(turn)) = timeout(step, Arc::clone(&self.streams).acquire_owned()).await else { return Err(NO_TURN) };
        let sending = self.prepare(asked, step).await?;
        let head = timeout_at(begun + first, sending.send()).await.map_err(|_| EgressError::Timeout)?;
        Streamed::begin(head.map_err(|error| sort(&error))?, limits, begun + limits.whole, turn)
    }

    /// What can be judged before anything is waited for.
    fn vet(&self, request: Request) -> Result<Asked, EgressError> {
        let target = self.policy.vet_url(&request.url)?;
        Ok(Asked { target, method: request.method, headers: sensitive(request.headers)?, body: request.body })
    }

    /// Resolves, judges what came of it, and makes the request ready.
    async fn prepare(&self, asked: Asked, step: Duration) -> Result<reqwest::RequestBuilder, EgressError> {
        let addresses = self.policy.vet_addresses(&asked.target, &resolve(&asked.target, step).await?)?;
        let client = self.client(&asked.target, &addresses, step)?;
        let sending = client.request(asked.method, asked.target.url().clone()).headers(asked.headers);
        let bodiless = asked.body.expose().is_empty();
        Ok(if bodiless { sending } else { sending.body(Bytes::from_owner(Exposed(asked.body))) })
    }

    /// A client for one call, so that no connection outlives the vetting of its address.
    fn client(&self, target: &Target, addresses: &[IpAddr], step: Duration) -> Result<reqwest::Client, EgressError> {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, target.port())).collect();
        reqwest::Client::builder()
            .resolve_to_addrs(target.host(), &addresses)
            .tls_backend_preconfigured(self.tls.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(step)
            .user_agent(concat!("keyledger/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| EgressError::Unreachable("the client could not be built"))
    }

    async fn read(&self, mut response: Response) -> Result<Answer, EgressError> {
        let limit = self.limits.body;
        let too_large = EgressError::TooLarge { limit };
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |announced| announced > limit) {
            return Err(too_large);
        }
        let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let (status, content_type, retry_after) = (response.status().as_u16(), text(CONTENT_TYPE), text(RETRY_AFTER));
        // As large as it may become: a buffer that grows leaves copies of tokens behind.
        let mut body = Zeroizing::new(Vec::with_capacity(limit));
        while let Some(chunk) = response.chunk().await.map_err(|error| sort(&error))? {
            if chunk.len() > limit - body.len() {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, content_type, retry_after, body: Secret::new(std::mem::take(&mut *body)) })
    }
}

async fn resolve(target: &Target, step: Duration) -> Result<Vec<IpAddr>, EgressError> {
    if let Some(literal) = target.literal() {
        return Ok(vec![literal]);
    }
    match timeout(step, tokio::net::lookup_host((target.host(), target.port()))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(_)) => Err(EgressError::Unreachable("the host's name does not resolve")),
        Err(_) => Err(EgressError::Unreachable("the host's name did not resolve in time")),
    }
}

/// What a failure means for the caller: was anything sent?
pub(super) fn sort(error: &reqwest::Error) -> EgressError {
    match error {
        error if error.is_builder() => EgressError::Header,
        error if error.is_connect() => EgressError::Unreachable("no connection, or no TLS with a known certificate"),
        error if error.is_timeout() => EgressError::Timeout,
        _ => EgressError::Lost,
    }
}

fn sensitive(given: Vec<(String, Secret)>) -> Result<HeaderMap, EgressError> {
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| EgressError::Header)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(EgressError::Header);
        }
        let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_| EgressError::Header)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// A request whose URL and headers passed.
struct Asked {
    target: Target,
    method: Method,
    headers: HeaderMap,
    body: Secret,
}

/// Lends a secret to the client, which drops and so wipes it.
struct Exposed(Secret);

impl AsRef<[u8]> for Exposed {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}
