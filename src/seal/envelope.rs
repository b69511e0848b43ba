//! Boxes: XChaCha20-Poly1305 under one data key each, bound to the vault and to the header they stand with.

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::derive::{Key, box_label, facts_commitment};
use super::record::{FormatError, bound_bytes};
use crate::kernel::{Header, KeyId, MAX_SECRET, Random, Secret, VaultId};

/// Name of the facts box in what it is bound to; no secret may bear it.
const FACTS_BOX: &str = "facts";
/// The sizes that secrets are padded to, so that a length tells little.
const PADDED: [usize; 6] = [64, 256, 1024, 4 * 1024, 16 * 1024, MAX_SECRET];
/// Bytes that sealing adds: nonce and tag.
pub const OVERHEAD: usize = 24 + 16;

/// A box did not open: another key, another seat, or changed bytes. Which of them is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the box does not open")]
pub struct OpenError;

/// What cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A secret above [`MAX_SECRET`].
    #[error("a secret is larger than {MAX_SECRET} bytes")]
    TooLarge,
    /// A header that no record can hold.
    #[error(transparent)]
    Header(#[from] FormatError),
}

/// Opened facts.
pub struct Facts {
    /// The stored JSON.
    pub json: Vec<u8>,
    /// The random bytes that the commitment in the header rests on.
    pub salt: [u8; 32],
}

/// Seals the facts and puts their commitment into the header. Call it first: secrets are bound to the same header.
pub fn seal_facts(vault: VaultId, header: &mut Header, key: &Key, facts: &[u8], random: &dyn Random) -> Result<Vec<u8>, SealError> {
    let salt = random.array::<32>();
    header.facts_commitment = facts_commitment(&salt, facts);
    let label = box_label(vault, FACTS_BOX, header.facts_key, &bound_bytes(header)?);
    Ok(seal_box(key, &label, &[&salt, facts].concat(), random))
}

/// Opens the facts and compares them with the header's commitment.
pub fn open_facts(vault: VaultId, header: &Header, key: &Key, sealed: &[u8]) -> Result<Facts, OpenError> {
    let label = box_label(vault, FACTS_BOX, header.facts_key, &bound_bytes(header).map_err(|_| OpenError)?);
    let opened = open_box(key, &label, sealed)?;
    let (salt, json) = opened.split_first_chunk::<32>().ok_or(OpenError)?;
    if !bool::from(facts_commitment(salt, json).ct_eq(&header.facts_commitment)) {
        return Err(OpenError);
    }
    Ok(Facts { json: json.to_vec(), salt: *salt })
}

/// Seals one secret: its length, itself, and zeroes up to the next of the padded sizes.
pub fn seal_secret(vault: VaultId, header: &Header, name: &str, id: KeyId, key: &Key, secret: &Secret, random: &dyn Random) -> Result<Vec<u8>, SealError> {
    let bytes = secret.expose();
    let size = PADDED.into_iter().find(|size| bytes.len() <= *size).ok_or(SealError::TooLarge)?;
    if name == FACTS_BOX {
        return Err(SealError::Header(FormatError::Field("secrets")));
    }
    let length = u32::try_from(bytes.len()).map_err(|_| SealError::TooLarge)?;
    let mut padded = Zeroizing::new(Vec::with_capacity(4 + size));
    padded.extend(length.to_be_bytes());
    padded.extend_from_slice(bytes);
    padded.resize(4 + size, 0);
    let label = box_label(vault, name, id, &bound_bytes(header)?);
    Ok(seal_box(key, &label, &padded, random))
}

/// Opens one secret.
pub fn open_secret(vault: VaultId, header: &Header, name: &str, id: KeyId, key: &Key, sealed: &[u8]) -> Result<Secret, OpenError> {
    let label = box_label(vault, name, id, &bound_bytes(header).map_err(|_| OpenError)?);
    let padded = open_box(key, &label, sealed)?;
    let (length, rest) = padded.split_first_chunk::<4>().ok_or(OpenError)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| OpenError)?;
    let (bytes, padding) = rest.split_at_checked(length).ok_or(OpenError)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(OpenError);
    }
    Ok(Secret::new(bytes.to_vec()))
}

/// Nonce, ciphertext and tag.
pub(super) fn seal_box(key: &Key, label: &[u8], plain: &[u8], random: &dyn Random) -> Vec<u8> {
    let nonce = random.array::<24>();
    let mut out = nonce.to_vec();
    out.extend(seal_raw(key, &nonce, label, plain));
    out
}

/// The reverse of [`seal_box`].
pub(super) fn open_box(key: &Key, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or(OpenError)?;
    open_raw(key, nonce, label, sealed)
}

/// XChaCha20-Poly1305 as ChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, section 2.3): `HChaCha20` makes the key from the nonce's first 16 bytes,
/// and the nonce is four zeroes and the other eight.
fn cipher(key: &Key, nonce: &[u8; 24]) -> (LessSafeKey, Nonce) {
    let [first @ .., n0, n1, n2, n3, n4, n5, n6, n7] = nonce;
    let derived: Zeroizing<[u8; 32]> = Zeroizing::new(hchacha::<R20>(key.expose().into(), first.into()).into());
    let derived = UnboundKey::new(&CHACHA20_POLY1305, derived.as_ref()).expect("the key has 32 bytes");
    (LessSafeKey::new(derived), Nonce::assume_unique_for_key([0, 0, 0, 0, *n0, *n1, *n2, *n3, *n4, *n5, *n6, *n7]))
}

/// The bare AEAD.
pub(super) fn seal_raw(key: &Key, nonce: &[u8; 24], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let (cipher, nonce) = cipher(key, nonce);
    let mut sealed = Vec::with_capacity(plain.len() + CHACHA20_POLY1305.tag_len());
    sealed.extend_from_slice(plain);
    cipher.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).expect("a box is far smaller than the AEAD's limit of 256 GiB");
    sealed
}

/// The bare AEAD, in reverse.
pub(super) fn open_raw(key: &Key, nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (cipher, nonce) = cipher(key, nonce);
    let mut opened = Zeroizing::new(sealed.to_vec());
    let length = cipher.open_in_place(nonce, Aad::from(aad), &mut opened).map_err(|_| OpenError)?.len();
    opened.truncate(length);
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::OsRandom;
    use chacha20poly1305::aead::{Aead, Payload};
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

    #[test]
    fn the_aead_is_xchacha20_poly1305() {
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 255, 400, 1024, 65_540] {
            let random: &dyn Random = &OsRandom;
            let (key, nonce, aad) = (random.array::<32>(), random.array::<24>(), random.array::<70>());
            let plain: Vec<u8> = (0..length).map(|place| u8::try_from(place % 251).unwrap()).collect();
            let theirs = XChaCha20Poly1305::new(&key.into()).encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: &aad }).unwrap();
            assert!(seal_raw(&Key::new(key), &nonce, &aad, &plain) == theirs, "{length}");
            assert!(open_raw(&Key::new(key), &nonce, &aad, &theirs).unwrap().as_slice() == plain, "{length}");
            for place in [0, theirs.len() / 2, theirs.len() - 1] {
                let mut flipped = theirs.clone();
                flipped[place] ^= 1;
                assert!(open_raw(&Key::new(key), &nonce, &aad, &flipped).is_err());
            }
            assert!(open_raw(&Key::new(key), &nonce, &aad, &theirs[..theirs.len() - 1]).is_err());
            assert!(open_raw(&Key::new(key), &nonce, &[], &theirs).is_err());
        }
        assert!(open_raw(&Key::new([0; 32]), &[0; 24], &[], &[]).is_err());
    }
}
