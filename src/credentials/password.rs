//! What a password is compared with. Like a verifier, it is a fact that no answer can serialise.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Argon2id of a password, under a key of the keyring (RFC 9106's secret value). It has no `Serialize`: the stored shapes opt in with
/// `#[serde(with = "PasswordHash")]`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    /// Names the key in the keyring.
    pub key: [u8; 16],
    /// Memory in KiB, passes, lanes.
    pub cost: (u32, u32, u32),
    /// Random.
    pub salt: [u8; 16],
    /// The tag.
    pub hash: [u8; 32],
}

impl PasswordHash {
    /// For the stored shapes only.
    pub fn serialize<S: Serializer>(hash: &Self, out: S) -> Result<S::Ok, S::Error> {
        let hex = |bytes: &[u8]| base16ct::lower::encode_string(bytes);
        (hex(&hash.key), hash.cost, hex(&hash.salt), hex(&hash.hash)).serialize(out)
    }

    /// For the stored shapes only.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (key, cost, salt, hash) = <(String, (u32, u32, u32), String, String)>::deserialize(from)?;
        let mut read = Self { key: [0; 16], cost, salt: [0; 16], hash: [0; 32] };
        let decode = |text: &str, bytes: &mut [u8]| text.len() == bytes.len() * 2 && base16ct::lower::decode(text, bytes).is_ok();
        if decode(&key, &mut read.key) && decode(&salt, &mut read.salt) && decode(&hash, &mut read.hash) {
            Ok(read)
        } else {
            Err(serde::de::Error::custom("malformed password hash"))
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}
