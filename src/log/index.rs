//! What the sequencer knows: a fold of the clear headers, without any key. A clone is cheap, so a block is checked on a copy.

use std::collections::{BTreeSet, HashSet};

use imbl::{HashMap, OrdSet, Vector};
use serde::{Deserialize, Serialize};

use super::key_set::KeySet;
use super::prover::{Begun, Prover};
use crate::kernel::{ClaimOp, Class, Epoch, KeyId, Moment, Position, StreamId, TenantId, Version};
use crate::seal::Record;
use crate::seal::merkle::Frontier;

/// How long a command id is remembered, in seconds: at least this, by `recorded_at`.
const REMEMBER_COMMANDS: i64 = 24 * 3600;

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// Its owner.
    pub tenant: TenantId,
    /// Of its latest event.
    pub version: Version,
    /// Of its latest change.
    pub content_version: Version,
    /// Position of its first event.
    pub first: Position,
    /// Position of its latest event.
    pub last: Position,
    /// The key of all its facts boxes.
    pub facts_key: KeyId,
}

/// A command that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Keyed hash of its request.
    pub request: Option<[u8; 32]>,
    /// Its first event.
    pub first: Position,
    /// Its last event.
    pub last: Position,
}

/// The fold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Index {
    streams: HashMap<StreamId, Stream>,
    claims: HashMap<[u8; 32], StreamId>,
    commands: HashMap<[u8; 32], Command>,
    command_ages: Vector<(Moment, [u8; 32])>,
    spent: KeySet,
    shredded: KeySet,
    /// Tenants all of whose keys were destroyed, by the first bytes of their ids: in a set of slots, their numbers would take half a gigabyte.
    tenants: OrdSet<[u8; 12]>,
    facts_keys: HashMap<[u8; 16], StreamId>,
    /// The batches that they are of.
    facts_batches: OrdSet<[u8; 12]>,
    tree: Frontier,
    head: Position,
    recorded_at: Moment,
    epoch: Option<Epoch>,
    /// The roots of the tree's tiles, and where each epoch begins: what proofs rest on.
    tiles: Vector<[u8; 32]>,
    begun: Vector<Begun>,
}

impl Index {
    /// A stream; `None` when it does not exist.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    /// Who holds a claim.
    #[must_use]
    pub fn claim(&self, hash: &[u8; 32]) -> Option<StreamId> {
        self.claims.get(hash).copied()
    }

    /// How many names are held.
    #[must_use]
    pub fn claims(&self) -> usize {
        self.claims.len()
    }

    /// A command of the last 24 hours.
    #[must_use]
    pub fn command(&self, hash: &[u8; 32]) -> Option<Command> {
        self.commands.get(hash).copied()
    }

    /// The stream whose facts a key opens.
    #[must_use]
    pub fn facts_key(&self, key: KeyId) -> Option<StreamId> {
        self.facts_keys.get(&key.to_bytes()).copied()
    }

    /// Whether a key has sealed a secret.
    #[must_use]
    pub fn is_spent(&self, key: KeyId) -> bool {
        self.spent.contains(key)
    }

    /// The keys that events have destroyed on purpose.
    #[must_use]
    pub const fn shredded(&self) -> &KeySet {
        &self.shredded
    }

    /// Whether a tenant's key was destroyed on purpose, alone or with all others.
    #[must_use]
    pub fn is_shredded(&self, tenant: TenantId, key: KeyId) -> bool {
        self.shredded.contains(key) || self.tenants.contains(&KeyId::whole(tenant).batch)
    }

    /// All that was destroyed on purpose: keys, and tenants as a whole.
    pub fn dead(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.shredded.iter().chain(self.tenants.iter().map(|batch| KeyId { batch: *batch, slot: u32::MAX }))
    }

    /// Those of them that sealed facts.
    pub fn dead_facts(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.dead().filter(|key| key.is_whole() || self.facts_key(*key).is_some())
    }

    /// The batches of all keys that sealed something.
    #[must_use]
    pub fn batches(&self) -> BTreeSet<[u8; 12]> {
        self.facts_batches.iter().copied().chain(self.spent.batches()).collect()
    }

    /// The hash tree over all records so far.
    #[must_use]
    pub const fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// What proves something of the log as it stands.
    #[must_use]
    pub fn prover(&self) -> Prover {
        Prover { size: self.tree.size(), root: self.tree.root(), head: self.head, tiles: self.tiles.clone(), begun: self.begun.clone() }
    }

    /// The last position.
    #[must_use]
    pub const fn head(&self) -> Position {
        self.head
    }

    /// When the last record was taken.
    #[must_use]
    pub const fn recorded_at(&self) -> Moment {
        self.recorded_at
    }

    /// The history that the last record belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// Takes the next record.
    pub fn fold(&mut self, record: &Record) {
        let header = record.header();
        let before = self.streams.get(&header.stream).copied();
        let stream = Stream {
            tenant: header.tenant,
            version: header.version,
            content_version: if header.class == Class::Change { header.version } else { before.map_or(Version::ZERO, |stream| stream.content_version) },
            first: before.map_or(header.position, |stream| stream.first),
            last: header.position,
            facts_key: header.facts_key,
        };
        self.streams.insert(header.stream, stream);
        if before.is_none() {
            self.facts_keys.insert(header.facts_key.to_bytes(), header.stream);
            if !self.facts_batches.contains(&header.facts_key.batch) {
                self.facts_batches.insert(header.facts_key.batch);
            }
        }
        for claim in &header.claims {
            self.fold_claim(*claim, header.stream);
        }
        for secret in &header.secrets {
            self.spent.insert(secret.key);
        }
        self.fold_shredded(&header.shredded);
        if let Some(command) = header.command {
            let last = Position(header.position.0 + u64::from(header.group.count - 1 - header.group.index));
            self.commands.insert(command, Command { request: header.request, first: header.position, last });
            self.command_ages.push_back((header.recorded_at, command));
        }
        self.forget_commands(header.recorded_at);
        if self.epoch != Some(header.epoch) {
            self.begun.push_back(Begun { epoch: header.epoch, position: header.position, leaf: self.tree.size() });
        }
        if let Some(tile) = self.tree.push(record.leaf()) {
            self.tiles.push_back(tile);
        }
        (self.head, self.recorded_at, self.epoch) = (header.position, header.recorded_at, Some(header.epoch));
    }

    /// What dies holds no name: in a history that was cut before it gave them back as well.
    fn fold_shredded(&mut self, keys: &[KeyId]) {
        let (mut gone, mut tenants) = (HashSet::new(), HashSet::new());
        for key in keys {
            if key.is_whole() {
                self.tenants.insert(key.batch);
                tenants.insert(key.batch);
            } else {
                self.shredded.insert(*key);
                gone.extend(self.facts_key(*key));
            }
        }
        if gone.is_empty() && tenants.is_empty() {
            return;
        }
        let streams = &self.streams;
        let is_of = |stream: &StreamId| streams.get(stream).is_some_and(|stream| tenants.contains(&KeyId::whole(stream.tenant).batch));
        self.claims.retain(|_, stream| !gone.contains(stream) && (tenants.is_empty() || !is_of(stream)));
    }

    fn fold_claim(&mut self, claim: ClaimOp, stream: StreamId) {
        match claim {
            ClaimOp::Take(hash) => drop(self.claims.insert(hash, stream)),
            // Only the holder frees: a late result must not free what was taken anew.
            ClaimOp::Free(hash) if self.claims.get(&hash) == Some(&stream) => drop(self.claims.remove(&hash)),
            ClaimOp::Free(_) => {}
        }
    }

    fn forget_commands(&mut self, now: Moment) {
        while let Some((at, hash)) = self.command_ages.front().copied() {
            if at.plus_seconds(REMEMBER_COMMANDS) >= now {
                break;
            }
            self.command_ages.pop_front();
            self.commands.remove(&hash);
        }
    }
}
