//! Time is an argument: the one place that reads it is here, behind a trait.

use super::Moment;

/// Tells the time. Tests bring their own.
pub trait Clock: Send + Sync {
    /// The wall clock; it may leap.
    fn now(&self) -> Moment;
    /// Milliseconds since some fixed start, suspended time included; never goes back.
    fn steady_millis(&self) -> u64;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::from_millis(jiff::Timestamp::now().as_millisecond())
    }

    fn steady_millis(&self) -> u64 {
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(id);
        u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
    }
}
