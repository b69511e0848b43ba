//! An engine that remembers the blocks it was given, so that a bare loop can write the same rows in the same batches.

use std::path::Path;
use std::sync::{Arc, Mutex};

use keyledger::kernel::{Moment, Position};
use keyledger::log::{AppendError, BoxFuture, EventLog, LogError, Options, SqliteLog};
use keyledger::seal::Record;
use tokio::sync::watch;

/// Blocks in the order in which they were appended.
pub type Blocks = Vec<Arc<[Record]>>;

/// The SQLite engine, watched.
pub struct Witness {
    log: SqliteLog,
    blocks: Mutex<Blocks>,
}

impl Witness {
    pub fn open(path: &Path) -> Arc<Self> {
        Arc::new(Self { log: SqliteLog::open(path, Options::default()).unwrap(), blocks: Mutex::default() })
    }

    /// What was appended since the last call.
    pub fn take(&self) -> Blocks {
        std::mem::take(&mut self.blocks.lock().unwrap())
    }
}

impl EventLog for Witness {
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            self.log.append(head, Arc::clone(&block)).await?;
            self.blocks.lock().unwrap().push(block);
            Ok(())
        })
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.log.read(after, limit)
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        self.log.read_back(from, limit)
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        self.log.fetch(at)
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        self.log.seek(instant)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.log.head()
    }
}
