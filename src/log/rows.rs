//! The rows of the SQLite engine's file as bytes: to read past damage without changing anything, and to make a file anew.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::LogError;
use super::sqlite::{Options, SCHEMA, connect, holds_a_wal, prepare};
use super::writer::{begin_wal, last_position};
use crate::kernel::Position;
use crate::seal::Record;

/// Opens a file that is there, for reading. The WAL is read and left where it lies: it may be evidence.
pub(super) fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, holds_a_wal(path))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    for (pragma, value) in [("trusted_schema", 0), ("mmap_size", 0), ("query_only", 1)] {
        connection.pragma_update(None, pragma, value)?;
    }
    Ok(connection)
}

/// The table and its triggers, as SQLite keeps their texts.
fn objects(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut select = connection.prepare("SELECT type || name || tbl_name || sql FROM sqlite_schema ORDER BY name")?;
    let rows = select.query_map([], |row| row.get(0))?;
    rows.collect()
}

/// What is wrong with a file, whatever its rows say: its schema, and, where all pages are to be read, its structure.
pub(super) fn unsound(connection: &Connection, all_pages: bool) -> Option<String> {
    static OURS: OnceLock<Vec<String>> = OnceLock::new();
    let ours = OURS.get_or_init(|| {
        let fresh = Connection::open_in_memory().and_then(|fresh| fresh.execute_batch(SCHEMA).and_then(|()| objects(&fresh)));
        fresh.expect("the schema can be made in memory")
    });
    match objects(connection) {
        Ok(found) if found == *ours => {}
        Ok(_) => return Some("its schema is not ours".into()),
        Err(error) => return Some(error.to_string()),
    }
    if !all_pages {
        return None;
    }
    match connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(verdict) if verdict == "ok" => None,
        Ok(verdict) => Some(verdict),
        Err(error) => Some(error.to_string()),
    }
}

/// The rows after a position, at most so many.
pub(super) fn after(connection: &Connection, after: Position, limit: usize) -> Result<Vec<(Position, Vec<u8>)>, rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT position, record FROM log WHERE position > ?1 ORDER BY position LIMIT ?2")?;
    let mut rows = select.query((i64::try_from(after.0).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut found = Vec::new();
    let mut last = after;
    while let Some(row) = rows.next()? {
        let position = Position(row.get::<_, i64>(0)?.unsigned_abs());
        // A damaged tree may not be in order.
        if position <= last {
            break;
        }
        last = position;
        found.push((position, row.get_ref(1)?.as_blob()?.to_vec()));
    }
    Ok(found)
}

/// The last position; 0 when there is none.
pub(super) fn last(connection: &Connection) -> Result<Position, rusqlite::Error> {
    last_position(connection)
}

/// Adds rows to a file, or makes it: for mending, when nobody else has it open.
pub(super) struct Filler {
    connection: Connection,
    path: PathBuf,
    waiting: Vec<Record>,
}

impl Filler {
    /// Rows that are written with one commit.
    const AT_ONCE: usize = 4096;

    pub fn open(path: &Path) -> Result<Self, LogError> {
        let options = Options::default();
        let connection = connect(path, &options)?;
        prepare(&connection, &options)?;
        Ok(Self { connection, path: path.to_owned(), waiting: Vec::new() })
    }

    pub fn add(&mut self, record: Record) -> Result<(), LogError> {
        self.waiting.push(record);
        if self.waiting.len() < Self::AT_ONCE { Ok(()) } else { self.commit() }
    }

    /// Durable on return.
    pub fn commit(&mut self) -> Result<(), LogError> {
        let commit = |connection: &mut Connection, records: &[Record]| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached("INSERT INTO log (position, record) VALUES (?1, ?2)")?;
                for record in records {
                    insert.execute((i64::try_from(record.header().position.0).unwrap_or(i64::MAX), record.bytes()))?;
                }
            }
            transaction.commit()
        };
        let records = std::mem::take(&mut self.waiting);
        commit(&mut self.connection, &records).map_err(|error| LogError::Engine(format!("{}: {error}", self.path.display())))
    }

    /// Moves all into the one file and closes it.
    pub fn finish(mut self) -> Result<(), LogError> {
        self.commit()?;
        let close = begin_wal(&self.connection).and_then(|()| self.connection.close().map_err(|(_, error)| error));
        close.map_err(|error| LogError::Engine(error.to_string()))
    }
}
