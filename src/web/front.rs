//! What holds for every request before a handler sees it and after: one `Host`, an end in time, and a body that is read to its end.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{Extensions, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Frame;

use super::caller::{HeaderError, host};
use super::limits::{BODY_IMPORT, DRAIN_TIMEOUT, HANDLER_TIMEOUT};

/// Passes a request on, or answers in the surface's own words: `bad_host` without exactly one `Host`, `late` when the handler takes too
/// long. A handler that is cut short may have written: its command stays in the queue, and only its answer is lost.
pub async fn limited<B: IntoResponse, L: IntoResponse>(
    request: Request,
    next: Next,
    bad_host: impl FnOnce(HeaderError) -> B,
    late: impl FnOnce() -> L,
) -> Response {
    limited_to(HANDLER_TIMEOUT, request, next, bad_host, late).await
}

/// The same, with another end. What counts is the head of the answer: a body that is passed on while it comes has limits of its own.
pub async fn limited_to<B: IntoResponse, L: IntoResponse>(
    longest: Duration,
    request: Request,
    next: Next,
    bad_host: impl FnOnce(HeaderError) -> B,
    late: impl FnOnce() -> L,
) -> Response {
    if let Err(error) = host(request.headers()) {
        return bad_host(error).into_response();
    }
    // The pattern of the path, not the path: ids and query strings are the caller's.
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    // To read what waits for our word would give that word.
    let waits = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let body = Shared(Arc::new(Mutex::new(body)));
    let request = Request::from_parts(parts, Body::new(body.clone()));
    let answer = tokio::time::timeout(longest, next.run(request)).await.unwrap_or_else(|_| late().into_response());
    if !waits {
        body.drain().await;
    }
    tracing::debug!(%method, route = route.as_ref().map_or("none", MatchedPath::as_str), status = answer.status().as_u16(), "answered");
    answer
}

/// The address at the other end of the connection.
#[must_use]
pub fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

/// A body of which the handler may leave a part unread. The rest is read before the answer goes out: a connection that is closed over
/// unread bytes is reset, and a reset can overtake the answer.
#[derive(Clone)]
struct Shared(Arc<Mutex<Body>>);

impl Shared {
    async fn drain(self) {
        let mut rest = Limited::new(self, BODY_IMPORT);
        // Whoever sends more, or slowly, has the reset coming.
        drop(tokio::time::timeout(DRAIN_TIMEOUT, async { while let Some(Ok(_)) = rest.frame().await {} }).await);
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }
}
