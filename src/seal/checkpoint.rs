//! Checkpoints of the log: how long it is and what its hash tree's root is, signed. The format is C2SP's `tlog-checkpoint` in a `signed-note`
//! with Ed25519, so that tools that know nothing of us can read and witness them.
//!
//! ```text
//! keyledger/<vault id>/<epoch number>-<epoch id>\n      the origin: one chain of checkpoints for each epoch; it is the key's name, too
//! <number of leaves>\n
//! <root, base64>\n
//! \n
//! — <origin> <base64 of key id [4] ‖ Ed25519 signature [64] over the three lines>\n
//!
//! key id       = first 4 bytes of SHA-256(origin ‖ 0x0A ‖ 0x01 ‖ public key [32])
//! verifier key = <origin>+<key id, hex>+<base64 of 0x01 ‖ public key>
//! ```
//! The key is one of the vault's own (`Purpose::Checkpoint`) and stays the same over restores; the origin does not.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::Key;
use super::derive::shown;
use crate::kernel::{Epoch, VaultId};

/// The largest note that is looked at, in bytes: ours have some 300, and witnesses may add their signatures.
pub const MAX_NOTE: usize = 128 * 1024;
/// The sort of signature: Ed25519, by the signed-note specification.
const ED25519_TYPE: u8 = 1;
/// What a line of a signature begins with: an em dash and a blank.
const DASH: &str = "\u{2014} ";

/// Why a text is no checkpoint of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is no signed note.
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// It is a note, and no checkpoint.
    #[error("not a checkpoint: {0}")]
    Body(&'static str),
    /// It bears no signature of this key under its own origin.
    #[error("it is not signed by this key")]
    UnknownKey,
    /// The key's signature does not fit the text.
    #[error("its signature is wrong")]
    Forged,
    /// A text that is no verifier key for Ed25519.
    #[error("not a verifier key: {0}")]
    VerifierKey(&'static str),
}

/// What a log has said about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: see [`origin`].
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// Lines that this program does not know; its own checkpoints have none.
    pub extensions: Vec<String>,
}

/// The origin of a vault's checkpoints in an epoch.
#[must_use]
pub fn origin(vault: VaultId, epoch: Epoch) -> String {
    format!("keyledger/{vault}/{}-{}", epoch.number, base16ct::lower::encode_string(&epoch.id))
}

/// The vault and epoch of an [`origin`]; `None` when it is not one of ours.
#[must_use]
pub fn place(text: &str) -> Option<(VaultId, Epoch)> {
    let (vault, rest) = text.strip_prefix("keyledger/")?.split_once('/')?;
    let (number, id) = rest.split_once('-')?;
    let (vault, epoch) = (vault.parse().ok()?, Epoch { number: number.parse().ok()?, id: id.parse::<VaultId>().ok()?.0 });
    // A number may be written in many ways; only one of them is an origin.
    (origin(vault, epoch) == text).then_some((vault, epoch))
}

/// The public half of a signing seed.
///
/// # Panics
/// When ring's Ed25519 keys have other lengths than 32 bytes, which RFC 8032 rules out.
#[must_use]
pub fn public_key(seed: &Key) -> [u8; 32] {
    pair(seed).public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
}

fn pair(seed: &Key) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("every 32 bytes are an Ed25519 seed")
}

/// Signs what the log is at a size. Ed25519 is deterministic: the same log gives the same text.
#[must_use]
pub fn sign(vault: VaultId, epoch: Epoch, size: u64, root: [u8; 32], seed: &Key) -> String {
    let (name, pair) = (origin(vault, epoch), pair(seed));
    let text = format!("{name}\n{size}\n{}\n", Base64::encode_string(&root));
    let signature = pair.sign(text.as_bytes());
    let signed = [&key_id(&name, pair.public_key().as_ref())[..], signature.as_ref()].concat();
    format!("{text}\n{DASH}{name} {}\n", Base64::encode_string(&signed))
}

/// Reads a checkpoint, if this key signed it under its origin. Signatures of others are passed over, as the specification wants.
pub fn verify(note: &str, public: &[u8; 32]) -> Result<Checkpoint, CheckpointError> {
    let (text, signatures) = split(note)?;
    let checkpoint = read_text(text)?;
    let id = key_id(&checkpoint.origin, public);
    let mut signed = false;
    for line in signatures.split_terminator('\n') {
        let (name, bytes) = read_signature(line)?;
        let (stated, signature) = bytes.split_first_chunk::<4>().ok_or(CheckpointError::Note("a signature is too short"))?;
        if name != checkpoint.origin || *stated != id {
            continue;
        }
        UnparsedPublicKey::new(&ED25519, public).verify(text.as_bytes(), signature).map_err(|_| CheckpointError::Forged)?;
        signed = true;
    }
    if signed { Ok(checkpoint) } else { Err(CheckpointError::UnknownKey) }
}

/// Signs facts that are shown in part, beside the leaf hash of their record: their commitment cannot be opened. Begins otherwise than any note.
#[must_use]
pub fn attest(seed: &Key, leaf: &[u8; 32], facts: &[u8]) -> Vec<u8> {
    pair(seed).sign(&shown(leaf, facts)).as_ref().to_vec()
}

/// Whether the key signed these facts for that record.
#[must_use]
pub fn is_attested(public: &[u8; 32], leaf: &[u8; 32], facts: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(&shown(leaf, facts), signature).is_ok()
}

/// Names a key within a note: the first bytes of a hash over name and key.
fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let hash: [u8; 32] = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_TYPE]).chain_update(public).finalize().into();
    let [first, second, third, fourth, ..] = hash;
    [first, second, third, fourth]
}

/// The text that is signed, its last newline included, and the lines of the signatures.
fn split(note: &str) -> Result<(&str, &str), CheckpointError> {
    if note.len() > MAX_NOTE {
        return Err(CheckpointError::Note("it is too long"));
    }
    if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(CheckpointError::Note("it holds a control character"));
    }
    // The last empty line: the text itself may hold some.
    let (text, _) = note.rsplit_once("\n\n").ok_or(CheckpointError::Note("no empty line stands before the signatures"))?;
    let (text, rest) = note.split_at(text.len() + 1);
    let signatures = rest.strip_prefix('\n').unwrap_or_default();
    if signatures.ends_with('\n') { Ok((text, signatures)) } else { Err(CheckpointError::Note("it does not end with a line of a signature")) }
}

fn read_signature(line: &str) -> Result<(&str, Vec<u8>), CheckpointError> {
    let rest = line.strip_prefix(DASH).ok_or(CheckpointError::Note("a signature does not begin with an em dash"))?;
    let (name, signature) = rest.split_once(' ').ok_or(CheckpointError::Note("a signature has no name"))?;
    if !is_name(name) {
        return Err(CheckpointError::Note("a signature has no name"));
    }
    let bytes = Base64::decode_vec(signature).map_err(|_| CheckpointError::Note("a signature is not base64"))?;
    if bytes.len() > 4 { Ok((name, bytes)) } else { Err(CheckpointError::Note("a signature is too short")) }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '+')
}

fn read_text(text: &str) -> Result<Checkpoint, CheckpointError> {
    let mut lines = text.split_terminator('\n');
    let mut line = |what| lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Body(what));
    let origin = line("it has no origin")?;
    let size = line("it has no size")?;
    let root = line("it has no root")?;
    if !is_name(origin) {
        return Err(CheckpointError::Body("its origin is no name"));
    }
    let number: u64 = size.parse().map_err(|_| CheckpointError::Body("its size is no number"))?;
    if number.to_string() != size {
        return Err(CheckpointError::Body("its size is no number"));
    }
    let root = Base64::decode_vec(root).ok().and_then(|root| root.try_into().ok()).ok_or(CheckpointError::Body("its root is not base64 of 32 bytes"))?;
    let extensions: Vec<String> = lines.map(str::to_owned).collect();
    if extensions.iter().any(String::is_empty) {
        return Err(CheckpointError::Body("it holds an empty line"));
    }
    Ok(Checkpoint { origin: origin.to_owned(), size: number, root, extensions })
}

/// A public key as verifiers are given it: with the name that it signs under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// The origin.
    pub name: String,
    /// The Ed25519 public key.
    pub public: [u8; 32],
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend(self.public);
        let id = base16ct::lower::encode_string(&key_id(&self.name, &self.public));
        write!(f, "{}+{id}+{}", self.name, Base64::encode_string(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let wrong = CheckpointError::VerifierKey;
        let (name, rest) = text.split_once('+').ok_or(wrong("it has the form name+id+key"))?;
        let (id, key) = rest.split_once('+').ok_or(wrong("it has the form name+id+key"))?;
        if !is_name(name) {
            return Err(wrong("its name is empty or holds a blank"));
        }
        let key = Base64::decode_vec(key).map_err(|_| wrong("its key is not base64"))?;
        let Some((&ED25519_TYPE, public)) = key.split_first() else { return Err(wrong("its key is not of Ed25519")) };
        let public: [u8; 32] = public.try_into().map_err(|_| wrong("its key has not 32 bytes"))?;
        if base16ct::lower::encode_string(&key_id(name, &public)) != id {
            return Err(wrong("its id is not that of its name and key"));
        }
        Ok(Self { name: name.to_owned(), public })
    }
}
