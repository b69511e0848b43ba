//! The body of an answer on its way back: passed on piece by piece, within the stream's limits also when its reader is slow.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::pass::Used;
use super::screen::{Caught, Sieve};
use crate::egress::{EgressError, Streamed};

/// Why a body ends early. Whoever reads it sees a connection that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The service, or its limits.
    #[error(transparent)]
    Service(#[from] EgressError),
    /// A credential stood in it.
    #[error(transparent)]
    Caught(#[from] Caught),
    /// Its reader took too long.
    #[error("the answer was not passed on to its end in time")]
    Dropped,
}

enum Piece {
    Some(Bytes),
    Last,
}

/// A body that is passed on while it comes.
pub struct Relayed {
    coming: mpsc::Receiver<Result<Piece, Broken>>,
    ended: bool,
}

impl Relayed {
    /// Passes on what comes, through the sieve. Dropped, it lets go of the service. The use is noted at the end.
    pub(super) fn begin(stream: Streamed, sieve: Sieve, until: Instant, used: Used) -> Self {
        let (to, coming) = mpsc::channel(1);
        tokio::spawn(relay(stream, sieve, until, used, to));
        Self { coming, ended: false }
    }
}

async fn relay(mut stream: Streamed, mut sieve: Sieve, until: Instant, mut used: Used, to: mpsc::Sender<Result<Piece, Broken>>) {
    loop {
        let came = tokio::select! {
            came = stream.chunk() => came,
            // The reader has gone: so does the connection to the service.
            () = to.closed() => return,
        };
        let last = matches!(came, Ok(None));
        let sifted = match came {
            Ok(Some(piece)) => sieve.sift(&piece).map_err(Broken::from),
            Ok(None) => Ok(sieve.rest()),
            Err(error) => Err(error.into()),
        };
        if matches!(sifted, Err(Broken::Caught(_))) {
            used.withheld();
        }
        let end = sifted.as_ref().err().copied();
        let piece = match sifted {
            Ok(piece) if piece.is_empty() && !last => continue,
            Ok(piece) if piece.is_empty() => Ok(Piece::Last),
            Ok(piece) => Ok(Piece::Some(piece.into())),
            Err(broken) => Err(broken),
        };
        let is_last = matches!(piece, Ok(Piece::Last));
        match timeout_at(until, to.send(piece)).await {
            Ok(Ok(())) if end.is_none() && !is_last => {}
            _ => return,
        }
        if last {
            drop(timeout_at(until, to.send(Ok(Piece::Last))).await);
            return;
        }
    }
}

impl HttpBody for Relayed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let came = std::task::ready!(self.coming.poll_recv(context));
        self.ended = !matches!(came, Some(Ok(Piece::Some(_))));
        Poll::Ready(match came {
            Some(Ok(Piece::Some(piece))) => Some(Ok(Frame::data(piece))),
            Some(Ok(Piece::Last)) => None,
            Some(Err(broken)) => Some(Err(broken)),
            None => Some(Err(Broken::Dropped)),
        })
    }
}
