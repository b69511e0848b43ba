//! What a presented secret is compared with. It is a fact, and no answer can serialise it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;

/// A keyed hash of a token. It has no `Serialize`: the stored shapes opt in with `#[serde(with = "Verifier")]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// Names the HMAC key in the keyring.
    key: [u8; 16],
    hash: [u8; 32],
}

impl Verifier {
    /// Made under the key of this id.
    #[must_use]
    pub const fn new(key: [u8; 16], hash: [u8; 32]) -> Self {
        Self { key, hash }
    }

    /// Names the key that a comparison needs.
    #[must_use]
    pub const fn key(&self) -> [u8; 16] {
        self.key
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, hash: &[u8; 32]) -> bool {
        self.hash.ct_eq(hash).into()
    }

    /// For the stored shapes only.
    pub fn serialize<S: Serializer>(verifier: &Self, out: S) -> Result<S::Ok, S::Error> {
        if !out.is_human_readable() {
            return (verifier.key, verifier.hash).serialize(out);
        }
        let text = (base16ct::lower::encode_string(&verifier.key), base16ct::lower::encode_string(&verifier.hash));
        text.serialize(out)
    }

    /// For the stored shapes only.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return <([u8; 16], [u8; 32])>::deserialize(from).map(|(key, hash)| Self { key, hash });
        }
        let (key, hash) = <(String, String)>::deserialize(from)?;
        let read = |text: &str, bytes: &mut [u8]| base16ct::lower::decode(text, bytes).is_ok_and(|read| read.len() * 2 == text.len());
        let mut verifier = Self { key: [0; 16], hash: [0; 32] };
        if key.len() == 32 && hash.len() == 64 && read(&key, &mut verifier.key) && read(&hash, &mut verifier.hash) {
            Ok(verifier)
        } else {
            Err(serde::de::Error::custom("malformed verifier"))
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}
