//! The rows of tenants' wrapping keys: which root key opens each, and which of two that differ counts.

use rusqlite::types::Value;

use super::KeyringError;
use super::file::{Found, Row, Table};
use super::pair::Pair;
use crate::kernel::{Random, TenantId, VaultId};
use crate::seal::{Key, WRAPPED, WrapOf, derive};

/// A version of a tenant's wrapping key, as it lies in the files.
#[derive(PartialEq)]
pub(super) struct Wrapping {
    pub tenant: TenantId,
    pub version: u32,
    wrapped: Vec<u8>,
}

/// A version that was opened.
pub(super) struct Opened {
    pub tenant: TenantId,
    pub version: u32,
    /// `None` when it was destroyed.
    pub key: Option<Key>,
}

impl Wrapping {
    /// Takes a row apart.
    pub fn of(row: &[Value]) -> Result<Self, KeyringError> {
        match row {
            [Value::Blob(tenant), Value::Integer(version), Value::Blob(wrapped)] => {
                Ok(Self { tenant: TenantId(sixteen(tenant)?), version: u32::try_from(*version).unwrap_or(0), wrapped: wrapped.clone() })
            }
            _ => Err(KeyringError::Damaged("a wrapping key has fields of other types".into())),
        }
    }

    /// Under a root key.
    pub fn under(root: &Key, vault: VaultId, (tenant, version): (TenantId, u32), key: &Key, random: &dyn Random) -> Self {
        let wrapped = derive::wrap(root, WrapOf::TenantKey { vault, tenant, version }, key, random).to_vec();
        Self { tenant, version, wrapped }
    }

    /// Without the key: it is gone for ever.
    pub fn destroyed(tenant: TenantId, version: u32) -> Self {
        Self { tenant, version, wrapped: vec![0; WRAPPED] }
    }

    /// The row's key.
    pub fn key(tenant: TenantId, version: u32) -> [Value; 2] {
        [Value::Blob(tenant.0.to_vec()), Value::Integer(i64::from(version))]
    }

    /// As a row.
    pub fn row(&self) -> Row {
        vec![Value::Blob(self.tenant.0.to_vec()), Value::Integer(i64::from(self.version)), Value::Blob(self.wrapped.clone())]
    }

    /// Whether only its place is left.
    pub fn is_destroyed(&self) -> bool {
        is_destroyed(&self.wrapped)
    }

    /// Opens it; `None` when it lies under another root key.
    pub fn open(&self, vault: VaultId, root: &Key) -> Option<Key> {
        derive::unwrap(root, WrapOf::TenantKey { vault, tenant: self.tenant, version: self.version }, &self.wrapped).ok()
    }
}

/// Whether a wrapped key was destroyed.
pub(super) fn is_destroyed(wrapped: &[u8]) -> bool {
    wrapped.iter().all(|byte| *byte == 0)
}

/// The version in both files, as far as each holds it whole.
pub(super) fn copies(files: &Pair, key: &[Value]) -> Result<[Option<Wrapping>; 2], KeyringError> {
    let whole = |found| match found {
        Found::Whole(row) => Wrapping::of(&row).map(Some),
        Found::Bad | Found::Absent => Ok(None),
    };
    let [first, second] = files.both(Table::named("wrapping_keys")?, key)?;
    Ok([whole(first)?, whole(second)?])
}

/// Of two copies, the one that counts, and its key: a destruction, else what the newest of the root keys opens.
pub(super) fn settled(copies: [Option<Wrapping>; 2], vault: VaultId, roots: &[Key]) -> Result<(Wrapping, Option<Key>), KeyringError> {
    let mut copies: Vec<Wrapping> = copies.into_iter().flatten().collect();
    if let Some(place) = copies.iter().position(Wrapping::is_destroyed) {
        return Ok((copies.swap_remove(place), None));
    }
    for root in roots {
        if let Some((place, key)) = copies.iter().enumerate().find_map(|(place, copy)| Some((place, copy.open(vault, root)?))) {
            return Ok((copies.swap_remove(place), Some(key)));
        }
    }
    Err(KeyringError::WrongRootKey)
}

/// Opens every version of every tenant. Where the copies differ, that which counts is written to both, unless the files are only read; what was
/// done is told in words.
pub(super) fn open_all(files: &mut Pair, vault: VaultId, roots: &[Key]) -> Result<(Vec<Opened>, Vec<String>), KeyringError> {
    let table = Table::named("wrapping_keys")?;
    let (mut all, mut repairs) = (Vec::new(), Vec::new());
    for key in files.keys(table)? {
        let copies = copies(files, &key)?;
        let differ = matches!(&copies, [Some(first), Some(second)] if first != second);
        let (counts, opened) = settled(copies, vault, roots)?;
        if differ && files.writable().is_ok() {
            files.put(&[(table, &counts.row())])?;
            repairs.push("a row of wrapping_keys lay under another root key in one copy".to_owned());
        }
        all.push(Opened { tenant: counts.tenant, version: counts.version, key: opened });
    }
    Ok((all, repairs))
}

/// An id of 16 bytes.
pub(super) fn sixteen(bytes: &[u8]) -> Result<[u8; 16], KeyringError> {
    bytes.try_into().map_err(|_| KeyringError::Damaged("an id is not 16 bytes long".into()))
}
