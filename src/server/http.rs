//! The HTTP front: one listener, one task per connection, and an end that lets open requests finish.

use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::surfaces::{self, Front};
use crate::web::limits::HEADER_TIMEOUT;

/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All routes.
pub fn router(front: &Front) -> Router {
    surfaces::router(front)
}

/// Serves until `stop` becomes true, and then until the requests under way are answered.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
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
        let (router, mut stop) = (router.clone(), stop.clone());
        open.spawn(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let router = TowerToHyperService::new(router);
            let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo(peer));
                router.call(request)
            });
            let connection = http.serve_connection(TokioIo::new(stream), service);
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
        });
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}

/// Waits until the server is told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: that is a reason to stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}
