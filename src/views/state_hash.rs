//! The state hash: equal on every machine with the same keyring and the same history.

use sha2::{Digest, Sha256};

use super::Views;
use crate::credentials::{FOLD_VERSION, FactsError};
use crate::kernel::Position;
use crate::seal::{Key, derive};

/// The hash of all states at a position. Only hashes of one fold version compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// The position.
    pub position: Position,
    /// The fold that made it.
    pub fold_version: u32,
    /// SHA-256 over fold version ‖ position ‖ per stream, by id: id ‖ version ‖ HMAC of the canonical state.
    pub hash: [u8; 32],
}

impl Views {
    /// The state hash, under the vault's state key.
    pub fn state_hash(&self, key: &Key) -> Result<StateHash, FactsError> {
        let mut all: Vec<_> = self.things().collect();
        all.sort_unstable_by_key(|(id, _)| **id);
        let mut hash = Sha256::new().chain_update(FOLD_VERSION.to_be_bytes()).chain_update(self.position().0.to_be_bytes());
        for (id, entry) in all {
            hash = hash.chain_update(id.0).chain_update(entry.version.0.to_be_bytes()).chain_update(derive::state(key, &entry.state.canonical()?));
        }
        Ok(StateHash { position: self.position(), fold_version: FOLD_VERSION, hash: hash.finalize().into() })
    }
}
