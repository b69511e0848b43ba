//! An engine in memory, for tests: as strict as the real ones, and able to fail on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{AppendError, BoxFuture, EventLog, LogError};
use crate::kernel::{Moment, Position};
use crate::seal::Record;

/// What an append does instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes nothing, and says that another block stands there.
    HeadMoved,
    /// Writes nothing, and says so.
    Refused,
    /// Writes nothing, and does not know.
    UnknownUnwritten,
    /// Writes, and does not know.
    UnknownWritten,
    /// Does not know, and writes right before the append that follows: as a message that was long on its way.
    UnknownLate,
}

/// Records in memory.
pub struct MemoryLog {
    records: Mutex<Vec<Record>>,
    faults: Mutex<VecDeque<Fault>>,
    late: Mutex<Option<(Position, Arc<[Record]>)>>,
    head: watch::Sender<Position>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self { records: Mutex::default(), faults: Mutex::default(), late: Mutex::default(), head: watch::Sender::new(Position::ZERO) }
    }
}

impl MemoryLog {
    /// Makes the next append fail so; called again, the one after it.
    pub fn fail_next(&self, fault: Fault) {
        lock(&self.faults).push_back(fault);
    }

    fn store(&self, head: Position, block: &[Record]) -> Result<(), AppendError> {
        let mut records = lock(&self.records);
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
        lock(&self.records).iter().filter(|record| select(record)).take(limit).cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventLog for MemoryLog {
    fn append(&self, head: Position, block: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async move {
            let late = lock(&self.late).take();
            if let Some((head, block)) = late {
                // Where another block stands by now, it never appears.
                drop(self.store(head, &block));
            }
            let fault = lock(&self.faults).pop_front();
            match fault {
                None => self.store(head, &block),
                Some(Fault::HeadMoved) => Err(AppendError::HeadMoved),
                Some(Fault::Refused) => Err(AppendError::Refused("a planned fault".into())),
                Some(Fault::UnknownUnwritten) => Err(AppendError::Unknown("a planned fault".into())),
                Some(Fault::UnknownLate) => {
                    *lock(&self.late) = Some((head, block));
                    Err(AppendError::Unknown("a planned fault".into()))
                }
                Some(Fault::UnknownWritten) => self.store(head, &block).and(Err(AppendError::Unknown("a planned fault".into()))),
            }
        })
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move { Ok(self.select(|record| record.header().position > after, limit)) })
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(async move {
            let records = lock(&self.records);
            Ok(records.iter().rev().filter(|record| record.header().position <= from).take(limit).cloned().collect())
        })
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
