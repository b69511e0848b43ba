//! Every key, label and keyed hash of the program, on one screen. A label never changes its meaning; a new meaning gets a new label.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::envelope::{OpenError, open_raw, seal_raw};
use crate::kernel::{Claim, EventId, Fingerprint, FlowId, KeyId, Random, StreamId, TenantId, Tried, VaultId};

const BOX: &[u8] = b"keyledger/v1/box";
const FACTS: &[u8] = b"keyledger/v1/facts-commitment";
const WRAP: &[u8] = b"keyledger/v1/wrap";
const CLAIM: &[u8] = b"keyledger/v1/claim";
const FINGERPRINT: &[u8] = b"keyledger/v1/fingerprint";
const COMMAND: &[u8] = b"keyledger/v1/command";
const REQUEST: &[u8] = b"keyledger/v1/request";
const TOKEN: &[u8] = b"keyledger/v1/token";
const TRIED: &[u8] = b"keyledger/v1/tried";
const TOLD_APART: &[u8] = b"keyledger/v1/told-apart";
const STATE: &[u8] = b"keyledger/v1/state";
const PLAN: &[u8] = b"keyledger/v1/plan";
const CONFIRM: &[u8] = b"keyledger/v1/confirm";
const CHALLENGE: &[u8] = b"keyledger/v1/code-verifier";
const BROWSER: &[u8] = b"keyledger/v1/browser";
const CHUNK: &[u8] = b"keyledger/v1/chunk";
const MESSAGE: &[u8] = b"keyledger/v1/message";
const SHOWN: &[u8] = b"keyledger/v1/shown";
const ROOT: &[u8] = b"keyledger/v1/root";
const SEGMENT: &[u8] = b"keyledger/v1/segment";

/// A 32-byte key: wiped on drop, never shown.
pub struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A fresh random key.
    pub fn random(random: &dyn Random) -> Self {
        Self::new(random.array())
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A second owner of the same key, said aloud.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Bytes of a wrapped key: nonce 24 ‖ commitment 32 ‖ ciphertext 32 ‖ tag 16.
pub const WRAPPED: usize = 104;

/// Which key is wrapped: part of what the wrap is bound to.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "the fields are the parts of the label, named as what they are")]
pub enum WrapOf<'a> {
    /// A tenant's key-encryption key, under the root key.
    TenantKey { vault: VaultId, tenant: TenantId, version: u32 },
    /// A key with one purpose, under its tenant's key.
    Purpose { vault: VaultId, tenant: TenantId, purpose: &'a str, id: [u8; 16] },
    /// A data key, under its tenant's key.
    Slot { vault: VaultId, tenant: TenantId, key: KeyId },
}

impl WrapOf<'_> {
    fn label(self) -> Vec<u8> {
        let (sort, vault, tenant, rest) = match self {
            WrapOf::TenantKey { vault, tenant, version } => (1, vault, tenant, version.to_be_bytes().to_vec()),
            WrapOf::Purpose { vault, tenant, purpose, id } => (2, vault, tenant, [&id, purpose.as_bytes()].concat()),
            WrapOf::Slot { vault, tenant, key } => (3, vault, tenant, key.to_bytes().to_vec()),
        };
        [WRAP, &[sort], &vault.0, &tenant.0, &rest].concat()
    }
}

/// The wrap's own encryption key and its commitment: HKDF-SHA256, salt = nonce, info = label; 32 bytes each.
fn wrap_keys(wrapping: &Key, nonce: &[u8; 24], label: &[u8]) -> (Key, [u8; 32]) {
    let mut out = Zeroizing::new([0; 64]);
    Hkdf::<Sha256>::new(Some(nonce), wrapping.expose()).expand(label, out.as_mut()).expect("64 bytes are within HKDF's limit");
    let (mut key, mut commitment) = (Zeroizing::new([0; 32]), [0; 32]);
    let (first, second) = out.split_at(32);
    key.copy_from_slice(first);
    commitment.copy_from_slice(second);
    (Key(key), commitment)
}

/// Wraps a key under another.
pub fn wrap(wrapping: &Key, what: WrapOf<'_>, key: &Key, random: &dyn Random) -> [u8; WRAPPED] {
    let (nonce, label) = (random.array::<24>(), what.label());
    let (encryption, commitment) = wrap_keys(wrapping, &nonce, &label);
    let sealed = seal_raw(&encryption, &nonce, &label, key.expose());
    let mut out = [0; WRAPPED];
    for (to, from) in out.iter_mut().zip(nonce.iter().chain(&commitment).chain(&sealed)) {
        *to = *from;
    }
    out
}

/// Opens a wrapped key. The commitment is compared before anything is decrypted.
pub fn unwrap(wrapping: &Key, what: WrapOf<'_>, wrapped: &[u8]) -> Result<Key, OpenError> {
    if wrapped.len() != WRAPPED {
        return Err(OpenError);
    }
    let (nonce, rest) = wrapped.split_first_chunk::<24>().ok_or(OpenError)?;
    let (stated, sealed) = rest.split_first_chunk::<32>().ok_or(OpenError)?;
    let label = what.label();
    let (encryption, commitment) = wrap_keys(wrapping, nonce, &label);
    if !bool::from(commitment.ct_eq(stated)) {
        return Err(OpenError);
    }
    let opened = open_raw(&encryption, nonce, &label, sealed)?;
    let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(opened.as_slice().try_into().map_err(|_| OpenError)?);
    Ok(Key(bytes))
}

/// Associated data of a box: label ‖ vault ‖ name length ‖ name ‖ key id ‖ the header's bound bytes.
pub(super) fn box_label(vault: VaultId, name: &str, key: KeyId, bound: &[u8]) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [BOX, &vault.0, &[length], name.as_bytes(), &key.to_bytes(), bound].concat()
}

/// Associated data of a chunk of a sealed file: label ‖ vault ‖ file id ‖ number ‖ whether it is the last.
pub(super) fn chunk_label(vault: VaultId, file: &[u8; 16], number: u64, last: bool) -> Vec<u8> {
    [CHUNK, &vault.0, file, &number.to_be_bytes(), &[u8::from(last)]].concat()
}

/// Facts commitment: SHA-256(label ‖ 32 random bytes ‖ facts).
#[must_use]
pub fn facts_commitment(salt: &[u8; 32], facts: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(FACTS).chain_update(salt).chain_update(facts).finalize().into()
}

/// What is signed of facts that are shown in part: label ‖ leaf hash of their record ‖ the text that is shown.
pub(super) fn shown(leaf: &[u8; 32], facts: &[u8]) -> Vec<u8> {
    [SHOWN, leaf, facts].concat()
}

/// HMAC-SHA256(key, label ‖ each part with its length in front).
fn keyed(key: &Key, label: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    mac.update(label);
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// A claim as the clear header shows it, under its tenant's claims key.
#[must_use]
pub fn claim(key: &Key, claim: &Claim) -> [u8; 32] {
    let normalisation = [claim.normalisation];
    let mut parts: Vec<&[u8]> = vec![&normalisation, claim.kind.as_bytes(), claim.value.as_bytes()];
    parts.extend(claim.scope.iter().map(String::as_bytes));
    keyed(key, CLAIM, &parts)
}

/// A secret's fingerprint: equal within a tenant exactly when the values are.
#[must_use]
pub fn fingerprint(key: &Key, tenant: TenantId, secret: &[u8]) -> Fingerprint {
    let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = keyed(key, FINGERPRINT, &[&tenant.0, secret]);
    Fingerprint(half)
}

/// A command id as the clear header shows it: the caller's idempotency key, scoped to tenant, principal and route.
#[must_use]
pub fn command(key: &Key, tenant: TenantId, principal: StreamId, route: &str, given: &str) -> [u8; 32] {
    keyed(key, COMMAND, &[&tenant.0, &principal.0, route.as_bytes(), given.as_bytes()])
}

/// A request's fingerprint, to tell a repeat from a different request under the same idempotency key.
#[must_use]
pub fn request(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    keyed(key, REQUEST, parts)
}

/// Tells one root key of a vault from another.
#[must_use]
pub fn root(key: &Key, vault: VaultId) -> [u8; 8] {
    keyed(key, ROOT, &[&vault.0]).first_chunk().copied().unwrap_or_default()
}

/// A token's verifier: over its id and secret.
#[must_use]
pub fn token_verifier(key: &Key, id: &str, secret: &[u8]) -> [u8; 32] {
    keyed(key, TOKEN, &[id.as_bytes(), secret])
}

/// A name that was tried at a sort of door: it need not exist.
#[must_use]
pub fn tried(key: &Key, door: &str, name: &str) -> Tried {
    let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = keyed(key, TRIED, &[door.as_bytes(), name.as_bytes()]);
    Tried(half)
}

/// Tells one wrong secret from another, in memory only.
#[must_use]
pub fn told_apart(key: &Key, presented: &[u8]) -> [u8; 8] {
    let hash = keyed(key, TOLD_APART, &[presented]);
    hash.first_chunk().copied().unwrap_or_default()
}

/// A stream's part of the state hash: over its canonical state.
#[must_use]
pub fn state(key: &Key, canonical: &[u8]) -> [u8; 32] {
    keyed(key, STATE, &[canonical])
}

/// Names a plan to put things back: over what it would do.
#[must_use]
pub fn plan(key: &Key, says: &[u8]) -> [u8; 32] {
    keyed(key, PLAN, &[says])
}

/// What confirms the tokens of an exchange, hashed.
#[must_use]
pub fn confirm(key: &Key, connection: StreamId, token: &[u8]) -> [u8; 32] {
    keyed(key, CONFIRM, &[&connection.0, token])
}

/// The code verifier of an authorization (RFC 7636), before its base64url: made again for the exchange, so that it is stored nowhere.
#[must_use]
pub fn code_verifier(key: &Key, connection: StreamId, flow: FlowId) -> [u8; 32] {
    keyed(key, CHALLENGE, &[&connection.0, &flow.0])
}

/// What the browser that began an authorization shows when it comes back.
#[must_use]
pub fn browser(key: &Key, flow: FlowId) -> [u8; 32] {
    keyed(key, BROWSER, &[&flow.0])
}

/// What a message of a webhook is known by, the same whenever it is sent: SHA-256(label ‖ webhook ‖ event ‖ what it tells), its first half. It is
/// the event's own id that counts: a restored vault may give the place of an event to another one.
#[must_use]
pub fn message(webhook: StreamId, event: EventId, tells: &str) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::new().chain_update(MESSAGE).chain_update(webhook.0).chain_update(event.0).chain_update(tells).finalize().into();
    let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash;
    half
}

/// The checksum of a part of a segment file, which needs no key: SHA-256(label ‖ the header's own checksum ‖ offset in the file ‖ bytes), its first
/// half. It is bound to its file and place, so that what an older file left on the disk, or a write that went astray, does not pass.
#[must_use]
pub fn segment_check(file: &[u8; 16], offset: u64, bytes: &[u8]) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::new().chain_update(SEGMENT).chain_update(file).chain_update(offset.to_be_bytes()).chain_update(bytes).finalize().into();
    let [half @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash;
    half
}
