//! Composition: opens what lies in a data directory, and starts what runs on it.

mod home;
mod http;
mod partial;
mod restore;

pub use home::{Begun, Home, HomeError, Reading};
pub use http::{router, serve};
pub use restore::{Progress, Restored, Step, Until};
