//! Connections that are used again: a few, for a short time, and only while their name still resolves to them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use url::Origin;

use super::line::Line;

/// The most connections that wait; the oldest gives way.
const MOST: usize = 128;

/// The connections that wait to be used again, the oldest first.
pub(super) struct Kept {
    life: Duration,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(Origin, Line, Instant)>,
    swept: bool,
}

impl Kept {
    /// Keeps each connection this long.
    pub(super) fn new(life: Duration) -> Arc<Self> {
        Arc::new(Self { life, waiting: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to this origin whose far end is one of these addresses, which were vetted just now. The newest, as it is the likeliest to live.
    pub(super) fn take(&self, origin: &Origin, vetted: &[SocketAddr]) -> Option<Line> {
        let mut waiting = self.lock();
        waiting.clear_old();
        let place = waiting.lines.iter().rposition(|(of, line, _)| of == origin && vetted.contains(&line.peer()))?;
        waiting.lines.remove(place).map(|(_, line, _)| line)
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(super) fn keep(self: &Arc<Self>, origin: Origin, line: Line) {
        if self.life.is_zero() || line.is_closed() {
            return;
        }
        let mut waiting = self.lock();
        waiting.lines.push_back((origin, line, Instant::now() + self.life));
        if waiting.lines.len() > MOST {
            waiting.lines.pop_front();
        }
        if !std::mem::replace(&mut waiting.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what is old, and tells when the next will be.
    fn sweep(&self) -> Option<Instant> {
        let mut waiting = self.lock();
        waiting.clear_old();
        let next = waiting.lines.front().map(|(_, _, until)| *until);
        waiting.swept = next.is_some();
        next
    }
}

impl Waiting {
    fn clear_old(&mut self) {
        let now = Instant::now();
        self.lines.retain(|(_, line, until)| *until > now && !line.is_closed());
    }
}

/// Closes old connections while any wait, also when nobody calls.
async fn sweep(kept: Weak<Kept>) {
    while let Some(next) = kept.upgrade().and_then(|kept| kept.sweep()) {
        sleep_until(next).await;
    }
}
