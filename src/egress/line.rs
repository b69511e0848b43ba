//! One connection to a vetted address: opened, asked, and perhaps asked again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::client::EgressError;
use super::guard::{EgressRefusal, Target};
use super::network::{Network, dial_any};

/// The largest head of an answer, in bytes; hyper holds it to 100 headers besides.
const MAX_HEAD: usize = 64 * 1024;

/// What is sent over a line.
pub(super) type Call = hyper::Request<Full<Bytes>>;

/// A connection that speaks HTTP/1.1. Dropped, it is closed.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    peer: SocketAddr,
    driver: Driver,
}

/// The task that moves a connection's bytes.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a line gave no answer.
pub(super) enum Unanswered {
    /// The connection was gone before the first byte: certainly nothing was sent.
    Unsent(Box<Call>),
    /// Sent, or perhaps sent.
    Failed(EgressError),
}

impl Line {
    /// Connects to one of these addresses, which must be vetted; with TLS for https.
    pub(super) async fn open(
        network: &Arc<dyn Network>,
        tls: &TlsConnector,
        target: &Target,
        addresses: &[SocketAddr],
        within: Duration,
    ) -> Result<Self, EgressError> {
        let opening = timeout(within, async {
            let (stream, peer) = dial_any(network, addresses).await.ok_or(EgressError::Unreachable("no connection to any address of the host"))?;
            // Without it, a request's last bytes wait for an acknowledgement of those before.
            drop(stream.set_nodelay(true));
            if target.url().scheme() == "https" { Self::secure(tls, target, stream, peer).await } else { Self::speak(stream, peer).await }
        });
        opening.await.unwrap_or(Err(EgressError::Unreachable("no connection in time")))
    }

    async fn secure(tls: &TlsConnector, target: &Target, stream: TcpStream, peer: SocketAddr) -> Result<Self, EgressError> {
        let name = match target.literal() {
            Some(literal) => ServerName::from(literal),
            None => ServerName::try_from(target.host().to_owned()).map_err(|_| EgressRefusal::Name)?,
        };
        let stream = tls.connect(name, stream).await.map_err(|_| EgressError::Unreachable("no TLS with a certificate that is trusted for the host"))?;
        Self::speak(stream, peer).await
    }

    async fn speak<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S, peer: SocketAddr) -> Result<Self, EgressError> {
        let speaking = Builder::new().max_buf_size(MAX_HEAD).max_header_size(MAX_HEAD).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = speaking.map_err(|_| EgressError::Unreachable("the connection broke at once"))?;
        // Its errors reach whoever waits for the answer.
        let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
        Ok(Self { sender, peer, driver })
    }

    /// Asks, once.
    pub(super) async fn ask(&mut self, call: Call) -> Result<Response<Incoming>, Unanswered> {
        match self.sender.try_send_request(call).await {
            Ok(answer) => Ok(answer),
            Err(mut error) => Err(error.take_message().map_or(Unanswered::Failed(EgressError::Lost), |call| Unanswered::Unsent(Box::new(call)))),
        }
    }

    /// Whether it may be asked once more. Waits for the end of the last answer to be seen, which has been read by then.
    pub(super) async fn ready(&mut self, within: Duration) -> bool {
        timeout(within, self.sender.ready()).await.is_ok_and(|ready| ready.is_ok())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.driver.0.is_finished()
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }
}
