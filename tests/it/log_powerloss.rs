//! Promise 8: 5,000 disk images that a power cut can leave behind one run; no acknowledged event is missing from any.

use std::sync::Arc;

use keyledger::kernel::*;
use keyledger::log::{EventLog, Index, Options, SegmentLog, Sequencer, SqliteLog, Synchronous, copies};
use powerloss::{Image, Recorder};

use crate::damage::{Chance, scratch};
use crate::fixed_clock::FixedClock;
use crate::log_bench::{START, Seen, VAULT, Wanted, change, doubled, signer, submission};

const IMAGES: usize = 5_000;
const WRITES: u64 = 300;

/// Cuts over both copies.
const DOUBLED: usize = 400;

/// Runs writes of one to three records, each marked when it is acknowledged, over a recording disk.
async fn record(vfs: &'static str, synchronous: Synchronous) -> Recorder {
    let recorder = Recorder::register(vfs);
    let folder = tempfile::tempdir().unwrap();
    let options = Options { vfs: Some(vfs.into()), synchronous, read_only: false };
    let log = Arc::new(SqliteLog::open(&folder.path().join("log.db"), options).unwrap());
    let sequencer = Sequencer::start(log, Arc::new(FixedClock::at(START)), Arc::new(Seen::default()), Index::default()).await.unwrap();
    let mut version = 0;
    for write in 0..WRITES {
        let size = 100 + usize::try_from(write % 7).unwrap() * 700;
        let events: Vec<Wanted> = (0..=write % 3).map(|n| Wanted { size, ..change(1, version + n) }).collect();
        version = sequencer.submit(submission(&events, None)).await.unwrap().last.0;
        recorder.mark(version);
    }
    recorder
}

/// How many acknowledged records the image lacks. What it holds must be whole: no gap, and every record as it was.
async fn lost(image: &Image) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    image.write_to(folder.path()).unwrap();
    let log = SqliteLog::open(&folder.path().join("log.db"), Options::default()).unwrap();
    let records = log.read(Position::ZERO, usize::MAX >> 1).await.unwrap();
    for (record, n) in records.iter().zip(1..) {
        assert_eq!(record.header().position, Position(n), "cut at {} with seed {}", image.at, image.seed);
    }
    if let Some(last) = records.last() {
        assert!(last.header().group.ends(), "a group is not split: cut at {} with seed {}", image.at, image.seed);
    }
    image.acknowledged.saturating_sub(records.len() as u64)
}

#[tokio::test]
async fn promise_8_no_power_cut_takes_an_acknowledged_event() {
    let recorder = record("powerloss-full", Synchronous::Full).await;
    let mut seen = 0;
    for image in recorder.trace().images(IMAGES, 14) {
        assert_eq!(lost(&image).await, 0, "cut at {} with seed {}", image.at, image.seed);
        seen += 1;
    }
    assert_eq!(seen, IMAGES);
}

#[tokio::test]
async fn promise_8_the_test_sees_a_disk_that_is_not_synced() {
    let recorder = record("powerloss-normal", Synchronous::Normal).await;
    let mut missing = 0;
    for image in recorder.trace().images(500, 14) {
        missing += lost(&image).await;
    }
    assert!(missing > 0, "commits that are not synced must show as lost");
}

/// What the recording disk does not see are the segments: their own cuts are made here. Of a file that grows by synced frames, a cut leaves all
/// that was acknowledged, and of what was written after that any part.
#[tokio::test]
async fn promise_8_holds_over_both_copies() {
    let recorder = record("powerloss-doubled", Synchronous::Full).await;
    let trace = recorder.trace();
    // The same blocks as segments, with the length of the file after each.
    let (kept, whole) = (scratch(), scratch());
    trace.crash_image(trace.ops().len(), 0).write_to(whole.path()).unwrap();
    let records = SqliteLog::open(&whole.path().join("log.db"), Options::default()).unwrap().read(Position::ZERO, 10_000).await.unwrap();
    let (log, mut lengths) = (doubled(kept.path()).unwrap(), vec![(0, 0)]);
    for group in records.chunk_by(|one, next| next.header().group.index > one.header().group.index) {
        log.append(Position(lengths.last().unwrap().0), group.into()).await.unwrap();
        let file = crate::segments::segment_files(kept.path()).remove(0);
        lengths.push((group.last().unwrap().header().position.0, crate::segments::data_end(&file)));
    }
    let file = crate::segments::segment_files(kept.path()).remove(0);
    let (bytes, mut chance) = (std::fs::read(&file).unwrap(), Chance(14));
    for image in trace.images(DOUBLED, 15) {
        let folder = scratch();
        image.write_to(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("segments")).unwrap();
        let at = lengths.iter().position(|(position, _)| *position >= image.acknowledged).unwrap();
        let (least, most) = (lengths[at].1, lengths[(at + 1).min(lengths.len() - 1)].1);
        let cut = least + chance.next() % (most - least + 1);
        if cut > 0 {
            let mut left = bytes[..usize::try_from(cut).unwrap()].to_vec();
            // With the room that was made ahead, or without.
            left.resize(left.len() + usize::try_from(chance.next() % 2).unwrap() * 3000, 0);
            std::fs::write(folder.path().join("segments").join(file.file_name().unwrap()), left).unwrap();
        }
        let told = format!("cut at {} with seed {}, segments at {cut}", image.at, image.seed);
        let (log, _) = copies::open(folder.path(), VAULT, &signer(), &[]).unwrap_or_else(|error| panic!("{told}: {error}"));
        let found = log.read(Position::ZERO, 10_000).await.unwrap();
        assert!(found.len() as u64 >= image.acknowledged && records.starts_with(&found), "{told}");
        assert!(found.last().is_none_or(|last| last.header().group.ends()), "{told}");
        let segments = SegmentLog::open(&folder.path().join("segments")).unwrap();
        assert!(segments.records().map(Result::unwrap).eq(found), "{told}");
    }
}
