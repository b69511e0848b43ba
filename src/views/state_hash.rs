//! The state hash: equal on every machine with the same keyring and the same history.

use sha2::{Digest, Sha256};

use super::Views;
use crate::credentials::{AnyState, FOLD_VERSION, FactsError};
use crate::kernel::{Position, StreamId, Version};
use crate::seal::{Key, derive};

/// The hash of all states at a position. Only hashes of one fold version compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// The position.
    pub position: Position,
    /// The fold that made it.
    pub fold_version: u32,
    /// SHA-256 over fold version ‖ position ‖ per stream, by id: id ‖ version ‖ HMAC of the canonical state, or the word `shredded`.
    pub hash: [u8; 32],
    /// How many streams were skipped because they were shredded, by then or since: hashes with other streams skipped do not compare.
    pub shredded: u64,
}

/// One that is being made: takes the streams by id.
pub(super) struct Hashing {
    position: Position,
    fold_version: u32,
    hash: Sha256,
    shredded: u64,
}

impl Hashing {
    pub fn begin(fold_version: u32, position: Position) -> Self {
        let hash = Sha256::new().chain_update(fold_version.to_be_bytes()).chain_update(position.0.to_be_bytes());
        Self { position, fold_version, hash, shredded: 0 }
    }

    /// The next stream, with the HMAC of its state; without one, it was shredded.
    pub fn take(&mut self, id: StreamId, version: Version, digest: Option<&[u8; 32]>) {
        self.hash.update(id.0);
        self.hash.update(version.0.to_be_bytes());
        if let Some(digest) = digest {
            self.hash.update(digest);
        } else {
            self.hash.update(b"shredded");
            self.shredded += 1;
        }
    }

    pub fn end(self) -> StateHash {
        StateHash { position: self.position, fold_version: self.fold_version, hash: self.hash.finalize().into(), shredded: self.shredded }
    }
}

impl Views {
    /// The state hash, under the vault's state key.
    pub fn state_hash(&self, key: &Key) -> Result<StateHash, FactsError> {
        let mut all: Vec<_> = self.things().collect();
        all.sort_unstable_by_key(|(id, _)| **id);
        let mut hashing = Hashing::begin(FOLD_VERSION, self.position());
        for (id, entry) in all {
            hashing.take(*id, entry.version, digest(&entry.state, key)?.as_ref());
        }
        Ok(hashing.end())
    }
}

/// The HMAC of a state; none of one that was shredded.
pub(super) fn digest(state: &AnyState, key: &Key) -> Result<Option<[u8; 32]>, FactsError> {
    if matches!(state, AnyState::Shredded(_)) { Ok(None) } else { Ok(Some(derive::state(key, &state.canonical()?))) }
}
