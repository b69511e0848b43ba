//! A whole log checked without any key: each record against the ones before it, and the roots against what was said of them.

use std::collections::BTreeMap;

use super::{Broken, Chain, EventLog, LogError, MAX_BLOCK_RECORDS};
use crate::kernel::{Epoch, Position};
use crate::seal::Record;

/// What somebody was told of the log: a checkpoint, an anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How many leaves it had.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// The epoch of its last record; `None` where that cannot be seen. What was told of an epoch that a restore has cut before this size is no
    /// matter any more.
    pub epoch: Option<Epoch>,
    /// Who says so, in words that follow "of".
    pub by: String,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Bad {
    /// Where it shows.
    pub position: Position,
    /// Everything before this position is what was told or kept of it: the first bad record is one of these, through `position`.
    pub from: Position,
    /// The number of the leaf, from 0.
    pub leaf: u64,
    /// What is wrong.
    pub cause: String,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "position {} (leaf {}): {}", self.position, self.leaf, self.cause)?;
        if self.from < self.position {
            write!(f, "; the first bad record is one of positions {} to {}: nothing vouches for these", self.from, self.position)?;
        }
        Ok(())
    }
}

/// A log that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Records that were checked.
    pub events: u64,
    /// How many leaves there are, those that are not shown included.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// The last position that was checked.
    pub head: Position,
    /// How much of the log was compared with what somebody was told.
    pub told: u64,
    /// The epoch of the last record.
    pub epoch: Option<Epoch>,
}

/// A check under way.
#[derive(Default)]
pub struct Audit {
    chain: Chain,
    told: BTreeMap<u64, Vec<Told>>,
    hashes: Vec<[u8; 32]>,
    events: u64,
    /// So many leaves are what somebody was told.
    told_size: u64,
    /// Through this position all is what somebody was told, or what was kept of it.
    sure: Position,
}

impl Audit {
    /// Against what was told of the log.
    #[must_use]
    pub fn against(told: Vec<Told>) -> Self {
        let mut audit = Self::default();
        for told in told {
            audit.told.entry(told.size).or_default().push(told);
        }
        audit
    }

    /// With the hashes of its first leaves, as they were kept: they tell which record was changed.
    #[must_use]
    pub fn with_hashes(mut self, hashes: Vec<[u8; 32]>) -> Self {
        self.hashes = hashes;
        self
    }

    /// The chain as far as it was checked.
    #[must_use]
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Takes the next record.
    pub fn take(&mut self, record: &Record) -> Result<(), Bad> {
        let leaf = self.chain.tree().size();
        let position = record.header().position;
        let known = usize::try_from(leaf).ok().and_then(|leaf| self.hashes.get(leaf)).copied();
        if known.is_some_and(|known| known != record.leaf()) {
            // Where it should stand: the one that stands here may say anything of itself.
            return Err(self.here("it is not the record whose hash was kept"));
        }
        self.chain.take(record).map_err(|Broken { cause }| self.at(position, cause))?;
        self.events += 1;
        if known.is_some() {
            self.sure = position;
        }
        self.compare()
    }

    /// Passes over leaves whose records are not shown.
    pub fn pass(&mut self, root: [u8; 32], count: u64) -> Result<(), Bad> {
        let size = self.chain.tree().size();
        if self.told.range(size + 1..size.saturating_add(count)).next().is_some() {
            return Err(self.here("it passes over a size that is to be compared"));
        }
        self.chain.pass(root, count).map_err(|Broken { cause }| self.here(cause))?;
        self.compare()
    }

    /// Nothing follows: the group must be whole, and nothing may be missing that somebody was told of.
    pub fn end(self) -> Result<Whole, Bad> {
        self.chain.end().map_err(|Broken { cause }| self.missing(cause))?;
        let tree = self.chain.tree();
        if let Some(told) = self.told.values().flatten().find(|told| self.is_later(told)) {
            return Err(self.missing(format!("the log ends before the history that begins there: {} is of it", told.by)));
        }
        let mut beyond = self.told.range(tree.size() + 1..).rev().flat_map(|(_, told)| told);
        if let Some(told) = beyond.find(|told| self.counts(told)) {
            return Err(self.missing(format!("the log ends before it, with {} leaves; that of {} has {}", tree.size(), told.by, told.size)));
        }
        if self.hashes.len() as u64 > tree.size() {
            return Err(self.missing(format!("the log ends before it, with {} leaves; {} hashes were kept", tree.size(), self.hashes.len())));
        }
        Ok(Whole { events: self.events, size: tree.size(), root: tree.root(), head: self.chain.head(), told: self.told_size, epoch: self.chain.epoch() })
    }

    /// Compares the root with what was told of this size.
    fn compare(&mut self) -> Result<(), Bad> {
        let (size, head) = (self.chain.tree().size(), self.chain.head());
        let Some(told) = self.told.get(&size) else { return Ok(()) };
        let root = self.chain.tree().root();
        let mut told = told.iter().filter(|told| self.counts(told)).peekable();
        if told.peek().is_none() {
            return Ok(());
        }
        if let Some(other) = told.find(|told| told.root != root) {
            let cause = format!("the root over the first {size} leaves is not that of {}: one of these records is not what it was", other.by);
            return Err(Bad { position: head, from: self.sure.next(), leaf: size - 1, cause });
        }
        (self.told_size, self.sure) = (size, head);
        Ok(())
    }

    /// Whether something was told of a history that begins after the one that stands here.
    fn is_later(&self, told: &Told) -> bool {
        let here = self.chain.epoch();
        told.epoch.is_some_and(|epoch| here.is_none_or(|here| epoch.number >= here.number && epoch != here))
    }

    /// Whether something was told of the history that stands here.
    fn counts(&self, told: &Told) -> bool {
        told.epoch.is_none() || told.epoch == self.chain.epoch()
    }

    /// What is wrong at the place where the next record should stand.
    #[must_use]
    pub fn here(&self, cause: impl Into<String>) -> Bad {
        self.at(self.chain.next(), cause)
    }

    /// Nothing stands where the next record should.
    fn missing(&self, cause: String) -> Bad {
        Bad { from: self.chain.next(), ..self.here(cause) }
    }

    /// What is wrong with what stands at a position.
    #[must_use]
    pub fn at(&self, found: Position, cause: impl Into<String>) -> Bad {
        // A record that claims a place further on shows that those before it are missing.
        let position = found.min(self.chain.next());
        Bad { position, from: self.sure.next().min(position), leaf: self.chain.tree().size(), cause: cause.into() }
    }
}

/// Checks a whole log, reading it through once. The inner error says what is wrong with it, the outer one that it could not be checked.
pub async fn audit(log: &dyn EventLog, mut audit: Audit, progress: &(dyn Fn(Position) + Sync)) -> Result<Result<Whole, Bad>, LogError> {
    let (mut at, mut limit) = (Position::ZERO, MAX_BLOCK_RECORDS);
    loop {
        let records = match log.read(at, limit).await {
            Ok(records) => records,
            Err(LogError::Damaged { position, cause }) => {
                // What stands before it comes first: that may be wrong, too.
                let before = usize::try_from(position.0.saturating_sub(at.0 + 1)).unwrap_or(0).min(MAX_BLOCK_RECORDS);
                if before == 0 || before == limit {
                    return Ok(Err(audit.at(position, cause)));
                }
                limit = before;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(last) = records.last() else { return Ok(audit.end()) };
        for record in &records {
            if let Err(bad) = audit.take(record) {
                return Ok(Err(bad));
            }
        }
        (at, limit) = (last.header().position, MAX_BLOCK_RECORDS);
        progress(at);
    }
}
