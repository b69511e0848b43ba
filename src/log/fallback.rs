//! Two copies of one log for reading: what the first cannot give, the second does.

use std::sync::Arc;

use tokio::sync::watch;

use super::{AppendError, BoxFuture, EventLog, LogError};
use crate::kernel::{Moment, Position};
use crate::seal::Record;

/// A log and its copy. It only reads.
pub struct Fallback {
    first: Arc<dyn EventLog>,
    second: Arc<dyn EventLog>,
}

impl Fallback {
    /// Reads from the first, and where that is damaged from the second.
    #[must_use]
    pub fn new(first: Arc<dyn EventLog>, second: Arc<dyn EventLog>) -> Self {
        Self { first, second }
    }
}

/// The first answer, or else the second one; where neither has it, the first error.
async fn either<T>(first: BoxFuture<'_, Result<T, LogError>>, second: BoxFuture<'_, Result<T, LogError>>) -> Result<T, LogError> {
    match first.await {
        Ok(found) => Ok(found),
        Err(error) => {
            tracing::warn!(%error, "the other copy of the log is read");
            second.await.map_err(|_| error)
        }
    }
}

impl EventLog for Fallback {
    fn append(&self, _: Position, _: Arc<[Record]>) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async { Err(AppendError::Refused("the log is open for reading only".into())) })
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(either(self.first.read(after, limit), self.second.read(after, limit)))
    }

    fn read_back(&self, from: Position, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, LogError>> {
        Box::pin(either(self.first.read_back(from, limit), self.second.read_back(from, limit)))
    }

    fn fetch<'a>(&'a self, at: &'a [Position]) -> BoxFuture<'a, Result<Vec<Record>, LogError>> {
        Box::pin(either(self.first.fetch(at), self.second.fetch(at)))
    }

    fn seek(&self, instant: Moment) -> BoxFuture<'_, Result<Position, LogError>> {
        Box::pin(either(self.first.seek(instant), self.second.seek(instant)))
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.first.head()
    }
}
