//! What holds for every request before a handler sees it: one `Host`, and an end in time.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::Extensions;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::caller::{HeaderError, host};
use super::limits::HANDLER_TIMEOUT;

/// Passes a request on, or answers in the surface's own words: `bad_host` without exactly one `Host`, `late` when the handler takes too
/// long. A handler that is cut short may have written: its command stays in the queue, and only its answer is lost.
pub async fn limited<B: IntoResponse, L: IntoResponse>(
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
    let answer = tokio::time::timeout(HANDLER_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| late().into_response());
    tracing::debug!(%method, route = route.as_ref().map_or("none", MatchedPath::as_str), status = answer.status().as_u16(), "answered");
    answer
}

/// The address at the other end of the connection.
#[must_use]
pub fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}
