//! The point in time that a read asks for.

use std::str::FromStr;

use crate::kernel::{Moment, Position};

/// A position or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// Through this position, rounded down to a whole group.
    Position(Position),
    /// Through the last event recorded strictly before it.
    Instant(Moment),
}

/// Neither a position nor an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as_of takes a position, such as 1042, or an RFC 3339 instant, such as 2026-05-04T14:05:00Z")]
pub struct AsOfError;

impl FromStr for AsOf {
    type Err = AsOfError;

    fn from_str(text: &str) -> Result<Self, AsOfError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(|position| Self::Position(Position(position))).map_err(|_| AsOfError);
        }
        text.parse().map(Self::Instant).map_err(|_| AsOfError)
    }
}
