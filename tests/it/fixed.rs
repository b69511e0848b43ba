//! Time and randomness that tests choose.

use keyledger::kernel::Random;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that look random and are the same in every run: SHA-256 of a seed and a counter.
pub struct FixedRandom {
    seed: u64,
    drawn: AtomicU64,
}

impl FixedRandom {
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Random for FixedRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
            let block = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(drawn.to_be_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

pub fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

pub fn unhex(text: &str) -> Vec<u8> {
    base16ct::lower::decode_vec(text).expect("hex")
}
