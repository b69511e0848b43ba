//! Opens the facts of records.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::{CatchUpError, destroys_facts};
use crate::credentials::{AnyEvent, FactsError, Stored};
use crate::kernel::{Header, KeyId, Position, VaultId};
use crate::keyring::{Keyring, KeyringError};
use crate::log::{EventLog, MAX_BLOCK_RECORDS};
use crate::seal::{Key, OpenError, Record, envelope};

/// How many facts keys are kept open, some 50 bytes each: to unwrap one anew takes longer than all else that a fold does with an event.
const OPEN_KEYS: usize = 256 * 1024;

/// A fold that cannot go on, and where it stopped.
#[derive(Debug, thiserror::Error)]
#[error("the fold stopped at position {position}: {cause}")]
pub struct FoldError {
    /// The record that could not be folded.
    pub position: Position,
    /// Why.
    pub cause: FoldCause,
}

/// Why a fold cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FoldCause {
    /// Its key is not to be had.
    #[error(transparent)]
    Key(#[from] KeyringError),
    /// Its facts do not open.
    #[error(transparent)]
    Box(#[from] OpenError),
    /// Its facts have an unknown shape.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// Its facts are of another event than its header says.
    #[error("the facts are of another event than the header says")]
    OtherEvent,
    /// Its key was destroyed, and no event says so.
    #[error("key {0} was destroyed, and no event of the log says so: it has lost its end, or the keyring is of another history; `keyledger doctor` says more")]
    Unexplained(KeyId),
}

/// Opened facts.
pub struct Opened {
    /// What happened, and how.
    pub stored: Stored,
    /// The facts as they are stored.
    pub json: Vec<u8>,
    /// The random bytes that their commitment rests on.
    pub salt: [u8; 32],
}

/// Opens facts with the keyring's keys, and keeps the latest ones. What was shredded it does not open, whatever a copy of the keyring still holds.
pub struct Opener {
    vault: VaultId,
    keyring: Arc<dyn Keyring>,
    keys: Mutex<HashMap<KeyId, Key>>,
    /// The facts keys that events have destroyed, and tenants as a whole.
    dead: RwLock<HashSet<KeyId>>,
}

impl Opener {
    /// Over a keyring.
    #[must_use]
    pub fn new(keyring: Arc<dyn Keyring>) -> Self {
        Self { vault: keyring.vault(), keyring, keys: Mutex::default(), dead: RwLock::default() }
    }

    /// Takes note of keys that an event of the log has destroyed: what they sealed is read as shredded from now on.
    pub fn forget(&self, keys: impl IntoIterator<Item = KeyId>) {
        let mut dead = self.dead.write().unwrap_or_else(PoisonError::into_inner);
        let mut open = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if key.is_whole() {
                // Whose each open key is, is not known.
                open.clear();
            }
            open.remove(&key);
            dead.insert(key);
        }
    }

    /// Takes note of what an event has destroyed, if it is one that destroys facts. It must have opened: its header is believed only then.
    pub fn note(&self, header: &Header, event: Option<&AnyEvent>) {
        if event.is_some_and(destroys_facts) {
            self.forget(header.shredded.iter().copied());
        }
    }

    /// Looks in the headers of all records after a position for keys that were destroyed. A header is believed when its facts box has opened.
    pub async fn learn(&self, log: &dyn EventLog, mut after: Position) -> Result<(), CatchUpError> {
        loop {
            let records = log.read(after, MAX_BLOCK_RECORDS).await?;
            let Some(last) = records.last() else { return Ok(()) };
            after = last.header().position;
            for record in records.iter().filter(|record| !record.header().shredded.is_empty()) {
                self.note(record.header(), Some(&self.open(record)?.stored.event));
            }
        }
    }

    /// Whether a record's facts key was destroyed by an event that is known.
    #[must_use]
    pub fn is_forgotten(&self, record: &Record) -> bool {
        let dead = self.dead.read().unwrap_or_else(PoisonError::into_inner);
        !dead.is_empty() && (dead.contains(&record.header().facts_key) || dead.contains(&KeyId::whole(record.header().tenant)))
    }

    /// As [`Opener::open`]; `None` for what was shredded.
    pub fn open_unless_shredded(&self, record: &Record) -> Result<Option<Opened>, FoldError> {
        if self.is_forgotten(record) { Ok(None) } else { self.open(record).map(Some) }
    }

    /// Opens a record's facts from its box.
    pub fn open(&self, record: &Record) -> Result<Opened, FoldError> {
        let at = |cause| FoldError { position: record.header().position, cause };
        let key = self.key(record).map_err(|error| match error {
            KeyringError::Destroyed(key) => at(FoldCause::Unexplained(key)),
            error => at(error.into()),
        })?;
        let facts = envelope::open_facts(self.vault, record.header(), &key, record.facts()).map_err(|error| at(error.into()))?;
        Ok(Opened { stored: Self::stored(record, &facts.json)?, json: facts.json, salt: facts.salt })
    }

    /// What happened; `None` for what was shredded.
    pub fn event(&self, record: &Record) -> Result<Option<AnyEvent>, FoldError> {
        Ok(self.open_unless_shredded(record)?.map(|opened| opened.stored.event))
    }

    /// Facts as what happened and how; they must be of the event that the header names.
    pub fn stored(record: &Record, json: &[u8]) -> Result<Stored, FoldError> {
        let header = record.header();
        let at = |cause| FoldError { position: header.position, cause };
        let stored = AnyEvent::from_facts(&header.kind, &header.event_type, json).map_err(|error| at(error.into()))?;
        if stored.event.event_type() == header.event_type { Ok(stored) } else { Err(at(FoldCause::OtherEvent)) }
    }

    fn key(&self, record: &Record) -> Result<Key, KeyringError> {
        let header = record.header();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&header.facts_key) {
            return Ok(key.duplicate());
        }
        let key = self.keyring.key(header.tenant, header.facts_key)?;
        if keys.len() >= OPEN_KEYS {
            keys.clear();
        }
        keys.insert(header.facts_key, key.duplicate());
        Ok(key)
    }
}
