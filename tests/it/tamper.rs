//! Whatever is done to a log, in its own file or in an exported one, is found, and the first bad position is named.

use keyledger::kernel::{Position, Random};
use keyledger::log::{Audit, LogError, Options, SqliteLog, Told, audit};
use keyledger::vault::export::{Misread, check};
use rusqlite::Connection;

use crate::export_bench::{Exported, exported};
use crate::fixed::FixedRandom;

const SEED: u64 = 20_260_504;
const OF_LINES: u32 = 3_000;
const OF_ROWS: u32 = 7_000;

struct Dice(FixedRandom);

impl Dice {
    fn below(&self, limit: usize) -> usize {
        let random: &dyn Random = &self.0;
        usize::try_from(u64::from_be_bytes(random.array()) % limit as u64).unwrap()
    }

    /// Two places, the smaller one first.
    fn two(&self, limit: usize) -> (usize, usize) {
        let one = self.below(limit);
        let other = (one + 1 + self.below(limit - 1)) % limit;
        (one.min(other), one.max(other))
    }
}

/// Does something to a list of byte strings; gives what it was, and the place of the first one that is not what it was.
fn tamper(items: &mut Vec<Vec<u8>>, dice: &Dice) -> (&'static str, usize) {
    let count = items.len();
    match dice.below(8) {
        0 | 1 => {
            let at = dice.below(count);
            let byte = dice.below(items[at].len());
            items[at][byte] ^= 1 << dice.below(8);
            ("a flipped bit", at)
        }
        2 => {
            let at = dice.below(count);
            items.remove(at);
            ("a deleted one", at)
        }
        3 => {
            let (from, at) = (dice.below(count), dice.below(count + 1));
            let copy = items[from].clone();
            items.insert(at, copy);
            // A copy right before itself is seen only at the second of them.
            ("an inserted one", if from == at { at + 1 } else { at })
        }
        4 => {
            let (one, other) = dice.two(count);
            items.swap(one, other);
            ("two swapped", one)
        }
        5 => {
            let (from, to) = dice.two(count);
            items[from..=to].rotate_left(1);
            ("some in another order", from)
        }
        6 => {
            let left = dice.below(count);
            items.truncate(left);
            ("the end cut off", left)
        }
        _ => {
            let at = dice.below(count);
            let left = dice.below(items[at].len());
            items[at].truncate(left);
            ("one cut short", at)
        }
    }
}

#[tokio::test]
async fn every_tampering_with_an_exported_file_is_found_where_it_begins() {
    println!("seed {SEED}");
    let exported = exported(3).await;
    let whole = check(exported.lines.concat().as_bytes(), &exported.checkpoint, &exported.public, &|_| ()).unwrap().unwrap();
    assert_eq!((whole.0.size, whole.0.told), (exported.checkpoint.size, exported.checkpoint.size));
    assert!(whole.1.committed > 0 && whole.1.signed > 0, "facts with verifiers and without: {:?}", whole.1);
    let dice = Dice(FixedRandom::new(SEED));
    for round in 0..OF_LINES {
        let mut lines: Vec<Vec<u8>> = exported.lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        let (what, at) = tamper(&mut lines, &dice);
        let found = check(lines.concat().as_slice(), &exported.checkpoint, &exported.public, &|_| ()).unwrap();
        let Misread { line, bad } = found.expect_err(&format!("round {round}: {what} at line {}", at + 1));
        // Here every leaf has the position after its number.
        assert_eq!(bad.position, Position(at as u64 + 1), "round {round}: {what} at line {}: {bad}", at + 1);
        assert!(line.is_none_or(|line| line == at as u64 + 1), "round {round}: {what} at line {}: line {line:?}", at + 1);
    }
}

/// The log's own file, without the triggers that guard it, to be filled anew each time.
struct Rows {
    folder: tempfile::TempDir,
    connection: Connection,
}

impl Rows {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        drop(SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap());
        let connection = Connection::open(folder.path().join("log.db")).unwrap();
        connection.execute_batch("DROP TRIGGER log_no_update; DROP TRIGGER log_no_delete; PRAGMA synchronous=OFF").unwrap();
        Self { folder, connection }
    }

    fn fill(&mut self, rows: &[(u64, Vec<u8>)]) -> SqliteLog {
        let transaction = self.connection.transaction().unwrap();
        transaction.execute("DELETE FROM log", []).unwrap();
        for (position, record) in rows {
            transaction.execute("INSERT INTO log VALUES (?1, ?2)", (i64::try_from(*position).unwrap(), record)).unwrap();
        }
        transaction.commit().unwrap();
        SqliteLog::open(&self.folder.path().join("log.db"), Options { read_only: true, ..Options::default() }).unwrap()
    }
}

fn told(exported: &Exported) -> Vec<Told> {
    let checkpoint = &exported.checkpoint;
    vec![Told { size: checkpoint.size, root: checkpoint.root, epoch: Some(exported.signed.epoch), by: "the checkpoint".into() }]
}

#[tokio::test]
async fn every_tampering_with_the_rows_of_a_log_is_found_and_kept_hashes_tell_where() {
    println!("seed {SEED}");
    let exported = exported(3).await;
    let hashes: Vec<[u8; 32]> = exported.records.iter().map(keyledger::seal::Record::leaf).collect();
    let (dice, mut file) = (Dice(FixedRandom::new(SEED + 1)), Rows::new());
    let good: Vec<(u64, Vec<u8>)> = exported.records.iter().map(|record| (record.header().position.0, record.bytes().to_vec())).collect();
    let log = file.fill(&good);
    let whole = audit(&log, Audit::against(told(&exported)).with_hashes(hashes.clone()), &|_| ()).await.unwrap().unwrap();
    assert_eq!((whole.size, whole.told, whole.root), (exported.checkpoint.size, exported.checkpoint.size, exported.checkpoint.root));
    for round in 0..OF_ROWS {
        let mut records: Vec<Vec<u8>> = good.iter().map(|(_, record)| record.clone()).collect();
        let (what, at) = tamper(&mut records, &dice);
        // Either what is left keeps its positions, or it is numbered anew.
        let rows: Vec<(u64, Vec<u8>)> = if what == "a deleted one" && dice.below(2) == 0 {
            good.iter().enumerate().filter(|(place, _)| *place != at).map(|(_, row)| row.clone()).collect()
        } else {
            records.into_iter().zip(1..).map(|(record, position)| (position, record)).collect()
        };
        let log = file.fill(&rows);
        for kept in [hashes.clone(), Vec::new()] {
            let exact = !kept.is_empty();
            let found = match audit(&log, Audit::against(told(&exported)).with_hashes(kept), &|_| ()).await {
                Ok(found) => found,
                Err(LogError::Engine(cause)) => panic!("round {round}: {what}: {cause}"),
                Err(LogError::Damaged { position, cause }) => panic!("round {round}: {what} at {position}: {cause}"),
            };
            let bad = found.expect_err(&format!("round {round}: {what} at row {}", at + 1));
            let position = Position(at as u64 + 1);
            if exact {
                assert_eq!((bad.from, bad.position), (position, position), "round {round}: {what}: {bad}");
            } else {
                assert!((bad.from..=bad.position).contains(&position), "round {round}: {what} at row {position}: {bad}");
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_was_rolled_back_is_found_by_its_checkpoint_and_one_that_grew_is_not() {
    let exported = exported(2).await;
    let rows: Vec<(u64, Vec<u8>)> = exported.records.iter().map(|record| (record.header().position.0, record.bytes().to_vec())).collect();
    let mut file = Rows::new();
    for left in 0..rows.len() {
        let log = file.fill(&rows[..left]);
        let bad = audit(&log, Audit::against(told(&exported)), &|_| ()).await.unwrap().unwrap_err();
        assert_eq!((bad.from, bad.position), (Position(left as u64 + 1), Position(left as u64 + 1)), "{bad}");
    }
    let log = file.fill(&rows);
    let ends = exported.records.iter().rposition(|record| record.header().group.ends() && record.header().position.0 < rows.len() as u64).unwrap() + 1;
    let mut tree = keyledger::seal::merkle::Frontier::default();
    for record in &exported.records[..ends] {
        tree.push(record.leaf());
    }
    let earlier = Told { size: ends as u64, root: tree.root(), epoch: None, by: "an anchor".into() };
    let whole = audit(&log, Audit::against(vec![earlier.clone()]), &|_| ()).await.unwrap().unwrap();
    assert_eq!((whole.told, whole.size), (ends as u64, rows.len() as u64));
    // Of several that were told, the first that does not hold narrows down where it is.
    let wrong = Told { size: rows.len() as u64, root: [7; 32], epoch: None, by: "another anchor".into() };
    let bad = audit(&log, Audit::against(vec![earlier, wrong]), &|_| ()).await.unwrap().unwrap_err();
    assert_eq!((bad.from, bad.position), (Position(ends as u64 + 1), Position(rows.len() as u64)));
}
