//! Promises about restarts: engines with a file only.

use keyledger::kernel::*;
use keyledger::log::{EventLog, LogError, Options, SqliteLog, SubmitError};

use crate::log_bench::{Bench, Wanted, change, conflict, key, take, taken};

#[tokio::test]
async fn all_that_was_promised_holds_after_a_restart() {
    promised(Bench::sqlite().await).await;
    promised(Bench::doubled().await).await;
}

async fn promised(bench: Bench) {
    bench.command(&[Wanted { claims: vec![take(1)], secret: Some(key(1, 0)), ..change(1, 0) }, change(2, 0)], 1, 1).await.unwrap();
    bench.submit(&[change(1, 1)]).await.unwrap();
    let (before, root) = (bench.records().await, bench.sequencer.index().await.unwrap().tree().root());
    let bench = bench.reopen().await;
    assert_eq!(bench.records().await, before);
    assert_eq!(bench.sequencer.index().await.unwrap().tree().root(), root);
    assert_eq!(bench.submit(&[change(1, 1)]).await, conflict(2));
    assert_eq!(bench.submit(&[Wanted { claims: vec![take(1)], ..change(3, 0) }]).await, taken(1));
    let again = bench.command(&[change(9, 0)], 1, 1).await.unwrap();
    assert_eq!((again.first, again.last, again.repeated), (Position(1), Position(2), true));
    assert_eq!(bench.command(&[change(9, 0)], 1, 2).await, Err(SubmitError::Refused(Refusal::CommandReused)));
    assert!(matches!(bench.submit(&[Wanted { secret: Some(key(1, 0)), ..change(4, 0) }]).await, Err(SubmitError::Unavailable(_))));
}

#[tokio::test]
async fn the_table_refuses_updates_and_deletes_and_damage_is_named() {
    let bench = Bench::sqlite().await;
    bench.submit(&[change(1, 0), change(2, 0)]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    let log = SqliteLog::open(&path, Options::default()).unwrap();
    log.append(Position::ZERO, bench.records().await.into()).await.unwrap();
    drop(log);
    let raw = rusqlite::Connection::open(&path).unwrap();
    for statement in ["UPDATE log SET record = x'00'", "DELETE FROM log", "UPDATE log SET position = 9 WHERE position = 2"] {
        assert!(raw.execute(statement, []).unwrap_err().to_string().contains("append-only"), "{statement}");
    }
    raw.execute_batch("DROP TRIGGER log_no_update; UPDATE log SET record = x'00' WHERE position = 2").unwrap();
    drop(raw);
    let read_only = SqliteLog::open(&path, Options { read_only: true, ..Options::default() }).unwrap();
    let error = read_only.read(Position::ZERO, 10).await.unwrap_err();
    assert!(matches!(error, LogError::Damaged { position: Position(2), .. }), "{error}");
    assert!(read_only.append(Position(2), vec![].into()).await.is_err());
}

#[tokio::test]
async fn a_record_under_another_position_is_damage() {
    let bench = Bench::sqlite().await;
    bench.submit(&[change(1, 0), change(2, 0)]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    let log = SqliteLog::open(&path, Options::default()).unwrap();
    log.append(Position::ZERO, bench.records().await.into()).await.unwrap();
    drop(log);
    let swap = "DROP TRIGGER log_no_update; CREATE TEMP TABLE kept AS SELECT * FROM log;
        UPDATE log SET record = (SELECT kept.record FROM kept WHERE kept.position = 3 - log.position)";
    let raw = rusqlite::Connection::open(&path).unwrap();
    let before: Vec<u8> = raw.query_row("SELECT record FROM log WHERE position = 1", [], |row| row.get(0)).unwrap();
    raw.execute_batch(swap).unwrap();
    let after: Vec<u8> = raw.query_row("SELECT record FROM log WHERE position = 2", [], |row| row.get(0)).unwrap();
    assert_eq!(before, after, "the records changed places");
    drop(raw);
    let log = SqliteLog::open(&path, Options { read_only: true, ..Options::default() }).unwrap();
    let error = log.read(Position::ZERO, 10).await.unwrap_err();
    assert!(matches!(error, LogError::Damaged { position: Position(1), .. }), "{error}");
    let error = log.fetch(&[Position(2)]).await.unwrap_err();
    assert!(matches!(error, LogError::Damaged { position: Position(2), .. }), "{error}");
}

#[tokio::test]
async fn a_log_of_a_later_version_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    drop(SqliteLog::open(&path, Options::default()).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(SqliteLog::open(&path, Options::default()).is_err());
    std::fs::write(&path, b"this is no database, whatever its name says, and stays as it is").unwrap();
    assert!(SqliteLog::open(&path, Options::default()).is_err());
    assert!(std::fs::read(&path).unwrap().starts_with(b"this is no database"));
}
