//! The one door to the outside: what may be called, and the only client that calls it.

mod client;
mod guard;
mod ranges;
mod stream;

pub use client::{Answer, Egress, EgressError, Limits, Request};
pub use guard::{EgressRefusal, MAX_URL, Policy, Target};
pub use stream::{StreamLimits, Streamed};
