//! Composition: opens what lies in a data directory, and starts what runs on it.

mod home;
mod http;

pub use home::{Begun, Home, HomeError, Reading};
pub use http::{router, serve};
