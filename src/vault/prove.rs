//! What the vault says of its own log, so that others can check it: signed checkpoints, proofs, and events that are tied to them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::export::Line;
use super::{Vault, VaultError};
use crate::kernel::{Epoch, Position};
use crate::log::Prover;
use crate::seal::checkpoint::{self, VerifierKey};
use crate::seal::{Key, Record};

/// A checkpoint as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signed note.
    pub note: Arc<str>,
    /// The epoch of the last record.
    pub epoch: Epoch,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: [u8; 32],
    /// The position of the last one.
    pub position: Position,
}

/// The log's own signing key, and the latest checkpoint: the newest size is signed once.
pub(super) struct Notary {
    seed: Key,
    latest: Mutex<Option<Signed>>,
}

impl Notary {
    pub const fn new(seed: Key) -> Self {
        Self { seed, latest: Mutex::new(None) }
    }

    fn latest(&self) -> MutexGuard<'_, Option<Signed>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proof, and what it was made against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The hashes, in the order of RFC 6962.
    pub hashes: Vec<[u8; 32]>,
    /// The number of the leaf; for a proof of consistency, the older size.
    pub of: u64,
    /// The size of the tree that the proof leads to.
    pub size: u64,
    /// The root of that tree.
    pub root: [u8; 32],
}

/// What cannot be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprovable {
    /// Larger than the tree.
    #[error("the log has {0} leaves")]
    PastTheEnd(u64),
    /// No record stands at this position.
    #[error("no record stands at position {0}")]
    NoSuchPosition(Position),
    /// A leaf that a tree of this size does not have.
    #[error("a tree of {size} leaves has no leaf {leaf}: they are counted from 0")]
    NotYet {
        /// The leaf.
        leaf: u64,
        /// The size.
        size: u64,
    },
    /// From nothing, or backwards.
    #[error("a proof of consistency goes from a size of 1 or more to one that is not smaller")]
    Backwards,
}

/// Which leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// By its number, from 0.
    Number(u64),
    /// By its record's position.
    At(Position),
}

fn not_begun() -> VaultError {
    VaultError::Stopped("the log is empty: it has not begun".into())
}

impl Vault {
    /// What proves something of the log as it stands.
    pub async fn prover(&self) -> Result<Prover, VaultError> {
        let prover = self.sequencer.look(crate::log::Index::prover).await;
        prover.ok_or_else(|| VaultError::Stopped("the sequencer has stopped".into()))
    }

    /// The log's verifier key, for the epoch of a position.
    pub async fn verifier_key(&self, at: Position) -> Result<VerifierKey, VaultError> {
        let prover = self.prover().await?;
        let epoch = prover.epoch_at(prover.size_at(at)).ok_or_else(not_begun)?;
        Ok(VerifierKey { name: checkpoint::origin(self.keyring.vault(), epoch), public: self.public_key() })
    }

    /// The public half of the log's signing key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        checkpoint::public_key(&self.notary.seed)
    }

    /// The checkpoint of the log through a position. The newest one is signed once for each size.
    pub async fn checkpoint(&self, at: Position) -> Result<Signed, VaultError> {
        let prover = self.prover().await?;
        let size = prover.size_at(at);
        let epoch = prover.epoch_at(size).ok_or_else(not_begun)?;
        if let Some(signed) = self.notary.latest().as_ref().filter(|signed| (signed.size, signed.epoch) == (size, epoch)) {
            return Ok(signed.clone());
        }
        let root = prover.root_at(&*self.log, size).await?.ok_or_else(not_begun)?;
        let note = checkpoint::sign(self.keyring.vault(), epoch, size, root, &self.notary.seed).into();
        let signed = Signed { note, epoch, size, root, position: prover.position(size - 1).unwrap_or(prover.head) };
        let mut latest = self.notary.latest();
        if latest.as_ref().is_none_or(|latest| latest.size < size) {
            *latest = Some(signed.clone());
        }
        drop(latest);
        Ok(signed)
    }

    /// Proves that a leaf is in the tree of a size; of the log through a position when none is given. The leaf's own hash comes first.
    pub async fn prove_inclusion(&self, leaf: Leaf, size: Option<u64>, at: Position) -> Result<Result<(Position, [u8; 32], Proof), Unprovable>, VaultError> {
        let prover = self.prover().await?;
        let end = prover.size_at(at);
        let size = size.unwrap_or(end);
        let number = match leaf {
            Leaf::Number(number) => number,
            Leaf::At(position) if position > at => return Ok(Err(Unprovable::PastTheEnd(end))),
            Leaf::At(position) => match prover.leaf(position) {
                Some(number) => number,
                None => return Ok(Err(Unprovable::NoSuchPosition(position))),
            },
        };
        if size > end || number >= end {
            return Ok(Err(Unprovable::PastTheEnd(end)));
        }
        let Some(hashes) = prover.inclusion(&*self.log, number, size).await? else { return Ok(Err(Unprovable::NotYet { leaf: number, size })) };
        let hash = prover.leaves(&*self.log, number..number + 1).await?.pop().unwrap_or_default();
        let position = prover.position(number).unwrap_or(at);
        Ok(Ok((position, hash, self.proven_by(&prover, hashes, number, size).await?)))
    }

    /// Proves that the tree of a size is the beginning of that of another; of the log through a position when none is given.
    pub async fn prove_consistency(&self, from: u64, to: Option<u64>, at: Position) -> Result<Result<Proof, Unprovable>, VaultError> {
        let prover = self.prover().await?;
        let end = prover.size_at(at);
        let to = to.unwrap_or(end);
        if to > end || from > end {
            return Ok(Err(Unprovable::PastTheEnd(end)));
        }
        let Some(hashes) = prover.consistency(&*self.log, from, to).await? else { return Ok(Err(Unprovable::Backwards)) };
        self.proven_by(&prover, hashes, from, to).await.map(Ok)
    }

    async fn proven_by(&self, prover: &Prover, hashes: Vec<[u8; 32]>, of: u64, size: u64) -> Result<Proof, VaultError> {
        let root = prover.root_at(&*self.log, size).await?.unwrap_or(prover.root);
        Ok(Proof { hashes, of, size, root })
    }

    /// The hashes of at most `limit` leaves, of those through a position; and how many these are in all.
    pub async fn leaf_hashes(&self, from: u64, limit: u64, at: Position) -> Result<(Vec<[u8; 32]>, u64), VaultError> {
        let prover = self.prover().await?;
        let size = prover.size_at(at);
        let leaves = from.min(size)..from.saturating_add(limit).min(size);
        Ok((prover.leaves(&*self.log, leaves).await?, size))
    }

    /// An event as a line of an export. Who may see it is the caller's matter; who may not gets [`Line::passed`].
    pub fn line(&self, leaf: u64, record: &Record) -> Result<Line, VaultError> {
        let opened = self.opener.open_unless_shredded(record)?;
        Ok(Line::event(leaf, record, opened.as_ref(), &self.notary.seed)?)
    }
}
