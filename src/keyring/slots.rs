//! Data keys, minted ahead: 256 to a batch.

use rusqlite::types::Value;

use super::file::Row;
use super::{BATCH, KeyringError};
use crate::kernel::{KeyId, Random, TenantId, VaultId};
use crate::seal::{Key, WRAPPED, WrapOf, derive};

/// A batch whose keys are handed out one after the other.
pub(super) struct Pool {
    /// The run and epoch it was minted in; it serves no other.
    pub run: [u8; 16],
    batch: [u8; 12],
    keys: std::vec::IntoIter<Key>,
}

impl Pool {
    /// The next key. What is left when the program ends is never used.
    pub fn take(&mut self) -> Option<(KeyId, Key)> {
        let slot = BATCH - u32::try_from(self.keys.len()).unwrap_or(0);
        self.keys.next().map(|key| (KeyId { batch: self.batch, slot }, key))
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.keys.len()
    }
}

/// Whose keys are minted, and in which run of the program.
#[derive(Clone, Copy)]
pub(super) struct Mint {
    pub vault: VaultId,
    pub tenant: TenantId,
    pub version: u32,
    pub epoch: u32,
    pub run: [u8; 16],
}

impl Mint {
    /// A fresh batch and its row; to be used only once the row is in both files.
    pub fn batch(self, wrapping: &Key, random: &dyn Random) -> (Pool, Row) {
        let batch = random.array::<12>();
        let mut slots = Vec::with_capacity(BATCH as usize * WRAPPED);
        let mut keys = Vec::with_capacity(BATCH as usize);
        for slot in 0..BATCH {
            let key = Key::random(random);
            let what = WrapOf::Slot { vault: self.vault, tenant: self.tenant, key: KeyId { batch, slot } };
            slots.extend(derive::wrap(wrapping, what, &key, random));
            keys.push(key);
        }
        let blob = |bytes: &[u8]| Value::Blob(bytes.to_vec());
        let row = vec![
            blob(&batch),
            blob(&self.tenant.0),
            Value::Integer(i64::from(self.version)),
            Value::Integer(i64::from(self.epoch)),
            blob(&self.run),
            Value::Blob(slots),
        ];
        (Pool { run: self.run, batch, keys: keys.into_iter() }, row)
    }
}

/// A batch as it is read back.
pub(super) struct Batch {
    pub tenant: Vec<u8>,
    pub version: u32,
    pub slots: Vec<u8>,
}

impl Batch {
    /// Takes a row apart.
    pub fn of(row: Row) -> Result<Self, KeyringError> {
        match <[Value; 6]>::try_from(row) {
            Ok([_, Value::Blob(tenant), Value::Integer(version), _, _, Value::Blob(slots)]) => {
                Ok(Self { tenant, version: u32::try_from(version).unwrap_or(0), slots })
            }
            _ => Err(KeyringError::Damaged("a batch has fields of other types".into())),
        }
    }

    /// The wrapped key of a slot.
    pub fn wrapped(&self, id: KeyId) -> Result<&[u8], KeyringError> {
        let start = id.slot as usize * WRAPPED;
        let wrapped = self.slots.get(start..start + WRAPPED).ok_or(KeyringError::Missing(id))?;
        if wrapped.iter().all(|byte| *byte == 0) { Err(KeyringError::Destroyed(id)) } else { Ok(wrapped) }
    }
}

/// The row with these slots zeroed.
pub(super) fn without(mut row: Row, keys: &[KeyId]) -> Row {
    if let Some(Value::Blob(slots)) = row.last_mut() {
        for key in keys {
            let start = key.slot as usize * WRAPPED;
            if let Some(slot) = slots.get_mut(start..start + WRAPPED) {
                slot.fill(0);
            }
        }
    }
    row
}
