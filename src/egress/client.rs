//! The HTTP client behind the guard: resolves once, connects to what was vetted and to nothing else, follows nothing, and stops at its limits.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use hyper::{Method, Response};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::asked::Asked;
use super::guard::{EgressRefusal, Policy, Target};
use super::kept::Kept;
use super::line::{Call, Line, Unanswered};
use super::network::{Network, Sockets};
use super::roots::{RootsError, connector};
use super::stream::{StreamLimits, Streamed};
use crate::kernel::Secret;

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
    /// How long the connection of a stream that ended well waits for the next one.
    pub keep: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(12),
            body: 256 * 1024,
            at_once: 64,
            streams_at_once: 64,
            keep: Duration::from_secs(30),
        }
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

/// The least room for a body, in bytes: most answers of token endpoints fit.
const SMALLEST: usize = 4 * 1024;

const NO_TURN: EgressError = EgressError::Unreachable("no turn came free");

/// Who may go at once.
struct Turns {
    calls: Arc<Semaphore>,
    /// Apart from the calls, as a look-up outlives the call that gave it up: the system's resolver cannot be stopped, and holds a thread of those
    /// that all blocking work shares.
    lookups: Arc<Semaphore>,
}

impl Turns {
    fn new(at_once: usize) -> Self {
        Self { calls: Arc::new(Semaphore::new(at_once)), lookups: Arc::new(Semaphore::new(at_once)) }
    }

    async fn take(&self, within: Duration) -> Result<OwnedSemaphorePermit, EgressError> {
        match timeout(within, Arc::clone(&self.calls).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(NO_TURN),
        }
    }
}

/// The door.
pub struct Egress {
    policy: Policy,
    limits: Limits,
    calls: Turns,
    streams: Turns,
    network: Arc<dyn Network>,
    tls: TlsConnector,
    kept: Arc<Kept>,
}

impl Egress {
    /// A door with these rules.
    ///
    /// # Panics
    /// When ring offers no TLS version, which its build rules out.
    #[must_use]
    pub fn new(policy: Policy, limits: Limits) -> Self {
        Self::trusting(policy, limits, &[]).expect("no root is added that could be malformed")
    }

    /// A door that also believes certificates below these roots.
    pub fn trusting(policy: Policy, limits: Limits, roots: &[CertificateDer<'static>]) -> Result<Self, RootsError> {
        Ok(Self {
            policy,
            limits,
            calls: Turns::new(limits.at_once),
            streams: Turns::new(limits.streams_at_once),
            network: Arc::new(Sockets),
            tls: connector(roots)?,
            kept: Kept::new(limits.keep),
        })
    }

    /// The same door to another network than the operating system's.
    #[must_use]
    pub fn over(self, network: Arc<dyn Network>) -> Self {
        Self { network, ..self }
    }

    /// Judges a URL before anything is sent to it, as far as that goes without its addresses.
    pub fn vet_url(&self, url: &str) -> Result<(), EgressRefusal> {
        self.policy.vet_url(url).map(drop)
    }

    /// Makes one call, once, over a connection of its own: nothing is tried again, and no connection is used that may have died unseen.
    pub async fn send(&self, request: Request) -> Result<Answer, EgressError> {
        let until = Instant::now() + self.limits.whole;
        let asked = Asked::vet(&self.policy, request)?;
        let step = self.limits.connect.min(self.limits.whole / 4);
        let _turn = self.calls.take(step).await?;
        let addresses = self.resolve(asked.target(), &self.calls, step).await?;
        let (target, call) = (asked.target().clone(), asked.call()?);
        let mut line = Line::open(&self.network, &self.tls, &target, &addresses, step).await?;
        // The three steps before this point take at most three quarters, so this ends only what was connected.
        let whole = timeout_at(until, async { self.read(line.ask(call).await?).await });
        whole.await.unwrap_or(Err(EgressError::Timeout))
    }

    /// Makes one call, once, and gives its answer as soon as its head is there; the body follows in pieces, as it comes, never decompressed.
    pub async fn open(&self, request: Request, limits: StreamLimits) -> Result<Streamed, EgressError> {
        let begun = Instant::now();
        let asked = Asked::vet(&self.policy, request)?;
        let first = limits.first.min(limits.whole);
        let step = self.limits.connect.min(first / 4);
        let turn = self.streams.take(step).await?;
        let addresses = self.resolve(asked.target(), &self.streams, step).await?;
        let home = asked.shares().then(|| (Arc::clone(&self.kept), asked.target().url().origin()));
        let kept = home.as_ref().and_then(|(kept, origin)| kept.take(origin, &addresses));
        let (target, call) = (asked.target().clone(), asked.call()?);
        let head = timeout_at(begun + first, async {
            let call = match ask_again(kept, call, step).await? {
                Asking::Answered(answer) => return Ok(answer),
                Asking::Unsent(call) => call,
            };
            let mut line = Line::open(&self.network, &self.tls, &target, &addresses, step).await?;
            let answer = line.ask(call).await?;
            Ok((line, answer))
        });
        let (line, answer) = head.await.unwrap_or(Err(EgressError::Timeout))?;
        Streamed::begin(answer, limits, begun + limits.whole, (line, home), turn)
    }

    /// The target's addresses, all of them vetted.
    async fn resolve(&self, target: &Target, turns: &Turns, within: Duration) -> Result<Vec<SocketAddr>, EgressError> {
        let found = match target.literal() {
            Some(literal) => vec![literal],
            None => match timeout(within, self.look_up(target, turns)).await {
                Ok(Some(found)) => found,
                Ok(None) => return Err(EgressError::Unreachable("the host's name does not resolve")),
                Err(_) => return Err(EgressError::Unreachable("the host's name did not resolve in time")),
            },
        };
        let vetted = self.policy.vet_addresses(target, &found)?;
        Ok(vetted.into_iter().map(|address| SocketAddr::new(address, target.port())).collect())
    }

    /// What the target's name resolves to. Given up, the look-up keeps its turn until it ends.
    async fn look_up(&self, target: &Target, turns: &Turns) -> Option<Vec<IpAddr>> {
        let turn = Arc::clone(&turns.lookups).acquire_owned().await.ok()?;
        let (network, host, port) = (Arc::clone(&self.network), target.host().to_owned(), target.port());
        let looking = tokio::spawn(async move {
            let found = network.resolve(&host, port).await;
            drop(turn);
            found
        });
        looking.await.ok()?.ok()
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Answer, EgressError> {
        let limit = self.limits.body;
        let too_large = EgressError::TooLarge { limit };
        if !fits(answer.body(), limit) {
            return Err(too_large);
        }
        let text = |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
        let (status, content_type, retry_after) = (answer.status().as_u16(), text(CONTENT_TYPE), text(RETRY_AFTER));
        // As large as it says it becomes: memory that is not written to is wiped in the end all the same.
        let announced = usize::try_from(answer.body().size_hint().lower()).unwrap_or(limit);
        let mut body = Zeroizing::new(Vec::with_capacity(announced.clamp(SMALLEST, limit.max(SMALLEST))));
        let mut coming = answer.into_body();
        while let Some(frame) = coming.frame().await {
            // Trailers are no part of the body.
            let Ok(piece) = frame.map_err(|_| EgressError::Lost)?.into_data() else { continue };
            if piece.len() > limit - body.len() {
                return Err(too_large);
            }
            take_in(&mut body, &piece, limit);
        }
        Ok(Answer { status, content_type, retry_after, body: Secret::new(std::mem::take(&mut *body)) })
    }
}

/// Takes a piece in. A buffer that grows by itself would leave copies of tokens behind: this one is wiped.
fn take_in(body: &mut Zeroizing<Vec<u8>>, piece: &[u8], limit: usize) {
    let needed = body.len() + piece.len();
    if needed > body.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity((2 * body.capacity()).min(limit).max(needed)));
        larger.extend_from_slice(body);
        *body = larger;
    }
    body.extend_from_slice(piece);
}

/// Whether a body stays within a limit, as far as its head says.
pub(super) fn fits(body: &Incoming, limit: usize) -> bool {
    usize::try_from(body.size_hint().lower()).is_ok_and(|announced| announced <= limit)
}

enum Asking {
    Answered((Line, Response<Incoming>)),
    Unsent(Call),
}

/// Asks over a kept connection, if there is one that still stands. A call that has left it, even in part, is not given back.
async fn ask_again(kept: Option<Line>, call: Call, within: Duration) -> Result<Asking, EgressError> {
    let Some(mut line) = kept else { return Ok(Asking::Unsent(call)) };
    if !line.ready(within).await {
        return Ok(Asking::Unsent(call));
    }
    match line.ask(call).await {
        Ok(answer) => Ok(Asking::Answered((line, answer))),
        Err(Unanswered::Unsent(call)) => Ok(Asking::Unsent(*call)),
        Err(Unanswered::Failed(error)) => Err(error),
    }
}

impl From<Unanswered> for EgressError {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Unsent(_) => Self::Unreachable("the connection closed before anything was sent"),
            Unanswered::Failed(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_unknown_length_grows_up_to_its_limit_and_stays_whole() {
        let mut body = Zeroizing::new(Vec::with_capacity(4));
        for piece in [&b"abc"[..], b"defg", b"", b"hijklmnop"] {
            take_in(&mut body, piece, 16);
            assert!(body.capacity() <= 16, "{}", body.capacity());
        }
        assert_eq!(*body, b"abcdefghijklmnop");
    }
}
