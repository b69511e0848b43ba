//! A clock that a test sets.

use keyledger::kernel::{Clock, Moment};
use std::sync::atomic::{AtomicI64, Ordering};

/// Stands still until it is moved. The steady clock moves along unless the wall clock leaps.
pub struct FixedClock {
    wall: AtomicI64,
    steady: AtomicI64,
}

impl FixedClock {
    pub fn at(millis: i64) -> Self {
        Self { wall: AtomicI64::new(millis), steady: AtomicI64::new(0) }
    }

    /// Time passes.
    pub fn pass(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
        self.steady.fetch_add(millis, Ordering::SeqCst);
    }

    /// Only the wall clock moves, either way.
    pub fn leap(&self, millis: i64) {
        self.wall.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Moment {
        Moment::from_millis(self.wall.load(Ordering::SeqCst))
    }

    fn steady_millis(&self) -> u64 {
        self.steady.load(Ordering::SeqCst).unsigned_abs()
    }
}
