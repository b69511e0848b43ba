//! Composition: opens what lies in a data directory, and starts what runs on it.

mod home;

pub use home::{Begun, Home, HomeError, Reading};
