//! How long a connection waits for the head of a request: briefly once it has begun, and longer between two requests, because clients keep
//! connections for the next one and lose it when the server ends them in the same moment.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::web::limits::{HEADER_TIMEOUT, IDLE_TIMEOUT};

/// What a connection waits for, and since when.
#[derive(Clone, Copy)]
enum Wait {
    /// The rest of a head; of the first one, all of it.
    Head(Instant),
    /// The next request: an answer went out.
    Next(Instant),
}

/// What is known of a connection, by its bytes and by its timer.
#[derive(Clone)]
pub struct Patience(Arc<Mutex<Wait>>);

impl Patience {
    /// Of a connection that begins.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Wait::Head(Instant::now()))))
    }

    /// A connection whose bytes are noticed.
    pub const fn around<S>(self, inner: S) -> Noticed<S> {
        Noticed { inner, patience: self }
    }

    fn set(&self, to: impl FnOnce(Wait) -> Wait) {
        let mut wait = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *wait = to(*wait);
    }

    fn heard(&self) {
        self.set(|wait| if matches!(wait, Wait::Next(_)) { Wait::Head(Instant::now()) } else { wait });
    }

    fn answered(&self) {
        self.set(|_| Wait::Next(Instant::now()));
    }

    /// When it ends.
    fn due(&self) -> Instant {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Wait::Head(since) => since + HEADER_TIMEOUT,
            Wait::Next(since) => since + IDLE_TIMEOUT,
        }
    }
}

/// The HTTP library has one timer, that for heads, and lets it run between requests as well: this one lasts as long as the patience.
impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Waiting { until: Box::pin(tokio::time::sleep(duration)), patience: self.clone() })
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Waiting { until: Box::pin(tokio::time::sleep_until(deadline.into())), patience: self.clone() })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

struct Waiting {
    until: Pin<Box<tokio::time::Sleep>>,
    patience: Patience,
}

impl Future for Waiting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Asked again with each byte that comes, too: then the end is nearer than it was.
        let due = self.patience.due();
        if self.until.deadline() != due {
            self.until.as_mut().reset(due);
        }
        self.until.as_mut().poll(context)
    }
}

impl Sleep for Waiting {}

/// A connection whose bytes are noticed.
pub struct Noticed<S> {
    inner: S,
    patience: Patience,
}

impl<S: AsyncRead + Unpin> AsyncRead for Noticed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.patience.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noticed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.patience.answered();
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        self.patience.answered();
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
