//! Identifiers and numbers of the log. Ids are 16 random bytes, shown as 32 lower-case hex digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Random;

/// An event's place in the one global order. 1 is the first event; 0 means "before all".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// An event's place in its own stream. 1 is the first event; 0 means "does not exist".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Position {
    /// Before all events.
    pub const ZERO: Self = Self(0);

    /// The position right after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Version {
    /// Of a stream that does not exist.
    pub const ZERO: Self = Self(0);

    /// The version right after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Text that is no id of 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 lower-case hex digits")]
pub struct IdError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A fresh random id.
            pub fn random(random: &dyn Random) -> Self {
                Self(random.array())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; 16];
                match base16ct::lower::decode(text, &mut bytes) {
                    Ok(read) if read.len() == 16 => Ok(Self(bytes)),
                    _ => Err(IdError),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                if out.is_human_readable() { out.collect_str(self) } else { self.0.serialize(out) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    String::deserialize(from)?.parse().map_err(D::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(from).map(Self)
                }
            }
        }
    };
}

id!(
    /// One vault: one log, one keyring. A restored vault keeps it and begins a new [`Epoch`].
    VaultId
);
id!(
    /// Who owns credentials. Every stream belongs to exactly one.
    TenantId
);
id!(
    /// The events of one thing.
    StreamId
);
id!(
    /// One event, whatever its place.
    EventId
);
id!(
    /// Events appended as one.
    GroupId
);
id!(
    /// An authorization that a user begins at a service: what the service gives back as `state`.
    FlowId
);

impl FlowId {
    /// As a UUID is written.
    #[must_use]
    pub fn uuid(self) -> String {
        StreamId(self.0).uuid()
    }

    /// Of a UUID, as [`FlowId::uuid`] writes it.
    #[must_use]
    pub fn of_state(text: &str) -> Option<Self> {
        StreamId::of_client(text).map(|id| Self(id.0)).filter(|id| id.uuid() == text)
    }
}

impl StreamId {
    /// As a UUID is written: `8-4-4-4-12` hex digits.
    #[must_use]
    pub fn uuid(self) -> String {
        let hex = self.to_string();
        let mut uuid = String::with_capacity(36);
        for (place, digit) in hex.chars().enumerate() {
            if [8, 12, 16, 20].contains(&place) {
                uuid.push('-');
            }
            uuid.push(digit);
        }
        uuid
    }

    /// Of 32 hex digits or a UUID, in any letter case: vendors' clients know ids as UUIDs.
    #[must_use]
    pub fn of_client(text: &str) -> Option<Self> {
        let id: Self = text.to_ascii_lowercase().replace('-', "").parse().ok()?;
        (text.len() == 32 || text.eq_ignore_ascii_case(&id.uuid())).then_some(id)
    }
}

impl TenantId {
    /// Owns what belongs to nobody: the vault itself, tenants, shipped connectors. Fixed, and without API credentials.
    pub const SYSTEM: Self = Self(*b"keyledger-system");
}

/// Names one data key: 12 random bytes of the batch it was minted in, then its number in the batch (big-endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId {
    /// The batch of slots.
    pub batch: [u8; 12],
    /// The slot within the batch, from 0.
    pub slot: u32,
}

/// The slot that stands for all keys of a tenant. No batch has it.
const WHOLE_TENANT: u32 = u32::MAX;

impl KeyId {
    /// All keys of a tenant at once, where keys are named that died: the first 12 bytes of its id, and a slot that no batch has.
    #[must_use]
    pub fn whole(tenant: TenantId) -> Self {
        let (batch, _) = tenant.0.split_first_chunk::<12>().map_or(([0; 12], &[][..]), |(batch, rest)| (*batch, rest));
        Self { batch, slot: WHOLE_TENANT }
    }

    /// Whether it stands for all keys of some tenant.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.slot == WHOLE_TENANT
    }

    /// The 16 bytes that stand in headers.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (batch, slot) = bytes.split_at_mut(12);
        batch.copy_from_slice(&self.batch);
        slot.copy_from_slice(&self.slot.to_be_bytes());
        bytes
    }

    /// The reverse of [`KeyId::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, s0, s1, s2, s3] = bytes;
        Self { batch: [b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11], slot: u32::from_be_bytes([s0, s1, s2, s3]) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// One history of a vault. A restore begins the next, so that two histories never share a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// 1 for a fresh vault, one more with each restore.
    pub number: u32,
    /// Random: two restores of one backup differ.
    pub id: [u8; 16],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_as_lower_case_hex_and_refuse_anything_else() {
        let id = StreamId(*b"0123456789abcdef");
        assert_eq!(id.to_string(), "30313233343536373839616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "30",
            "3031323334353637383961626364656",
            "30313233343536373839616263646566aa",
            "3031323334353637383961626364656G",
            "3031323334353637383961626364656A",
        ] {
            assert_eq!(bad.parse::<StreamId>(), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn clients_ids_are_hex_or_uuids_in_any_letter_case() {
        let id = StreamId([0xab; 16]);
        assert_eq!(id.uuid(), "abababab-abab-abab-abab-abababababab");
        for text in [id.uuid(), id.to_string(), id.uuid().to_uppercase()] {
            assert_eq!(StreamId::of_client(&text), Some(id));
        }
        for bad in ["", "abab", "abababababab-abab-abab-abab-abababab", "{abababab-abab-abab-abab-abababababab}"] {
            assert_eq!(StreamId::of_client(bad), None, "{bad}");
        }
    }

    #[test]
    fn key_ids_round_trip() {
        let key = KeyId { batch: *b"twelve bytes", slot: 0x0102_0304 };
        assert_eq!(KeyId::from_bytes(key.to_bytes()), key);
        assert_eq!(key.to_bytes()[12..], [1, 2, 3, 4]);
    }

    #[test]
    fn all_keys_of_a_tenant_have_an_id_that_no_slot_has() {
        let whole = KeyId::whole(TenantId(*b"0123456789abcdef"));
        assert!(whole.is_whole() && KeyId::from_bytes(whole.to_bytes()) == whole);
        assert_eq!(whole.to_bytes(), *b"0123456789ab\xff\xff\xff\xff");
        assert!(!KeyId { batch: whole.batch, slot: 255 }.is_whole());
    }
}
