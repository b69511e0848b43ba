//! The two files as one: what is written goes to both, and what one lost comes back from the other.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;

use super::KeyringError;
use super::file::{self, Row, TABLES, Table};
use crate::seal::WRAPPED;

const NAMES: [&str; 2] = ["keyring.db", "keyring-copy.db"];

/// Both files, open.
pub(super) struct Pair {
    first: Connection,
    second: Connection,
}

impl Pair {
    /// Makes both files; neither must exist.
    pub fn create(folder: &Path) -> Result<Self, KeyringError> {
        let [first, second] = NAMES.map(|name| folder.join(name));
        if first.exists() || second.exists() {
            return Err(KeyringError::Damaged("a keyring lies there already".into()));
        }
        Ok(Self { first: file::open(&first, true, false)?, second: file::open(&second, true, false)? })
    }

    /// Opens both, and repairs each from the other; the repairs are told in words. A file that cannot be read at all is kept aside.
    pub fn open(folder: &Path) -> Result<(Self, Vec<String>), KeyringError> {
        let paths = NAMES.map(|name| folder.join(name));
        if paths.iter().all(|path| !path.exists()) {
            return Err(KeyringError::Absent(folder.to_owned()));
        }
        let [first_path, second_path] = &paths;
        let mut repairs = Vec::new();
        let mut pair = match (whole(first_path), whole(second_path)) {
            (Ok(first), Ok(second)) => Self { first, second },
            (Ok(first), Err(_)) => Self { first, second: anew(second_path, &mut repairs)? },
            (Err(_), Ok(second)) => Self { first: anew(first_path, &mut repairs)?, second },
            (Err(first), Err(second)) => return Err(KeyringError::Damaged(format!("neither copy opens: {first}; {second}"))),
        };
        for table in &TABLES {
            pair.reconcile(table, &mut repairs)?;
        }
        Ok((pair, repairs))
    }

    /// Opens for reading: nothing on disk is repaired, and each row is read from where it is whole.
    pub fn open_read_only(folder: &Path) -> Result<Self, KeyringError> {
        let [first, second] = NAMES.map(|name| file::open(&folder.join(name), false, true));
        match (first, second) {
            (Ok(first), Ok(second)) => Ok(Self { first, second }),
            (Ok(first), Err(_)) => Ok(Self { first, second: file::open(&folder.join("keyring.db"), false, true)? }),
            (Err(_), Ok(second)) => Ok(Self { first: file::open(&folder.join("keyring-copy.db"), false, true)?, second }),
            (Err(_), Err(_)) if NAMES.iter().all(|name| !folder.join(name).exists()) => Err(KeyringError::Absent(folder.to_owned())),
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Writes rows to both files; durable in both on return.
    pub fn put(&mut self, rows: &[(&Table, &Row)]) -> Result<(), KeyringError> {
        file::put(&mut self.first, rows)?;
        file::put(&mut self.second, rows)
    }

    /// A row by its key, from where it is whole.
    pub fn get(&self, table: &Table, key: &[Value]) -> Result<Option<Row>, KeyringError> {
        match file::get(&self.first, table, key) {
            Ok(Some(row)) => Ok(Some(row)),
            Ok(None) | Err(_) => file::get(&self.second, table, key),
        }
    }

    /// All rows of a small table.
    pub fn all(&self, table: &Table) -> Result<Vec<Row>, KeyringError> {
        let keys = file::keys(&self.first, table)?;
        keys.iter().filter_map(|key| self.get(table, key).transpose()).collect()
    }

    fn reconcile(&mut self, table: &Table, repairs: &mut Vec<String>) -> Result<(), KeyringError> {
        let (in_first, in_second) = (file::keys(&self.first, table)?, file::keys(&self.second, table)?);
        let mut all = in_first.clone();
        all.extend(in_second.iter().filter(|key| !in_first.contains(key)).cloned());
        for key in all {
            match (file::get(&self.first, table, &key)?, file::get(&self.second, table, &key)?) {
                (Some(first), Some(second)) if first == second => {}
                (Some(first), Some(second)) => {
                    let merged = merge(table, &first, &second)?;
                    self.put(&[(table, &merged)])?;
                    repairs.push(format!("a row of {} had lost a destruction in one copy", table.name));
                }
                (Some(whole), None) => {
                    file::put(&mut self.second, &[(table, &whole)])?;
                    repairs.push(format!("a row of {} was restored in {}", table.name, NAMES[1]));
                }
                (None, Some(whole)) => {
                    file::put(&mut self.first, &[(table, &whole)])?;
                    repairs.push(format!("a row of {} was restored in {}", table.name, NAMES[0]));
                }
                (None, None) => return Err(KeyringError::Damaged(format!("a row of {} is whole in neither copy", table.name))),
            }
        }
        Ok(())
    }
}

/// Opens a file and reads it to its end, so that damage anywhere is found now.
fn whole(path: &Path) -> Result<Connection, KeyringError> {
    let connection = file::open(path, false, false)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" { Ok(connection) } else { Err(KeyringError::Damaged(verdict)) }
}

/// Sets what lies there aside and makes an empty file.
fn anew(path: &Path, repairs: &mut Vec<String>) -> Result<Connection, KeyringError> {
    if path.exists() {
        let aside = (1..u32::MAX).map(|n| PathBuf::from(format!("{}.damaged-{n}", path.display()))).find(|aside| !aside.exists());
        std::fs::rename(path, aside.unwrap_or_else(|| path.with_extension("damaged")))?;
    }
    repairs.push(format!("{} was made anew from the other copy", path.display()));
    file::open(path, true, false)
}

/// Two whole rows that differ: only a destruction that reached one file may be the reason, and it holds.
fn merge(table: &Table, first: &Row, second: &Row) -> Result<Row, KeyringError> {
    let disagree = || KeyringError::Damaged(format!("the copies disagree on a row of {}", table.name));
    let (Some((Value::Blob(ours), head)), Some((Value::Blob(theirs), other))) = (first.split_last(), second.split_last()) else {
        return Err(disagree());
    };
    if table.name != "batches" || head != other || ours.len() != theirs.len() {
        return Err(disagree());
    }
    let mut slots = Vec::with_capacity(ours.len());
    for (a, b) in ours.chunks(WRAPPED).zip(theirs.chunks(WRAPPED)) {
        let destroyed = [0; WRAPPED];
        match (a == b, a == destroyed || b == destroyed) {
            (true, _) => slots.extend_from_slice(a),
            (false, true) => slots.extend_from_slice(&destroyed),
            (false, false) => return Err(disagree()),
        }
    }
    let mut merged = head.to_vec();
    merged.push(Value::Blob(slots));
    Ok(merged)
}
