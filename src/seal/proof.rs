//! Proofs over the hash tree (RFC 6962, sections 2.1.1 and 2.1.2; checked as in RFC 9162, sections 2.1.3.2 and 2.1.4.2): that a leaf is in a tree
//! of a size, and that a tree of one size is the beginning of a larger one. Pure: who makes one gives the hashes.

use std::ops::Range;

use super::merkle::{Frontier, TILE, parent};

/// The parts of the tree whose roots prove that a leaf is in a tree of a size, from the leaf up; `None` when the tree is smaller.
#[must_use]
pub fn inclusion(leaf: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if leaf >= size {
        return None;
    }
    let (mut at, mut proof) = (0..size, Vec::new());
    while at.end - at.start > 1 {
        let middle = split(&at);
        if leaf < middle {
            proof.push(middle..at.end);
            at.end = middle;
        } else {
            proof.push(at.start..middle);
            at.start = middle;
        }
    }
    proof.reverse();
    Some(proof)
}

/// The parts of the tree whose roots prove that the tree of size `from` is the beginning of that of size `to`; `None` when `from` is 0 or larger.
#[must_use]
pub fn consistency(from: u64, to: u64) -> Option<Vec<Range<u64>>> {
    if from == 0 || from > to {
        return None;
    }
    let (mut at, mut proof) = (0..to, Vec::new());
    while from != at.end {
        let middle = split(&at);
        if from <= middle {
            proof.push(middle..at.end);
            at.end = middle;
        } else {
            proof.push(at.start..middle);
            at.start = middle;
        }
    }
    // The part where both trees are the same is the old root itself when it begins at 0: then whoever checks it has it.
    if at.start > 0 {
        proof.push(at);
    }
    proof.reverse();
    Some(proof)
}

/// Where a part of at least two leaves divides: after the largest power of two that is smaller.
fn split(at: &Range<u64>) -> u64 {
    at.start + (1 << (at.end - at.start - 1).ilog2())
}

/// The leaves of a part that no tile covers: their hashes are needed one by one, at most 255 of them.
#[must_use]
pub fn loose(part: &Range<u64>) -> Range<u64> {
    if part.start.is_multiple_of(TILE) { (part.end - part.end % TILE).max(part.start)..part.end } else { part.clone() }
}

/// The root over a part of the tree, from the roots of whole tiles and from leaf hashes. `None` where one of them is not given.
pub fn root_of(part: Range<u64>, tile: impl Fn(u64) -> Option<[u8; 32]>, leaf: impl Fn(u64) -> Option<[u8; 32]>) -> Option<[u8; 32]> {
    let (loose, mut tree) = (loose(&part), Frontier::default());
    for number in part.start / TILE..loose.start / TILE {
        tree.push_subtree(tile(number)?, TILE);
    }
    for at in loose {
        tree.push(leaf(at)?);
    }
    Some(tree.root())
}

/// Whether a proof shows that a leaf hash is that of the leaf of this number in the tree of this size and root.
#[must_use]
pub fn is_included(hash: [u8; 32], leaf: u64, size: u64, proof: &[[u8; 32]], root: &[u8; 32]) -> bool {
    if leaf >= size {
        return false;
    }
    let (mut node, mut last, mut up) = (leaf, size - 1, hash);
    for step in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            up = parent(step, &up);
            climb(&mut node, &mut last);
        } else {
            up = parent(&up, step);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && up == *root
}

/// Whether a proof shows that the tree of size and root `from` is the beginning of the tree of size and root `to`.
#[must_use]
pub fn is_consistent(from: (u64, &[u8; 32]), to: (u64, &[u8; 32]), proof: &[[u8; 32]]) -> bool {
    let ((from, from_root), (to, to_root)) = (from, to);
    if from == 0 || from > to {
        return false;
    }
    if from == to {
        return proof.is_empty() && from_root == to_root;
    }
    let (first, rest) = match proof.split_first() {
        // The old tree is a part of the new one: its root is not repeated.
        _ if from.is_power_of_two() => (from_root, proof),
        Some((first, rest)) => (first, rest),
        None => return false,
    };
    let shared = (from - 1).trailing_ones();
    let (mut node, mut last) = ((from - 1) >> shared, (to - 1) >> shared);
    let (mut old, mut new) = (*first, *first);
    for step in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            (old, new) = (parent(step, &old), parent(step, &new));
            climb(&mut node, &mut last);
        } else {
            new = parent(&new, step);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && old == *from_root && new == *to_root
}

/// Goes up to where the node is a right child: levels at which the right edge has no sibling have no step of their own.
fn climb(node: &mut u64, last: &mut u64) {
    while *node & 1 == 0 && *node != 0 {
        (*node, *last) = (*node >> 1, *last >> 1);
    }
}
