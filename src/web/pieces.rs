//! Bodies that are made while they are sent: whoever makes them waits for whoever reads them, and no more than two pieces are held.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use tokio::sync::{mpsc, watch};

/// The body could not be made to its end: the connection breaks, so that nobody takes a part for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body could not be made to its end")]
pub struct Broken;

/// Whether the server is about to end; it stands among the extensions of every request.
#[derive(Clone, Debug)]
pub struct Ending(pub watch::Receiver<bool>);

impl Ending {
    /// Waits until the server is told to end.
    pub async fn told(&mut self) {
        // Whoever could tell is gone: that is a reason to end as well.
        drop(self.0.wait_for(|ending| *ending).await);
    }
}

/// Where the pieces go.
pub struct Pieces(mpsc::Sender<Result<Bytes, Broken>>);

struct Read(mpsc::Receiver<Result<Bytes, Broken>>);

/// A body, and where its pieces go. It ends when that is dropped.
pub fn pieces() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (Pieces(sender), Body::new(Read(receiver)))
}

impl Pieces {
    /// Sends a piece when the one before it was taken; whether anybody still reads.
    pub async fn send(&self, piece: impl Into<Bytes>) -> bool {
        self.0.send(Ok(piece.into())).await.is_ok()
    }

    /// Ends the body before its end.
    pub async fn break_off(self) {
        // Whoever does not read any more needs not to be told.
        drop(self.0.send(Err(Broken)).await);
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl HttpBody for Read {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_whole_one() {
        let (out, body) = pieces();
        let made = tokio::spawn(async move {
            assert!(out.send("a part").await);
            out.break_off().await;
        });
        let mut body = body;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a part");
        assert!(body.frame().await.unwrap().is_err());
        made.await.unwrap();
        let (out, body) = pieces();
        assert!(out.send("whole").await);
        drop(out);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "whole");
        let (out, body) = pieces();
        drop(body);
        out.closed().await;
        assert!(!out.send("nobody reads").await);
    }
}
