//! A list of keys as a body that is written while it is read: however many there are, a few of them are held at a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;

use super::filter::Wanted;
use super::render::{Lens, live};
use crate::credentials::Kind;
use crate::kernel::Position;

/// A frame is sent when it holds so many bytes.
const FRAME: usize = 16 * 1024;
/// So many keys are looked at before others have their turn.
const AT_ONCE: usize = 512;

/// The array, as far as it is written.
struct Array {
    lens: Lens,
    wanted: Wanted,
    /// The number of the last key that was looked at.
    after: Position,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    /// Open, without an item yet.
    Empty,
    Filled,
    Closed,
}

/// All keys that are asked for, in the order in which they were made.
pub(super) fn body(lens: Lens, wanted: Wanted) -> Body {
    Body::new(Array { lens, wanted, after: Position::ZERO, stage: Stage::Opening })
}

impl Array {
    /// The next bytes: none when no key of those that were looked at is asked for.
    fn next(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.stage == Stage::Opening {
            bytes.push(b'[');
            self.stage = Stage::Empty;
        }
        let mut keys = self.lens.views.listed(self.lens.tenant, Kind::ApiKey, self.after);
        for _ in 0..AT_ONCE {
            let Some((id, entry)) = keys.next() else {
                bytes.push(b']');
                self.stage = Stage::Closed;
                break;
            };
            self.after = entry.first;
            let Some(key) = live(entry).filter(|key| self.wanted.takes(id, key)) else { continue };
            if self.stage == Stage::Filled {
                bytes.push(b',');
            }
            self.stage = Stage::Filled;
            bytes.extend(serde_json::to_vec(&self.lens.listed(key, self.wanted.fields)).unwrap_or_default());
            if bytes.len() >= FRAME {
                break;
            }
        }
        bytes
    }
}

impl HttpBody for Array {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.stage == Stage::Closed {
            return Poll::Ready(None);
        }
        let bytes = self.next();
        if bytes.is_empty() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Closed
    }
}
