//! What proves something of a log: the roots of its tiles and where its epochs begin, beside the log itself.

use std::collections::BTreeMap;
use std::ops::Range;

use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::{EventLog, LogError};
use crate::kernel::{Epoch, Position};
use crate::seal::merkle::TILE;
use crate::seal::proof::{consistency, inclusion, loose, root_of};

/// An epoch's first record. Positions have a gap before it, leaves have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Which epoch.
    pub epoch: Epoch,
    /// The position of its first record.
    pub position: Position,
    /// The number of its first record's leaf, from 0.
    pub leaf: u64,
}

/// The hash tree over a log at one size. A clone is cheap.
#[derive(Clone, Debug, PartialEq)]
pub struct Prover {
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// The position of the last one.
    pub head: Position,
    pub(super) tiles: Vector<[u8; 32]>,
    pub(super) begun: Vector<Begun>,
}

impl Prover {
    /// The epoch that the last leaf of a tree of a size belongs to; `None` of an empty one.
    #[must_use]
    pub fn epoch_at(&self, size: u64) -> Option<Epoch> {
        self.begun.iter().rev().find(|begun| begun.leaf < size).map(|begun| begun.epoch)
    }

    /// Where the log's epochs begin, oldest first.
    pub fn begun(&self) -> impl Iterator<Item = &Begun> {
        self.begun.iter()
    }

    /// How many leaves stand at or before a position.
    #[must_use]
    pub fn size_at(&self, position: Position) -> u64 {
        let next = self.begun.iter().position(|begun| begun.position > position).unwrap_or(self.begun.len());
        let Some(begun) = next.checked_sub(1).and_then(|at| self.begun.get(at)) else { return 0 };
        let end = self.begun.get(next).map_or(self.size, |begun| begun.leaf);
        (begun.leaf + (position.0 - begun.position.0)).saturating_add(1).min(end)
    }

    /// The number of the leaf of a position; `None` where no record stands.
    #[must_use]
    pub fn leaf(&self, position: Position) -> Option<u64> {
        let next = self.begun.iter().position(|begun| begun.position > position).unwrap_or(self.begun.len());
        let begun = self.begun.get(next.checked_sub(1)?)?;
        let end = self.begun.get(next).map_or(self.size, |begun| begun.leaf);
        Some(begun.leaf + (position.0 - begun.position.0)).filter(|leaf| *leaf < end)
    }

    /// The position of a leaf; `None` beyond the end.
    #[must_use]
    pub fn position(&self, leaf: u64) -> Option<Position> {
        let begun = self.begun.iter().rev().find(|begun| begun.leaf <= leaf)?;
        Some(Position(begun.position.0 + (leaf - begun.leaf))).filter(|_| leaf < self.size)
    }

    /// The hashes of some leaves, read from the log.
    pub async fn leaves(&self, log: &dyn EventLog, leaves: Range<u64>) -> Result<Vec<[u8; 32]>, LogError> {
        let leaves = leaves.start..leaves.end.min(self.size);
        let Some(first) = self.position(leaves.start).filter(|_| !leaves.is_empty()) else { return Ok(Vec::new()) };
        let count = usize::try_from(leaves.end - leaves.start).unwrap_or(usize::MAX);
        let records = log.read(Position(first.0 - 1), count).await?;
        if records.len() == count {
            Ok(records.iter().map(crate::seal::Record::leaf).collect())
        } else {
            Err(LogError::Damaged { position: first, cause: format!("of {count} records from here on, {} are there", records.len()) })
        }
    }

    /// The root as it was at a size; `None` beyond the end.
    pub async fn root_at(&self, log: &dyn EventLog, size: u64) -> Result<Option<[u8; 32]>, LogError> {
        if size > self.size {
            return Ok(None);
        }
        if size == self.size {
            return Ok(Some(self.root));
        }
        Ok(self.roots(log, std::iter::once(0..size).collect()).await?.pop())
    }

    /// Proves that a leaf is in the tree of a size; `None` beyond the end.
    pub async fn inclusion(&self, log: &dyn EventLog, leaf: u64, size: u64) -> Result<Option<Vec<[u8; 32]>>, LogError> {
        self.prove(log, inclusion(leaf, size), size).await
    }

    /// Proves that the tree of a size is the beginning of that of another; `None` beyond the end, of nothing, and backwards.
    pub async fn consistency(&self, log: &dyn EventLog, from: u64, to: u64) -> Result<Option<Vec<[u8; 32]>>, LogError> {
        self.prove(log, consistency(from, to), to).await
    }

    async fn prove(&self, log: &dyn EventLog, parts: Option<Vec<Range<u64>>>, size: u64) -> Result<Option<Vec<[u8; 32]>>, LogError> {
        match parts {
            Some(parts) if size <= self.size => self.roots(log, parts).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The roots over parts of the tree. What no tile covers is read, once for each tile that it lies in: two at most for the parts of a proof.
    pub async fn roots(&self, log: &dyn EventLog, parts: Vec<Range<u64>>) -> Result<Vec<[u8; 32]>, LogError> {
        let mut needed = BTreeMap::<u64, Range<u64>>::new();
        for loose in parts.iter().map(loose).filter(|loose| !loose.is_empty()) {
            let all = needed.entry(loose.start / TILE).or_insert_with(|| loose.clone());
            *all = all.start.min(loose.start)..all.end.max(loose.end);
        }
        let mut read = BTreeMap::new();
        for (tile, leaves) in needed {
            read.insert(tile, (leaves.start, self.leaves(log, leaves).await?));
        }
        let index = |at: u64| usize::try_from(at).ok();
        let leaf = |at: u64| read.get(&(at / TILE)).and_then(|(start, hashes)| hashes.get(index(at.checked_sub(*start)?)?).copied());
        let root = |part| root_of(part, |tile| self.tiles.get(index(tile)?).copied(), leaf);
        let missing = || LogError::Engine("a part of the hash tree is missing".into());
        parts.into_iter().map(|part| root(part).ok_or_else(missing)).collect()
    }
}
