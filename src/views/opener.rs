//! Opens the facts of records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::credentials::{AnyEvent, FactsError, Stored};
use crate::kernel::{KeyId, Position, VaultId};
use crate::keyring::{Keyring, KeyringError};
use crate::seal::{Key, OpenError, Record, envelope};

/// How many facts keys are kept open.
const OPEN_KEYS: usize = 16 * 1024;

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

/// Opens facts with the keyring's keys, and keeps the latest ones.
pub struct Opener {
    vault: VaultId,
    keyring: Arc<dyn Keyring>,
    keys: Mutex<HashMap<KeyId, Key>>,
}

impl Opener {
    /// Over a keyring.
    #[must_use]
    pub fn new(keyring: Arc<dyn Keyring>) -> Self {
        Self { vault: keyring.vault(), keyring, keys: Mutex::default() }
    }

    /// Opens a record's facts from its box.
    pub fn open(&self, record: &Record) -> Result<Opened, FoldError> {
        let at = |cause| FoldError { position: record.header().position, cause };
        let key = self.key(record).map_err(|error| at(error.into()))?;
        let facts = envelope::open_facts(self.vault, record.header(), &key, record.facts()).map_err(|error| at(error.into()))?;
        Ok(Opened { stored: Self::stored(record, &facts.json)?, json: facts.json, salt: facts.salt })
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
