//! An answer that is passed on while it comes: its head at once, its body in pieces, each within its limits.

use std::fmt;
use std::time::Duration;

use hyper::body::Bytes;
use reqwest::Response;
use reqwest::header::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::client::{EgressError, sort};

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

/// An answer whose body still comes. It keeps its turn until it is dropped; dropped early, it breaks the connection.
pub struct Streamed {
    /// The status; 3xx is an answer like any other.
    pub status: u16,
    /// The headers as they came, those of the connection among them: whoever passes them on takes those out.
    pub headers: HeaderMap,
    response: Response,
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
    pub(super) fn begin(mut response: Response, limits: StreamLimits, until: Instant, turn: OwnedSemaphorePermit) -> Result<Self, EgressError> {
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |announced| announced > limits.body) {
            return Err(EgressError::TooLarge { limit: limits.body });
        }
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        Ok(Self { status, headers, response, limits, until, left: limits.body, ended: None, _turn: turn })
    }

    /// The next piece of the body, or `None` at its end. After an error, the same error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        if let Some(ended) = self.ended {
            return ended.map(|()| None);
        }
        let until = self.until.min(Instant::now() + self.limits.idle);
        let came = match timeout_at(until, self.response.chunk()).await {
            Ok(came) => came.map_err(|error| sort(&error)),
            Err(_) => Err(EgressError::Timeout),
        };
        let fits = came.and_then(|came| match came {
            Some(piece) if piece.len() > self.left => Err(EgressError::TooLarge { limit: self.limits.body }),
            other => Ok(other),
        });
        match &fits {
            Ok(Some(piece)) => self.left -= piece.len(),
            Ok(None) => self.ended = Some(Ok(())),
            Err(error) => self.ended = Some(Err(*error)),
        }
        fits
    }
}
