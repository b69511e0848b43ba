//! The hash tree against another implementation of RFC 6962 and its known roots.

use crate::fixed::hex;
use keyledger::seal::merkle::Frontier;
use sha2::{Digest, Sha256};

#[test]
fn no_leaves_hash_to_sha256_of_nothing() {
    assert_eq!(hex(&Frontier::default().root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn every_size_up_to_300_has_the_root_that_ct_merkle_gives() {
    let (mut ours, mut theirs) = (Frontier::default(), ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, Vec<u8>>::new());
    for n in 0..300_u32 {
        let value = n.to_be_bytes().to_vec();
        ours.push(Sha256::new().chain_update([0]).chain_update(&value).finalize().into());
        theirs.push(value);
        assert_eq!(ours.size(), u64::from(n) + 1);
        assert_eq!(ours.root().as_slice(), theirs.root().as_bytes().as_slice(), "size {}", n + 1);
    }
}
