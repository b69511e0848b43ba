//! A set of data keys: a bit per slot, by batch. A clone is cheap.

use std::sync::Arc;

use imbl::HashMap;
use serde::{Deserialize, Serialize};

use crate::kernel::KeyId;

/// Data keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet(HashMap<[u8; 12], Arc<Vec<u64>>>);

impl KeySet {
    /// Whether the key is in.
    #[must_use]
    pub fn contains(&self, key: KeyId) -> bool {
        let word = self.0.get(&key.batch).and_then(|words| words.get(key.slot as usize / 64).copied());
        word.is_some_and(|word| word >> (key.slot % 64) & 1 == 1)
    }

    /// Takes a key in. Its slot bounds the memory: whoever reads slots from outside checks them first.
    pub fn insert(&mut self, key: KeyId) {
        let words = Arc::make_mut(self.0.entry(key.batch).or_default());
        let word = key.slot as usize / 64;
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        if let Some(word) = words.get_mut(word) {
            *word |= 1 << (key.slot % 64);
        }
    }

    /// The batches that its keys are of.
    pub fn batches(&self) -> impl Iterator<Item = [u8; 12]> + '_ {
        self.0.keys().copied()
    }

    /// All keys, batch by batch.
    pub fn iter(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.0.iter().flat_map(|(batch, words)| {
            let slots = (0_u32..).zip(words.iter()).flat_map(|(place, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| place * 64 + bit));
            slots.map(|slot| KeyId { batch: *batch, slot })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_in_and_are_found_again() {
        let key = |batch, slot| KeyId { batch: [batch; 12], slot };
        let keys = [key(1, 0), key(1, 63), key(1, 64), key(2, 255)];
        let mut set = KeySet::default();
        for key in keys {
            set.insert(key);
        }
        assert!(keys.into_iter().all(|key| set.contains(key)));
        assert!(![key(1, 1), key(1, 65), key(2, 0), key(3, 0), key(2, 4000)].into_iter().any(|key| set.contains(key)));
        let mut all: Vec<KeyId> = set.iter().collect();
        all.sort_unstable();
        assert_eq!(all, keys);
    }
}
