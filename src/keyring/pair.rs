//! The two files as one: what is written goes to both, and what one lost is read from the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;

use super::KeyringError;
use super::erase::erase;
use super::file::{self, Found, Row, Table};
use super::mend;
use super::slots::without;
use super::wrapping::{self, Wrapping, is_destroyed, sixteen};
use crate::kernel::{KeyId, TenantId};
use crate::seal::WRAPPED;

pub(super) const NAMES: [&str; 2] = ["keyring.db", "keyring-copy.db"];
/// Between a file's name and a number, when it was set aside because it is damaged.
pub(super) const ASIDE: &str = ".damaged-";

/// Batches that are zeroed in one transaction: at most 2 MiB.
const BATCHES_AT_ONCE: usize = 64;

/// Both files, open.
pub(super) struct Pair {
    folder: PathBuf,
    first: Connection,
    second: Connection,
    read_only: bool,
}

impl Pair {
    /// Makes both files; neither must exist.
    pub fn create(folder: &Path) -> Result<Self, KeyringError> {
        let [first, second] = NAMES.map(|name| folder.join(name));
        if first.exists() || second.exists() {
            return Err(KeyringError::Damaged("a keyring lies there already".into()));
        }
        Ok(Self { folder: folder.to_owned(), first: file::open(&first, true, false)?, second: file::open(&second, true, false)?, read_only: false })
    }

    /// Opens both, and repairs each from the other; the repairs are told in words.
    pub fn open(folder: &Path) -> Result<(Self, Vec<String>), KeyringError> {
        if NAMES.iter().all(|name| !folder.join(name).exists()) {
            return Err(KeyringError::Absent(folder.to_owned()));
        }
        let (first, second, repairs) = mend::mend(folder)?;
        Ok((Self { folder: folder.to_owned(), first, second, read_only: false }, repairs))
    }

    /// Opens for reading: nothing on disk is repaired, and each row is read from where it is whole.
    pub fn open_read_only(folder: &Path) -> Result<Self, KeyringError> {
        let [one, other] = NAMES.map(|name| folder.join(name));
        let (first, second) = match (file::open(&one, false, true), file::open(&other, false, true)) {
            (Ok(first), Ok(second)) => (first, second),
            (Ok(first), Err(_)) => (first, file::open(&one, false, true)?),
            (Err(_), Ok(second)) => (file::open(&other, false, true)?, second),
            (Err(_), Err(_)) if !one.exists() && !other.exists() => return Err(KeyringError::Absent(folder.to_owned())),
            (Err(error), Err(_)) => return Err(error),
        };
        Ok(Self { folder: folder.to_owned(), first, second, read_only: true })
    }

    /// Refuses when the files were opened for reading.
    pub fn writable(&self) -> Result<(), KeyringError> {
        if self.read_only { Err(KeyringError::Io("it was opened for reading only".into())) } else { Ok(()) }
    }

    /// Writes rows to both files; durable in both on return.
    pub fn put(&mut self, rows: &[(&Table, &Row)]) -> Result<(), KeyringError> {
        self.writable()?;
        file::put(&mut [&mut self.first, &mut self.second], rows)
    }

    /// A row by its key, from where it is whole.
    pub fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>, KeyringError> {
        if let Ok(Found::Whole(row)) = file::get(&self.first, table, key) {
            return Ok(Some(row));
        }
        match file::get(&self.second, table, key)? {
            Found::Whole(row) => Ok(Some(row)),
            Found::Bad | Found::Absent => Ok(None),
        }
    }

    /// What each file holds under a key.
    pub fn both(&self, table: &Table, key: &[Value]) -> Result<[Found; 2], KeyringError> {
        Ok([file::get(&self.first, table, key)?, file::get(&self.second, table, key)?])
    }

    /// The keys of all rows of either file.
    pub fn keys(&self, table: &Table) -> Result<Vec<Row>, KeyringError> {
        Ok(both_keys([Some(&self.first), Some(&self.second)], table)?.into_values().collect())
    }

    /// All rows of a small table that are whole somewhere.
    pub fn all(&self, table: &Table) -> Result<Vec<Row>, KeyringError> {
        self.keys(table)?.iter().filter_map(|key| self.get(table, key).transpose()).collect()
    }

    /// The files themselves, for questions that only one of them can answer.
    pub fn each(&self) -> [&Connection; 2] {
        [&self.first, &self.second]
    }

    /// A row as both files have it: where they differ, what counts of the two.
    pub fn merged(&self, table: &Table, key: &[Value]) -> Result<Option<Row>, KeyringError> {
        match self.both(table, key)? {
            [Found::Whole(first), Found::Whole(second)] => match merge(table, &first, &second)? {
                Some(row) => Ok(Some(row)),
                None => Err(disagree(table)),
            },
            [Found::Whole(row), _] | [_, Found::Whole(row)] => Ok(Some(row)),
            [Found::Absent, Found::Absent] => Ok(None),
            _ => Err(KeyringError::Damaged(format!("a row of {} is whole in neither copy", table.name))),
        }
    }

    /// Mends what a write that reached one file only has left between them.
    pub fn level(&mut self) -> Result<Vec<String>, KeyringError> {
        mend::level(&mut self.first, &mut self.second)
    }

    /// Zeroes slots in both files, whatever an earlier try has reached. Batches that lie in neither are passed over.
    pub fn zero(&mut self, by_batch: &BTreeMap<[u8; 12], Vec<KeyId>>) -> Result<(), KeyringError> {
        let (table, batches) = (Table::named("batches")?, by_batch.iter().collect::<Vec<_>>());
        for some in batches.chunks(BATCHES_AT_ONCE) {
            let mut rows = Vec::new();
            for (batch, keys) in some {
                let id = [Value::Blob(batch.to_vec())];
                let Some(row) = self.merged(table, &id)? else { continue };
                let zeroed = Found::Whole(without(row, keys));
                let there = self.both(table, &id)?;
                if let Found::Whole(row) = zeroed
                    && there.iter().any(|copy| !matches!(copy, Found::Whole(other) if *other == row))
                {
                    rows.push(row);
                }
            }
            if !rows.is_empty() {
                self.put(&rows.iter().map(|row| (table, row)).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// Which of these tenants have wrapping keys here, live ones or what is left of them.
    pub fn tenants(&self, whole: &[KeyId]) -> Result<BTreeSet<TenantId>, KeyringError> {
        let mut found = BTreeSet::new();
        if !whole.is_empty() {
            for key in self.keys(Table::named("wrapping_keys")?)? {
                let [Value::Blob(tenant), ..] = key.as_slice() else { continue };
                let tenant = TenantId(sixteen(tenant)?);
                if whole.contains(&KeyId::whole(tenant)) {
                    found.insert(tenant);
                }
            }
        }
        Ok(found)
    }

    /// Destroys all versions of tenants' wrapping keys in both files, and with them everything that lies under them.
    pub fn zero_tenants(&mut self, tenants: &BTreeSet<TenantId>) -> Result<(), KeyringError> {
        let table = Table::named("wrapping_keys")?;
        let mut rows = Vec::new();
        for key in self.keys(table)? {
            let [Value::Blob(tenant), Value::Integer(version)] = key.as_slice() else { continue };
            let tenant = TenantId(sixteen(tenant)?);
            if !tenants.contains(&tenant) {
                continue;
            }
            let gone = Wrapping::destroyed(tenant, u32::try_from(*version).unwrap_or(0));
            if wrapping::copies(self, &key)?.iter().any(|copy| copy.as_ref() != Some(&gone)) {
                rows.push(gone.row());
            }
        }
        if rows.is_empty() { Ok(()) } else { self.put(&rows.iter().map(|row| (table, row)).collect::<Vec<_>>()) }
    }

    /// Overwrites and removes files that were set aside: they may hold keys that must be nowhere. (The other copy was whole when they were.)
    pub fn forget_asides(&self) -> Result<(), KeyringError> {
        let mut forgotten = false;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !NAMES.iter().any(|of| name.strip_prefix(of).is_some_and(|rest| rest.starts_with(ASIDE))) {
                continue;
            }
            if entry.metadata()?.is_file() {
                erase(&entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
            forgotten = true;
        }
        if forgotten { Ok(File::open(&self.folder)?.sync_all()?) } else { Ok(()) }
    }

    /// Copies both files into another folder, durable on return. Nothing there is written over.
    pub fn copy_to(&self, folder: &Path) -> Result<(), KeyringError> {
        if let Some(taken) = NAMES.iter().map(|name| folder.join(name)).find(|path| path.exists()) {
            return Err(KeyringError::Io(format!("{} lies there already", taken.display())));
        }
        for (connection, name) in [&self.first, &self.second].into_iter().zip(NAMES) {
            let partial = folder.join(format!("{name}.partial"));
            if partial.exists() {
                fs::remove_file(&partial)?;
            }
            let path = partial.to_str().ok_or_else(|| KeyringError::Io(format!("{} is not UTF-8", partial.display())))?;
            // A reader's connection would refuse to write even elsewhere; this statement never writes to the file it reads.
            connection.pragma_update(None, "query_only", false)?;
            let copied = connection.execute("VACUUM INTO ?1", [path]);
            connection.pragma_update(None, "query_only", self.read_only)?;
            copied?;
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, folder.join(name))?;
        }
        Ok(File::open(folder)?.sync_all()?)
    }
}

/// The keys of all rows of the files that can be read, each once.
pub(super) fn both_keys(files: [Option<&Connection>; 2], table: &Table) -> Result<BTreeMap<Vec<u8>, Row>, KeyringError> {
    let mut all = BTreeMap::new();
    for file in files.into_iter().flatten() {
        all.extend(file::keys(file, table)?.into_iter().map(|key| (table.checksum(&key), key)));
    }
    Ok(all)
}

fn disagree(table: &Table) -> KeyringError {
    KeyringError::Damaged(format!("the copies disagree on a row of {}", table.name))
}

/// Two whole rows as one. They may differ for two reasons only, a write that reached one file: keys that were destroyed, which stay so, and keys
/// that were wrapped anew, of which the newer version counts. Which of two wraps under a root key counts is known only with that: `None`.
pub(super) fn merge(table: &Table, first: &Row, second: &Row) -> Result<Option<Row>, KeyringError> {
    let (Some((Value::Blob(ours), head)), Some((Value::Blob(theirs), other))) = (first.split_last(), second.split_last()) else {
        return Err(disagree(table));
    };
    if ours.len() != theirs.len() {
        return Err(disagree(table));
    }
    if table.name == "wrapping_keys" {
        let destroyed = [(ours, first), (theirs, second)].into_iter().find(|(wrapped, _)| is_destroyed(wrapped));
        return if head == other { Ok(destroyed.map(|(_, row)| row.clone())) } else { Err(disagree(table)) };
    }
    let Some(place) = table.columns.iter().position(|column| *column == "version") else { return Err(disagree(table)) };
    let apart = |row: &[Value]| row.iter().enumerate().filter(|(column, _)| *column != place).map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let version = |row: &[Value]| if let Some(Value::Integer(version)) = row.get(place) { *version } else { 0 };
    if apart(head) != apart(other) {
        return Err(disagree(table));
    }
    let (newer, same) = (if version(head) >= version(other) { first } else { second }, version(head) == version(other));
    let Some((Value::Blob(kept), _)) = newer.split_last() else { return Err(disagree(table)) };
    let mut wraps = Vec::with_capacity(kept.len());
    for ((a, b), kept) in ours.chunks(WRAPPED).zip(theirs.chunks(WRAPPED)).zip(kept.chunks(WRAPPED)) {
        if a != b && (is_destroyed(a) || is_destroyed(b)) {
            wraps.extend_from_slice(&[0; WRAPPED]);
        } else if a == b || !same {
            wraps.extend_from_slice(kept);
        } else {
            return Err(disagree(table));
        }
    }
    let mut merged = newer.clone();
    merged.pop();
    merged.push(Value::Blob(wraps));
    Ok(Some(merged))
}
