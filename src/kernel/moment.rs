//! An instant, in milliseconds since 1970-01-01T00:00:00Z.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An instant, to the millisecond. Shown as RFC 3339 in UTC with three decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

/// Text that is no instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instant is an RFC 3339 date and time with a zone, such as 2026-05-04T14:05:00Z")]
pub struct MomentError;

/// 9999-12-30T22:00:00Z, the last whole hour that RFC 3339 and `jiff` both hold in every zone.
const LATEST: i64 = 253_402_207_200_000;

impl Moment {
    /// From milliseconds since 1970, held within years 1970 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(0, LATEST))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This many seconds later (earlier, if negative); stops at the ends of the range.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_millis(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// This many milliseconds later; stops at the ends of the range.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timestamp = jiff::Timestamp::from_millisecond(self.0).map_err(|_| fmt::Error)?;
        write!(f, "{timestamp:.3}")
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let timestamp: jiff::Timestamp = text.parse().map_err(|_| MomentError)?;
        let millis = timestamp.as_millisecond();
        if (0..=LATEST).contains(&millis) { Ok(Self(millis)) } else { Err(MomentError) }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { out.collect_str(self) } else { self.0.serialize(out) }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() { String::deserialize(from)?.parse().map_err(D::Error::custom) } else { i64::deserialize(from).map(Self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_round_trip_and_refuse_what_has_no_zone() {
        let moment: Moment = "2026-05-04T14:05:00.25+02:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-05-04T12:05:00.250Z");
        assert_eq!(moment.to_string().parse(), Ok(moment));
        for bad in ["", "yesterday", "2026-05-04", "2026-05-04T14:05:00", "1969-12-31T23:59:59Z", "14:05"] {
            assert_eq!(bad.parse::<Moment>(), Err(MomentError), "{bad}");
        }
    }

    #[test]
    fn sums_stop_at_the_ends() {
        assert_eq!(Moment::from_millis(0).plus_seconds(i64::MIN), Moment::from_millis(0));
        assert_eq!(Moment::from_millis(0).plus_seconds(i64::MAX).to_string(), "9999-12-30T22:00:00.000Z");
    }
}
