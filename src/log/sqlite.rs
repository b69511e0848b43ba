//! The embedded engine: one SQLite file, one writer thread, a few readers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot, watch};

use super::writer::{Job, begin_wal, last_position, run};
use super::{AppendError, BoxFuture, EventLog, LogError};
use crate::kernel::{Moment, Position};
use crate::seal::Record;

pub(super) const SCHEMA: &str = include_str!("../../schema/log.sql");
/// The schema's number in `user_version`; each later change has a numbered file of its own.
const SCHEMA_VERSION: i64 = 1;
/// How many connections read at once; one more read waits for one of them.
const READERS: usize = 4;

/// How hard a commit is pressed onto the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Each commit is synced. The only one that keeps promise 8.
    #[default]
    Full,
    /// Loses acknowledged commits on power loss. Only for the test that shows so.
    Normal,
}

/// How to open the file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A VFS by name; the default one when absent. Only for tests.
    pub vfs: Option<String>,
    /// How hard to sync.
    pub synchronous: Synchronous,
    /// Whether only to read: for a replay beside a running server.
    pub read_only: bool,
}

/// The log in one SQLite file.
pub struct SqliteLog {
    path: PathBuf,
    options: Options,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    readers: Arc<Mutex<Vec<Connection>>>,
    reading: Arc<Semaphore>,
    head: watch::Sender<Position>,
}

impl SqliteLog {
    /// Opens the file, making it and its table when they are missing (unless `read_only`).
    pub fn open(path: &Path, options: Options) -> Result<Self, LogError> {
        let connection = connect(path, &options)?;
        if options.read_only {
            known_schema(&connection)?;
        } else {
            prepare(&connection, &options)?;
        }
        let head = watch::Sender::new(last_position(&connection).map_err(engine)?);
        let mut log =
            Self { path: path.to_owned(), options, jobs: None, thread: None, readers: Arc::default(), reading: Arc::new(Semaphore::new(READERS)), head };
        if !log.options.read_only {
            let (jobs, waiting) = mpsc::channel();
            // On a full disk this fails: then the log is read, and the writer tries again before it appends.
            let fresh = begin_wal(&connection).is_ok();
            let head = log.head.clone();
            let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || run(connection, fresh, &waiting, &head));
            log.thread = Some(thread.map_err(|error| LogError::Engine(error.to_string()))?);
            log.jobs = Some(jobs);
        }
        Ok(log)
    }

    async fn with_reader<T: Send + 'static>(&self, work: impl FnOnce(&Connection) -> Result<T, LogError> + Send + 'static) -> Result<T, LogError> {
        let (readers, path, options) = (Arc::clone(&self.readers), self.path.clone(), Options { read_only: true, ..self.options.clone() });
        let turn = Arc::clone(&self.reading).acquire_owned().await.map_err(|error| LogError::Engine(error.to_string()))?;
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let reader = idle.map_or_else(|| connect(&path, &options), Ok)?;
            let result = work(&reader);
            // One that failed is not used again.
            if result.is_ok() {
                readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            }
            result
        });
        task.await.map_err(|error| LogError::Engine(error.to_string()))?
    }
}

impl Drop for SqliteLog {
    fn drop(&mut self) {
        // The writer's connection is the last one: closing it ends the WAL.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // The writer ends when its queue is empty; a panic in it was answered as `Unknown` already.
            drop(thread.join());
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn engine(error: rusqlite::Error) -> LogError {
    LogError::Engine(error.to_string())
}

/// Opens a connection, sets what each one must hold, and reads it back.
pub(super) fn connect(path: &Path, options: &Options) -> Result<Connection, LogError> {
    let connection = open_file(path, options).map_err(engine)?;
    verify(&connection, &[("trusted_schema", 0), ("mmap_size", 0), ("query_only", i64::from(options.read_only))])?;
    Ok(connection)
}

fn open_file(path: &Path, options: &Options) -> Result<Connection, rusqlite::Error> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if !options.read_only {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
        None => Connection::open_with_flags(path, flags)?,
    };
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, options.read_only && holds_a_wal(path))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "query_only", options.read_only)?;
    Ok(connection)
}

/// Whether a reader must leave the WAL where it lies: if it is damaged, it is evidence.
pub(super) fn holds_a_wal(path: &Path) -> bool {
    std::fs::metadata(format!("{}-wal", path.display())).is_ok_and(|wal| wal.len() > 0)
}

/// Sets how hard the writer syncs, reads it back, and makes the table.
pub(super) fn prepare(connection: &Connection, options: &Options) -> Result<(), LogError> {
    let level = match options.synchronous {
        Synchronous::Full => 2,
        Synchronous::Normal => 1,
    };
    connection.pragma_update(None, "journal_mode", "WAL").map_err(engine)?;
    connection.pragma_update(None, "synchronous", level).map_err(engine)?;
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(engine)?;
    if journal != "wal" {
        return Err(LogError::Engine(format!("the database does not hold journal_mode=WAL but {journal}")));
    }
    verify(connection, &[("synchronous", level)])?;
    if known_schema(connection)? == 0 {
        connection.execute_batch(&format!("BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT")).map_err(engine)?;
    }
    Ok(())
}

/// Reads settings back: a build, a file or a VFS that does not hold one must not be trusted with the log.
fn verify(connection: &Connection, pragmas: &[(&str, i64)]) -> Result<(), LogError> {
    if !connection.db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE).map_err(engine)? {
        return Err(LogError::Engine("the database does not hold the defensive mode".into()));
    }
    for (pragma, expected) in pragmas {
        // A build without mmap answers no row at all.
        let actual: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0)).or_else(absent_is_zero).map_err(engine)?;
        if actual != *expected {
            return Err(LogError::Engine(format!("the database does not hold {pragma}={expected} but {actual}")));
        }
    }
    Ok(())
}

/// The schema's number in the file: 0 for a new one, and none that this version does not know.
fn known_schema(connection: &Connection) -> Result<i64, LogError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(engine)?;
    if (0..=SCHEMA_VERSION).contains(&version) {
        Ok(version)
    } else {
        Err(LogError::Engine(format!("the log has schema {version}; this version knows {SCHEMA_VERSION}")))
    }
}

fn absent_is_zero(error: rusqlite::Error) -> Result<i64, rusqlite::Error> {
    if error == rusqlite::Error::QueryReturnedNoRows { Ok(0) } else { Err(error) }
}

fn decode(position: i64, bytes: &[u8]) -> Result<Record, LogError> {
    let position = Position(position.unsigned_abs());
    let record = Record::decode(bytes).map_err(|error| LogError::Damaged { position, cause: error.to_string() })?;
    if record.header().position == position { Ok(record) } else { Err(LogError::Damaged { position, cause: "the record is of another position".into() }) }
}

fn fetch_one(reader: &Connection, position: i64) -> Result<Option<Record>, LogError> {
    let mut select = reader.prepare_cached("SELECT record FROM log WHERE position = ?1").map_err(engine)?;
    let mut rows = select.query([position]).map_err(engine)?;
    let Some(row) = rows.next().map_err(engine)? else { return Ok(None) };
    let bytes = row.get_ref(0).and_then(|value| Ok(value.as_blob()?)).map_err(engine)?;
    decode(position, bytes).map(Some)
}

fn read_after(reader: &Connection, after: i64, limit: usize) -> Result<Vec<Record>, LogError> {
    read_by(reader, "SELECT position, record FROM log WHERE position > ?1 ORDER BY position LIMIT ?2", after, limit)
}

fn read_back_from(reader: &Connection, from: i64, limit: usize) -> Result<Vec<Record>, LogError> {
    read_by(reader, "SELECT position, record FROM log WHERE position <= ?1 ORDER BY position DESC LIMIT ?2", from, limit)
}

fn read_by(reader: &Connection, sql: &str, position: i64, limit: usize) -> Result<Vec<Record>, LogError> {
    let mut select = reader.prepare_cached(sql).map_err(engine)?;
    let mut rows = select.query((position, i64::try_from(limit).unwrap_or(i64::MAX))).map_err(engine)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(engine)? {
        let position = row.get(0).map_err(engine)?;
        records.push(decode(position, row.get_ref(1).and_then(|value| Ok(value.as_blob()?)).map_err(engine)?)?);
    }
    Ok(records)
}

/// The first record at or after a position: positions may have a gap where a restore cut the history.
fn at_or_after(reader: &Connection, position: i64) -> Result<Option<Record>, LogError> {
    read_after(reader, position - 1, 1).map(|records| records.into_iter().next())
}

/// Binary search: `recorded_at` never decreases along the log, so it needs no index.
fn seek_before(reader: &Connection, instant: Moment) -> Result<Position, LogError> {
    let (mut low, mut high) = (1, i64::try_from(last_position(reader).map_err(engine)?.0).unwrap_or(i64::MAX) + 1);
    let mut found = Position::ZERO;
    while low < high {
        let middle = low + (high - low) / 2;
        match at_or_after(reader, middle)? {
            Some(record) if record.header().recorded_at < instant => {
                found = record.header().position;
                low = i64::try_from(found.0).unwrap_or(i64::MAX) + 1;
            }
            _ => high = middle,
        }
    }
    Ok(found)
}

fn row_id(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

impl EventLog for SqliteLog {
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            let (answer, result) = oneshot::channel();
            let jobs = self.jobs.as_ref().ok_or_else(|| AppendError::Refused("the log is open for reading only".into()))?;
            jobs.send(Job { head, block, answer }).map_err(|_| AppendError::Refused("the writer has stopped".into()))?;
            result.await.unwrap_or_else(|_| Err(AppendError::Unknown("the writer has stopped".into())))
        })
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.with_reader(move |reader| read_after(reader, row_id(after), limit)))
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(self.with_reader(move |reader| read_back_from(reader, row_id(from), limit)))
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        let at: Vec<i64> = at.iter().map(|position| row_id(*position)).collect();
        Box::pin(self.with_reader(move |reader| {
            let found: Result<Vec<Option<Record>>, LogError> = at.iter().map(|position| fetch_one(reader, *position)).collect();
            Ok(found?.into_iter().flatten().collect())
        }))
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        Box::pin(self.with_reader(move |reader| seek_before(reader, instant)))
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}
