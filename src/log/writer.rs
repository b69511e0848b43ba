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

/// Why a block does not stand.
enum Failure {
    /// What the caller is told; the connection is as good as before.
    Plain(AppendError),
    /// What the caller is told; nothing more may be written through this connection.
    Broken(AppendError),
}

/// Appends until the engine is dropped. After an error of the disk it takes no more: what lies there must be read again first.
pub(super) fn run(mut connection: Connection, mut fresh: bool, jobs: &mpsc::Receiver<Job>, head: &watch::Sender<Position>) {
    let mut broken: Option<String> = None;
    while let Ok(Job { head: after, block, answer }) = jobs.recv() {
        let result = match &broken {
            Some(cause) => Err(AppendError::Refused(format!("no writes until restarted, after: {cause}"))),
            None => freshly(&mut connection, &mut fresh, after, &block).map_err(|failure| match failure {
                Failure::Plain(error) => error,
                Failure::Broken(error) => {
                    broken = Some(error.to_string());
                    error
                }
            }),
        };
        let last = match &result {
            Ok(()) => block.last().map(|last| last.header().position),
            // Another process wrote: whoever waits for the head wants to know.
            Err(AppendError::HeadMoved) => last_position(&connection).ok(),
            Err(_) => None,
        };
        if let Some(last) = last {
            head.send_if_modified(|head| {
                let grows = last > *head;
                *head = last.max(*head);
                grows
            });
        }
        drop(answer.send(result));
    }
}

/// Begins a new WAL. A recovered one may have lost the padding after its last commit: a new one keeps the next append out of the sector that
/// holds that commit, so that a second power cut cannot take it along.
pub(super) fn begin_wal(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Appends, to a WAL of this run only.
fn freshly(connection: &mut Connection, fresh: &mut bool, after: Position, block: &[Record]) -> Result<(), Failure> {
    if !*fresh {
        begin_wal(connection).map_err(uncommitted)?;
        *fresh = true;
    }
    append(connection, after, block)
}

fn append(connection: &mut Connection, after: Position, block: &[Record]) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(uncommitted)?;
    if last_position(&transaction).map_err(uncommitted)? != after {
        return Err(Failure::Plain(AppendError::HeadMoved));
    }
    {
        let mut insert = transaction.prepare_cached("INSERT INTO log (position, record) VALUES (?1, ?2)").map_err(uncommitted)?;
        for record in block {
            let position = i64::try_from(record.header().position.0).map_err(|_| Failure::Plain(AppendError::Refused("the log is full".into())))?;
            // The transaction is rolled back when it is dropped: nothing of the block stays.
            insert.execute((position, record.bytes())).map_err(uncommitted)?;
        }
    }
    let committed = transaction.commit();
    let Err(error) = committed else { return Ok(()) };
    match error.sqlite_error_code() {
        // These are found before the block's last page is written, unless the transaction could not be ended either.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull) if connection.is_autocommit() => Err(Failure::Plain(AppendError::Refused(error.to_string()))),
        _ => Err(Failure::Broken(AppendError::Unknown(error.to_string()))),
    }
}

/// What failed before the commit was asked for: nothing was written, whatever the cause.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn uncommitted(error: rusqlite::Error) -> Failure {
    let extended = error.sqlite_error().map_or(0, |error| error.extended_code);
    let refused = AppendError::Refused(error.to_string());
    match error.sqlite_error_code() {
        // The position is taken: the fence.
        Some(ErrorCode::ConstraintViolation) if [rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY, rusqlite::ffi::SQLITE_CONSTRAINT_ROWID].contains(&extended) => {
            Failure::Plain(AppendError::HeadMoved)
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Failure::Broken(refused),
        _ => Failure::Plain(refused),
    }
}

/// The last position in the table; 0 when it is empty.
pub(super) fn last_position(connection: &Connection) -> Result<Position, rusqlite::Error> {
    let last: i64 = connection.prepare_cached("SELECT ifnull(max(position), 0) FROM log")?.query_row([], |row| row.get(0))?;
    Ok(Position(last.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Class, Epoch, EventId, Group, GroupId, Header, KeyId, Moment, StreamId, TenantId, Version};

    fn record(position: u64, size: usize) -> Record {
        let header = Header {
            position: Position(position),
            previous: Position::ZERO,
            recorded_at: Moment::from_millis(0),
            version: Version(1),
            content_version: Version(1),
            facts_commitment: [0; 32],
            epoch: Epoch { number: 1, id: [1; 16] },
            event: EventId([2; 16]),
            tenant: TenantId([3; 16]),
            stream: StreamId([4; 16]),
            class: Class::Change,
            kind: "consumer".into(),
            event_type: "created".into(),
            actor: StreamId([0; 16]),
            command: None,
            request: None,
            group: Group { id: GroupId([5; 16]), index: 0, count: 1 },
            causation: Position::ZERO,
            claims: vec![],
            facts_key: KeyId { batch: [6; 12], slot: 0 },
            secrets: vec![],
            shredded: vec![],
        };
        Record::encode(header, &vec![7; size], &[]).unwrap()
    }

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../../schema/log.sql")).unwrap();
        connection
    }

    fn send(jobs: &mpsc::Sender<Job>, head: u64, block: Vec<Record>) -> Result<(), AppendError> {
        let (answer, result) = oneshot::channel();
        jobs.send(Job { head: Position(head), block: block.into(), answer }).unwrap();
        result.blocking_recv().unwrap()
    }

    /// Runs the writer over a connection while `test` sends it jobs; gives the head that it told of.
    fn writing(connection: Connection, test: impl FnOnce(&mpsc::Sender<Job>)) -> Position {
        let ((jobs, waiting), head) = (mpsc::channel(), watch::Sender::new(Position::ZERO));
        std::thread::scope(|scope| {
            let head = &head;
            scope.spawn(move || run(connection, true, &waiting, head));
            test(&jobs);
            drop(jobs);
        });
        *head.borrow()
    }

    #[test]
    fn a_full_disk_refuses_the_whole_block_and_the_next_small_one_is_taken() {
        let connection = database();
        connection.pragma_update(None, "max_page_count", 20).unwrap();
        let head = writing(connection, |jobs| {
            let large = (1..=100).map(|position| record(position, 1000)).collect();
            let error = send(jobs, 0, large).unwrap_err();
            assert!(matches!(&error, AppendError::Refused(cause) if cause.contains("full")), "{error}");
            assert_eq!(send(jobs, 0, vec![record(1, 10)]), Ok(()), "nothing of the block stayed");
        });
        assert_eq!(head, Position(1));
    }

    #[test]
    fn a_taken_position_and_a_head_that_moved_are_the_same() {
        let head = writing(database(), |jobs| {
            assert_eq!(send(jobs, 0, vec![record(1, 10), record(2, 10)]), Ok(()));
            assert_eq!(send(jobs, 1, vec![record(2, 10)]), Err(AppendError::HeadMoved));
            assert_eq!(send(jobs, 1, vec![record(9, 10)]), Err(AppendError::HeadMoved), "a free position does not make a stale head right");
            assert_eq!(send(jobs, 2, vec![record(3, 10), record(2, 10)]), Err(AppendError::HeadMoved));
            assert_eq!(send(jobs, 2, vec![record(3, 10)]), Ok(()));
        });
        assert_eq!(head, Position(3));
    }

    #[test]
    fn a_commit_that_fails_is_unknown_and_ends_the_writing() {
        let mut connection = database();
        connection.commit_hook(Some(|| true)).unwrap();
        writing(connection, |jobs| {
            assert!(matches!(send(jobs, 0, vec![record(1, 10)]), Err(AppendError::Unknown(_))));
            let error = send(jobs, 0, vec![record(1, 10)]).unwrap_err();
            assert!(matches!(&error, AppendError::Refused(cause) if cause.contains("until restarted")), "{error}");
        });
    }

    #[test]
    fn an_error_of_the_disk_before_the_commit_is_refused_and_ends_the_writing() {
        let failed = |code| uncommitted(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
        for code in [rusqlite::ffi::SQLITE_IOERR_WRITE, rusqlite::ffi::SQLITE_IOERR_READ, rusqlite::ffi::SQLITE_CORRUPT, rusqlite::ffi::SQLITE_NOTADB] {
            assert!(matches!(failed(code), Failure::Broken(AppendError::Refused(_))), "{code}");
        }
        for code in [rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_BUSY, rusqlite::ffi::SQLITE_CONSTRAINT_CHECK] {
            assert!(matches!(failed(code), Failure::Plain(AppendError::Refused(_))), "{code}");
        }
    }
}
