//! Segments: the stored format, how files are closed, what a cut or a failed write leaves, and reading them as a log.

use std::fs;
use std::path::{Path, PathBuf};

use keyledger::kernel::*;
use keyledger::log::copies::{self, Copy};
use keyledger::log::{AppendError, DoubledLog, EventLog, LogError, SegmentLog};
use keyledger::seal::Record;

use crate::fixed::hex;
use crate::log_bench::{START, VAULT, doubled, signer};

const GOLDEN: &str = "tests/vectors/segment_v1.txt";

/// A record whose bytes are the same in every run.
pub fn record(position: u64, at: i64, epoch: u32, size: usize) -> Record {
    let id = |tag: u8| [tag; 16];
    let mut event = id(2);
    event[..8].copy_from_slice(&position.to_be_bytes());
    let header = Header {
        position: Position(position),
        previous: Position::ZERO,
        recorded_at: Moment::from_millis(at),
        version: Version(position),
        content_version: Version(position),
        facts_commitment: [u8::try_from(position % 251).unwrap(); 32],
        epoch: Epoch { number: epoch, id: [u8::try_from(epoch).unwrap(); 16] },
        event: EventId(event),
        tenant: TenantId(id(3)),
        stream: StreamId(id(4)),
        class: Class::Change,
        kind: "consumer".into(),
        event_type: "updated".into(),
        actor: StreamId(id(0)),
        command: None,
        request: None,
        group: Group { id: GroupId(event), index: 0, count: 1 },
        causation: Position::ZERO,
        claims: vec![],
        facts_key: KeyId { batch: [6; 12], slot: 0 },
        secrets: vec![],
        shredded: vec![],
    };
    let facts: Vec<u8> = (0..size as u64).map(|place| u8::try_from((position * 31 + place * 7) % 251).unwrap()).collect();
    Record::encode(header, &facts, &[]).unwrap()
}

pub fn segment_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    files.sort();
    files
}

/// Where the frames of an open file end: what follows is room.
pub fn data_end(path: &Path) -> u64 {
    fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

async fn append(log: &DoubledLog, after: u64, block: &[Record]) {
    log.append(Position(after), block.into()).await.unwrap();
}

async fn all(log: &dyn EventLog) -> Vec<Record> {
    log.read(Position::ZERO, usize::MAX >> 1).await.unwrap()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Three records in two frames, closed after an hour.
async fn golden(folder: &Path) -> (Vec<Record>, PathBuf) {
    let log = doubled(folder).unwrap();
    let records: Vec<Record> = (1..=3).map(|position| record(position, START + i64::try_from(position).unwrap(), 1, 40)).collect();
    append(&log, 0, &records[..2]).await;
    append(&log, 2, &records[2..]).await;
    log.tend(Moment::from_millis(START).plus_seconds(3600)).await;
    assert!(!is_read_only(&segment_files(folder)[0]), "a millisecond is missing");
    log.tend(Moment::from_millis(START + 1).plus_seconds(3600)).await;
    (records, segment_files(folder).remove(0))
}

fn is_read_only(path: &Path) -> bool {
    fs::metadata(path).unwrap().permissions().readonly()
}

#[tokio::test]
async fn a_closed_file_is_byte_for_byte_what_the_vector_says() {
    let folder = tempfile::tempdir().unwrap();
    let (records, path) = golden(folder.path()).await;
    assert_eq!(name(&path), "0000000001-00000000000000000001.seg");
    assert!(is_read_only(&path));
    let bytes = fs::read(&path).unwrap();
    let vector = Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    let lines: String = bytes.chunks(60).map(|chunk| hex(chunk) + "\n").collect();
    if std::env::var_os("KEYLEDGER_BLESS").is_some() && !vector.exists() {
        fs::write(&vector, &lines).unwrap();
    }
    assert_eq!(fs::read_to_string(vector).unwrap(), lines, "the stored format never changes");
    // By hand, from the documentation alone.
    assert_eq!((&bytes[..20], &bytes[20..36]), (&b"keyledger segment 1\n"[..], &VAULT.0[..]));
    assert_eq!((&bytes[36..40], &bytes[40..56], &bytes[56..64], &bytes[64..72]), (&[0, 0, 0, 1][..], &[1; 16][..], &[0; 8][..], &[0, 0, 0, 0, 0, 0, 0, 1][..]));
    assert_eq!((&bytes[72..81], bytes[97]), (&[0; 9][..], b'F'), "no tree before it, then the header's check, then a frame");
    assert_eq!(bytes[bytes.len() - 16..], *b"keyledger closed");
    let log = SegmentLog::open(&folder.path().join("segments")).unwrap();
    assert_eq!(log.records().collect::<Result<Vec<_>, _>>().unwrap(), records);
}

/// Whatever is flipped or cut: a reader gives records as they were, or an error; it never gives anything else, and never panics.
#[tokio::test]
async fn no_flip_and_no_cut_makes_a_reader_give_what_was_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (records, path) = golden(folder.path()).await;
    let bytes = fs::read(&path).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join(name(&path));
    let read = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let log = SegmentLog::open(scratch.path()).map_err(|error| error.to_string())?;
        log.records().collect::<Result<Vec<_>, LogError>>().map_err(|error| error.to_string())
    };
    assert_eq!(read(&bytes).unwrap(), records);
    let mut told = 0;
    for place in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[place / 8] ^= 1 << (place % 8);
        match read(&flipped) {
            Ok(found) => assert!(records.starts_with(&found), "bit {place}"),
            Err(_) => told += 1,
        }
    }
    assert!(told > 2000, "frames under a whole footer are told as damaged: {told}");
    for length in 0..bytes.len() {
        assert!(records.starts_with(&read(&bytes[..length]).unwrap()), "{length} bytes");
    }
}

#[tokio::test]
async fn files_are_closed_by_age_size_and_epoch_and_chain() {
    let folder = tempfile::tempdir().unwrap();
    let log = doubled(folder.path()).unwrap();
    let hour = 3_600_000;
    let mut written = Vec::new();
    // An hour later a new file; a new epoch, which leaves a gap; then 64 MiB.
    for (position, at, epoch) in [(1, 0, 1), (2, hour - 1, 1), (3, hour, 1), (10, hour, 2)] {
        let block = [record(position, START + at, epoch, 300)];
        append(&log, written.last().map_or(0, |last: &Record| last.header().position.0), &block).await;
        written.extend(block);
    }
    for position in (11..11 + 2 * 140).step_by(2) {
        let block: Vec<Record> = (position..position + 2).map(|position| record(position, START + hour, 2, 250_000)).collect();
        append(&log, position - 1, &block).await;
        written.extend(block);
    }
    let files = segment_files(folder.path());
    let names: Vec<&str> = files.iter().map(|path| name(path)).collect();
    assert_eq!(names[..3], ["0000000001-00000000000000000001.seg", "0000000001-00000000000000000003.seg", "0000000002-00000000000000000010.seg"]);
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(files[..3].iter().all(|path| is_read_only(path)) && !is_read_only(&files[3]));
    let length = fs::metadata(&files[2]).unwrap().len();
    assert!((64..66).contains(&(length >> 20)), "{length}");
    drop(log);
    // It goes on where it was, and what is read is what was written.
    let log = doubled(folder.path()).unwrap();
    let next = record(291, START + hour, 2, 10);
    append(&log, 290, std::slice::from_ref(&next)).await;
    written.push(next);
    assert_eq!(segment_files(folder.path()).len(), 4);
    let segments = SegmentLog::open(&folder.path().join("segments")).unwrap();
    assert!(segments.records().map(Result::unwrap).eq(written.iter().cloned()));
    same_answers(&log, &segments).await;
    assert!(matches!(segments.append(Position(291), vec![].into()).await, Err(AppendError::Refused(_))));
    // A file in the middle that is missing or of another vault is damage.
    fs::rename(&files[1], folder.path().join("away")).unwrap();
    assert!(SegmentLog::open(&folder.path().join("segments")).is_err());
}

/// Both engines answer alike.
async fn same_answers(one: &dyn EventLog, other: &dyn EventLog) {
    assert_eq!(*one.head().borrow(), *other.head().borrow());
    for (from, limit) in [(0, 3), (0, 20), (2, 1), (3, 9), (9, 4), (10, 300), (200, 7), (290, 9), (291, 9), (1000, 9)] {
        assert!(one.read(Position(from), limit).await == other.read(Position(from), limit).await, "after {from}, at most {limit}");
        assert!(one.read_back(Position(from), limit).await == other.read_back(Position(from), limit).await, "back from {from}, at most {limit}");
    }
    let at: Vec<Position> = [291, 4, 3, 10, 0, 9, 1, 290].map(Position).into();
    assert_eq!(one.fetch(&at).await, other.fetch(&at).await);
    for instant in [0, START, START + 1, START + 3_600_000 - 1, START + 3_600_000, START + 3_600_001, START * 2] {
        assert_eq!(one.seek(Moment::from_millis(instant)).await, other.seek(Moment::from_millis(instant)).await, "{}", instant - START);
    }
}

/// Ten blocks of two, a second apart, in a folder of their own.
async fn ten_blocks(folder: &Path) -> Vec<Record> {
    let log = doubled(folder).unwrap();
    for block in 0..10 {
        let records: Vec<Record> = (1..=2).map(|place| record(2 * block + place, START + 1000 * i64::try_from(block).unwrap(), 1, 80)).collect();
        append(&log, 2 * block, &records).await;
    }
    all(&log).await
}

pub fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = into.join(name(&path));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_tail_that_is_cut_at_any_byte_is_made_up_for() {
    let whole = tempfile::tempdir().unwrap();
    let records = ten_blocks(whole.path()).await;
    let file = segment_files(whole.path()).remove(0);
    let length = data_end(&file);
    let frame = 5 + 10 + records[18..].iter().map(|record| 4 + record.bytes().len() as u64).sum::<u64>() + 16;
    let bytes = fs::read(&file).unwrap();
    for cut in length - frame..length {
        let folder = tempfile::tempdir().unwrap();
        copy(whole.path(), folder.path());
        fs::write(folder.path().join("segments").join(name(&file)), &bytes[..usize::try_from(cut).unwrap()]).unwrap();
        let (log, repairs) = copies::open(folder.path(), VAULT, &signer(), &[]).unwrap();
        assert!(repairs.is_empty(), "as after each crash: {repairs:?}");
        assert!(all(&log).await == records && all(&SegmentLog::open(&folder.path().join("segments")).unwrap()).await == records, "{cut} bytes");
        drop(log);
        // A block that only the segments have: the commit had not come to its end.
        if (cut - (length - frame)).is_multiple_of(40) {
            let raw = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
            raw.execute_batch("DROP TRIGGER log_no_delete; DELETE FROM log WHERE position > 18; CREATE TRIGGER log_no_delete BEFORE DELETE ON log BEGIN\n    SELECT RAISE(ABORT, 'the log is append-only');\nEND;").unwrap();
            drop(raw);
            let (log, repairs) = copies::open(folder.path(), VAULT, &signer(), &[]).unwrap();
            assert!(repairs.is_empty() && all(&log).await == records, "{repairs:?}");
        }
    }
}

#[tokio::test]
async fn what_the_segments_could_not_take_is_caught_up_with_before_the_next_block() {
    let folder = tempfile::tempdir().unwrap();
    let log = doubled(folder.path()).unwrap();
    append(&log, 0, &[record(1, START, 1, 50)]).await;
    let file = segment_files(folder.path()).remove(0);
    // Somebody else writes to the file: it is not ours any more.
    fs::OpenOptions::new().append(true).open(&file).and_then(|mut file| std::io::Write::write_all(&mut file, b"x")).unwrap();
    append(&log, 1, &[record(2, START, 1, 50)]).await;
    assert!(log.trouble().unwrap().contains("one copy"), "the committed block stands and is answered");
    // A folder that takes no files: no block is taken.
    let away = folder.path().join("away");
    fs::rename(folder.path().join("segments"), &away).unwrap();
    let refused = log.append(Position(2), [record(3, START, 1, 50)].into()).await;
    assert!(matches!(&refused, Err(AppendError::Refused(cause)) if cause.contains("one copy")), "{refused:?}");
    assert_eq!(*log.head().borrow(), Position(2));
    fs::rename(&away, folder.path().join("segments")).unwrap();
    append(&log, 2, &[record(3, START, 1, 50)]).await;
    assert_eq!(log.trouble(), None, "two copies again");
    let names: Vec<String> = segment_files(folder.path()).iter().map(|path| name(path).to_owned()).collect();
    assert_eq!(names, ["0000000001-00000000000000000001.seg", "0000000001-00000000000000000002.seg"], "a fresh one");
    let segments = SegmentLog::open(&folder.path().join("segments")).unwrap();
    assert!(segments.records().map(Result::unwrap).eq(all(&log).await));
    drop(log);
    // What the failed write left in the first file is superseded by the second.
    let again = doubled(folder.path()).unwrap();
    assert_eq!(all(&again).await.len(), 3);
}

#[tokio::test]
async fn a_commit_that_is_refused_leaves_nothing_in_the_segments() {
    let folder = tempfile::tempdir().unwrap();
    let log = doubled(folder.path()).unwrap();
    append(&log, 0, &[record(1, START, 1, 50)]).await;
    let file = segment_files(folder.path()).remove(0);
    let before = fs::read(&file).unwrap();
    // Another process has the file locked for longer than the commit waits.
    let other = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = log.append(Position(1), [record(2, START, 1, 50)].into()).await;
    assert!(matches!(refused, Err(AppendError::Refused(_))), "{refused:?}");
    assert_eq!(fs::read(&file).unwrap(), before, "the frame was taken back");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(log.append(Position(9), [record(2, START, 1, 50)].into()).await, Err(AppendError::HeadMoved));
    append(&log, 1, &[record(2, START, 1, 50)]).await;
    assert_eq!(log.trouble(), None);
}

/// What is done to a data directory; which copy is made anew, from where to where; and under what name the damaged one is kept.
type Case = (Box<dyn Fn(&Path)>, Copy, (u64, u64), Option<&'static str>);

#[tokio::test]
async fn a_copy_that_is_missing_shorter_or_damaged_is_made_anew_and_the_old_one_kept() {
    let whole = tempfile::tempdir().unwrap();
    let records = ten_blocks(whole.path()).await;
    let segment = "segments/0000000001-00000000000000000001.seg";
    let flip = |path: PathBuf, place: usize| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[place] ^= 4;
        fs::write(path, bytes).unwrap();
    };
    let short = |path: PathBuf| {
        let raw = rusqlite::Connection::open(path).unwrap();
        raw.execute_batch("DROP TRIGGER log_no_delete; DELETE FROM log WHERE position > 5; CREATE TRIGGER log_no_delete BEFORE DELETE ON log BEGIN\n    SELECT RAISE(ABORT, 'the log is append-only');\nEND;").unwrap();
    };
    let cases: [Case; 6] = [
        (Box::new(|data| fs::remove_dir_all(data.join("segments")).unwrap()), Copy::Segments, (1, 20), None),
        (Box::new(|data| fs::remove_file(data.join("log.db")).unwrap()), Copy::Sqlite, (1, 20), None),
        (Box::new(|data| fs::write(data.join("log.db"), b"not a database").unwrap()), Copy::Sqlite, (1, 20), Some("log.db.damaged-1")),
        (Box::new(move |data| short(data.join("log.db"))), Copy::Sqlite, (6, 20), Some("log.db.damaged-1")),
        (Box::new(move |data| flip(data.join(segment), 200)), Copy::Segments, (1, 20), Some("segments/0000000001-00000000000000000001.seg.damaged-1")),
        (Box::new(move |data| flip(data.join(segment), 30)), Copy::Segments, (1, 20), Some("segments/0000000001-00000000000000000001.seg.damaged-1")),
    ];
    for (harm, damaged, (from, through), aside) in cases {
        let folder = tempfile::tempdir().unwrap();
        copy(whole.path(), folder.path());
        harm(folder.path());
        let (log, repairs) = copies::open(folder.path(), VAULT, &signer(), &[]).unwrap();
        let told: Vec<_> = repairs.iter().map(|repair| (repair.copy, repair.from, repair.through, repair.aside.as_deref())).collect();
        assert_eq!(told, [(damaged, Position(from), Position(through), aside)], "{repairs:?}");
        assert!(aside.is_none_or(|aside| folder.path().join(aside).exists()));
        assert!(all(&log).await == records);
        append(&log, 20, &[record(21, START + 60_000, 1, 9)]).await;
        drop(log);
        assert!(copies::survey(folder.path(), VAULT, copies::Depth::Whole, &[]).is_whole());
        assert_eq!(all(&SegmentLog::open(&folder.path().join("segments")).unwrap()).await.len(), 21);
    }
}

#[tokio::test]
async fn two_histories_are_a_fork_and_a_checkpoint_ahead_is_a_loss() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let records = ten_blocks(one.path()).await;
    copy(one.path(), other.path());
    for (folder, size) in [(&one, 90), (&other, 140)] {
        let log = doubled(folder.path()).unwrap();
        // Of another event, at the same position.
        let mine = record(21 + size, START + 20_000, 1, usize::try_from(size).unwrap());
        let header = Header { position: Position(21), ..mine.header().clone() };
        append(&log, 20, &[Record::encode(header, mine.facts(), &[]).unwrap()]).await;
    }
    fs::remove_dir_all(one.path().join("segments")).unwrap();
    copy(&other.path().join("segments"), &one.path().join("segments"));
    let before: Vec<Vec<u8>> = segment_files(one.path()).iter().map(|path| fs::read(path).unwrap()).collect();
    let error = copies::open(one.path(), VAULT, &signer(), &[]).map(drop).unwrap_err().to_string();
    assert!(error.contains("different events at positions 21"), "{error}");
    assert_eq!(segment_files(one.path()).iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), before, "nothing was changed");

    let checkpoint = |size, root| copies::Checkpoint { source: "a witness".into(), epoch: 1, history: None, size, root, last: None };
    let survey = copies::survey(other.path(), VAULT, copies::Depth::Whole, &[checkpoint(21, [0; 32])]);
    assert!(survey.refusal.unwrap().to_string().contains("first 21 records have another root"));
    let survey = copies::survey(other.path(), VAULT, copies::Depth::Whole, &[checkpoint(24, [0; 32])]);
    let lost = copies::Span { from: Position(22), through: Position(24), cause: "a witness is of 24 records in epoch 1, and there are 21".into() };
    assert_eq!(survey.refusal, Some(copies::Refusal::Shortened(lost)));

    // In neither copy: the range is told exactly, and nothing is changed.
    let folder = tempfile::tempdir().unwrap();
    copy(other.path(), folder.path());
    let raw = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
    raw.execute_batch("DROP TRIGGER log_no_update; UPDATE log SET record = x'00' WHERE position = 7").unwrap();
    drop(raw);
    let file = segment_files(folder.path()).remove(0);
    let bytes = fs::read(&file).unwrap();
    let place = bytes.windows(40).position(|window| window == &records[6].bytes()[..40]).unwrap();
    let flipped: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| if at == place + 9 { byte ^ 1 } else { *byte }).collect();
    fs::write(&file, flipped).unwrap();
    let survey = copies::survey(folder.path(), VAULT, copies::Depth::Whole, &[]);
    let Some(copies::Refusal::Lost(spans)) = survey.refusal else { panic!("{:?}", survey.refusal) };
    assert_eq!((spans.len(), spans[0].from, spans[0].through), (1, Position(7), Position(7)));
    assert!(copies::open(folder.path(), VAULT, &signer(), &[]).is_err());
}

#[tokio::test]
async fn the_scrub_reads_closed_files_again_and_tells_what_it_finds() {
    let folder = tempfile::tempdir().unwrap();
    let log = doubled(folder.path()).unwrap();
    for (position, hour) in [(1, 0), (2, 2), (3, 4)] {
        append(&log, position - 1, &[record(position, START + hour * 3_600_000, 1, 50)]).await;
    }
    for _ in 0..4 {
        log.tend(Moment::from_millis(START)).await;
    }
    assert_eq!(log.found(), None);
    let raw = rusqlite::Connection::open(folder.path().join("log.db")).unwrap();
    raw.execute_batch("DROP TRIGGER log_no_update; UPDATE log SET record = zeroblob(9) WHERE position = 2").unwrap();
    log.tend(Moment::from_millis(START)).await;
    assert_eq!(log.found(), None, "one file at a time");
    log.tend(Moment::from_millis(START)).await;
    assert!(log.found().unwrap().contains("position 2"), "{:?}", log.found());
    drop((raw, log));
    // A start that looks at the tail only does not see it; one that looks at all of it mends it.
    assert!(copies::survey(folder.path(), VAULT, copies::Depth::Tail, &[]).log.lacks.is_empty());
    let survey = copies::survey(folder.path(), VAULT, copies::Depth::Whole, &[]);
    let repairs = copies::mend(folder.path(), VAULT, &survey, &signer()).unwrap();
    assert_eq!((repairs.len(), repairs[0].copy, repairs[0].from), (1, Copy::Sqlite, Position(2)));
    assert_eq!(all(&doubled(folder.path()).unwrap()).await.len(), 3);
}

/// Run by the test below with a limit on the size of files, as a full disk.
#[tokio::test]
async fn under_a_limit() {
    let Some(folder) = std::env::var_os("KEYLEDGER_TEST_LIMITED") else { return };
    let log = doubled(Path::new(&folder)).unwrap();
    let (mut one_copy, mut at) = (0, 0);
    loop {
        match log.append(Position(at), [record(at + 1, START, 1, 250_000)].into()).await {
            Ok(()) => at += 1,
            Err(error) => return println!("took {at}, one copy {one_copy} times, then {error:?}"),
        }
        one_copy += usize::from(log.trouble().is_some());
    }
}

#[tokio::test]
async fn a_full_disk_beneath_the_segments_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // 8 MiB a file; the signal that goes with the limit is passed over, so that writes fail as on a full disk.
    let mut child = std::process::Command::new("sh");
    child.args(["-c", "trap '' XFSZ; ulimit -f 16384; exec \"$0\" segments::under_a_limit --exact --nocapture"]).arg(std::env::current_exe().unwrap());
    let output = child.env("KEYLEDGER_TEST_LIMITED", folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let took: u64 = told.split("took ").nth(1).unwrap_or_else(|| panic!("{told}")).split(',').next().unwrap().parse().unwrap();
    assert!(took > 30 && told.contains("one copy 1 times") && (told.contains("Refused") || told.contains("Unknown")), "{told}");
    let log = doubled(folder.path()).unwrap();
    let records = all(&log).await;
    assert!((took..=took + 1).contains(&(records.len() as u64)), "{} records: {told}", records.len());
    assert!(segment_files(folder.path()).len() > 1, "a fresh file caught up");
    assert!(records.iter().zip(1..).all(|(record, position)| *record == self::record(position, START, 1, 250_000)));
    assert!(SegmentLog::open(&folder.path().join("segments")).unwrap().records().map(Result::unwrap).eq(records));
}
