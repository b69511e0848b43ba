//! A value that must not leak, and the reference that stands for it everywhere else.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Position, Version};

/// The largest secret, in bytes.
pub const MAX_SECRET: usize = 64 * 1024;

/// Secret bytes: wiped on drop, never shown, compared or copied by accident.
///
/// ```compile_fail
/// fn show<T: std::fmt::Debug>(_: T) {}
/// show(keyledger::kernel::Secret::new(vec![1]));
/// ```
/// ```compile_fail
/// fn print<T: std::fmt::Display>(_: T) {}
/// print(keyledger::kernel::Secret::new(vec![1]));
/// ```
/// ```compile_fail
/// fn write<T: serde::Serialize>(_: T) {}
/// write(keyledger::kernel::Secret::new(vec![1]));
/// ```
/// ```compile_fail
/// let secret = keyledger::kernel::Secret::new(vec![1]);
/// let copy = secret.clone();
/// ```
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the few that may see them: sealing, reveal, exchange, proxy.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A second owner of the same bytes, said aloud: a plan that is decided again needs its secrets again.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

/// A keyed hash of a secret: equal secrets of one tenant have equal ones, and without the key it tells nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Where a secret lies sealed: what a state holds in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Of the event that brought it.
    pub position: Position,
    /// Of the box in that event.
    pub name: String,
    /// Of its stream when it came: grows with every change, so it serves as the secret's version number.
    pub version: Version,
    /// Its keyed fingerprint.
    pub fingerprint: Fingerprint,
}
