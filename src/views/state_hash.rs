//! The state hash: equal on every machine with the same keyring and the same history.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::Views;
use crate::credentials::{AnyState, FOLD_VERSION, FactsError};
use crate::kernel::{Position, StreamId};
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

impl Views {
    /// The state hash, under the vault's state key.
    pub fn state_hash(&self, key: &Key) -> Result<StateHash, FactsError> {
        self.state_hash_without(key, &HashSet::new())
    }

    /// The state hash as if these streams had been shredded: what a comparison under later shreds needs.
    pub fn state_hash_without(&self, key: &Key, shredded: &HashSet<StreamId>) -> Result<StateHash, FactsError> {
        let mut skipped = 0;
        let mut all: Vec<_> = self.things().collect();
        all.sort_unstable_by_key(|(id, _)| **id);
        let mut hash = Sha256::new().chain_update(FOLD_VERSION.to_be_bytes()).chain_update(self.position().0.to_be_bytes());
        for (id, entry) in all {
            hash = hash.chain_update(id.0).chain_update(entry.version.0.to_be_bytes());
            if matches!(entry.state, AnyState::Shredded(_)) || shredded.contains(id) {
                hash = hash.chain_update(b"shredded");
                skipped += 1;
            } else {
                hash = hash.chain_update(derive::state(key, &entry.state.canonical()?));
            }
        }
        Ok(StateHash { position: self.position(), fold_version: FOLD_VERSION, hash: hash.finalize().into(), shredded: skipped })
    }
}
