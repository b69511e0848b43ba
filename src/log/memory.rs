//! An engine in memory, for tests: as strict as the real ones, and able to fail on demand.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{AppendError, BoxFuture, EventLog, LogError};
use crate::kernel::{Moment, Position};
use crate::seal::Record;

/// What the next append does instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes nothing, and says so.
    Refused,
    /// Writes nothing, and does not know.
    UnknownUnwritten,
    /// Writes, and does not know.
    UnknownWritten,
}

/// Records in memory.
pub struct MemoryLog {
    records: Mutex<Vec<Record>>,
    fault: Mutex<Option<Fault>>,
    head: watch::Sender<Position>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self { records: Mutex::default(), fault: Mutex::default(), head: watch::Sender::new(Position::ZERO) }
    }
}

impl MemoryLog {
    /// Makes the next append fail so.
    pub fn fail_next(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn store(&self, head: Position, block: &[Record]) -> Result<(), AppendError> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.last().map_or(Position::ZERO, |last| last.header().position) != head {
            return Err(AppendError::HeadMoved);
        }
        records.extend_from_slice(block);
        if let Some(last) = records.last() {
            self.head.send_replace(last.header().position);
        }
        Ok(())
    }

    fn select(&self, select: impl Fn(&Record) -> bool, limit: usize) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|record| select(record)).take(limit).cloned().collect()
    }
}

impl EventLog for MemoryLog {
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
            match fault {
                None => self.store(head, &block),
                Some(Fault::Refused) => Err(AppendError::Refused("a planned fault".into())),
                Some(Fault::UnknownUnwritten) => Err(AppendError::Unknown("a planned fault".into())),
                Some(Fault::UnknownWritten) => self.store(head, &block).and(Err(AppendError::Unknown("a planned fault".into()))),
            }
        })
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move { Ok(self.select(|record| record.header().position > after, limit)) })
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        Box::pin(async move { Ok(at.iter().flat_map(|position| self.select(|record| record.header().position == *position, 1)).collect()) })
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        Box::pin(async move {
            let before = self.select(|record| record.header().recorded_at < instant, usize::MAX);
            Ok(before.last().map_or(Position::ZERO, |record| record.header().position))
        })
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}
