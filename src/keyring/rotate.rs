//! Wrapping keys anew: all tenants' keys under another root key, or one tenant's data keys under another of its own. Step by step, each a bounded
//! transaction in both files, so that the server goes on meanwhile and a kill leaves nothing that does not open. What the keys open stays as it is.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::KeyringError;
use super::file::{Found, Row, Table};
use super::pair::Pair;
use super::sqlite::{Inner, SqliteKeyring, lock};
use super::wrapping::{self, Wrapping, is_destroyed};
use crate::kernel::{KeyId, TenantId};
use crate::seal::{Key, WRAPPED, WrapOf, derive};

/// Rows of one transaction: a root key wraps small ones, a tenant's key batches of 27 KiB.
const ROOT_STEP: usize = 64;
const STEP: usize = 8;

/// A rotation of a tenant's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose key.
    pub tenant: TenantId,
    /// The version that ends.
    pub from: u32,
    /// The version that wraps what is new.
    pub to: u32,
}

/// What was found under which key, in both files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Rows that the new key opens.
    pub done: u64,
    /// Rows that it does not open.
    pub left: u64,
}

/// Rows that a version of a tenant's key wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Keys with one purpose.
    pub purposes: u64,
    /// Batches of data keys.
    pub batches: u64,
}

/// The versions of a tenant's key, and what each wraps; none when it was destroyed.
pub type Versions = BTreeMap<u32, Held>;

/// The steps of rotations. Each may be repeated, and goes on where another run stopped.
pub trait Rotate: Send + Sync {
    /// All tenants and what their keys wrap.
    fn versions(&self) -> Result<BTreeMap<TenantId, Versions>, KeyringError>;
    /// Wraps some more tenants' keys under the first of the root keys; how many may be left.
    fn rewrap_tenants(&self, roots: &[Key]) -> Result<usize, KeyringError>;
    /// Opens every row of both files under a root key.
    fn prove_root(&self, root: &Key) -> Result<Proof, KeyringError>;
    /// Begins to rotate a tenant's key, or goes on: the new version is durable and in use on return.
    fn begin(&self, tenant: TenantId, roots: &[Key]) -> Result<Turn, KeyringError>;
    /// Rotations of tenants' keys that were begun and have not ended.
    fn turns(&self) -> Vec<Turn>;
    /// Wraps some more of what is under the earlier version; how many rows may be left.
    fn rewrap(&self, turn: Turn) -> Result<usize, KeyringError>;
    /// Opens every row of the tenant in both files under the new version.
    fn prove(&self, turn: Turn) -> Result<Proof, KeyringError>;
    /// Destroys the earlier version, when nothing is left under it.
    fn retire(&self, turn: Turn) -> Result<(), KeyringError>;
}

/// Batches of a tenant under earlier versions, at most so many, as one file has them.
fn earlier(file: &Connection, turn: Turn, limit: usize) -> Result<Vec<Value>, KeyringError> {
    let mut select = file.prepare_cached("SELECT id FROM batches WHERE tenant = ?1 AND version < ?2 LIMIT ?3")?;
    let rows = select.query_map(params![turn.tenant.0.to_vec(), turn.to, i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many rows of a tenant there are under each version, as one file has them.
fn count(file: &Connection, table: &str) -> Result<Vec<(TenantId, u32, u64)>, KeyringError> {
    let mut select = file.prepare_cached(&format!("SELECT tenant, version, count(*) FROM {table} GROUP BY tenant, version"))?;
    let rows = select.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get::<_, i64>(2)?)))?;
    let mut counted = Vec::new();
    for row in rows {
        let (tenant, version, count) = row?;
        counted.push((TenantId(wrapping::sixteen(&tenant)?), version, u64::try_from(count).unwrap_or(0)));
    }
    Ok(counted)
}

fn is_left(files: &Pair, turn: Turn) -> Result<bool, KeyringError> {
    for file in files.each() {
        for table in ["purpose_keys", "batches"] {
            if count(file, table)?.iter().any(|(tenant, version, _)| *tenant == turn.tenant && *version < turn.to) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Inner {
    /// A purpose key under the newest version.
    fn purpose_anew(&self, row: Row, turn: Turn, newest: &Key) -> Result<Row, KeyringError> {
        let damaged = || KeyringError::Damaged("a purpose key has fields of other types".into());
        let [Value::Blob(id), Value::Blob(tenant), Value::Text(purpose), Value::Integer(version), Value::Blob(wrapped)] = row.as_slice() else {
            return Err(damaged());
        };
        let version = u32::try_from(*version).map_err(|_| damaged())?;
        if version >= turn.to {
            return Ok(row);
        }
        let what = WrapOf::Purpose { vault: self.vault, tenant: turn.tenant, purpose, id: wrapping::sixteen(id)? };
        let key = derive::unwrap(&self.wrapping_key(turn.tenant, version)?, what, wrapped).map_err(|_| damaged())?;
        let wrapped = derive::wrap(newest, what, &key, &*self.random).to_vec();
        Ok(vec![Value::Blob(id.clone()), Value::Blob(tenant.clone()), Value::Text(purpose.clone()), Value::Integer(i64::from(turn.to)), Value::Blob(wrapped)])
    }

    /// A batch under the newest version; destroyed slots stay destroyed.
    fn batch_anew(&self, row: Row, turn: Turn, newest: &Key) -> Result<Row, KeyringError> {
        let damaged = |what: &str| KeyringError::Damaged(format!("a batch {what}"));
        let [Value::Blob(id), tenant, Value::Integer(version), epoch, run, Value::Blob(slots)] = row.as_slice() else {
            return Err(damaged("has fields of other types"));
        };
        let version = u32::try_from(*version).map_err(|_| damaged("has no version"))?;
        if version >= turn.to {
            return Ok(row);
        }
        let batch: [u8; 12] = id.as_slice().try_into().map_err(|_| damaged("has no id"))?;
        let former = self.wrapping_key(turn.tenant, version)?;
        let mut anew = Vec::with_capacity(slots.len());
        for (wrapped, slot) in slots.chunks(WRAPPED).zip(0..) {
            if is_destroyed(wrapped) {
                anew.extend_from_slice(wrapped);
                continue;
            }
            let what = WrapOf::Slot { vault: self.vault, tenant: turn.tenant, key: KeyId { batch, slot } };
            let key = derive::unwrap(&former, what, wrapped).map_err(|_| damaged("has a key that does not open"))?;
            anew.extend(derive::wrap(newest, what, &key, &*self.random));
        }
        Ok(vec![Value::Blob(id.clone()), tenant.clone(), Value::Integer(i64::from(turn.to)), epoch.clone(), run.clone(), Value::Blob(anew)])
    }

    /// Whether a row of a tenant opens under a version of its key, whole.
    fn opens(&self, table: &Table, found: Found, (version, key): (u32, &Key), tenant: TenantId) -> bool {
        let Found::Whole(row) = found else { return false };
        match (table.name, row.as_slice()) {
            ("purpose_keys", [Value::Blob(id), _, Value::Text(purpose), Value::Integer(stated), Value::Blob(wrapped)]) => {
                let Ok(id) = wrapping::sixteen(id) else { return false };
                let what = WrapOf::Purpose { vault: self.vault, tenant, purpose, id };
                *stated == i64::from(version) && derive::unwrap(key, what, wrapped).is_ok()
            }
            ("batches", [Value::Blob(id), _, Value::Integer(stated), _, _, Value::Blob(slots)]) => {
                let Ok(batch) = <[u8; 12]>::try_from(id.as_slice()) else { return false };
                let what = |slot| WrapOf::Slot { vault: self.vault, tenant, key: KeyId { batch, slot } };
                let mut wraps = slots.chunks(WRAPPED).zip(0..);
                *stated == i64::from(version) && wraps.all(|(wrapped, slot)| is_destroyed(wrapped) || derive::unwrap(key, what(slot), wrapped).is_ok())
            }
            _ => false,
        }
    }

    fn live_versions(&self, tenant: TenantId) -> Vec<u32> {
        lock(&self.wrapping).get(&tenant).map(|versions| versions.keys().copied().collect()).unwrap_or_default()
    }

    /// The keys of a tenant's rows of a table, in either file.
    fn rows_of(&self, table: &Table, tenant: TenantId) -> Result<Vec<Row>, KeyringError> {
        let mut keys = BTreeMap::new();
        for file in lock(&self.files).each() {
            let mut select = file.prepare_cached(&format!("SELECT id FROM {} WHERE tenant = ?1", table.name))?;
            for id in select.query_map([tenant.0.to_vec()], |row| row.get::<_, Vec<u8>>(0))? {
                let id = id?;
                keys.insert(id.clone(), vec![Value::Blob(id)]);
            }
        }
        Ok(keys.into_values().collect())
    }
}

impl Rotate for SqliteKeyring {
    fn versions(&self) -> Result<BTreeMap<TenantId, Versions>, KeyringError> {
        let files = lock(&self.inner.files);
        let mut all: BTreeMap<TenantId, Versions> = BTreeMap::new();
        for (tenant, versions) in &*lock(&self.inner.wrapping) {
            all.insert(*tenant, versions.keys().map(|version| (*version, Held::default())).collect());
        }
        let [first, _] = files.each();
        for (tenant, version, count) in count(first, "purpose_keys")? {
            if let Some(held) = all.get_mut(&tenant).and_then(|versions| versions.get_mut(&version)) {
                held.purposes = count;
            }
        }
        for (tenant, version, count) in count(first, "batches")? {
            if let Some(held) = all.get_mut(&tenant).and_then(|versions| versions.get_mut(&version)) {
                held.batches = count;
            }
        }
        Ok(all)
    }

    fn rewrap_tenants(&self, roots: &[Key]) -> Result<usize, KeyringError> {
        let (inner, table) = (&*self.inner, Table::named("wrapping_keys")?);
        let root = roots.first().ok_or(KeyringError::WrongRootKey)?;
        let mut files = lock(&inner.files);
        let mut keys = files.keys(table)?;
        // The system's first: from then on, no tenant is made under the former root key (see `check_root`).
        keys.sort_by_key(|key| key.first() != Some(&Value::Blob(TenantId::SYSTEM.0.to_vec())));
        let (mut anew, mut left) = (Vec::new(), 0);
        for key in keys {
            let copies = wrapping::copies(&files, &key)?;
            let moved = |copy: &Option<Wrapping>| copy.as_ref().is_some_and(|copy| copy.is_destroyed() || copy.open(inner.vault, root).is_some());
            if copies.iter().all(moved) && copies.first() == copies.last() {
                continue;
            }
            if anew.len() == ROOT_STEP {
                left += 1;
                continue;
            }
            let (counts, opened) = wrapping::settled(copies, inner.vault, roots)?;
            anew.push(match opened {
                Some(_) if counts.open(inner.vault, root).is_some() => counts.row(),
                Some(key) => Wrapping::under(root, inner.vault, (counts.tenant, counts.version), &key, &*inner.random).row(),
                None => counts.row(),
            });
        }
        if !anew.is_empty() {
            files.put(&anew.iter().map(|row| (table, row)).collect::<Vec<_>>())?;
        }
        if left == 0 {
            files.forget_asides()?;
        }
        Ok(left)
    }

    fn prove_root(&self, root: &Key) -> Result<Proof, KeyringError> {
        let files = lock(&self.inner.files);
        let mut proof = Proof::default();
        for key in files.keys(Table::named("wrapping_keys")?)? {
            for copy in wrapping::copies(&files, &key)? {
                match copy {
                    Some(copy) if copy.is_destroyed() => {}
                    Some(copy) if copy.open(self.inner.vault, root).is_some() => proof.done += 1,
                    _ => proof.left += 1,
                }
            }
        }
        Ok(proof)
    }

    fn begin(&self, tenant: TenantId, roots: &[Key]) -> Result<Turn, KeyringError> {
        let (inner, table) = (&*self.inner, Table::named("wrapping_keys")?);
        let _alone = lock(&inner.making);
        let mut files = lock(&inner.files);
        files.writable()?;
        let (newest, _) = inner.newest(tenant)?;
        if let [from, .., to] = inner.live_versions(tenant).as_slice() {
            return Ok(Turn { tenant, from: *from, to: *to });
        }
        let turn = Turn { tenant, from: newest, to: newest + 1 };
        // An earlier try may have reached the files before it failed: its key is taken over.
        let copies = wrapping::copies(&files, &Wrapping::key(tenant, turn.to))?;
        let (row, key) = if copies.iter().any(Option::is_some) {
            let (counts, key) = wrapping::settled(copies, inner.vault, roots)?;
            (counts.row(), key.ok_or(KeyringError::TenantDestroyed(tenant))?)
        } else {
            let root = roots.iter().find(|root| inner.check_root(&files, root).is_ok()).ok_or(KeyringError::WrongRootKey)?;
            let key = Key::random(&*inner.random);
            (Wrapping::under(root, inner.vault, (tenant, turn.to), &key, &*inner.random).row(), key)
        };
        files.put(&[(table, &row)])?;
        lock(&inner.wrapping).entry(tenant).or_default().insert(turn.to, key);
        Ok(turn)
    }

    fn turns(&self) -> Vec<Turn> {
        let wrapping = lock(&self.inner.wrapping);
        let turn = |(tenant, versions): (&TenantId, &BTreeMap<u32, Key>)| {
            let (from, to) = (*versions.first_key_value()?.0, *versions.last_key_value()?.0);
            (from < to).then_some(Turn { tenant: *tenant, from, to })
        };
        wrapping.iter().filter_map(turn).collect()
    }

    fn rewrap(&self, turn: Turn) -> Result<usize, KeyringError> {
        let inner = &*self.inner;
        let purposes = Table::named("purpose_keys")?;
        let keys = inner.rows_of(purposes, turn.tenant)?;
        let mut files = lock(&inner.files);
        files.writable()?;
        let (_, newest) = inner.newest(turn.tenant)?;
        let mut anew = Vec::new();
        for key in keys {
            if let Some(row) = files.merged(purposes, &key)? {
                let row = inner.purpose_anew(row, turn, &newest)?;
                let whole = Found::Whole(row.clone());
                if files.both(purposes, &key)?.iter().any(|copy| *copy != whole) {
                    anew.push((purposes, row));
                }
            }
        }
        let batches = Table::named("batches")?;
        let mut ids: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
        for file in files.each() {
            for id in earlier(file, turn, STEP + 1)? {
                if let Value::Blob(bytes) = &id {
                    ids.insert(bytes.clone(), id);
                }
            }
        }
        let left = ids.len().saturating_sub(STEP);
        let mut cached = Vec::new();
        for (bytes, id) in ids.into_iter().take(STEP) {
            if let Some(row) = files.merged(batches, &[id])? {
                anew.push((batches, inner.batch_anew(row, turn, &newest)?));
            }
            cached.extend(<[u8; 12]>::try_from(bytes));
        }
        if !anew.is_empty() {
            files.put(&anew.iter().map(|(table, row)| (*table, row)).collect::<Vec<_>>())?;
        }
        // Still under the files' lock: what is read from now on is what was written.
        let mut cache = lock(&inner.cache);
        for id in &cached {
            cache.remove(id);
        }
        Ok(left)
    }

    fn prove(&self, turn: Turn) -> Result<Proof, KeyringError> {
        let inner = &*self.inner;
        let (version, key) = inner.newest(turn.tenant)?;
        let mut proof = Proof::default();
        for table in ["purpose_keys", "batches"] {
            let table = Table::named(table)?;
            for id in inner.rows_of(table, turn.tenant)? {
                // The lock is taken for one row at a time: those who read keys do not wait for the whole.
                let copies = lock(&inner.files).both(table, &id)?;
                for copy in copies {
                    if inner.opens(table, copy, (version, &key), turn.tenant) { proof.done += 1 } else { proof.left += 1 }
                }
            }
        }
        Ok(proof)
    }

    fn retire(&self, turn: Turn) -> Result<(), KeyringError> {
        let (inner, table) = (&*self.inner, Table::named("wrapping_keys")?);
        let mut files = lock(&inner.files);
        files.writable()?;
        if is_left(&files, turn)? {
            return Err(KeyringError::Damaged(format!("keys are left under version {} of tenant {}", turn.from, turn.tenant)));
        }
        let former: Vec<u32> = inner.live_versions(turn.tenant).into_iter().filter(|version| *version < turn.to).collect();
        let rows: Vec<Row> = former.iter().map(|version| Wrapping::destroyed(turn.tenant, *version).row()).collect();
        if !rows.is_empty() {
            files.put(&rows.iter().map(|row| (table, row)).collect::<Vec<_>>())?;
        }
        files.forget_asides()?;
        if let Some(versions) = lock(&inner.wrapping).get_mut(&turn.tenant) {
            versions.retain(|version, _| *version >= turn.to);
        }
        Ok(())
    }
}
