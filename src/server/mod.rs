//! Composition: opens what lies in a data directory, and starts what runs on it.

pub mod anchor;
pub mod backup;
mod copies;
mod died;
mod home;
mod http;
mod loss;
mod partial;
mod patience;
mod restore;
mod stalled;
mod tls;
mod unexplained;

pub use copies::{CHECKPOINT, Examined, Finding};
pub use home::{Begun, Home, HomeError, Lock, Reading};
pub use http::{Listening, router, serve};
pub use loss::Accepted;
pub use restore::{Progress, Restored, Step, Until};
pub use tls::{Tls, TlsError};
pub use unexplained::Unexplained;
