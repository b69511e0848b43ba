//! One of the two files: its pragmas, and its rows with their checksums.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params_from_iter};
use sha2::{Digest, Sha256};

use super::KeyringError;

const SCHEMA: &str = include_str!("../../schema/keyring.sql");
const SCHEMA_VERSION: i64 = 1;

/// A table: its name, how many columns make its key, and its columns without the checksum.
pub(super) struct Table {
    pub name: &'static str,
    pub keys: usize,
    pub columns: &'static [&'static str],
}

/// Every table of the schema.
pub(super) const TABLES: [Table; 4] = [
    Table { name: "meta", keys: 1, columns: &["name", "value"] },
    Table { name: "wrapping_keys", keys: 2, columns: &["tenant", "version", "wrapped"] },
    Table { name: "purpose_keys", keys: 1, columns: &["id", "tenant", "purpose", "version", "wrapped"] },
    Table { name: "batches", keys: 1, columns: &["id", "tenant", "version", "epoch", "run", "slots"] },
];

/// A row without its checksum.
pub(super) type Row = Vec<Value>;

/// What one file holds under a key.
#[derive(PartialEq)]
pub(super) enum Found {
    /// A row whose checksum fits.
    Whole(Row),
    /// A row whose checksum does not fit.
    Bad,
    /// No row.
    Absent,
}

impl Table {
    /// Of the schema, by its name.
    pub fn named(name: &str) -> Result<&'static Self, KeyringError> {
        TABLES.iter().find(|table| table.name == name).ok_or_else(|| KeyringError::Damaged(format!("no table {name}")))
    }

    /// SHA-256 over the table's name and each field with its type and length.
    pub fn checksum(&self, row: &[Value]) -> Vec<u8> {
        let mut hash = Sha256::new().chain_update(self.name);
        for value in row {
            let (kind, bytes) = match value {
                Value::Null => (0_u8, Vec::new()),
                Value::Integer(number) => (1, number.to_be_bytes().to_vec()),
                Value::Real(number) => (2, number.to_be_bytes().to_vec()),
                Value::Text(text) => (3, text.clone().into_bytes()),
                Value::Blob(bytes) => (4, bytes.clone()),
            };
            hash = hash.chain_update([kind]).chain_update((bytes.len() as u64).to_be_bytes()).chain_update(&bytes);
        }
        hash.finalize().to_vec()
    }
}

/// Opens a file. Pages that are freed are zeroed, and the rollback journal is cut to nothing at each commit: a destroyed key stays nowhere.
/// (A WAL would keep old pages until its next checkpoint, and a temporary file would keep them out of sight.)
pub(super) fn open(path: &Path, create: bool, read_only: bool) -> Result<Connection, KeyringError> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "synchronous", 3)?;
    connection.pragma_update(None, "temp_store", 2)?;
    let journal: String = connection.pragma_update_and_check(None, "journal_mode", "TRUNCATE", |row| row.get(0))?;
    if journal != "truncate" {
        return Err(KeyringError::Io(format!("the database does not hold journal_mode=truncate but {journal}")));
    }
    connection.pragma_update(None, "query_only", read_only)?;
    for (pragma, expected) in [("secure_delete", 1_i64), ("synchronous", 3), ("trusted_schema", 0), ("temp_store", 2)] {
        let actual: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
        if actual != expected {
            return Err(KeyringError::Io(format!("the database does not hold {pragma}={expected} but {actual}")));
        }
    }
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 if create => connection.execute_batch(&format!("BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT"))?,
        SCHEMA_VERSION => {}
        other => return Err(KeyringError::Damaged(format!("schema {other}; this version knows {SCHEMA_VERSION}"))),
    }
    Ok(connection)
}

/// Writes rows, over those of the same key, as one transaction of each file. Both files have taken everything before either commits,
/// so that a full or locked disk leaves neither changed.
pub(super) fn put(files: &mut [&mut Connection], rows: &[(&Table, &Row)]) -> Result<(), KeyringError> {
    let mut transactions = Vec::with_capacity(files.len());
    for file in files {
        let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (table, row) in rows {
            let marks = vec!["?"; table.columns.len() + 1].join(", ");
            let sql = format!("INSERT OR REPLACE INTO {} ({}, checksum) VALUES ({marks})", table.name, table.columns.join(", "));
            let checksum = Value::Blob(table.checksum(row));
            transaction.prepare_cached(&sql)?.execute(params_from_iter(row.iter().chain([&checksum])))?;
        }
        transactions.push(transaction);
    }
    transactions.into_iter().try_for_each(|transaction| Ok(transaction.commit()?))
}

/// The keys of all rows.
pub(super) fn keys(connection: &Connection, table: &Table) -> Result<Vec<Row>, KeyringError> {
    let names = table.columns.iter().take(table.keys).copied().collect::<Vec<_>>().join(", ");
    let mut select = connection.prepare_cached(&format!("SELECT {names} FROM {} ORDER BY {names}", table.name))?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((0..table.keys).map(|column| row.get(column)).collect::<Result<Row, _>>()?);
    }
    Ok(found)
}

/// A row by its key.
pub(super) fn get(connection: &Connection, table: &Table, key: &[Value]) -> Result<Found, KeyringError> {
    let conditions = table.columns.iter().take(table.keys).map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(" AND ");
    let sql = format!("SELECT {}, checksum FROM {} WHERE {conditions}", table.columns.join(", "), table.name);
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(key))?;
    let Some(row) = rows.next()? else { return Ok(Found::Absent) };
    let fields = (0..table.columns.len()).map(|column| row.get(column)).collect::<Result<Row, _>>()?;
    let stated: Value = row.get(table.columns.len())?;
    Ok(if stated == Value::Blob(table.checksum(&fields)) { Found::Whole(fields) } else { Found::Bad })
}
