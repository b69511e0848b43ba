//! The one write connection of the SQLite engine, on a thread of its own.

use std::sync::{Arc, mpsc};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::AppendError;
use crate::kernel::Position;
use crate::seal::Record;

/// One block to append.
pub(super) struct Job {
    pub head: Position,
    pub block: Arc<[Record]>,
    pub answer: oneshot::Sender<Result<(), AppendError>>,
}

/// Appends until the engine is dropped. After an error of the disk it takes no more: what lies there must be read again first.
pub(super) fn run(mut connection: Connection, jobs: &mpsc::Receiver<Job>, head: &watch::Sender<Position>) {
    let mut broken: Option<String> = None;
    while let Ok(Job { head: after, block, answer }) = jobs.recv() {
        let result = match &broken {
            Some(cause) => Err(AppendError::Refused(format!("no writes until restarted, after: {cause}"))),
            None => append(&mut connection, after, &block),
        };
        match (&result, block.last()) {
            (Ok(()), Some(last)) => drop(head.send_replace(last.header().position)),
            (Err(AppendError::Unknown(cause)), _) => broken = Some(cause.clone()),
            _ => {}
        }
        drop(answer.send(result));
    }
}

fn append(connection: &mut Connection, after: Position, block: &[Record]) -> Result<(), AppendError> {
    let refused = |error: rusqlite::Error| AppendError::Refused(error.to_string());
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(refused)?;
    if last_position(&transaction).map_err(refused)? != after {
        return Err(AppendError::HeadMoved);
    }
    {
        let mut insert = transaction.prepare_cached("INSERT INTO log (position, record) VALUES (?1, ?2)").map_err(refused)?;
        for record in block {
            let position = i64::try_from(record.header().position.0).map_err(|_| AppendError::Refused("the log is full".into()))?;
            // The transaction is rolled back when it is dropped: nothing of the block stays.
            insert.execute((position, record.bytes())).map_err(refused)?;
        }
    }
    transaction.commit().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull) => AppendError::Refused(error.to_string()),
        _ => AppendError::Unknown(error.to_string()),
    })
}

/// The last position in the table; 0 when it is empty.
pub(super) fn last_position(connection: &Connection) -> Result<Position, rusqlite::Error> {
    let last: i64 = connection.prepare_cached("SELECT ifnull(max(position), 0) FROM log")?.query_row([], |row| row.get(0))?;
    Ok(Position(last.unsigned_abs()))
}
