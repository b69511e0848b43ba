//! The hash tree over the log (RFC 6962, section 2.1), kept as its right edge: one root per full subtree. What proves something of it is in
//! `proof`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Leaves of a tile: a full subtree whose root is kept, so that a proof hashes few leaves anew.
pub const TILE: u64 = 256;

/// The roots of the full subtrees, largest first: all that appending and the root need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    size: u64,
    subtrees: Vec<[u8; 32]>,
}

impl Frontier {
    /// Takes the next leaf hash; gives the root of the tile that it completed.
    pub fn push(&mut self, leaf: [u8; 32]) -> Option<[u8; 32]> {
        self.join(leaf, 0)
    }

    /// Takes the root over the next `count` leaves, as if they had been pushed one by one. False, and nothing is taken, unless they are a full
    /// subtree that begins here.
    pub fn push_subtree(&mut self, root: [u8; 32], count: u64) -> bool {
        let fits = count.is_power_of_two() && self.size.is_multiple_of(count) && self.size.checked_add(count).is_some();
        if fits {
            self.join(root, count.trailing_zeros());
        }
        fits
    }

    fn join(&mut self, mut node: [u8; 32], mut height: u32) -> Option<[u8; 32]> {
        let grown = 1 << height;
        let mut tile = None;
        // Each one bit of the size from the node's height on is a full subtree of that height: the two become one.
        for _ in 0..(self.size >> height).trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = parent(&left, &node);
            }
            height += 1;
            if 1 << height == TILE {
                tile = Some(node);
            }
        }
        self.subtrees.push(node);
        self.size += grown;
        tile
    }

    /// The size and the roots of the full subtrees, largest first: for whoever stores it.
    #[must_use]
    pub fn parts(&self) -> (u64, &[[u8; 32]]) {
        (self.size, &self.subtrees)
    }

    /// From its parts; `None` unless there is one subtree for each one bit of the size.
    #[must_use]
    pub fn from_parts(size: u64, subtrees: Vec<[u8; 32]>) -> Option<Self> {
        (subtrees.len() == size.count_ones() as usize).then_some(Self { size, subtrees })
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root; of no leaves, SHA-256 of nothing.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        let mut right_to_left = self.subtrees.iter().rev();
        let Some(last) = right_to_left.next() else { return Sha256::digest([]).into() };
        right_to_left.fold(*last, |right, left| parent(left, &right))
    }
}

/// The node above two.
pub(super) fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}
