//! The HTTP front: one listener, one task per connection, and an end that lets open requests finish.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::patience::Patience;
use super::stalled::Unstalled;
use super::tls::Tls;
use crate::surfaces::{self, Front};
use crate::web::caller::forwarded_for;
use crate::web::limits::{HANDSHAKE_TIMEOUT, HEADER_TIMEOUT, WRITE_TIMEOUT};
use crate::web::pieces::Ending;

/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections come in.
#[derive(Clone, Default)]
pub struct Listening {
    /// Connections are encrypted here.
    pub tls: Option<Arc<Tls>>,
    /// A proxy stands in front: the caller's address is the last one of `X-Forwarded-For`, which the proxy wrote.
    pub behind_proxy: bool,
}

/// All routes.
pub fn router(front: &Front) -> Router {
    surfaces::router(front)
}

/// Serves until `stop` becomes true, and then until the requests under way are answered.
pub async fn serve(listener: TcpListener, router: Router, listening: Listening, mut stop: watch::Receiver<bool>) {
    let mut open = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stop) => break,
        };
        let Ok((stream, peer)) = accepted.inspect_err(|error| tracing::warn!(%error, "a connection was not accepted")) else {
            // Mostly too many open files: the next one has a chance when others have ended.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        open.spawn(connection(stream, peer, router.clone(), listening.clone(), stop.clone()));
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, listening: Listening, mut stop: watch::Receiver<bool>) {
    // Without it, the body of an answer that is passed on waits until its head is acknowledged: 40 ms, as most callers do that.
    drop(stream.set_nodelay(true));
    let stream = Unstalled::new(stream, WRITE_TIMEOUT);
    let Some(tls) = &listening.tls else { return speak(stream, peer, router, listening.behind_proxy, stop).await };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)) => shaken,
        () = told(&mut stop) => return,
    };
    match shaken {
        Ok(Ok(stream)) => speak(stream, peer, router, listening.behind_proxy, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin, peer: SocketAddr, router: Router, behind_proxy: bool, mut stop: watch::Receiver<bool>) {
    let mut http = hyper::server::conn::http1::Builder::new();
    let patience = Patience::new();
    http.timer(patience.clone()).header_read_timeout(HEADER_TIMEOUT);
    let router = TowerToHyperService::new(router);
    let ending = Ending(stop.clone());
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let forwarded = behind_proxy.then(|| forwarded_for(request.headers())).flatten();
        let caller = forwarded.map_or(peer, |ip| SocketAddr::new(ip, 0));
        request.extensions_mut().insert(ConnectInfo(caller));
        request.extensions_mut().insert(ending.clone());
        router.call(request)
    });
    let connection = http.serve_connection(TokioIo::new(patience.around(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Waits until the server is told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: that is a reason to stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}
