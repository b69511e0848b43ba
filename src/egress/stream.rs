//! An answer that is passed on while it comes: its head at once, its body in pieces, each within its limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use url::Origin;

use super::client::{EgressError, fits};
use super::kept::Kept;
use super::line::Line;

/// How far a stream may go.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// From the call to the whole head of its answer.
    pub first: Duration,
    /// From one piece of the body to the next.
    pub idle: Duration,
    /// From the call to the end of its answer.
    pub whole: Duration,
    /// The largest body, in bytes.
    pub body: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self { first: Duration::from_secs(12), idle: Duration::from_secs(30), whole: Duration::from_secs(5 * 60), body: 64 * 1024 * 1024 }
    }
}

/// Where connections to an origin are kept.
pub(super) type Home = (Arc<Kept>, Origin);

/// An answer whose body still comes. It keeps its turn until it is dropped; dropped early, it breaks the connection.
pub struct Streamed {
    /// The status; 3xx is an answer like any other.
    pub status: u16,
    /// The headers as they came, those of the connection among them: whoever passes them on takes those out.
    pub headers: HeaderMap,
    body: Incoming,
    /// The connection, until it is kept for others.
    line: Option<Line>,
    /// Where it may be kept.
    home: Option<Home>,
    limits: StreamLimits,
    until: Instant,
    left: usize,
    ended: Option<Result<(), EgressError>>,
    _turn: OwnedSemaphorePermit,
}

/// Shows no header: cookies come that way.
impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Streamed({}, {} bytes left)", self.status, self.left)
    }
}

impl Streamed {
    pub(super) fn begin(
        answer: Response<Incoming>,
        limits: StreamLimits,
        until: Instant,
        (line, home): (Line, Option<Home>),
        turn: OwnedSemaphorePermit,
    ) -> Result<Self, EgressError> {
        // Nobody asked to: passed on, it would have others speak who knows what over this connection.
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(EgressError::Lost);
        }
        if !fits(answer.body(), limits.body) {
            return Err(EgressError::TooLarge { limit: limits.body });
        }
        let (head, body) = answer.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(Self { status, headers, body, line: Some(line), home, limits, until, left: limits.body, ended: None, _turn: turn })
    }

    /// The next piece of the body, or `None` at its end. After an error, the same error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        if let Some(ended) = self.ended {
            return ended.map(|()| None);
        }
        let until = self.until.min(Instant::now() + self.limits.idle);
        let came = timeout_at(until, self.next()).await.unwrap_or(Err(EgressError::Timeout));
        let fitting = came.and_then(|came| match came {
            Some(piece) if piece.len() > self.left => Err(EgressError::TooLarge { limit: self.limits.body }),
            other => Ok(other),
        });
        match &fitting {
            Ok(Some(piece)) => self.left -= piece.len(),
            Ok(None) => self.end(),
            Err(error) => {
                self.ended = Some(Err(*error));
                self.line = None;
            }
        }
        fitting
    }

    async fn next(&mut self) -> Result<Option<Bytes>, EgressError> {
        while let Some(frame) = self.body.frame().await {
            // Trailers are no part of the body.
            if let Ok(piece) = frame.map_err(|_| EgressError::Lost)?.into_data() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The connection has done its work here.
    fn end(&mut self) {
        self.ended = Some(Ok(()));
        if let (Some(line), Some((kept, origin))) = (self.line.take(), self.home.take()) {
            kept.keep(origin, line);
        }
    }
}
