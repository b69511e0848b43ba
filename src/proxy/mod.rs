//! Use without reveal: a caller's request goes on to a connection's service with the credentials put in, and the answer comes back without them.

mod destination;
mod headers;
mod inject;
mod pass;
mod relay;
mod screen;

pub use destination::{DOWNSTREAM_URL, check_form, destination};
pub use headers::{back, onward};
pub use inject::{Given, Injected, inject};
pub use pass::{Asked, Passed, Unpassed, pass};
pub use relay::{Broken, Relayed};
pub use screen::{Caught, Screen, Sieve};
