//! A name that was tried at a door.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A name that was tried, as a keyed hash: it need not exist, and may be a password typed into the wrong field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tried(pub [u8; 16]);

impl Serialize for Tried {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { base16ct::lower::encode_string(&self.0).serialize(out) } else { self.0.serialize(out) }
    }
}

impl<'de> Deserialize<'de> for Tried {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return <[u8; 16]>::deserialize(from).map(Self);
        }
        let (text, mut bytes) = (String::deserialize(from)?, [0; 16]);
        let whole = text.len() == 32 && base16ct::lower::decode(&text, &mut bytes).is_ok();
        if whole { Ok(Self(bytes)) } else { Err(D::Error::custom("a keyed hash is 32 lower-case hex digits")) }
    }
}
