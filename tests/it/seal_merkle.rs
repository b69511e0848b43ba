//! The hash tree and its proofs against another implementation of RFC 6962 and its known roots.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use keyledger::seal::merkle::{Frontier, TILE};
use keyledger::seal::proof::{consistency, inclusion, is_consistent, is_included, loose, root_of};
use sha2::{Digest, Sha256};

use crate::fixed::{FixedRandom, hex};
use keyledger::kernel::Random;

type Theirs = MemoryBackedTree<Sha256, Vec<u8>>;

/// The same leaves in both trees, with ours at each size.
struct Both {
    hashes: Vec<[u8; 32]>,
    tiles: Vec<[u8; 32]>,
    roots: Vec<[u8; 32]>,
    theirs: Theirs,
}

impl Both {
    fn of(size: u32) -> Self {
        let mut tree = Frontier::default();
        let mut both = Self { hashes: Vec::new(), tiles: Vec::new(), roots: vec![tree.root()], theirs: Theirs::new() };
        for n in 0..size {
            let value = n.to_be_bytes().to_vec();
            let hash = Sha256::new().chain_update([0]).chain_update(&value).finalize().into();
            both.hashes.push(hash);
            both.tiles.extend(tree.push(hash));
            both.roots.push(tree.root());
            both.theirs.push(value);
        }
        both
    }

    fn proof(&self, parts: Vec<std::ops::Range<u64>>) -> Vec<[u8; 32]> {
        let at = |list: &[[u8; 32]], place: u64| list.get(usize::try_from(place).unwrap()).copied();
        parts.into_iter().map(|part| root_of(part, |tile| at(&self.tiles, tile), |leaf| at(&self.hashes, leaf)).unwrap()).collect()
    }
}

#[test]
fn no_leaves_hash_to_sha256_of_nothing() {
    assert_eq!(hex(&Frontier::default().root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn roots_and_proofs_of_every_size_up_to_300_are_those_that_ct_merkle_gives() {
    for size in 1..=300_u32 {
        let both = Both::of(size);
        let (root, size) = (both.roots[size as usize], u64::from(size));
        assert_eq!(root.as_slice(), both.theirs.root().as_bytes().as_slice(), "size {size}");
        // All pairs of the last sizes and of some before: the shapes repeat from tile to tile.
        for other in (0..size).filter(|_| size <= 70 || size % 37 == 0 || (254..259).contains(&size)) {
            let proof = both.proof(inclusion(other, size).unwrap());
            let theirs = both.theirs.prove_inclusion(usize::try_from(other).unwrap());
            assert_eq!(proof.concat(), theirs.as_bytes(), "leaf {other} of {size}");
            assert!(is_included(both.hashes[usize::try_from(other).unwrap()], other, size, &proof, &root));
            if other > 0 {
                let proof = both.proof(consistency(other, size).unwrap());
                let theirs = both.theirs.prove_consistency(usize::try_from(size - other).unwrap());
                assert_eq!(proof.concat(), theirs.as_bytes(), "{other} to {size}");
                assert!(is_consistent((other, &both.roots[usize::try_from(other).unwrap()]), (size, &root), &proof));
            }
        }
    }
}

#[test]
fn proofs_of_random_large_sizes_are_those_that_ct_merkle_gives_and_need_few_leaves() {
    let (random, both): (&dyn Random, _) = (&FixedRandom::new(6962), Both::of(3000));
    let mut sizes: Vec<u64> = (0..100).map(|_| u64::from_be_bytes(random.array()) % 3000 + 1).collect();
    sizes.sort_unstable();
    let mut theirs = Theirs::new();
    for size in sizes {
        let other = u64::from_be_bytes(random.array()) % size;
        let at = |size: u64| usize::try_from(size).unwrap();
        (u32::try_from(theirs.len()).unwrap()..u32::try_from(size).unwrap()).for_each(|n| theirs.push(n.to_be_bytes().to_vec()));
        let parts = inclusion(other, size).unwrap();
        assert!(parts.iter().map(loose).map(|loose| loose.end - loose.start).sum::<u64>() < 2 * TILE, "{other} of {size}");
        assert_eq!(both.proof(parts).concat(), theirs.prove_inclusion(at(other)).as_bytes(), "{other} of {size}");
        if other > 0 {
            let parts = consistency(other, size).unwrap();
            assert!(parts.iter().map(loose).map(|loose| loose.end - loose.start).sum::<u64>() < 2 * TILE, "{other} to {size}");
            let proof = both.proof(parts);
            assert_eq!(proof.concat(), theirs.prove_consistency(at(size - other)).as_bytes(), "{other} to {size}");
            assert!(is_consistent((other, &both.roots[at(other)]), (size, &both.roots[at(size)]), &proof));
        }
    }
}

#[test]
fn there_is_no_proof_beyond_the_end_or_from_nothing() {
    assert_eq!((inclusion(0, 0), inclusion(5, 5), inclusion(6, 5)), (None, None, None));
    assert_eq!((consistency(0, 5), consistency(0, 0), consistency(6, 5)), (None, None, None));
    assert_eq!((inclusion(0, 1), consistency(5, 5)), (Some(vec![]), Some(vec![])));
}

#[test]
fn a_proof_with_anything_changed_is_rejected() {
    let (random, both): (&dyn Random, _) = (&FixedRandom::new(9162), Both::of(700));
    let draw = |below: u64| u64::from_be_bytes(random.array()) % below;
    let at = |place: u64| usize::try_from(place).unwrap();
    for round in 0..2000 {
        let size = draw(700) + 1;
        let leaf = draw(size);
        let (hash, root) = (both.hashes[at(leaf)], both.roots[at(size)]);
        let proof = both.proof(inclusion(leaf, size).unwrap());
        for changed in changes(&proof, &draw) {
            assert!(!is_included(hash, leaf, size, &changed, &root), "round {round}: leaf {leaf} of {size}");
        }
        assert!(!is_included(flip(hash, &draw), leaf, size, &proof, &root));
        assert!(!is_included(hash, leaf, size, &proof, &flip(root, &draw)));
        let other = draw(701);
        assert!(other == leaf || !is_included(hash, other, size, &proof, &root), "leaf {leaf} as {other} of {size}");
        // A size is bound by the root that was signed with it: another one at the same root may have the same path.
        let from = leaf + 1;
        let proof = both.proof(consistency(from, size).unwrap());
        let (old, new) = (both.roots[at(from)], root);
        for changed in changes(&proof, &draw) {
            assert!(!is_consistent((from, &old), (size, &new), &changed), "round {round}: {from} to {size}");
        }
        assert!(!is_consistent((from, &flip(old, &draw)), (size, &new), &proof));
        assert!(!is_consistent((from, &old), (size, &flip(new, &draw)), &proof));
        assert!(!is_consistent((0, &old), (size, &new), &proof));
        assert!(from == size || !is_consistent((size, &new), (from, &old), &proof));
    }
}

fn flip(mut hash: [u8; 32], draw: &impl Fn(u64) -> u64) -> [u8; 32] {
    hash[usize::try_from(draw(32)).unwrap()] ^= 1 << draw(8);
    hash
}

/// The proof with one hash flipped, left out, doubled, moved or put in.
fn changes(proof: &[[u8; 32]], draw: &impl Fn(u64) -> u64) -> Vec<Vec<[u8; 32]>> {
    let mut changed = vec![[proof, &[[7; 32]]].concat(), [&[[7; 32]], proof].concat()];
    if let Some(last) = proof.len().checked_sub(1) {
        let at = usize::try_from(draw(proof.len() as u64)).unwrap();
        let mut flipped = proof.to_vec();
        flipped[at] = flip(flipped[at], draw);
        let mut without = proof.to_vec();
        without.remove(at);
        let mut doubled = proof.to_vec();
        doubled.insert(at, proof[at]);
        changed.extend([flipped, without, doubled]);
        if last > 0 {
            let mut swapped = proof.to_vec();
            swapped.swap(at, (at + 1) % proof.len());
            changed.push(swapped);
        }
    }
    changed
}

#[test]
fn subtrees_are_taken_where_they_fit_and_nowhere_else() {
    let both = Both::of(600);
    let mut tree = Frontier::default();
    assert!(tree.push_subtree(both.tiles[0], TILE) && tree.push_subtree(both.tiles[1], TILE));
    assert_eq!((tree.size(), tree.root()), (512, both.roots[512]));
    for hash in &both.hashes[512..600] {
        tree.push(*hash);
    }
    assert_eq!(tree.root(), both.roots[600]);
    let before = tree.clone();
    for count in [0, 3, 16, 256, 1 << 63] {
        assert!(!tree.push_subtree([1; 32], count), "{count} leaves at 600");
    }
    assert_eq!(tree, before);
    assert!(tree.push_subtree([1; 32], 8), "600 is a multiple of 8");
}
