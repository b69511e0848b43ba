//! The one door to the outside: what may be called, and the only client that calls it.

mod asked;
mod client;
mod guard;
mod kept;
mod line;
mod network;
mod ranges;
mod retry_after;
mod roots;
mod stream;

pub use client::{Answer, Egress, EgressError, Limits, Request};
pub use guard::{EgressRefusal, MAX_URL, Policy, Target};
pub use network::{Later, Network};
pub use retry_after::retry_after;
pub use roots::{RootsError, read_roots};
pub use stream::{StreamLimits, Streamed};
