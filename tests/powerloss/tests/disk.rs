//! The pretended disk itself, on traces written by hand: what is durable never
//! changes, and each thing that may happen to the rest does happen.

use std::collections::BTreeSet;
use std::sync::Arc;

use powerloss::{Op, SECTOR, Trace};

const NAME: &str = "log.db-wal";

fn file() -> Arc<str> {
    NAME.into()
}

fn create() -> Op {
    Op::Create { file: file() }
}

fn write(offset: u64, byte: u8, len: usize) -> Op {
    Op::Write { file: file(), offset, bytes: vec![byte; len].into() }
}

fn truncate(len: u64) -> Op {
    Op::Truncate { file: file(), len }
}

fn sync(covers: usize) -> Op {
    Op::Sync { file: file(), covers, directory: false }
}

fn delete(sync_dir: bool) -> Op {
    Op::Delete { file: file(), sync_dir }
}

/// Every content that 2,000 cuts at the end of the trace left under the name.
fn outcomes(ops: Vec<Op>) -> BTreeSet<Option<Vec<u8>>> {
    let trace = Trace::new(ops);
    let end = trace.ops().len();
    (0..2_000).map(|seed| trace.crash_image(end, seed).files().get(NAME).cloned()).collect()
}

fn filled(byte: u8, len: usize) -> Option<Vec<u8>> {
    Some(vec![byte; len])
}

#[test]
fn a_synced_file_is_durable() {
    let seen = outcomes(vec![create(), write(0, 1, 700), sync(2)]);
    assert_eq!(seen, BTreeSet::from([filled(1, 700)]));
}

#[test]
fn a_write_that_came_after_the_sync_began_is_not_covered() {
    let seen = outcomes(vec![create(), write(0, 1, 512), write(0, 2, 512), sync(2)]);
    assert!(seen.contains(&filled(1, 512)) && seen.contains(&filled(2, 512)));
}

#[test]
fn sectors_are_kept_dropped_or_garbled_each_for_itself() {
    let seen = outcomes(vec![create(), write(0, 1, 1024), sync(2), write(0, 2, 1024)]);
    let half = |first: u8, second: u8| Some([[first; SECTOR], [second; SECTOR]].concat());
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        assert!(seen.contains(&half(first, second)), "{first} {second}");
    }
    let garbled = |sector: &[u8]| !matches!(sector[0], 1 | 2) || sector[0] != sector[1];
    assert!(seen.iter().flatten().any(|b| garbled(&b[..SECTOR]) && b[SECTOR..] == [1; SECTOR]));
    assert!(seen.iter().flatten().any(|b| garbled(&b[SECTOR..]) && b[..SECTOR] == [2; SECTOR]));
}

#[test]
fn untouched_sectors_never_change() {
    let seen = outcomes(vec![create(), write(0, 1, 2048), sync(2), write(600, 2, 8)]);
    for bytes in seen.iter().flatten() {
        assert_eq!((&bytes[..512], &bytes[1024..]), (&[1; 512][..], &[1; 1024][..]));
    }
    assert!(seen.len() > 10, "the whole touched sector may be garbled");
}

#[test]
fn sizes_are_among_those_the_file_had() {
    let seen = outcomes(vec![create(), write(0, 1, 100), sync(2), write(100, 2, 900), truncate(40)]);
    let sizes: BTreeSet<usize> = seen.iter().flatten().map(Vec::len).collect();
    assert_eq!(sizes, BTreeSet::from([40, 100, 1000]));
}

#[test]
fn an_unsynced_creation_may_be_undone() {
    let seen = outcomes(vec![create(), write(0, 1, 10)]);
    assert!(seen.contains(&None) && seen.contains(&filled(1, 10)));
}

#[test]
fn a_deletion_is_durable_only_with_its_directory() {
    let start = vec![create(), write(0, 1, 10), sync(2)];
    let lazy = outcomes([start.clone(), vec![delete(false)]].concat());
    assert_eq!(lazy, BTreeSet::from([None, filled(1, 10)]));
    let synced = outcomes([start.clone(), vec![delete(true)]].concat());
    assert_eq!(synced, BTreeSet::from([None]));
    let other: Arc<str> = "other.db-wal".into();
    let later = Op::Sync { file: other, covers: 4, directory: true };
    let by_another = outcomes([start, vec![delete(false), later]].concat());
    assert_eq!(by_another, BTreeSet::from([None]));
}

#[test]
fn a_name_reused_holds_the_old_file_or_the_new_but_no_mixture() {
    let start = [create(), write(0, 1, 512), sync(2), delete(false), create()];
    let seen = outcomes([&start[..], &[write(512, 2, 512)]].concat());
    assert!(seen.contains(&filled(1, 512)) && seen.contains(&None));
    let mixed = |b: &Vec<u8>| b[..].starts_with(&[1; 512]) && b.len() > 512;
    assert!(!seen.iter().flatten().any(mixed));
}

#[test]
fn an_image_wants_an_empty_directory() {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("not-empty");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("stale-wal"), "stale").unwrap();
    assert!(Trace::new(vec![create()]).crash_image(1, 0).write_to(&dir).is_err());
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn marks_are_carried_up_to_the_cut() {
    let trace = Trace::new(vec![Op::Mark(1), create(), Op::Mark(2)]);
    assert_eq!([0, 1, 2, 3].map(|at| trace.crash_image(at, 0).acknowledged), [0, 1, 1, 2]);
}
